'use strict';

// The metrics of a cluster: the primary process adds up the pages of its workers. It asks each for
// one part after the other, and takes one part in each turn of its loop. So neither side ever holds
// up its loop for a whole page.

const cluster = require('node:cluster');
const { setImmediate: nextTurn } = require('node:timers/promises');

const { withDeadline } = require('../base/deadline');
const { read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { answer, routerOf } = require('./metrics-page');
const { entryOf, valueText } = require('./metrics-registry');

const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';
// Rows that are written in one turn of the loop.
const SLICE = 800;
const TIMEOUT_MS = 5000;

const OPTIONS = optionsOf({
  timeout: is.ms('for each part of the page of a worker', { min: 1, default: TIMEOUT_MS }),
});

const isOurs = message => read(message, 'sekering') === 'metrics';
const messageOf = fields => ({ sekering: 'metrics', ...fields });

// ---- In a worker -------------------------------------------------------------------------------

/**
 * Answers the primary process: the first answer about a page has the aggregators of all families,
 * the next ones have its parts.
 * @param {() => Promise<AsyncGenerator<string>>} open
 * @param {() => Record<string, string>} aggregatorsOf by family
 * @returns {() => void} ends it
 */
function answerPrimary (open, aggregatorsOf) {
  if (!cluster.isWorker) return () => {};
  const pages = new Map();
  const next = async id => {
    if (!pages.has(id)) {
      pages.set(id, await open());
      return { aggregators: aggregatorsOf() };
    }
    const { done, value } = await pages.get(id).next();
    return done ? { done } : { text: value };
  };
  const onMessage = async message => {
    if (!isOurs(message)) return;
    const { id, ends } = message;
    const found = ends ? { done: true } : await next(id).catch(() => ({ failed: true }));
    if (found.text === undefined && found.aggregators === undefined) pages.delete(id);
    // A primary that has gone needs no answer.
    if (!ends) process.send(messageOf({ id, ...found }), () => {});
  };
  process.on('message', onMessage);
  return () => { process.off('message', onMessage); };
}

// ---- Sums --------------------------------------------------------------------------------------

const add = (a, b) => a + b;
const COMBINE = new Map(Object.entries({
  sum: add, average: add, first: a => a, min: Math.min, max: Math.max,
}));

const INFINITE = new Map([['+Inf', Infinity], ['-Inf', -Infinity]]);
const numberOf = text => INFINITE.get(text) ?? Number(text);

/** A family of metrics of all workers. */
class Family {
  #combine;
  #isAverage;
  #head = new Set();
  /** By name and labels, as they are written: the value, and of how many workers. */
  #rows = new Map();

  constructor (aggregator) {
    this.#combine = COMBINE.get(aggregator) ?? add;
    this.#isAverage = aggregator === 'average';
  }

  /** A line of HELP or TYPE, the same in all workers. */
  describe (line) { this.#head.add(line); }

  add (line) {
    const end = line.lastIndexOf(' ');
    const key = line.slice(0, end);
    const value = numberOf(line.slice(end + 1));
    const row = this.#rows.get(key);
    if (row === undefined) {
      this.#rows.set(key, { value, count: 1 });
    } else {
      row.value = this.#combine(row.value, value);
      row.count++;
    }
  }

  async * write () {
    let text = `${[...this.#head].join('\n')}\n`;
    let count = 0;
    for (const [key, row] of this.#rows) {
      text += `${key} ${valueText(this.#isAverage ? row.value / row.count : row.value)}\n`;
      if (++count % SLICE !== 0) continue;
      yield text;
      text = '';
      await nextTurn();
    }
    yield `${text}\n`;
  }
}

class Sums {
  #families = new Map();

  /** @returns {(text: string) => void} takes the parts of one worker's page */
  reader (aggregators) {
    let family;
    return text => {
      for (const line of text.split('\n')) {
        if (line.startsWith('#')) {
          const [, , name] = line.split(' ', 3);
          family = aggregators[name] === 'omit' ? undefined
            : entryOf(this.#families, name, () => new Family(aggregators[name]));
          family?.describe(line);
        } else if (line !== '') {
          family?.add(line);
        }
      }
    };
  }

  async * write () {
    for (const family of this.#families.values()) yield * family.write();
  }
}

// ---- In the primary process --------------------------------------------------------------------

let pages = 0;

class ClusterMetrics {
  #timeout;
  /** Questions that wait for an answer, by page: the worker and its promise. */
  #asked = new Map();
  #turn = Promise.resolve();

  constructor (options) {
    this.#timeout = OPTIONS.read(options).timeout;
    cluster.on('message', this.#onMessage).on('disconnect', this.#onDisconnect);
  }

  #onMessage = (worker, message) => {
    if (isOurs(message)) this.#asked.get(message.id)?.resolve(message);
  };

  #onDisconnect = worker => {
    for (const question of this.#asked.values()) {
      if (question.worker === worker) question.reject(new Error('The worker has left'));
    }
  };

  async #ask (worker, id) {
    try {
      return await withDeadline(undefined, this.#timeout, () => new Promise((resolve, reject) => {
        this.#asked.set(id, { worker, resolve, reject });
        worker.send(messageOf({ id }), error => { if (error) reject(error); });
      }));
    } finally {
      this.#asked.delete(id);
    }
  }

  async #addPage (sums, worker) {
    const id = ++pages;
    try {
      const { aggregators } = await this.#answerOf(worker, id);
      const take = sums.reader(aggregators);
      for (;;) {
        const { text, done } = await this.#answerOf(worker, id);
        if (done) return;
        // One turn after the other, whichever worker the part is from.
        this.#turn = this.#turn.then(() => nextTurn());
        await this.#turn;
        take(text);
      }
    } catch (error) {
      worker.send(messageOf({ id, ends: true }), () => {});
      throw error;
    }
  }

  async #answerOf (worker, id) {
    const found = await this.#ask(worker, id);
    if (found.failed) throw new Error('The worker has no page');
    return found;
  }

  /** Without one worker the sums would be too small, so there is no page then. */
  async #open () {
    const sums = new Sums();
    const workers = Object.values(cluster.workers).filter(worker => worker.isConnected());
    await Promise.all(workers.map(worker => this.#addPage(sums, worker)));
    return sums.write();
  }

  /** Answers a request with the sums of all workers, for Express or node:http. */
  handler = (req, res) => answer(req, res, () => this.#open(), () => CONTENT_TYPE);

  /** An Express router with GET /metrics. */
  router (options) { return routerOf(this.handler, 'metrics.router', options); }

  close () {
    cluster.off('message', this.#onMessage).off('disconnect', this.#onDisconnect);
  }
}

const createClusterMetrics = options => new ClusterMetrics(options);

module.exports = { answerPrimary, createClusterMetrics };
