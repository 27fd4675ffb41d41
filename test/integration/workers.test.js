'use strict';

// Worker threads: the addon is loaded, used and left many times over, in every way a worker can
// end. `npm run test:sanitize` runs this file under AddressSanitizer as well.

const path = require('node:path');
const { Worker } = require('node:worker_threads');

const { ROOT } = require('../support/setup');
const { run } = require('../support/sandbox');

const CHURN = path.join(ROOT, 'test', 'support', 'worker-churn.js');
const ROUNDS = 8;

async function churn (mode) {
  const { code, stdout, stderr } = await run(process.execPath, [CHURN, mode, String(ROUNDS)], {
    env: process.env,
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

const ends = {
  finish: ROUNDS, exit: ROUNDS, terminate: ROUNDS, 'terminate-at-once': ROUNDS,
};

test('workers start, use the addon and end in every way, four at a time', async () => {
  expect(await churn('main')).toEqual({ ends, fires: 100 });
});

test('the same if only workers load the addon', async () => {
  // Each round unloads it, so the next one loads it anew.
  expect(await churn('workers-only')).toEqual({ ends });
});

test('a worker does not share its breakers, whatever their names', async () => {
  const { CircuitBreaker } = require('../..');
  const name = 'workers.test: one name';
  const mine = new CircuitBreaker(async () => 'mine', { name });
  await mine.fire();
  const worker = new Worker(`
    const { workerData, parentPort } = require('node:worker_threads');
    const { CircuitBreaker } = require(workerData.root);
    const breaker = new CircuitBreaker(async () => {}, { name: workerData.name });
    breaker.open();
    parentPort.postMessage({ opened: breaker.opened, fires: breaker.stats.fires });
  `, { eval: true, workerData: { root: ROOT, name } });
  const answer = new Promise((resolve, reject) => {
    worker.once('message', resolve).once('error', reject);
  });
  expect(await answer).toEqual({ opened: true, fires: 0 });
  expect(mine.opened).toBe(false);
  expect(await mine.fire()).toBe('mine');
  expect(mine.stats.fires).toBe(2);
  await worker.terminate();
});
