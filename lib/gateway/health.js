'use strict';

// Whether the program and what it needs are well: probes that are asked rarely, one at a time, and
// never for long.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const foreign = require('../base/foreign');
const { bag, boolean, func, number, oneOf } = require('../base/options');
const { Probe } = require('./probe');

const CACHE_MS = 30_000;
const TIMEOUT_MS = 5000;
const NAME = /^[\w.-]{1,64}$/;
// Codes of errors are names; whatever else somebody put there may be anything.
const CODE = /^[A-Z][A-Z0-9_]{0,63}$/;

const HEALTHY = 'healthy';
const DEGRADED = 'degraded';
const UNHEALTHY = 'unhealthy';
const STATUSES = [HEALTHY, DEGRADED, UNHEALTHY];

const worst = statuses => STATUSES[Math.max(0, ...statuses.map(s => STATUSES.indexOf(s)))];

/** What may be shown of an error: never its words, which may quote an address or a password. */
function codeOf (error) {
  const code = foreign.read(error, 'code');
  return typeof code === 'string' && CODE.test(code) ? code : 'ERR_CHECK_FAILED';
}

/** A check's answer: { status, details }. */
function read (value) {
  if (value === false) return { status: UNHEALTHY };
  if (value === null || typeof value !== 'object') return { status: HEALTHY };
  const { status = HEALTHY, ...details } = value;
  return { status: oneOf('status', status, STATUSES), details };
}

class Check {
  constructor (name, given, cacheMs, report) {
    const options = typeof given === 'function' ? { check: given } : bag(`checks.${name}`, given);
    const { check, critical = false, timeout = TIMEOUT_MS } = options;
    func(`checks.${name}.check`, check);
    this.name = name;
    this.critical = boolean(`checks.${name}.critical`, critical);
    number(`checks.${name}.timeout`, timeout, { min: 1, max: 86_400_000, unit: 'ms' });
    this.probe = new Probe(async context => read(await check(context)), {
      timeout, cacheMs, report: answer => report(this, answer),
    });
  }

  async look () { return this.show(await this.probe.get()); }

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

function readChecks (given, cacheMs, report) {
  return Object.entries(bag('checks', given)).map(([name, check]) => {
    if (!NAME.test(name)) {
      throw invalidOption('checks',
        'names of 1 to 64 letters, digits, dots, dashes or underscores', name);
    }
    return new Check(name, check, cacheMs, report);
  });
}

class Health extends Emitter {
  #checks;
  #startedAt = clock.now();
  #status = undefined;
  #draining = false;

  constructor (options) {
    super();
    const { checks, cacheMs = CACHE_MS } = bag('options', options, ['checks', 'cacheMs']);
    number('cacheMs', cacheMs, { min: 0, max: 86_400_000, unit: 'ms' });
    this.#checks = readChecks(checks, cacheMs, (check, answer) => {
      const result = check.show(answer);
      this.emit('check', { name: check.name, ...result }, answer.error);
    });
  }

  async check () {
    const results = await Promise.all(this.#checks.map(check => check.look()));
    const status = worst(results.map(result =>
      (result.status === UNHEALTHY && !result.critical ? DEGRADED : result.status)));
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
    const critical = this.#checks.filter(check => check.critical);
    const results = await Promise.all(critical.map(check => check.look()));
    const failing = critical.filter((check, i) => results[i].status === UNHEALTHY)
      .map(({ name }) => name);
    return {
      ready: !this.#draining && failing.length === 0, draining: this.#draining, failing,
    };
  }

  /** From now on not ready, so that no new work is sent here. */
  drain () { this.#draining = true; }
}

/** Options as the types describe them. */
const createHealth = options => new Health(options);

module.exports = { createHealth };
