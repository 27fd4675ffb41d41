'use strict';

// Starts workers that use the package and end in different ways, and prints how they ended. It runs
// in a process of its own, which a fault of memory would end.
//
//   node worker-churn.js <main | workers-only> <rounds>

const { once } = require('node:events');
const path = require('node:path');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const PACKAGE = path.join(__dirname, '..', '..');
const ENDINGS = ['finish', 'exit', 'terminate', 'terminate-at-once'];

function never () {
  return new Promise(() => {});
}

/** Every kind of call, settled and pending, with and without a timeout. */
async function useAll ({ CircuitBreaker, retry }) {
  const breaker = new CircuitBreaker(async value => {
    if (value < 0) throw new Error('negative');
    return value;
  }, {
    name: 'shared name', timeout: 5_000, rollingCountTimeout: 3_600_000,
    errorThresholdPercentage: 40, volumeThreshold: 30,
  });
  const opened = once(breaker, 'open');
  for (let i = 0; i < 100; i++) await breaker.fire(i % 2 ? i : -1).catch(() => {});
  await opened;
  await retry(async (bail, attempt) => {
    if (attempt < 3) throw new Error('again');
  }, { minTimeout: 1 });
  if (breaker.stats.fires !== 100) throw new Error(`${breaker.stats.fires} fires`);
  return breaker;
}

function leavePending ({ CircuitBreaker, retry }) {
  const slow = new CircuitBreaker(never, { timeout: 3, resetTimeout: 1, volumeThreshold: 1e6 });
  const stuck = new CircuitBreaker(never, { timeout: false });
  for (let i = 0; i < 50; i++) {
    slow.fire().catch(() => slow.fire().catch(() => {}));
    stuck.fire().catch(() => {});
    retry(() => Promise.reject(new Error('always')), { minTimeout: 1, retries: 1000 })
      .catch(() => {});
  }
}

async function work (ending) {
  const sekering = require(PACKAGE);
  if (ending === 'terminate-at-once') parentPort.postMessage('loaded');
  const breaker = await useAll(sekering);
  if (ending === 'finish') {
    breaker.shutdown();
    return;
  }
  leavePending(sekering);
  if (ending === 'exit') process.exit(0);
  parentPort.postMessage('pending');
  setInterval(() => breaker.fire(1).catch(() => {}), 1);
}

async function startAndEnd (ending, round) {
  const worker = new Worker(__filename, { workerData: ending });
  const exit = once(worker, 'exit');
  if (ending.startsWith('terminate')) {
    await once(worker, 'message');
    // Spread over the life of the pending timers.
    await new Promise(resolve => setTimeout(resolve, round % 7));
    await worker.terminate();
  }
  const [code] = await exit;
  return { ending, code };
}

async function main (mode, rounds) {
  const own = mode === 'main' ? await useAll(require(PACKAGE)) : null;
  const ends = {};
  for (let round = 0; round < rounds; round++) {
    for (const { ending, code } of
      await Promise.all(ENDINGS.map(ending => startAndEnd(ending, round)))) {
      const expected = ending.startsWith('terminate') ? 1 : 0;
      ends[ending] = (ends[ending] ?? 0) + (code === expected);
    }
  }
  // The main thread's own breaker has the name of all the others and has seen none of their calls.
  console.log(JSON.stringify({ ends, fires: own?.stats.fires }));
}

if (isMainThread) main(process.argv[2], Number(process.argv[3]));
else work(workerData);
