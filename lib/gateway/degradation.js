'use strict';

// Doing less while services are down. Rules turn the conditions of the services into one level for
// the whole program. Each level switches features off, and guards protect routes.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { SekeringError, invalidOption } = require('../base/errors');
const { NAMES, is, oneOf, optionsOf } = require('../base/options');
const { prefixOf } = require('../store/sql-client');
const { Probe } = require('./health');

const DAY_MS = 86_400_000;
const TEXT_MAX = 500;
const AUTOMATIC = 'automatic';

/** The conditions of a service. */
const UP = 'up';
const IMPAIRED = 'impaired';
const DOWN = 'down';
const CONDITIONS = [UP, IMPAIRED, DOWN];

/** Levels from good to bad, and the rules that reach them. */
const SCHEMES = {
  services: {
    levels: ['NORMAL', 'DEGRADED', 'SEVERE', 'EMERGENCY'],
    rules: [
      { level: 'DEGRADED', down: 1 },
      { level: 'SEVERE', down: 2 },
      { level: 'EMERGENCY', down: 3 },
    ],
  },
  levels: {
    levels: ['NORMAL', 'MINOR', 'MODERATE', 'SEVERE', 'CRITICAL'],
    rules: [
      { level: 'MINOR', impaired: 1 },
      { level: 'MODERATE', down: 1 },
      { level: 'SEVERE', down: 2 },
      { level: 'CRITICAL', down: 3 },
    ],
  },
};

const isBreaker = value => typeof value?.opened === 'boolean' && typeof value.on === 'function';

const OPTIONS = optionsOf({
  scheme: is.oneOf('the levels', Object.keys(SCHEMES), { default: 'services' }),
  services: is.record('what is watched', is.where('tells how it is', 'a breaker or a function',
    value => isBreaker(value) || typeof value === 'function'), { names: NAMES, default: {} }),
  rules: is.list('in place of those of the scheme', is.any('a rule, see ruleOptions')),
  features: is.record('the worst level at which each is on', is.any('a level'),
    { names: NAMES, default: {} }),
  hysteresis: is.ms('that a better level must last before it is taken; default: interval',
    { max: DAY_MS }),
  interval: is.ms('between looks', { min: 10, max: DAY_MS, default: 30_000 }),
  timeout: is.ms('for the answer of a function', { min: 1, max: DAY_MS, default: 5000 }),
});

/** A line that is shown and logged as it is. */
const line = doc => is.where(doc, `1 to ${TEXT_MAX} characters in one line`,
  value => typeof value === 'string' && value.trim() !== '' && value.length <= TEXT_MAX &&
    !/\p{Cc}/u.test(value));

const SET_LEVEL = optionsOf({
  reason: line('why'),
  by: line('who does it'),
  since: is.where('when it was decided', 'a Date', value => value?.getTime?.() >= 0),
});

const GUARD = optionsOf({
  methods: is.list('requests to look at; default: all', is.text('a method')),
  retryAfter: is.integer('to tell the client', { min: 0, max: 86_400, unit: 's', default: 60 }),
});

const REQUIRE = optionsOf({ retryAfter: GUARD.entries.retryAfter });

// ---- Services ----------------------------------------------------------------------------------

/** A service with a breaker, which knows its condition. */
class BreakerService {
  constructor (breaker) {
    this.breaker = breaker;
  }

  get condition () {
    if (this.breaker.opened) return DOWN;
    // Impaired, not down: some calls must pass, to find out whether it is back.
    return this.breaker.halfOpen ? IMPAIRED : UP;
  }

  look () {}

  follow (listener) {
    return Emitter.follow(this.breaker,
      { open: listener, halfOpen: listener, close: listener, shutdown: listener });
  }
}

/** A service that a function asks. It is up until the first answer. */
class ProbedService {
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

  #take ({ ok, value }) {
    if (!ok || value === false) this.condition = DOWN;
    else this.condition = CONDITIONS.includes(value) ? value : UP;
    // A slow answer may come when look() has already returned.
    if (!this.#isLooking) this.#listener();
  }

  follow (listener) {
    this.#listener = listener;
    return () => { this.#listener = () => {}; };
  }
}

// ---- Rules -------------------------------------------------------------------------------------

const ruleOptions = (levels, services) => optionsOf({
  level: is.oneOf('that it reaches', levels, { required: true }),
  down: is.integer('services that are down', { min: 0, default: 0 }),
  impaired: is.integer('services that are not wholly up', { min: 0, default: 0 }),
  services: is.list('that are all down', is.oneOf('a service', services), { default: [] }),
});

/** @returns {object[]} the worst level first */
function readRules (rules, levels, names) {
  const options = ruleOptions(levels, names);
  return rules.map((rule, i) => {
    const { level, down, impaired, services } = options.read(rule, `rules[${i}]`);
    if (down === 0 && impaired === 0 && services.length === 0) {
      throw invalidOption(`rules[${i}]`, 'one of down, impaired, services', rule);
    }
    return { index: levels.indexOf(level), down, impaired, services };
  }).toSorted((one, other) => other.index - one.index);
}

/** The index of the worst level whose rule holds. A rule holds when everything in it holds. */
function levelOf (rules, conditions) {
  const all = [...conditions.values()];
  const down = all.filter(condition => condition === DOWN).length;
  const impaired = all.filter(condition => condition !== UP).length;
  const rule = rules.find(each => down >= each.down && impaired >= each.impaired &&
    each.services.every(name => conditions.get(name) === DOWN));
  return rule?.index ?? 0;
}

/** What the conditions are, in words. */
function describe (conditions) {
  const parts = [DOWN, IMPAIRED].flatMap(condition => {
    const names = [...conditions].filter(([, each]) => each === condition).map(([name]) => name);
    return names.length === 0 ? [] : [`${condition}: ${names.join(', ')}`];
  });
  return parts.join('; ') || 'all services are up';
}

// ------------------------------------------------------------------------------------------------

class Degradation extends Emitter {
  #rules;
  #services;
  #features;
  #hysteresis;
  #interval;
  // Levels by their index. The automatic one follows the rules, held back by the hysteresis.
  #automatic = 0;
  // By level: since when it would have been good enough.
  #goodSince;
  #manual = undefined;
  #reason = 'no problem seen yet';
  #by = AUTOMATIC;
  #since = clock.wall();
  #running = undefined;
  #holdTimer = undefined;

  constructor (options) {
    super();
    const { scheme, services, rules, features, hysteresis, interval, timeout } =
      OPTIONS.read(options);
    const { levels, rules: defaults } = SCHEMES[scheme];
    /** All levels, good to bad. */
    this.levels = levels;
    this.#interval = interval;
    this.#hysteresis = hysteresis ?? interval;
    this.#services = new Map(Object.entries(services).map(([name, service]) => [name,
      isBreaker(service) ? new BreakerService(service) : new ProbedService(service, timeout)]));
    this.#rules = readRules(rules ?? defaults, levels, [...this.#services.keys()]);
    this.#features = new Map(Object.entries(features).map(([name, worst]) =>
      [name, levels.indexOf(oneOf(`features.${name}`, worst, levels))]));
    this.#goodSince = new Array(levels.length).fill(undefined);
  }

  get level () { return this.#named(this.#manual ?? this.#automatic); }

  /** Follows the breakers, and looks now and every `interval`. Resolves after the first look. */
  start () {
    if (this.#running !== undefined) return this.#running.first;
    const run = { timer: undefined, unfollow: [], first: undefined };
    this.#running = run;
    const judge = () => this.#judge();
    for (const service of this.#services.values()) run.unfollow.push(service.follow(judge));
    run.first = this.#watch(run);
    return run.first;
  }

  stop () {
    const run = this.#running;
    if (run === undefined) return;
    this.#running = undefined;
    for (const unfollow of run.unfollow) unfollow();
    clock.clearTimer(run.timer);
    clock.clearTimer(this.#holdTimer);
  }

  /** Checks the services now, in addition to every `interval`. */
  async look () {
    await Promise.all([...this.#services.values()].map(service => service.look()));
    if (this.#running !== undefined) this.#judge();
  }

  async #watch (run) {
    await this.look();
    if (this.#running !== run) return;
    run.timer = clock.setTimer(() => this.#watch(run), this.#interval, false);
  }

  /** Sets a level by hand; null: back to the rules. */
  setLevel (name, options) {
    const { reason = 'automatic again', by = 'operator', since = new Date(clock.wall()) } =
      SET_LEVEL.read(options);
    if (name !== null) {
      oneOf('level', name, this.levels);
      SET_LEVEL.entries.reason.check('reason', options?.reason);
    }
    this.#change(() => {
      this.#manual = name === null ? undefined : this.levels.indexOf(name);
    }, reason, by, since.getTime());
    this.emit('manual', { level: name, reason, by });
    return this.level;
  }

  isEnabled (feature) {
    const worst = this.#features.get(feature);
    if (worst === undefined) {
      throw invalidOption('feature', `one of ${[...this.#features.keys()].join(', ') || 'none'}`,
        feature, typeof feature === 'string' ? RangeError : TypeError);
    }
    return this.level.index <= worst;
  }

  canAcceptOrders () { return this.#isUp('midtrans') && this.#isUp('database'); }

  canSendNotifications () { return this.#isUp('smtp') || this.#isUp('whatsapp'); }

  /** 'up', 'impaired' or 'down'; undefined for a service that is not watched. */
  conditionOf (service) { return this.#services.get(service)?.condition; }

  /** Throws if the service is down; Express answers with the error's status and headers. */
  requireService (name, options) {
    const { retryAfter } = REQUIRE.read(options);
    oneOf('service', name, [...this.#services.keys()]);
    if (this.conditionOf(name) !== DOWN) return;
    throw Object.assign(new SekeringError('ERR_SERVICE_DOWN', `The service ${name} is down`), {
      service: name, status: 503, retryAfter, retryAfterMs: retryAfter * 1000,
      headers: { 'Retry-After': String(retryAfter) },
    });
  }

  #isUp (name) { return [UP, IMPAIRED].includes(this.conditionOf(name)); }

  /** Express middleware that answers 503 while a feature is off, or while a function says no. */
  guard (what, options) {
    const { methods, retryAfter } = GUARD.read(options);
    if (typeof what !== 'function') this.isEnabled(what);
    const allows = typeof what === 'function' ? what : () => this.isEnabled(what);
    return async (req, res, next) => {
      if (methods?.includes(req.method) === false || await allows(req)) next();
      else refuse(req, res, this.level.name, retryAfter);
    };
  }

  snapshot () {
    const map = (entries, valueOf) =>
      Object.fromEntries([...entries].map(([name, value]) => [name, valueOf(value)]));
    return {
      level: this.level,
      automatic: this.#named(this.#automatic),
      manual: this.#manual !== undefined,
      reason: this.#reason,
      by: this.#by,
      since: new Date(this.#since).toISOString(),
      levels: [...this.levels],
      services: map(this.#services, service => service.condition),
      features: map(this.#features, worst => this.level.index <= worst),
      canAcceptOrders: this.canAcceptOrders(),
      canSendNotifications: this.canSendNotifications(),
    };
  }

  #named (index) { return { name: this.levels[index], index }; }

  #judge () {
    const conditions = new Map([...this.#services].map(([n, service]) => [n, service.condition]));
    const target = levelOf(this.#rules, conditions);
    const level = this.#holdBack(target, clock.now());
    if (this.#manual !== undefined) {
      this.#automatic = level;
      return;
    }
    // A level that is held back keeps its reason.
    this.#change(() => { this.#automatic = level; },
      level > target ? this.#reason : describe(conditions), AUTOMATIC);
  }

  /** A worse level is taken at once. A better one must have been good enough for `hysteresis`. */
  #holdBack (target, now) {
    const since = this.#goodSince;
    for (let i = 0; i < since.length; i++) since[i] = i < target ? undefined : since[i] ?? now;
    clock.clearTimer(this.#holdTimer);
    let level = Math.max(this.#automatic, target);
    while (level > target && now - since[level - 1] >= this.#hysteresis) level -= 1;
    if (level > target && this.#running !== undefined) {
      const wait = this.#hysteresis - (now - since[level - 1]);
      this.#holdTimer = clock.setTimer(() => this.#judge(), Math.ceil(wait), false);
    }
    return level;
  }

  #change (change, reason, by, since = clock.wall()) {
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

/** Answers 503 with problem+json (RFC 9457). */
function refuse (req, res, level, retryAfter) {
  const text = JSON.stringify({
    type: 'about:blank', title: 'Service Unavailable', status: 503, code: 'ERR_DEGRADED',
    detail: 'This is not available at the moment. Try again later.', level, retryAfter,
  });
  res.statusCode = 503;
  res.setHeader('Content-Type', 'application/problem+json');
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.setHeader('Retry-After', String(retryAfter));
  res.end(req.method === 'HEAD' ? undefined : text);
}

const createDegradation = options => new Degradation(options);

// ---- A level for all processes -----------------------------------------------------------------

const SHARED_LEVEL = optionsOf({
  store: is.having('where the level is kept', ['query', 'transaction', 'listen'],
    { required: true, expected: 'a store' }),
  degradation: is.having('whose level it is', ['setLevel', 'snapshot', 'on'],
    { required: true, expected: 'what createDegradation returns' }),
});

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;

const WRITE = table => `
  WITH written AS (
    INSERT INTO ${table} AS d (level, reason, actor, since)
    VALUES ($1, $2, $3, statement_timestamp() - $4::float8 * interval '1 ms')
    ON CONFLICT (singleton) DO UPDATE SET level = excluded.level, reason = excluded.reason,
      actor = excluded.actor, since = greatest(d.since, excluded.since),
      generation = d.generation + 1
    WHERE d.since <= excluded.since OR d.generation = $6::bigint
    RETURNING generation)
  SELECT generation, pg_notify($5, generation::text) FROM written`;

/**
 * A level that is set by hand, shared by all processes of a store through one row. The process that
 * sets a level has it at once, writes the row, and notifies the others, which read it. If the
 * database is away, the decision is written later, with its age: of two decisions, the newer one
 * wins, whichever arrives first. Ages are only as exact as the way to the database is quick, so a
 * process that knows the generation of the row need not prove that its decision is newer.
 */
class SharedLevel extends Emitter {
  #store;
  #degradation;
  #table;
  #channel;
  #isRunning = false;
  #stopListening;
  /** Of the row, as we know it. */
  #generation;
  #isStale = false;
  /** Our own decision that may not be in the row yet. */
  #pending;
  #isFollowing = false;
  #syncing;
  #failures = 0;
  #timer;

  constructor (options) {
    super();
    const { store, degradation } = SHARED_LEVEL.read(options);
    this.#store = store;
    this.#degradation = degradation;
    this.#table = `${store.schema}.degradation_level`;
    this.#channel = `${prefixOf(store.schema)}level`;
    degradation.on('manual', this.#onManual);
  }

  async start () {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#stopListening = await this.#store.listen(this.#channel,
      generation => { if (generation !== this.#generation) this.#look(); }, () => this.#look());
    await this.#look();
  }

  /** Waits for a decision that is being written. */
  async stop () {
    this.#isRunning = false;
    this.#degradation.off('manual', this.#onManual);
    clock.clearTimer(this.#timer);
    await this.#syncing;
    await this.#stopListening?.();
    this.#stopListening = undefined;
  }

  #onManual = ({ level, reason, by }) => {
    if (this.#isFollowing) return;
    this.#pending = { level, reason, by, at: clock.now() };
    this.#sync();
  };

  #look () {
    this.#isStale = true;
    return this.#sync();
  }

  /** One run at a time; it also does what comes up meanwhile. */
  #sync () {
    if (!this.#isRunning) return undefined;
    clock.clearTimer(this.#timer);
    this.#syncing ??= this.#catchUp();
    return this.#syncing;
  }

  async #catchUp () {
    try {
      do await (this.#pending === undefined ? this.#read() : this.#write(this.#pending));
      while (this.#pending !== undefined || (this.#isStale && this.#isRunning));
      this.#failures = 0;
    } catch (error) {
      this.#isStale = true;
      this.emit('warning', error);
      if (this.#isRunning) this.#tryLater();
    } finally {
      this.#syncing = undefined;
    }
  }

  #tryLater () {
    const delay = Math.min(RETRY_MS_MIN * 2 ** this.#failures, RETRY_MS_MAX);
    this.#failures++;
    this.#timer = clock.setTimer(() => this.#sync(), delay, false);
  }

  async #write (decision) {
    const { level, reason, by, at } = decision;
    // In a transaction, so that the age is taken when the statement is sent: before that we may
    // have waited for a connection.
    const { rows: [written] } = await this.#store.transaction(client =>
      client.query(WRITE(this.#table),
        [level, reason, by, clock.now() - at, this.#channel, this.#generation]));
    if (this.#pending === decision) this.#pending = undefined;
    if (written === undefined) this.#isStale = true;
    else this.#generation = written.generation;
  }

  async #read () {
    this.#isStale = false;
    const { rows: [row] } = await this.#store.query(
      `SELECT level, reason, actor, since, generation FROM ${this.#table}`);
    // Our own decision is written first; that shows which of the two is newer.
    if (row === undefined || row.generation === this.#generation || this.#pending) return;
    this.#generation = row.generation;
    this.#follow(row);
  }

  #follow ({ level, reason, actor: by, since }) {
    if (level === null && !this.#degradation.snapshot().manual) return;
    this.#isFollowing = true;
    try {
      this.#degradation.setLevel(level, { reason, by, since });
    } catch (error) {
      // Another process may have a scheme with other levels.
      this.emit('warning', error);
    } finally {
      this.#isFollowing = false;
    }
  }
}

const createSharedLevel = options => new SharedLevel(options);

module.exports = { createDegradation, createSharedLevel };
