'use strict';

// One at a time, in the order in which they came.

class Turns {
  #isTaken = false;
  #line = new Set();

  /**
   * Fulfils when it is the caller's turn, which ends by `give`.
   * @param {number} timeout ms to wait for it
   * @param {() => Error} onTimeout makes the rejection
   */
  take (timeout, onTimeout) {
    if (!this.#isTaken) {
      this.#isTaken = true;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const waiter = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#line.add(waiter);
      const timer = setTimeout(() => {
        this.#line.delete(waiter);
        reject(onTimeout());
      }, timeout);
    });
  }

  give () {
    const [next] = this.#line;
    if (next === undefined) {
      this.#isTaken = false;
      return;
    }
    this.#line.delete(next);
    next();
  }
}

module.exports = { Turns };
