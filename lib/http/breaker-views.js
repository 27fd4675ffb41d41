'use strict';

// Breakers as the pages show them: their state and figures, lists of them, and their history for
// the charts of the dashboard.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { read, textOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { asked, warn } = require('../base/warn');
const { figuresOf } = require('../gateway/report');
const { stateOf: stateInUse } = require('../primitives/stats');

const LIST_DEFAULT = 200;

// Breakers that need attention come first.
const STATES = ['open', 'half-open', 'disabled', 'closed'];

const listed = is.func('lists breakers; default: all of this thread',
  { default: () => require('../primitives/breaker').breakers() });

/**
 * The list that the user's function returns; an empty one if it fails, because a timer calls this.
 */
function listSafely (list) {
  try {
    return Array.from(asked('breakers failed', list));
  } catch (error) {
    warn('breakers failed', error);
    return [];
  }
}

/** An option: the breakers to show. The module of the breaker is loaded when it is first used. */
const breakersOption = {
  ...listed,
  check (option, value) {
    listed.check(option, value);
    return () => listSafely(value);
  },
};

const stateOf = breaker => (breaker.enabled ? stateInUse(breaker) : 'disabled');

// ---- What a breaker does not keep ---------------------------------------------------------------

const ERROR_MAX = 300;

/** What happened to one breaker: its last error, and why it opened. */
class Follower {
  failures = 0;
  lastError = null;
  opened = null;
  #wasHalfOpen = false;

  constructor (breaker) {
    // By a weak reference, so that the listeners do not keep the breaker alive.
    const weak = new WeakRef(breaker);
    this.leave = Emitter.follow(breaker, {
      failure: error => {
        this.failures += 1;
        this.lastError = {
          at: clock.wall(),
          code: shortened(read(error, 'code') ?? read(error, 'name')),
          message: shortened(read(error, 'message') ?? error),
        };
      },
      open: () => { this.opened = this.#causeOf(weak.deref()); },
      halfOpen: () => { this.#wasHalfOpen = true; },
      close: () => { this.#wasHalfOpen = false; },
    });
  }

  /** Why it opens at this moment. A breaker that is told to open has no errors to show. */
  #causeOf (breaker) {
    const wasHalfOpen = this.#wasHalfOpen;
    this.#wasHalfOpen = false;
    if (wasHalfOpen) return { by: 'probe' };
    const { errorRate } = figuresOf(breaker);
    const { successes, failures } = breaker.stats;
    const { errorThresholdPercentage: threshold, volumeThreshold = 0 } = breaker.options;
    const calls = successes + failures;
    const isAutomatic = errorRate !== null && errorRate >= threshold && calls >= volumeThreshold;
    return isAutomatic ? { by: 'errors', errorRate, calls } : { by: 'told' };
  }
}

const shortened = value =>
  (value === undefined || value === null ? null : textOf(value).slice(0, ERROR_MAX));

const followers = new WeakMap();

/** Follows a breaker from now on, for its view. */
function follow (breaker) {
  if (!followers.has(breaker)) followers.set(breaker, new Follower(breaker));
}

function unfollow (breaker) {
  followers.get(breaker)?.leave();
  followers.delete(breaker);
}

/** The calls that have failed since the first time that this was asked. */
function failuresOf (breaker) {
  follow(breaker);
  return followers.get(breaker).failures;
}

/** When an open breaker lets the next call through; null if that is not known. */
function nextTryOf (breaker, openedAt) {
  const openMs = breaker.opened ? breaker._wasOpenFor?.() : undefined;
  return openedAt === undefined || !(openMs > 0) || !Number.isFinite(openMs) ? null
    : new Date(openedAt + openMs);
}

function viewBreaker (breaker) {
  const { options, scope, stats } = breaker;
  const { errorRate, ...latency } = figuresOf(breaker);
  const { lastTimerAt } = breaker.toJSON().state;
  return {
    name: breaker.name,
    group: breaker.group,
    state: stateOf(breaker),
    scope,
    errorRate: errorRate ?? 0,
    fires: stats.fires,
    successes: stats.successes,
    failures: stats.failures,
    timeouts: stats.timeouts,
    rejects: stats.rejects,
    fallbacks: stats.fallbacks,
    latency,
    openedAt: lastTimerAt === undefined ? null : new Date(lastTimerAt),
    nextTryAt: nextTryOf(breaker, lastTimerAt),
    lastError: followers.get(breaker)?.lastError ?? null,
    opened: followers.get(breaker)?.opened ?? null,
    windowMs: options.rollingCountTimeout,
    timeoutMs: options.timeout === false ? null : options.timeout,
    threshold: options.errorThresholdPercentage,
  };
}

// ---- Lists -------------------------------------------------------------------------------------

function compare (a, b) {
  return STATES.indexOf(a.state) - STATES.indexOf(b.state) ||
    (a.breaker.name < b.breaker.name ? -1 : 1);
}

/** Keys that are unique: names may repeat, and then get a number. */
function withKeys (breakers) {
  const times = new Map();
  return breakers.map(breaker => {
    const { name } = breaker;
    const time = (times.get(name) ?? 0) + 1;
    times.set(name, time);
    return { breaker, state: stateOf(breaker), key: time === 1 ? name : `${name} #${time}` };
  });
}

/** The breakers that a filter finds. `view` says what is shown of each; default: everything. */
function listBreakers (breakers, { state, search, limit = LIST_DEFAULT },
  view = (breaker, key) => ({ key, ...viewBreaker(breaker) })) {
  const all = withKeys(breakers().filter(breaker => !breaker.isShutdown));
  const counts = { closed: 0, open: 0, 'half-open': 0, disabled: 0 };
  for (const item of all) counts[item.state] += 1;
  const wanted = search?.toLowerCase();
  const found = all.filter(item => (state === undefined || item.state === state) &&
    (wanted === undefined || item.breaker.name.toLowerCase().includes(wanted)));
  const shown = found.sort(compare).slice(0, limit);
  return {
    total: all.length,
    counts,
    found: found.length,
    breakers: shown.map(({ breaker, key }) => view(breaker, key)),
  };
}

// ---- History -----------------------------------------------------------------------------------

// Five minutes at the default interval. A breaker takes 2.4 kB.
const POINTS = 150;
const BREAKERS_MAX = 500;
const LINES = ['errorRate', 'p50', 'p95', 'p99'];

const OPTIONS = optionsOf({
  breakers: breakersOption,
  interval: is.ms('between samples', { min: 10, max: 3_600_000, default: 2000 }),
});

const FILTER = optionsOf({
  state: is.oneOf('of the breakers', STATES),
  search: is.text('part of the name'),
  limit: is.integer('breakers', { min: 1 }),
});

const rounded = value => (Number.isNaN(value) ? null : Math.round(value * 100) / 100);

/** The lines of one breaker, in ring buffers. Samples are numbered. */
class Track {
  #values = new Float32Array(LINES.length * POINTS).fill(NaN);
  #last = -1;

  /** Samples that this breaker has missed become gaps. */
  add (sample, figures) {
    const begin = Math.max(this.#last + 1, sample - POINTS + 1);
    for (let i = begin; i < sample; i++) this.#put(i, {});
    this.#put(sample, figures);
    this.#last = sample;
  }

  #put (sample, figures) {
    LINES.forEach((line, i) => {
      this.#values[i * POINTS + sample % POINTS] = figures[line] ?? NaN;
    });
  }

  /** @returns {Record<string, Array<number | null>>} each line at these samples */
  read (samples) {
    return Object.fromEntries(LINES.map((line, i) => [line, samples.map(sample =>
      (sample > this.#last ? null : rounded(this.#values[i * POINTS + sample % POINTS])))]));
  }
}

/** Samples the figures of breakers, whether or not somebody watches. */
class BreakerHistory {
  #breakers;
  #interval;
  #times = new Float64Array(POINTS);
  #samples = 0;
  // By breaker. It keeps none of them alive.
  #tracks = new WeakMap();
  #timer;

  constructor (options) {
    const { breakers, interval } = OPTIONS.read(options);
    this.#breakers = breakers;
    this.#interval = interval;
    this.#sample();
  }

  #sample () {
    const sample = this.#samples++;
    this.#times[sample % POINTS] = clock.wall();
    for (const breaker of this.#breakers().slice(0, BREAKERS_MAX)) {
      if (breaker.isShutdown) continue;
      follow(breaker);
      let track = this.#tracks.get(breaker);
      if (track === undefined) {
        track = new Track();
        this.#tracks.set(breaker, track);
      }
      track.add(sample, figuresOf(breaker));
    }
    this.#timer = clock.setTimer(() => this.#sample(), this.#interval, false);
  }

  /** The history of the breakers that a list with this filter shows. */
  read (filter) {
    const first = Math.max(0, this.#samples - POINTS);
    const samples = Array.from({ length: this.#samples - first }, (_, i) => first + i);
    const listed = listBreakers(this.#breakers, FILTER.read(filter, 'filter'), (breaker, key) =>
      [key, this.#tracks.get(breaker)?.read(samples)]).breakers;
    return {
      at: samples.map(sample => this.#times[sample % POINTS]),
      breakers: Object.fromEntries(listed.filter(([, lines]) => lines !== undefined)),
    };
  }

  close () {
    clock.clearTimer(this.#timer);
    this.#breakers().forEach(unfollow);
  }
}

const createBreakerHistory = options => new BreakerHistory(options);

module.exports = {
  STATES, breakersOption, createBreakerHistory, failuresOf, listBreakers, stateOf, viewBreaker,
};
