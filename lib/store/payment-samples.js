'use strict';

// Notifications without a valid signature: anybody can send any number of them. All are counted,
// and some are kept as samples. Their rows are limited in number and reused, and the rate of writes
// is limited, too. A crash loses only the count since the last write.

const clock = require('../base/clock');
const { RateLimiter } = require('../primitives/limits');
const { UNSIGNED_BYTES_KEPT } = require('./payment-notification');

// Rows of each outcome, of all processes.
const ROWS = 50;
const WRITES = { limit: 60, interval: 60_000, burst: 20 };
// When what has waited for a write is looked at again.
const LATER_MS = 1000;

// So many notifications with one signature are examined before further ones must wait: whoever has
// one can vary its unsigned parts at will.
const VARIATIONS = { limit: 100, interval: 3_600_000 };
const SIGNATURES_MAX = 10_000;

class Samples {
  #database;
  #ledger;
  #emit;
  #writes = new RateLimiter(WRITES);
  // By outcome: the latest, and how many there were since the last write.
  #waiting = new Map();
  #next = Math.floor(Math.random() * ROWS);
  #timer;

  /** @param {object} parts { database, ledger, emit } */
  constructor ({ database, ledger, emit }) {
    this.#database = database;
    this.#ledger = ledger;
    this.#emit = emit;
  }

  /** Counts a notification. Fulfils when it is written, or will be later. */
  async take ({ source, bytes }, outcome, reason) {
    this.#wait({
      source, outcome, reason, bytes: bytes.subarray(0, UNSIGNED_BYTES_KEPT), count: 1
    });
    if (this.#writes.tryTake()) await this.#write(outcome);
    else this.#later();
  }

  #wait (sample) {
    const { count = 0 } = this.#waiting.get(sample.outcome) ?? {};
    this.#waiting.set(sample.outcome, { ...sample, count: sample.count + count });
  }

  #later () {
    this.#timer ??= clock.setTimer(() => {
      this.#timer = undefined;
      this.#catchUp();
    }, LATER_MS, false);
  }

  async #catchUp () {
    for (const outcome of [...this.#waiting.keys()]) {
      if (!this.#writes.tryTake()) return this.#later();
      await this.#write(outcome);
    }
  }

  async #write (outcome) {
    const sample = this.#waiting.get(outcome);
    if (sample === undefined) return;
    this.#waiting.delete(outcome);
    this.#next = (this.#next + 1) % ROWS;
    try {
      const event = await this.#ledger.noteSample(this.#database, sample, this.#next);
      if (outcome === 'forged') this.#emit('forged', event, sample.count);
    } catch (error) {
      // What has come meanwhile is the later sample.
      this.#wait({ ...sample, ...this.#waiting.get(outcome), count: sample.count });
      this.#emit('warning', error);
      if (error?.code !== 'ERR_STORE_CLOSED') this.#later();
    }
  }

  /** Writes what waits. */
  async close () {
    for (const outcome of [...this.#waiting.keys()]) await this.#write(outcome);
    clock.clearTimer(this.#timer);
  }
}

/** How many notifications of one signature are looked at; a bounded number is remembered. */
class Variations {
  #limiters;

  constructor () {
    const { LRUCache } = require('lru-cache');
    this.#limiters = new LRUCache({ max: SIGNATURES_MAX });
  }

  /** @returns {boolean} whether one more may be looked at now */
  admit (signature) {
    const key = signature.toLowerCase();
    let limiter = this.#limiters.get(key);
    if (limiter === undefined) {
      limiter = new RateLimiter(VARIATIONS);
      this.#limiters.set(key, limiter);
    }
    return limiter.tryTake();
  }
}

module.exports = { Samples, Variations };
