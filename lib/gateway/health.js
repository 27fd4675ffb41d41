'use strict';

// Whether the program, and what it needs, are healthy. Checks run rarely, one at a time, and never
// for long.

const clock = require('../base/clock');
const { withDeadline } = require('../base/deadline');
const Emitter = require('../base/emitter');
const { SekeringError } = require('../base/errors');
const foreign = require('../base/foreign');
const { NAMES, func, is, oneOf, optionsOf } = require('../base/options');

const DAY_MS = 86_400_000;
// A code of an error is a name. Anything else may be a secret.
const CODE = /^[A-Z][A-Z0-9_]{0,63}$/;

const HEALTHY = 'healthy';
const DEGRADED = 'degraded';
const UNHEALTHY = 'unhealthy';
const STATUSES = [HEALTHY, DEGRADED, UNHEALTHY];

const CHECK = optionsOf({
  check: is.func('asks', { required: true }),
  critical: is.boolean('whether all is unhealthy while this is', { default: false }),
  ready: is.boolean('whether the program is not ready while this fails; default: as critical'),
  timeout: is.ms('for an answer', { min: 1, max: DAY_MS, default: 5000 }),
});

const OPTIONS = optionsOf({
  checks: is.record('functions, or { check, critical, timeout }', is.any('a check, see CHECK'),
    { names: NAMES, default: {} }),
  cacheMs: is.ms('that an answer is kept', { max: DAY_MS, default: 30_000 }),
  strict: is.boolean('whether all checks are critical for the status', { default: false }),
});

const worst = statuses => STATUSES[Math.max(0, ...statuses.map(s => STATUSES.indexOf(s)))];

/** What may be shown of an error: its code. A message may quote an address or a password. */
function codeOf (error) {
  const code = foreign.read(error, 'code');
  return typeof code === 'string' && CODE.test(code) ? code : 'ERR_CHECK_FAILED';
}

/** The details of a check as they are shown: what cannot become JSON says so. */
function shownOf (details) {
  const isShowable = value => {
    try {
      JSON.stringify(value, (_key, member) => (typeof member === 'bigint' ? 0 : member));
      return true;
    } catch {
      return false;
    }
  };
  return Object.fromEntries(Object.entries(details).map(([name, value]) =>
    [name, isShowable(value) ? value : 'a value that cannot become JSON']));
}

/** The answer of a check as { status, details }. */
function readAnswer (value) {
  if (value === false) return { status: UNHEALTHY };
  if (value === null || typeof value !== 'object') return { status: HEALTHY };
  const { status = HEALTHY, ...details } = value;
  return { status: oneOf('status', status, STATUSES), details: shownOf(details) };
}

// ---- One check ---------------------------------------------------------------------------------

// A check that has timed out and still runs holds off the next one for this many time limits: what
// hangs is not asked again and again, but it is not given up for ever.
const PATIENCE = 10;

// Callers wait this long for a new answer, and then get the last one. A load balancer that gives
// up on a slow page would otherwise think that the service is dead.
const RENEWAL_MS = 50;

// Their sum, 2 s, is the longest time until an outage is noticed, whatever the cache and the time
// limit of the check are.
const FRESH_MS = 500;
const FRESH_LIMIT_MS = 1500;

/**
 * A check of something that may be slow, or hang. It has a time limit and never runs twice at once;
 * its answer is kept for a while.
 */
class Probe {
  #check;
  #timeout;
  #cacheMs;
  #report;
  #last = undefined;
  #takenAt = -Infinity;
  #running = undefined;
  #blockedUntil = -Infinity;

  /** `report` gets each answer once. */
  constructor (check, { timeout, cacheMs, report = () => {} }) {
    this.#check = check;
    this.#timeout = timeout;
    this.#cacheMs = cacheMs;
    this.#report = report;
  }

  /**
   * The answer: { ok, value, error, ms, at }. The first one takes up to the time limit, later ones
   * up to 50 ms: if the new answer is not there by then, it is the last one. It never rejects.
   */
  get () {
    const now = clock.now();
    if (now - this.#takenAt < this.#cacheMs || now < this.#blockedUntil) {
      return this.#soon(this.#running);
    }
    return this.#soon(this.#running ??= this.#look(now));
  }

  /**
   * A fresh result, for readiness: at most 500 ms old. A check that takes longer than 1.5 s has
   * failed. Concurrent callers share a run, also with callers of `get`.
   */
  async fresh () {
    const now = clock.now();
    const isKept = now - this.#takenAt < Math.min(FRESH_MS, this.#cacheMs) ||
      now < this.#blockedUntil;
    if (this.#running === undefined && isKept) return this.#last;
    const running = this.#running ??= this.#look(now);
    return withDeadline(undefined, FRESH_LIMIT_MS, () => running, { ref: false })
      .catch(error => ({ ok: false, error }));
  }

  #soon (running = Promise.resolve(this.#last)) {
    const last = this.#last;
    if (last === undefined) return running;
    return new Promise(resolve => {
      const timer = clock.setTimer(() => resolve(last), RENEWAL_MS, false);
      running.then(answer => {
        clock.clearTimer(timer);
        resolve(answer);
      });
    });
  }

  async #look (started) {
    const answer = await this.#ask();
    this.#takenAt = clock.now();
    this.#last = { ...answer, ms: this.#takenAt - started, at: clock.wall() };
    this.#running = undefined;
    this.#report(this.#last);
    return this.#last;
  }

  async #ask () {
    let isOver = false;
    const check = async signal => {
      try {
        return await this.#check({ signal });
      } finally {
        isOver = true;
        this.#blockedUntil = -Infinity;
      }
    };
    try {
      // A check that never settles must not keep a process from ending.
      const value = await withDeadline(undefined, this.#timeout, check, { ref: false });
      return { ok: true, value };
    } catch (error) {
      if (!isOver) this.#blockedUntil = clock.now() + PATIENCE * this.#timeout;
      return { ok: false, error };
    }
  }
}

class Check {
  constructor (name, options, cacheMs, onAnswer) {
    const { check, critical, ready = critical, timeout } =
      CHECK.read(typeof options === 'function' ? { check: options } : options, `checks.${name}`);
    this.name = name;
    this.critical = critical;
    this.ready = ready;
    this.probe = new Probe(async context => readAnswer(await check(context)), {
      timeout, cacheMs, report: answer => onAnswer(this, answer),
    });
  }

  async look () { return this.show(await this.probe.get()); }

  async isUp () {
    const { ok, value } = await this.probe.fresh();
    return ok && value.status !== UNHEALTHY;
  }

  show ({ ok, value, error, ms, at }) {
    return {
      status: ok ? value.status : UNHEALTHY,
      critical: this.critical,
      responseTimeMs: Math.round(ms * 10) / 10,
      checkedAt: new Date(at).toISOString(),
      ...(ok ? {} : { error: codeOf(error) }),
      ...(value?.details !== undefined && Object.keys(value.details).length > 0
        ? { details: value.details }
        : {}),
    };
  }
}

// ---- All checks --------------------------------------------------------------------------------

class Health extends Emitter {
  #checks;
  #strict;
  #startedAt = clock.now();
  #status = undefined;
  #draining = false;

  constructor (options) {
    super();
    const { checks, cacheMs, strict } = OPTIONS.read(options);
    this.#strict = strict;
    const onAnswer = (check, answer) =>
      this.emit('check', { name: check.name, ...check.show(answer) }, answer.error);
    this.#checks = Object.entries(checks)
      .map(([name, check]) => new Check(name, check, cacheMs, onAnswer));
  }

  async check () {
    const results = await Promise.all(this.#checks.map(check => check.look()));
    const status = worst(results.map(result =>
      (result.status === UNHEALTHY && !result.critical && !this.#strict
        ? DEGRADED
        : result.status)));
    const from = this.#status;
    this.#status = status;
    if (from !== undefined && from !== status) this.emit('status', { from, to: status });
    return {
      status,
      checks: Object.fromEntries(this.#checks.map(({ name }, i) => [name, results[i]])),
    };
  }

  live () { return { status: 'alive', uptimeMs: Math.round(clock.now() - this.#startedAt) }; }

  async ready () {
    const needed = this.#checks.filter(check => check.ready);
    const areUp = await Promise.all(needed.map(check => check.isUp()));
    const failing = needed.filter((check, i) => !areUp[i]).map(({ name }) => name);
    return {
      ready: !this.#draining && failing.length === 0, draining: this.#draining, failing,
    };
  }

  /** From now on it is not ready, so that no new work is sent here. */
  drain () { this.#draining = true; }
}

const createHealth = options => new Health(options);

// ---- Checks that are ready to use ---------------------------------------------------------------

const SMTP_MS = 4000;
const NAMES_MAX = 20;

const WORKER = optionsOf({
  silence: is.ms('since its last look at the database', { min: 1, default: 60_000 }),
});

const healthChecks = {
  /** The store answers. Without it nothing is safe. */
  database: store => ({
    critical: true,
    check: async () => {
      const { ok, engine, code, error } = await store.health();
      if (!ok) throw new SekeringError(code ?? 'ERR_STORE_UNREACHABLE', error);
      return { engine };
    },
  }),

  /** A client with `ping`: Midtrans, the WhatsApp Cloud API. */
  ping: client => ({
    check: async ({ signal }) => { await client.ping({ signal }); },
  }),

  /** It has a time limit of its own, which leaves no connection behind. */
  smtp: client => ({
    check: async () => {
      const { relays = [client] } = client;
      const answers = await Promise.allSettled(
        relays.map(async relay => relay.verify({ timeout: SMTP_MS })));
      const failed = answers.filter(({ status }) => status === 'rejected');
      // One relay is enough to send.
      if (failed.length === relays.length) throw failed[0].reason;
      if (relays.length === 1) return undefined;
      const entries = relays.map(({ name }, i) =>
        [name, answers[i].status === 'rejected' ? codeOf(answers[i].reason) : 'ok']);
      return {
        status: failed.length > 0 ? DEGRADED : HEALTHY, relays: Object.fromEntries(entries),
      };
    },
  }),

  /** A worker that runs, and has looked at the database lately. */
  worker (outboxWorker, options) {
    const { silence } = WORKER.read(options);
    return {
      check: () => {
        const quietMs = Math.max(Math.round(clock.now() - outboxWorker.lastBeat), 0);
        const isWell = outboxWorker.running && quietMs <= silence;
        return {
          status: isWell ? HEALTHY : UNHEALTHY,
          running: outboxWorker.running,
          lastBeatMs: Number.isFinite(quietMs) ? quietMs : null,
          inFlight: outboxWorker.inFlight,
        };
      },
    };
  },

  /** Degraded while a breaker is open. */
  breakers (list) {
    func('list', list);
    return {
      check: () => {
        const all = list();
        const open = all.filter(breaker => breaker.opened);
        return {
          status: open.length > 0 ? DEGRADED : HEALTHY,
          total: all.length,
          open: open.length,
          halfOpen: all.filter(breaker => breaker.halfOpen).length,
          names: open.slice(0, NAMES_MAX).map(({ name }) => name),
        };
      },
    };
  },
};

module.exports = { Probe, createHealth, healthChecks };
