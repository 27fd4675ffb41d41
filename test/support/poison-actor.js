'use strict';

// A process with a store and a worker, for messages that end or block their process. It tells its
// parent of each message that it sends.

const fs = require('node:fs');
const path = require('node:path');
const { setImmediate: turn } = require('node:timers/promises');

const { openStore } = require('../../lib/store');
const { until } = require('./outbox-helpers');

const { place, worker: options, neighbour, folder } = JSON.parse(process.argv[2]);

const TEXT_BYTES_MAX = 256 * 1024;
const TURNS = 20;
let stalls = 0;

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
  /** Blocks until its parent lets it go on, and is sent then. */
  stall () {
    const file = path.join(folder, `${process.pid}-${stalls++}`);
    fs.writeFileSync(`${file}.asked`, '');
    const cell = new Int32Array(new SharedArrayBuffer(4));
    while (!fs.existsSync(`${file}.go`)) Atomics.wait(cell, 0, 0, 5);
    return true;
  },
  async block ({ id }) {
    await told({ event: 'blocks', id });
    forEver();
  },
};

/** As large as a message can be. Its data take up little room where they are stored. */
function largest () {
  const text = 'x'.repeat(TEXT_BYTES_MAX);
  return { channel: 'JOB', recipient: 'x', body: text, html: text, data: text.slice(2) };
}

async function send (message) {
  const poison = POISONS[message.recipient];
  if (poison !== undefined) {
    const isOver = await poison(message);
    if (!isOver) await new Promise(() => {});
  }
  await told({ event: 'sent', id: message.id });
}

/** A sender that takes a moment, of another worker. */
async function sendSlowly ({ id }) {
  for (let i = 0; i < TURNS; i++) await turn();
  await told({ event: 'sent', id });
}

async function main () {
  const channels = { JOB: { maxAttempts: 3 }, OTHER: { maxAttempts: 3 } };
  const store = await openStore({ ...place, channels });
  store.on('warning', () => {});
  process.on('disconnect', () => process.exit(0));
  const finish = async () => {
    await worker.stop();
    await other?.stop();
    const { rows: list } = await store.query(`SELECT channel, recipient, status,
      error_history AS "errorHistory" FROM ${store.schema}.notification_outbox`);
    await told({ event: 'over', list, letters: await store.deadLetters.list() });
    await store.close();
    process.disconnect();
  };
  const concurrency = options?.concurrency ?? 50;
  const worker = store.outbox.createWorker({ channels: { JOB: { send, concurrency } },
    concurrency, leaseMs: 1000, pollInterval: 50, ...options });
  worker.on('warning', () => {});
  const other = neighbour && store.outbox.createWorker({
    channels: { OTHER: sendSlowly }, leaseMs: 1000, pollInterval: 50,
  });
  other?.on('warning', () => {});
  await told({ event: 'opened' });
  process.once('message', async ({ enqueue, large }) => {
    await store.outbox.enqueue(enqueue);
    for (let i = 0; i < large; i++) await store.outbox.enqueue(largest());
    await Promise.all([worker.start(), other?.start()]);
    await until(async () => (await store.outbox.stats()).waiting === 0);
    await finish();
  });
}

main();
