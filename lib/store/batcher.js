'use strict';

// Many small writes as few large ones, without a delay: while one statement is under way, those
// that come meanwhile are gathered for the next. A lone one goes once the event loop has turned.

class Batcher {
  #write;
  #countMax;
  #weightMax;
  #writersMax;
  #writers = 0;
  #line = [];

  /**
   * @param {(items: object[]) => Promise<unknown[]>} write gives an answer for each item, in order
   * @param {{ count: number, weight?: number, writers?: number }} limits of one statement: items,
   *   the sum of their `weight`s; and how many statements may be under way at once, default 1
   */
  constructor (write, { count, weight = Infinity, writers = 1 }) {
    this.#write = write;
    this.#countMax = count;
    this.#weightMax = weight;
    this.#writersMax = writers;
  }

  /** @returns {Promise<unknown>} the answer for this item; rejects as its statement does */
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
      // All that arrives in one turn of the event loop goes together.
      await new Promise(setImmediate);
      const entries = this.#take();
      if (entries.length === 0) break;
      try {
        const answers = await this.#write(entries.map(({ item }) => item));
        entries.forEach(({ resolve }, i) => resolve(answers[i]));
      } catch (error) {
        entries.forEach(({ reject }) => reject(error));
      }
    }
    this.#writers--;
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
