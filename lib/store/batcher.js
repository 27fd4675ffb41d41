'use strict';

// Turns many small writes into few large ones, without a delay: writes that come while a statement
// is under way share the next one. A lone write goes at the next turn of the event loop.

const { read } = require('../base/foreign');

class Batcher {
  #write;
  #countMax;
  #weightMax;
  #writersMax;
  #writers = 0;
  #line = [];

  /**
   * @param {(items: object[]) => Promise<unknown[]>} write returns a result for each item, in
   *   order. A result may be a promise; the next statement does not wait for it
   * @param {{ count: number, weight?: number, writers?: number }} limits of one statement: items,
   *   the sum of their `weight`s; and how many statements may be under way at once, default 1
   */
  constructor (write, { count, weight = Infinity, writers = 1 }) {
    this.#write = write;
    this.#countMax = count;
    this.#weightMax = weight;
    this.#writersMax = writers;
  }

  /**
   * @returns {Promise<unknown>} the answer for this item; rejects if its statement fails. If the
   *   database refuses a statement of several items, each is written alone: one may be at fault
   */
  add (item) {
    return new Promise((resolve, reject) => {
      this.#line.push({ item, resolve, reject });
      if (this.#writers < this.#writersMax) {
        this.#writers++;
        this.#work();
      }
    });
  }

  async #work () {
    for (;;) {
      // Items that arrive in one turn of the event loop go together.
      await new Promise(setImmediate);
      const entries = this.#take();
      if (entries.length === 0) break;
      await this.#settle(entries);
    }
    this.#writers--;
  }

  async #settle (entries) {
    try {
      const answers = await this.#write(entries.map(({ item }) => item));
      entries.forEach(({ resolve }, i) => resolve(answers[i]));
    } catch (error) {
      if (entries.length > 1 && read(error, 'code') === 'ERR_STORE_QUERY') {
        for (const entry of entries) await this.#settle([entry]);
      } else {
        entries.forEach(({ reject }) => reject(error));
      }
    }
  }

  #take () {
    let weight = 0;
    let count = 0;
    while (count < this.#line.length && count < this.#countMax) {
      weight += this.#line[count].item.weight ?? 0;
      if (count > 0 && weight > this.#weightMax) break;
      count++;
    }
    return this.#line.splice(0, count);
  }
}

module.exports = { Batcher };
