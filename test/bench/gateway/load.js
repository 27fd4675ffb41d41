'use strict';

// Orders over HTTP, in a process of its own: as fast as they are answered, or at a fixed rate,
// where the time of an answer counts from when its request was due.

const { Pool } = require('undici');

const { shardOf } = require('../shards/routes');
const { atRate, serve } = require('./processes');
const { TOKEN } = require('./subjects');

const HEADERS = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' };
const CONNECTIONS_MAX = 2000;

const pools = new Map();

function poolOf (url) {
  if (!pools.has(url)) {
    pools.set(url, new Pool(url, { connections: CONNECTIONS_MAX, pipelining: 1 }));
  }
  return pools.get(url);
}

const orderOf = id => ({
  transaction_details: { order_id: id, gross_amount: 50_000 },
  item_details: [{ id: 'seat', name: 'Seat A1', price: 25_000, quantity: 2 }],
  customer_details: { first_name: 'Budi', email: 'budi@example.com', phone: '+6281234567890' },
});

/**
 * What came of the requests, in their order: `times` in ms, `answers` as [id, status, error,
 * token]. With several `urls` each order goes to that of its shard.
 */
class Run {
  times = [];
  answers = [];
  #pools;
  #prefix;
  #keyed;

  constructor ({ url, urls = [url], prefix, keyed }) {
    this.#pools = urls.map(poolOf);
    this.#prefix = prefix;
    this.#keyed = keyed;
  }

  async order (due = performance.now(), id = `${this.#prefix}-${this.answers.length}`) {
    const n = this.answers.length;
    this.answers.push([id, undefined]);
    const headers = this.#keyed ? { ...HEADERS, 'idempotency-key': `"${id}"` } : HEADERS;
    try {
      const { statusCode, body } = await this.#pools[shardOf(id, this.#pools.length)].request({
        path: '/orders', method: 'POST', headers, body: JSON.stringify(orderOf(id)),
      });
      const { error, token } = await body.json();
      this.answers[n] = [id, statusCode, error, token];
    } catch (error) {
      this.answers[n] = [id, error.code ?? error.name];
    }
    this.times[n] = performance.now() - due;
  }
}

/** So many at a time, for so long or so often. */
async function closed ({ concurrency, ms = Infinity, count = Infinity, ...given }) {
  const run = new Run(given);
  const began = performance.now();
  const loop = async () => {
    while (performance.now() - began < ms && run.answers.length < count) await run.order();
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  return { ms: performance.now() - began, times: run.times, answers: run.answers };
}

/** The same orders once more, so many at a time. */
async function again ({ ids, concurrency, ...given }) {
  const run = new Run(given);
  const left = [...ids];
  const loop = async () => {
    while (left.length > 0) await run.order(performance.now(), left.shift());
  };
  await Promise.all(Array.from({ length: concurrency }, loop));
  return { times: run.times, answers: run.answers };
}

/** At a fixed rate, whatever becomes of those before. */
async function open ({ perSecond, ms, ...given }) {
  const run = new Run(given);
  const began = performance.now();
  await atRate(perSecond, ms, due => run.order(due));
  return { ms: performance.now() - began, times: run.times, answers: run.answers };
}

serve({ again, closed, open });
