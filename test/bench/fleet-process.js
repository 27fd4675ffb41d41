'use strict';

// A process of the fleet, with a store, a worker and a breaker: argument 1 is the database. It
// trips when it is told to, and tells when the breaker opens.

const { CircuitBreaker } = require('../..');
const { openStore } = require('../../lib/store');
const { BREAKER } = require('./fleet');

async function main () {
  const store = await openStore({ url: process.argv[2], timeout: 60_000 });
  const worker = store.outbox.createWorker({ channels: { EMAIL: async () => {} } });
  const breaker = new CircuitBreaker(async () => { throw new Error('down'); }, BREAKER);
  await store.fleet.join(breaker);
  await worker.start();
  breaker.on('open', () => process.send({ openedAt: Date.now() }));
  process.on('message', async order => {
    if (order === 'trip') {
      while (!breaker.opened) await breaker.fire().catch(() => {});
    } else {
      await worker.stop();
      await store.close();
      process.exit(0);
    }
  });
  process.send({ ready: true });
}

main();
