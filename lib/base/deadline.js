'use strict';

const { clearTimer, setTimer } = require('./clock');
const { timedOut } = require('./errors');
const { reasonOf } = require('./signal');

/** One piece of work that ends in time: by its own result, by the timer, or by the caller. */
class Deadline {
  constructor (outer, ms, error, ref) {
    this.controller = new AbortController();
    this.outer = outer;
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.timer = setTimer(() => this.end(error ?? timedOut(ms)), ms, ref);
    outer?.addEventListener('abort', this);
  }

  // As an event listener of the caller's signal; an object needs no closure.
  handleEvent () {
    this.end(reasonOf(this.outer));
  }

  end (reason) {
    this.release();
    this.reject(reason);
    this.controller.abort(reason);
  }

  release () {
    clearTimer(this.timer);
    this.outer?.removeEventListener('abort', this);
  }

  async run (work) {
    try {
      const value = await work(this.controller.signal);
      this.release();
      this.resolve(value);
    } catch (error) {
      this.release();
      this.reject(error);
    }
  }
}

/**
 * Calls `work(signal)` and waits for it, for `ms` at most.
 * @template T
 * @param {AbortSignal|undefined} outer the caller's, checked by readSignal(); not aborted yet
 * @param {number} ms Infinity for no limit
 * @param {(signal: AbortSignal) => T | PromiseLike<T>} work its signal aborts when the time is
 *   over, and when the caller's does; what it does after that is ignored
 * @param {{ error?: Error, ref?: boolean }} [options] `error` in place of ETIMEDOUT; `ref`: whether
 *   the timer keeps the process alive (true)
 * @returns {Promise<T>} rejects with ETIMEDOUT, with the signal's reason, or as `work` does
 */
function withDeadline (outer, ms, work, { error, ref = true } = {}) {
  const deadline = new Deadline(outer, ms, error, ref);
  deadline.run(work);
  return deadline.promise;
}

module.exports = { withDeadline };
