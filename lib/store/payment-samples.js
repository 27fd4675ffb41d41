'use strict';

// Notifications without a valid signature: anybody can send any number of them. All are counted,
// and some are kept as samples. The number of rows is limited and rows are reused; the rate of
// writes is limited, too. A crash loses only the count since the last write.

const clock = require('../base/clock');
const { read } = require('../base/foreign');
const { RateLimiter } = require('../primitives/limits');

// Rows of each outcome, shared by all processes.
const ROWS = 50;
const WRITES = { limit: 60, interval: 60_000, burst: 20 };
const RETRY_MS = 1000;
const BYTES_KEPT = 4096;

class PaymentSamples {
  #ledger;
  #emit;
  #writes = new RateLimiter(WRITES);
  // By outcome: the latest sample, and how many there were since the last write.
  #waiting = new Map();
  #writing = new Set();
  #row = Math.floor(Math.random() * ROWS);
  #timer;

  /** @param {object} context of Payments */
  constructor ({ ledger, emit }) {
    this.#ledger = ledger;
    this.#emit = emit;
  }

  /** Counts a notification. Resolves when it is written, or is certain to be written later. */
  async add ({ source, bytes }, outcome, reason) {
    this.#hold({ source, outcome, reason, bytes: bytes.subarray(0, BYTES_KEPT), count: 1 });
    if (this.#writes.tryTake()) await this.#write(outcome);
    else this.#writeLater();
  }

  #hold (sample) {
    const { count = 0 } = this.#waiting.get(sample.outcome) ?? {};
    this.#waiting.set(sample.outcome, { ...sample, count: sample.count + count });
  }

  #writeLater () {
    this.#timer ??= clock.setTimer(() => {
      this.#timer = undefined;
      this.#writeAll();
    }, RETRY_MS, false);
  }

  async #writeAll () {
    for (const outcome of [...this.#waiting.keys()]) {
      if (!this.#writes.tryTake()) return this.#writeLater();
      await this.#write(outcome);
    }
  }

  async #write (outcome) {
    const sample = this.#waiting.get(outcome);
    if (sample === undefined) return;
    this.#waiting.delete(outcome);
    const writing = this.#note(sample);
    this.#writing.add(writing);
    await writing;
    this.#writing.delete(writing);
  }

  async #note (sample) {
    const { outcome } = sample;
    this.#row = (this.#row + 1) % ROWS;
    try {
      const event = await this.#ledger.noteSample(sample, this.#row);
      if (outcome === 'forged') this.#emit('forged', event, sample.count);
    } catch (error) {
      // A sample that came in the meantime replaces this one, but not its count.
      this.#hold({ ...sample, ...this.#waiting.get(outcome), count: sample.count });
      this.#emit('warning', error);
      if (read(error, 'code') !== 'ERR_STORE_CLOSED') this.#writeLater();
    }
  }

  /** Writes what waits, also what could not be written just now. */
  async close () {
    await Promise.all(this.#writing);
    for (const outcome of [...this.#waiting.keys()]) await this.#write(outcome);
    // The timer has written the others meanwhile.
    await Promise.all(this.#writing);
    clock.clearTimer(this.#timer);
  }
}

module.exports = { PaymentSamples };
