'use strict';

// Health pages, for load balancers, monitors and people. They change nothing.

const clock = require('../base/clock');
const { is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { Probe } = require('../gateway/health');
const { totalOf } = require('../gateway/report');
const { PAGE_OPTIONS, createPageAccess } = require('./admin-auth');
const { breakersOption, listBreakers, stateOf } = require('./breaker-views');
const { problem, sendJson } = require('./problem');

const OPTIONS = optionsOf({
  health: is.having('of createHealth', ['check', 'live', 'ready'], { required: true }),
  degradation: is.having('for its level', ['snapshot']),
  breakers: breakersOption,
  deadLetters: is.having('of a store', ['summary']),
  sessions: is.having('a SessionPool', ['health', 'status']),
  ...PAGE_OPTIONS,
});

const OK = 200;
const NOT_FOUND = 404;
const UNAVAILABLE = 503;
const BREAKERS_MAX = 1000;
const LETTERS = { timeout: 5000, cacheMs: 30_000 };

// The answers of pages whose parts were not given.
const NO_DEGRADATION = { configured: false, level: { name: 'NORMAL', index: 0 } };
const NO_LETTERS = { configured: false, total: 0, kinds: [] };

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

// The services that an order needs; see canAcceptOrders() in degradation.js.
const ORDER_SERVICES = ['midtrans', 'database'];

/**
 * The services that are down, so that orders cannot be accepted. Empty if they are not all watched.
 */
async function downForOrders (degradation) {
  const hasAll = services => ORDER_SERVICES.every(name => Object.hasOwn(services, name));
  if (!hasAll(degradation?.snapshot().services ?? {})) return [];
  await degradation.look?.();
  const { services } = degradation.snapshot();
  return ORDER_SERVICES.filter(name => services[name] === 'down');
}

const now = () => new Date(clock.wall()).toISOString();

/** The health of a site: the API of its upstream, the cache in front of it, and the breakers. */
function siteOf ({ status, checks: { api, cache } }, breakers, began, sees) {
  const show = check => (check === undefined ? null : {
    status: check.status, response_time_ms: check.responseTimeMs,
    ...sees.details && check.details,
  });
  return {
    status,
    timestamp: now(),
    response_time_ms: Math.round((clock.now() - began) * 10) / 10,
    api: show(api) ?? { status },
    cache: show(cache),
    circuit_breaker: sumOf(breakers),
  };
}

// Everybody may see these: states, times and counts.
const PLAIN = new Set(['/health', '/health/live', '/health/ready', '/api/health']);

// What a person or an error has said, and who it was.
const REASONS = ['reason', 'by', 'last_error', 'lastError'];

/** What the caller may see of a part. */
function seenOf (part, { reasons }) {
  if (reasons) return part;
  return Object.fromEntries(Object.entries(part).filter(([name]) => !REASONS.includes(name)));
}

/** The pages by path. Each returns [status, body]; undefined means 404. */
function pagesOf ({ health, degradation, breakers, deadLetters, sessions }) {
  // Counting many dead letters may be slow, so the count is kept for a while.
  const letters = deadLetters && new Probe(() => deadLetters.summary(), LETTERS);

  async function countLetters () {
    const { ok, value } = await letters.get();
    if (!ok) return null;
    return { configured: true, total: totalOf(value), kinds: value };
  }

  /** What /health and /health/detailed have in common. */
  async function healthPage (bodyOf) {
    const { status, checks } = await health.check();
    const { uptimeMs } = health.live();
    return [STATUS[status],
      { status, timestamp: now(), uptime: process.uptime(), uptimeMs, ...await bodyOf(checks) }];
  }

  return {
    '/health': () => healthPage(checks => ({
      degradation: degradation?.snapshot().level.name ?? NO_DEGRADATION.level.name,
      services: Object.fromEntries(Object.entries(checks).map(([name, { status }]) =>
        [name, status])),
      checks: Object.fromEntries(Object.entries(checks).map(([name, check]) =>
        [name, { status: check.status, responseTimeMs: check.responseTimeMs }])),
      ...sessions?.health(),
    })),
    '/health/live': () => [OK, health.live()],
    '/health/ready': async () => {
      const { ready: isUp, draining, failing } = await health.ready();
      const down = [...new Set([...failing, ...await downForOrders(degradation)])];
      const ready = isUp && down.length === 0;
      return [ready ? OK : UNAVAILABLE,
        { status: ready ? 'ready' : 'not ready', ready, draining, failing: down }];
    },
    '/health/detailed': (req, sees) => healthPage(async checks => ({
      checks,
      breakers: sumOf(breakers()),
      degradation: degradation === undefined ? null : seenOf(degradation.snapshot(), sees),
      deadLetters: letters === undefined ? null : await countLetters(),
      sessions: sessions?.health() ?? null,
    })),
    '/health/circuit-breakers': (req, sees) => {
      const list = listBreakers(breakers, { limit: BREAKERS_MAX });
      return [OK, { ...list, breakers: list.breakers.map(breaker => seenOf(breaker, sees)) }];
    },
    '/health/degradation': (req, sees) => [OK, degradation === undefined ? NO_DEGRADATION
      : { configured: true, ...seenOf(degradation.snapshot(), sees) }],
    '/health/dlq': async () => {
      if (letters === undefined) return [OK, NO_LETTERS];
      const count = await countLetters();
      return count === null ? [UNAVAILABLE] : [OK, count];
    },
    '/api/health': async (req, sees) => {
      const began = clock.now();
      const report = await health.check();
      return [STATUS[report.status], siteOf(report, breakers(), began, sees)];
    },
    '/circuit-breaker-status/:id': ({ params: { id } }, sees) => {
      const session = sessions?.status(id);
      if (session !== undefined) return [OK, seenOf(session, sees)];
      const breaker = breakers().find(({ name }) => name === id);
      return breaker && [OK, {
        id, circuit_breaker: stateOf(breaker), recent_failures: breaker.stats.failures,
      }];
    },
  };
}

const CODES = { [NOT_FOUND]: 'ERR_NOT_FOUND', [UNAVAILABLE]: 'ERR_STORE_UNREACHABLE' };

function answer (page) {
  return async (req, res) => {
    const [status = NOT_FOUND, body] = await page(req, res.locals.sees) ?? [];
    if (body === undefined) problem(res, status, { code: CODES[status] });
    else sendJson(res, status, body);
  };
}

function createHealthRouter (options) {
  const given = OPTIONS.read(options);
  const router = requirePeer('express', 'createHealthRouter').Router();
  const { note, guard } = createPageAccess(given);
  for (const [path, page] of Object.entries(pagesOf(given))) {
    const access = PLAIN.has(path) ? note : guard;
    if (access !== undefined) router.get(path, access, answer(page));
  }
  return router;
}

module.exports = { createHealthRouter };
