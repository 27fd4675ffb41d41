'use strict';

// Health pages, for load balancers, monitors and people. They change nothing.

const clock = require('../base/clock');
const { is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { Probe } = require('../gateway/probe');
const { breakersOption, listBreakers, stateOf } = require('./breaker-views');
const { sendJson } = require('./json');
const { problem } = require('./problem');

const OPTIONS = optionsOf({
  health: is.having('of createHealth', ['check', 'live', 'ready'], { required: true }),
  degradation: is.having('for its level', ['snapshot']),
  breakers: breakersOption,
  deadLetters: is.having('of a store', ['summary']),
  sessions: is.having('a SessionPool', ['health', 'status']),
});

const OK = 200;
const NOT_FOUND = 404;
const UNAVAILABLE = 503;
const BREAKERS_MAX = 1000;
const LETTERS = { timeout: 5000, cacheMs: 30_000 };

const STATUS = { healthy: OK, degraded: OK, unhealthy: UNAVAILABLE };
const STATES = ['closed', 'half-open', 'open'];

/** How many breakers are in each state, and the worst of these states. */
function sumOf (breakers) {
  const counts = { closed: 0, 'half-open': 0, open: 0 };
  for (const breaker of breakers) {
    const state = stateOf(breaker);
    if (state in counts) counts[state] += 1;
  }
  const worst = STATES.findLast(state => counts[state] > 0) ?? 'closed';
  return { state: worst, open: counts.open, half_open: counts['half-open'], closed: counts.closed };
}

/** The pages. Each returns [status, body]; undefined means 404. */
class Pages {
  #health;
  #degradation;
  #breakers;
  #letters;
  #sessions;

  constructor (options) {
    const { health, degradation, breakers, deadLetters, sessions } = OPTIONS.read(options);
    this.#health = health;
    this.#degradation = degradation;
    this.#breakers = breakers;
    this.#sessions = sessions;
    // Counting many dead letters may be slow, so the count is kept for a while.
    this.#letters = deadLetters && new Probe(() => deadLetters.summary(), LETTERS);
  }

  async overview () {
    const { status, checks } = await this.#health.check();
    const short = Object.entries(checks).map(([name, { status: each, responseTimeMs }]) =>
      [name, { status: each, responseTimeMs }]);
    return [STATUS[status], {
      status,
      timestamp: now(),
      uptimeMs: this.#health.live().uptimeMs,
      checks: Object.fromEntries(short),
      ...this.#sessions?.health(),
    }];
  }

  async live () { return [OK, this.#health.live()]; }

  async ready () {
    const { ready, draining, failing } = await this.#health.ready();
    const status = ready ? 'ready' : 'not ready';
    return [ready ? OK : UNAVAILABLE, { status, draining, failing }];
  }

  async detailed () {
    const { status, checks } = await this.#health.check();
    return [STATUS[status], {
      status,
      timestamp: now(),
      uptimeMs: this.#health.live().uptimeMs,
      checks,
      breakers: sumOf(this.#breakers()),
      degradation: this.#degradation?.snapshot() ?? null,
      deadLetters: this.#letters === undefined ? null : await this.#countLetters(),
      sessions: this.#sessions?.health() ?? null,
    }];
  }

  async circuits () {
    return [OK, listBreakers(this.#breakers, { limit: BREAKERS_MAX })];
  }

  async degradation () {
    return this.#degradation === undefined ? undefined : [OK, this.#degradation.snapshot()];
  }

  async deadLetters () {
    if (this.#letters === undefined) return undefined;
    const count = await this.#countLetters();
    return count === null ? [UNAVAILABLE] : [OK, count];
  }

  async #countLetters () {
    const { ok, value } = await this.#letters.get();
    if (!ok) return null;
    return { total: value.reduce((sum, { count }) => sum + count, 0), kinds: value };
  }

  /** For a site: the API of its upstream, the cache in front of it, and the breakers. */
  async site () {
    const started = clock.now();
    const { status, checks } = await this.#health.check();
    const { api, cache } = checks;
    const show = check => (check === undefined
      ? null
      : { status: check.status, response_time_ms: check.responseTimeMs, ...check.details });
    return [STATUS[status], {
      status,
      timestamp: now(),
      response_time_ms: Math.round((clock.now() - started) * 10) / 10,
      api: show(api) ?? { status },
      cache: show(cache),
      circuit_breaker: sumOf(this.#breakers()),
    }];
  }

  /** One instance of the session pool, or the breaker of that name. */
  async circuit (id) {
    const session = this.#sessions?.status(id);
    if (session !== undefined) return [OK, session];
    const breaker = this.#breakers().find(({ name }) => name === id);
    if (breaker === undefined) return undefined;
    return [OK, {
      id, circuit_breaker: stateOf(breaker), recent_failures: breaker.stats.failures,
    }];
  }
}

const now = () => new Date(clock.wall()).toISOString();

function answer (page) {
  return async (req, res) => {
    const [status = NOT_FOUND, body] = await page(req) ?? [];
    if (body === undefined) problem(res, status, { code: CODES[status] });
    else sendJson(res, status, body);
  };
}

const CODES = { [NOT_FOUND]: 'ERR_NOT_FOUND', [UNAVAILABLE]: 'ERR_STORE_UNREACHABLE' };

/** Options as the types describe them. */
function createHealthRouter (options) {
  const pages = new Pages(options);
  const router = requirePeer('express', 'createHealthRouter').Router();
  const paths = {
    '/health': () => pages.overview(),
    '/health/live': () => pages.live(),
    '/health/ready': () => pages.ready(),
    '/health/detailed': () => pages.detailed(),
    '/health/circuit-breakers': () => pages.circuits(),
    '/health/degradation': () => pages.degradation(),
    '/health/dlq': () => pages.deadLetters(),
    '/api/health': () => pages.site(),
    '/circuit-breaker-status/:id': req => pages.circuit(req.params.id),
  };
  for (const [path, page] of Object.entries(paths)) router.get(path, answer(page));
  return router;
}

module.exports = { createHealthRouter };
