'use strict';

// Doing less while services are down: one level for the whole program, features that each level
// switches off, and guards for what needs them.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const { bag, number, oneOf } = require('../base/options');
const { problem } = require('../base/problem');
const { CONDITIONS, DOWN, IMPAIRED, Rules, UP } = require('./degradation-rules');
const { Probe } = require('./probe');

const OPTIONS = [
  'scheme', 'services', 'rules', 'features', 'hysteresis', 'interval', 'timeout'
];
const INTERVAL_MS = 30_000;
const TIMEOUT_MS = 5000;
const RETRY_AFTER_S = 60;
const WORDS_MAX = 500;
const NAME = /^[\w.-]{1,64}$/;
const NEWS = ['open', 'halfOpen', 'close', 'shutdown'];
const AUTOMATIC = 'automatic';

const isBreaker = value => typeof value?.fire === 'function' && typeof value.on === 'function';

/** A service whose breaker tells how it is. */
class Guarded {
  constructor (breaker) {
    this.breaker = breaker;
  }

  get condition () {
    if (this.breaker.opened) return DOWN;
    // It has to be let through now and then, or nobody would find out that it is back.
    return this.breaker.halfOpen ? IMPAIRED : UP;
  }

  look () {}

  follow (listener) {
    for (const event of NEWS) this.breaker.on(event, listener);
    return () => {
      for (const event of NEWS) this.breaker.off(event, listener);
    };
  }
}

/** A service that is asked. Nothing is held against it before its first answer. */
class Asked {
  #probe;
  #isLooking = false;
  #listener = () => {};

  constructor (check, timeout) {
    this.condition = UP;
    this.#probe = new Probe(check, { timeout, cacheMs: 0, report: answer => this.#take(answer) });
  }

  async look () {
    this.#isLooking = true;
    await this.#probe.get();
    this.#isLooking = false;
  }

  /** A slow answer comes when nobody waits for it any more. */
  #take ({ ok, value }) {
    if (!ok || value === false) this.condition = DOWN;
    else this.condition = CONDITIONS.includes(value) ? value : UP;
    if (!this.#isLooking) this.#listener();
  }

  follow (listener) {
    this.#listener = listener;
    return () => { this.#listener = () => {}; };
  }
}

function readName (option, name) {
  if (!NAME.test(name)) {
    throw invalidOption(option, 'names of 1 to 64 letters, digits, dots, dashes or underscores',
      name);
  }
  return name;
}

function readServices (given, timeout) {
  const services = new Map();
  for (const [name, service] of Object.entries(bag('services', given))) {
    readName('services', name);
    if (!isBreaker(service) && typeof service !== 'function') {
      throw invalidOption(`services.${name}`, 'a breaker or a function', service);
    }
    services.set(name, isBreaker(service) ? new Guarded(service) : new Asked(service, timeout));
  }
  return services;
}

/** What an operator says: one line that can be logged as it is. */
function readWords (option, value) {
  if (typeof value !== 'string' || value.trim() === '' || value.length > WORDS_MAX ||
      /\p{Cc}/u.test(value)) {
    throw invalidOption(option, `1 to ${WORDS_MAX} characters in one line`, value);
  }
  return value;
}

class Degradation extends Emitter {
  #rules;
  #services;
  #features = new Map();
  #hysteresis;
  #interval;
  // What the rules say, held back by the hysteresis; and since when each level would have done.
  #automatic = 0;
  #enough;
  #manual = undefined;
  #reason = 'nothing is known against it';
  #by = AUTOMATIC;
  #since;
  #running = undefined;
  #holdTimer = undefined;

  constructor (options) {
    super();
    const {
      scheme = 'services', services, rules, features, hysteresis, interval = INTERVAL_MS,
      timeout = TIMEOUT_MS,
    } = bag('options', options, OPTIONS);
    number('interval', interval, { min: 10, max: 86_400_000, unit: 'ms' });
    number('timeout', timeout, { min: 1, max: 86_400_000, unit: 'ms' });
    this.#interval = interval;
    this.#hysteresis = number('hysteresis', hysteresis ?? interval,
      { min: 0, max: 86_400_000, unit: 'ms' });
    this.#services = readServices(services, timeout);
    this.#rules = new Rules(scheme, rules, [...this.#services.keys()]);
    this.#enough = new Array(this.levels.length).fill(undefined);
    this.#since = clock.wall();
    for (const [name, highest] of Object.entries(bag('features', features))) {
      oneOf(`features.${readName('features', name)}`, highest, this.levels);
      this.#features.set(name, this.levels.indexOf(highest));
    }
  }

  get levels () { return this.#rules.levels; }

  get level () { return this.#named(this.#manual ?? this.#automatic); }

  /** Follows the breakers, and looks now and every `interval` ms. Resolves after the first look. */
  start () {
    if (this.#running !== undefined) return this.#running.first;
    const run = { timer: undefined, leave: [], first: undefined };
    this.#running = run;
    const judge = () => this.#judge();
    for (const service of this.#services.values()) run.leave.push(service.follow(judge));
    run.first = this.#watch(run);
    return run.first;
  }

  stop () {
    const run = this.#running;
    if (run === undefined) return;
    this.#running = undefined;
    for (const leave of run.leave) leave();
    clock.clearTimer(run.timer);
    clock.clearTimer(this.#holdTimer);
  }

  async #watch (run) {
    await Promise.all([...this.#services.values()].map(service => service.look()));
    if (this.#running !== run) return;
    this.#judge();
    run.timer = clock.setTimer(() => this.#watch(run), this.#interval, false);
  }

  /** Takes a level by hand; null: what the rules say again. */
  setLevel (name, options) {
    const { reason, by = 'operator', since = new Date(clock.wall()) } = bag('options', options);
    if (name !== null) oneOf('level', name, this.levels);
    if (name !== null || reason !== undefined) readWords('reason', reason);
    readWords('by', by);
    if (!(since?.getTime?.() >= 0)) throw invalidOption('since', 'a Date', since);
    const words = reason ?? 'automatic again';
    this.#take(() => {
      this.#manual = name === null ? undefined : this.levels.indexOf(name);
    }, words, by, since.getTime());
    this.emit('manual', { level: name, reason: words, by });
    return this.level;
  }

  isEnabled (feature) {
    const highest = this.#features.get(feature);
    if (highest === undefined) {
      throw invalidOption('feature', `one of ${[...this.#features.keys()].join(', ') || 'none'}`,
        feature, typeof feature === 'string' ? RangeError : TypeError);
    }
    return this.level.index <= highest;
  }

  canAcceptOrders () { return this.#isUp('midtrans') && this.#isUp('database'); }

  canSendNotifications () { return this.#isUp('smtp') || this.#isUp('whatsapp'); }

  /** 'up', 'impaired' or 'down'; undefined for a service that is not watched. */
  conditionOf (service) { return this.#services.get(service)?.condition; }

  // Of a service that is not watched, nobody knows whether it is up.
  #isUp (name) {
    const service = this.#services.get(name);
    return service !== undefined && service.condition !== DOWN;
  }

  /** Express middleware that answers 503 while a feature is off, or a function says no. */
  guard (what, options) {
    const { methods, retryAfter = RETRY_AFTER_S } = bag('options', options);
    number('retryAfter', retryAfter, { min: 0, max: 86_400, integer: true, unit: 's' });
    if (methods !== undefined && !Array.isArray(methods)) {
      throw invalidOption('methods', 'an array', methods);
    }
    if (typeof what !== 'function') this.isEnabled(what);
    const allows = typeof what === 'function' ? what : () => this.isEnabled(what);
    return async (req, res, next) => {
      if ((methods !== undefined && !methods.includes(req.method)) || await allows(req)) {
        next();
        return;
      }
      problem(res, 503, {
        code: 'ERR_DEGRADED', detail: 'This is not available at the moment. Try again later.',
        level: this.level.name, retryAfter,
      });
    };
  }

  snapshot () {
    const names = (map, valueOf) =>
      Object.fromEntries([...map].map(([name, value]) => [name, valueOf(value)]));
    return {
      level: this.level,
      automatic: this.#named(this.#automatic),
      manual: this.#manual !== undefined,
      reason: this.#reason,
      by: this.#by,
      since: new Date(this.#since).toISOString(),
      levels: [...this.levels],
      services: names(this.#services, service => service.condition),
      features: names(this.#features, highest => this.level.index <= highest),
      canAcceptOrders: this.canAcceptOrders(),
      canSendNotifications: this.canSendNotifications(),
    };
  }

  #named (index) { return { name: this.levels[index], index }; }

  #judge () {
    const conditions = new Map([...this.#services].map(([n, service]) => [n, service.condition]));
    const target = this.#rules.levelOf(conditions);
    const level = this.#held(target, clock.now());
    if (this.#manual !== undefined) {
      this.#automatic = level;
      return;
    }
    // What holds a level back is why it was taken.
    this.#take(() => { this.#automatic = level; },
      level > target ? this.#reason : wordsFor(conditions), AUTOMATIC);
  }

  /** Worse at once; better only after it would have been good enough for all the hysteresis. */
  #held (target, now) {
    const enough = this.#enough;
    for (let i = 0; i < enough.length; i++) enough[i] = i < target ? undefined : enough[i] ?? now;
    clock.clearTimer(this.#holdTimer);
    let level = Math.max(this.#automatic, target);
    while (level > target && now - enough[level - 1] >= this.#hysteresis) level -= 1;
    if (level > target && this.#running !== undefined) {
      const wait = this.#hysteresis - (now - enough[level - 1]);
      this.#holdTimer = clock.setTimer(() => this.#judge(), Math.ceil(wait), false);
    }
    return level;
  }

  #take (change, reason, by, since = clock.wall()) {
    const before = this.level;
    change();
    const { level } = this;
    const hasChanged = level.index !== before.index;
    if (hasChanged || by !== AUTOMATIC) this.#since = since;
    this.#reason = reason;
    this.#by = by;
    if (hasChanged) this.emit('level', { from: before.name, to: level.name, reason, by });
  }
}

function wordsFor (conditions) {
  const those = wanted => [...conditions].filter(([, condition]) => condition === wanted)
    .map(([name]) => name);
  const parts = [DOWN, IMPAIRED].map(condition => [condition, those(condition)])
    .filter(([, names]) => names.length > 0)
    .map(([condition, names]) => `${condition}: ${names.join(', ')}`);
  return parts.join('; ') || 'all services are up';
}

/** Options as the types describe them. */
const createDegradation = options => new Degradation(options);

module.exports = { createDegradation };
