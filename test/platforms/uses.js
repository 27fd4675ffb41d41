'use strict';

// What users do with the package, for any runtime: prints the answers as one line of JSON.
// test/platforms/runtimes.test.js compares them.

const path = require('node:path');
const { Worker } = require('node:worker_threads');

const ROOT = path.join(__dirname, '..', '..');
const { CircuitBreaker, engine, policy, retry } = require(ROOT);
const Opossum = require(path.join(ROOT, 'lib', 'primitives', 'opossum.js'));
const asyncRetry = require(path.join(ROOT, 'lib', 'primitives', 'async-retry.js'));
const operations = require(path.join(ROOT, 'lib', 'primitives', 'operation.js'));
const { MidtransClient } = require(path.join(ROOT, 'lib', 'clients', 'midtrans.js'));
const { startMidtransFake, useVirtualClock } = require(path.join(ROOT, 'lib', 'testing'));

const fail = async () => { throw new Error('down'); };
const codeOf = promise => promise.then(() => 'none', ({ code, message }) => code ?? message);

const USES = {
  async 'three lines' () {
    const breaker = new CircuitBreaker(fail, { timeout: 10_000, resetTimeout: 60_000 });
    breaker.fallback(order => `${order} is queued`);
    return breaker.fire('order-1');
  },

  async 'opens, and is tried again' () {
    const clock = useVirtualClock();
    const breaker = new CircuitBreaker(async x => (x ? fail() : 'up'), { resetTimeout: 60_000 });
    for (let i = 0; i < 5; i++) await breaker.fire(true).catch(() => {});
    const answers = [await codeOf(breaker.fire(false))];
    await clock.advance(60_000);
    answers.push(breaker.halfOpen, await breaker.fire(false), breaker.closed);
    clock.restore();
    breaker.shutdown();
    return answers;
  },

  // In real time, so timers and the counting before the loop waits are the runtime's.
  async 'timeout' () {
    const breaker = new CircuitBreaker(() => new Promise(() => {}), { timeout: 5 });
    const answers = [await codeOf(breaker.fire()), breaker.stats.timeouts];
    breaker.shutdown();
    return answers;
  },

  async 'many calls at once' () {
    const breaker = new CircuitBreaker(async x => x, { timeout: 60_000 });
    const calls = Array.from({ length: 20_000 }, (_, i) => breaker.fire(i));
    const sum = (await Promise.all(calls)).reduce((one, other) => one + other, 0);
    const { fires, successes } = breaker.stats;
    breaker.shutdown();
    return [sum, fires, successes];
  },

  async 'drop-ins' () {
    const breaker = new Opossum(fail, { errorThresholdPercentage: 50, volumeThreshold: 1 });
    const answers = [await codeOf(breaker.fire()), breaker.opened];
    breaker.shutdown();
    answers.push(await asyncRetry(async (bail, attempt) => {
      if (attempt < 3) throw new Error('again');
      return attempt;
    }, { minTimeout: 1 }));
    answers.push(await new Promise(resolve => {
      const operation = operations.operation({ retries: 3, minTimeout: 1 });
      operation.attempt(attempt => {
        if (!operation.retry(attempt < 3 ? new Error('again') : null)) resolve(attempt);
      });
    }));
    return answers;
  },

  async 'retry' () {
    return codeOf(retry(fail, { retries: 2, minTimeout: 1 }));
  },

  async 'policy' () {
    const orders = policy({
      fallback: (...args) => `instead of ${args.at(-1).message}`,
      retry: { retries: 2, minTimeout: 1 }, breaker: { volumeThreshold: 10 }, timeout: 10_000,
      bulkhead: { maxConcurrent: 2 }, rateLimit: { limit: 100, interval: 1000 },
      adaptiveLimit: { initial: 2 },
    });
    const answers = [await orders.execute(async ({ attempt }) => {
      if (attempt < 2) throw new Error('again');
      return attempt;
    })];
    answers.push(await orders.execute(fail));
    orders.breaker.shutdown();
    return answers;
  },

  async 'a client over HTTP' () {
    const midtrans = await startMidtransFake();
    const client = new MidtransClient({
      serverKey: 'SB-Mid-server-fake', retry: { minTimeout: 1 },
      baseUrls: { snap: midtrans.url, core: midtrans.url },
    });
    try {
      midtrans.set({ kind: 'drop', on: 'charge', times: 1 });
      const charged = await client.charge({
        payment_type: 'bank_transfer',
        transaction_details: { order_id: 'order-1', gross_amount: 50_000 },
      });
      return [charged.transaction_status, midtrans.transactions.get('order-1').charges];
    } finally {
      await client.close();
      await midtrans.close();
    }
  },

  async 'scopes' () {
    const breaker = new CircuitBreaker(async x => x, { scope: 'process', name: 'platforms' });
    const answer = await breaker.fire('passed');
    breaker.shutdown();
    return [answer, breaker.scope];
  },

  async 'worker threads' () {
    const source = `
      const { parentPort } = require('node:worker_threads');
      const { CircuitBreaker, engine } = require(${JSON.stringify(ROOT)});
      const breaker = new CircuitBreaker(async x => x * 2, { timeout: 10_000 });
      breaker.fire(21).then(value =>
        parentPort.postMessage([value, breaker.stats.fires, engine]));`;
    const answers = [];
    for (let i = 0; i < 3; i++) {
      const worker = new Worker(source, { eval: true });
      const [value, fires, its] = await new Promise((resolve, reject) => {
        worker.once('message', resolve).once('error', reject);
      });
      answers.push([value, fires, its === engine]);
      await worker.terminate();
    }
    return answers;
  },
};

async function main (names) {
  const answers = { engine };
  for (const name of names.length > 0 ? names : Object.keys(USES)) {
    answers[name] = await USES[name]().catch(error => `${error.stack}`);
  }
  console.log(JSON.stringify(answers));
}

main(process.argv.slice(2));
