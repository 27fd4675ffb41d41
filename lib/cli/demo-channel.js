'use strict';

// One kind of work behind one breaker: what came in, what was done at once, what had to wait, and
// what was done later. Work that waits is tried again when the breaker closes.

const { EventEmitter } = require('node:events');

const clock = require('../base/clock');

const DRAIN_CONCURRENCY = 8;

/**
 * A job's attempt resolves with `{ queued: true, error }` when the job was held, with anything else
 * when it was done, and rejects when it must not be tried again.
 *
 * Events: `done` (job, answer, late), `held` (job, error), `drain` (waiting), `drained` (ms).
 */
class Channel extends EventEmitter {
  tally = {
    in: 0, atOnce: 0, retried: 0, queued: 0, refused: 0, later: 0, foundDone: 0, refusedLater: 0
  };

  waiting = [];
  inFlight = 0;

  #breaker;
  #attempt;
  #delayOf;
  #isDone;
  #draining = false;
  #failures = 0;
  #resumeAt = 0;

  /**
   * @param {object} parts
   * @param {object} parts.breaker
   * @param {(job) => Promise} parts.attempt
   * @param {(failures: number) => number} parts.delayOf ms to wait before the queue is tried again
   * @param {(error: Error) => boolean} [parts.isDone] whether a refusal says that an earlier
   *   attempt, whose answer was lost, had been successful
   */
  constructor ({ breaker, attempt, delayOf, isDone = () => false }) {
    super();
    this.#breaker = breaker;
    this.#attempt = attempt;
    this.#delayOf = delayOf;
    this.#isDone = isDone;
    breaker.on('close', () => this.wake());
  }

  /** What was in the way is mended: tries what waits without further delay. */
  wake () {
    this.#resumeAt = 0;
    // That is announced before its caller has its answer: let that come first.
    setImmediate(() => this.drain());
  }

  /** Takes a job in; resolves with its answer, or undefined when it was refused for good. */
  async submit (job) {
    this.tally.in += 1;
    const answer = await this.#try(job);
    if (answer === undefined) return undefined;
    if (answer.queued) this.tally.queued += 1;
    else {
      this.tally[job.attempts > 1 ? 'retried' : 'atOnce'] += 1;
      this.emit('done', job, answer, false);
    }
    return answer;
  }

  /** Puts a job in the queue: what a fallback calls. Answers as the fallback should. */
  hold (job, error) {
    this.waiting.push(job);
    this.emit('held', job, error);
    return { queued: true, error };
  }

  /** Tries what waits, if the time has come and the breaker lets calls through. */
  async drain () {
    if (this.#draining || this.waiting.length === 0 || this.#breaker.opened) return;
    if (clock.now() < this.#resumeAt) return;
    this.#draining = true;
    const began = clock.now();
    // A few calls that failed before the trip are no queue worth announcing.
    const all = this.#breaker.closed && this.waiting.length >= DRAIN_CONCURRENCY;
    if (all) this.emit('drain', this.waiting.length);
    let held = false;
    while (this.waiting.length > 0 && !held && !this.#breaker.opened) {
      // Half-open admits a probe only.
      const size = this.#breaker.closed ? DRAIN_CONCURRENCY : 1;
      const batch = this.waiting.splice(0, size).map(job => this.#tryAgain(job));
      held = (await Promise.all(batch)).includes(false);
    }
    this.#failures = held ? this.#failures + 1 : 0;
    if (held) this.#resumeAt = clock.now() + this.#delayOf(this.#failures);
    else if (all && this.waiting.length === 0) this.emit('drained', clock.now() - began);
    this.#draining = false;
  }

  /** Resolves with false when the job has to wait once more. */
  async #tryAgain (job) {
    const answer = await this.#try(job, true);
    if (answer === undefined) return true;
    if (answer.queued) return false;
    this.tally.later += 1;
    this.emit('done', job, answer, true);
    return true;
  }

  async #try (job, late = false) {
    this.inFlight += 1;
    try {
      return await this.#attempt(job);
    } catch (error) {
      if (late && this.#isDone(error)) this.tally.foundDone += 1;
      else this.tally[late ? 'refusedLater' : 'refused'] += 1;
      return undefined;
    } finally {
      this.inFlight -= 1;
    }
  }
}

module.exports = { Channel };
