'use strict';

// A process with a store and a worker, for messages that end or block their process. It tells its
// parent of each message that it sends.

const { setImmediate: turn } = require('node:timers/promises');

const { openStore } = require('../../lib/store');
const { until } = require('./outbox-helpers');

const { place, worker: options } = JSON.parse(process.argv[2]);

const told = message => new Promise(resolve => { process.send(message, resolve); });
const forEver = () => { for (;;); };

function allocate () {
  const kept = [];
  for (;;) kept.push(new Array(10_000).fill(kept.length));
}

/** By recipient: what its message does. */
const POISONS = {
  exit: () => process.exit(0),
  abort: () => process.abort(),
  segfault: () => process.kill(process.pid, 'SIGSEGV'),
  kill: () => process.kill(process.pid, 'SIGKILL'),
  memory: allocate,
  rejection: () => { Promise.reject(new Error('nobody waits for this')); },
  async later () {
    await turn();
    process.exit(1);
  },
  async block ({ id }) {
    await told({ event: 'blocks', id });
    forEver();
  },
};

async function send (message) {
  const poison = POISONS[message.recipient];
  if (poison !== undefined) {
    await poison(message);
    await new Promise(() => {});
  }
  await told({ event: 'sent', id: message.id });
}

async function main () {
  const store = await openStore({ ...place, channels: { JOB: { maxAttempts: 3 } } });
  store.on('warning', () => {});
  process.on('disconnect', () => process.exit(0));
  const finish = async () => {
    await worker.stop();
    const list = await store.outbox.list({ limit: 1000 });
    await told({ event: 'over', list, letters: await store.deadLetters.list() });
    await store.close();
    process.disconnect();
  };
  const worker = store.outbox.createWorker({ channels: { JOB: { send, concurrency: 50 } },
    concurrency: 50, leaseMs: 1000, pollInterval: 50, ...options });
  worker.on('warning', () => {});
  await told({ event: 'opened' });
  process.once('message', async ({ enqueue }) => {
    await store.outbox.enqueue(enqueue);
    await worker.start();
    await until(async () => (await store.outbox.stats()).waiting === 0);
    await finish();
  });
}

main();
