'use strict';

// What breakers' figures were in the last minutes, for the dashboard's charts: looked at every two
// seconds, whoever watches. A breaker takes 2.4 kB here, and no more than 500 are followed.

const clock = require('../base/clock');
const { bag, func, number } = require('../base/options');
const { listBreakers } = require('./admin-breakers');
const { figuresOf } = require('./admin-views');

const INTERVAL_MS = 2000;
const POINTS = 150;
const BREAKERS_MAX = 500;
const LINES = ['errorRate', 'p50', 'p95', 'p99'];

const shown = value => (Number.isNaN(value) ? null : Math.round(value * 100) / 100);

/** The lines of one breaker, in rings. */
class Track {
  constructor () {
    this.values = new Float32Array(LINES.length * POINTS).fill(NaN);
    this.last = -1;
  }

  /** `turn` numbers the looks; those at which this one was not there are gaps. */
  add (turn, figures) {
    const begin = Math.max(this.last + 1, turn - POINTS + 1);
    for (let i = begin; i < turn; i++) this.#put(i, {});
    this.#put(turn, figures);
    this.last = turn;
  }

  #put (turn, figures) {
    LINES.forEach((line, i) => {
      this.values[i * POINTS + turn % POINTS] = figures[line] ?? NaN;
    });
  }

  /** What it was at these looks. */
  of (turns) {
    return Object.fromEntries(LINES.map((line, i) => [line, turns.map(turn =>
      (turn > this.last ? null : shown(this.values[i * POINTS + turn % POINTS])))]));
  }
}

class BreakerHistory {
  #breakers;
  #interval;
  #at = new Float64Array(POINTS);
  // How many looks there were.
  #turns = 0;
  // By breaker; it keeps none alive.
  #tracks = new WeakMap();
  #timer;

  constructor ({ breakers, interval }) {
    this.#breakers = breakers;
    this.#interval = interval;
    this.#look();
  }

  #look () {
    const turn = this.#turns++;
    this.#at[turn % POINTS] = clock.wall();
    for (const breaker of this.#breakers().slice(0, BREAKERS_MAX)) {
      if (breaker.isShutdown) continue;
      let track = this.#tracks.get(breaker);
      if (track === undefined) {
        track = new Track();
        this.#tracks.set(breaker, track);
      }
      track.add(turn, figuresOf(breaker));
    }
    this.#timer = clock.setTimer(() => this.#look(), this.#interval, false);
  }

  /** Of those that a list with this filter has. */
  read (filter) {
    const first = Math.max(0, this.#turns - POINTS);
    const turns = Array.from({ length: this.#turns - first }, (_, i) => first + i);
    const listed = listBreakers(this.#breakers, filter, (breaker, key) =>
      [key, this.#tracks.get(breaker)?.of(turns)]).breakers;
    return {
      at: turns.map(turn => this.#at[turn % POINTS]),
      breakers: Object.fromEntries(listed.filter(([, lines]) => lines !== undefined)),
    };
  }

  /** Looks no more. */
  close () { clock.clearTimer(this.#timer); }
}

/**
 * @param {object} [options]
 * @param {() => object[]} [options.breakers] default: all of this thread
 * @param {number} [options.interval=2000] ms between looks
 */
function createBreakerHistory (options) {
  const { breakers = require('../primitives/breaker').breakers, interval = INTERVAL_MS } =
    bag('options', options);
  func('breakers', breakers);
  number('interval', interval, { min: 10, max: 3_600_000, unit: 'ms' });
  return new BreakerHistory({ breakers, interval });
}

module.exports = { createBreakerHistory };
