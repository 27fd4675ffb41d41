'use strict';

// A process with a store that does what its parent says, to be killed at any moment:
//   fork('random-actor.js', [JSON.stringify({ url or directory, schema })])
// What is sent and done, it has told its parent before it goes on.

const { setTimeout: pause } = require('node:timers/promises');

const { openStore } = require('../../lib/store');

const place = JSON.parse(process.argv[2]);
// Living workers and holders lose nothing, however slow the machine is.
const LEASE_MS = 300_000;
const SEND_MS = 20;

const tell = said => new Promise(resolve => { process.send(said, resolve); });

const commands = {
  query: async (store, text, values) => (await store.query(text, values)).rows,

  enqueue: async (store, messages) =>
    (await store.outbox.enqueue(messages)).map(({ id }) => id),

  async work (store) {
    // Long enough that others look at its lease meanwhile.
    const send = async ({ recipient }) => {
      await tell({ event: 'begin', recipient });
      await pause(SEND_MS);
    };
    const worker = store.outbox.createWorker({
      channels: { JOB: { send, concurrency: 3 } }, leaseMs: LEASE_MS, pollInterval: 20,
    });
    worker.on('sent', ({ recipient }) => tell({ event: 'written', recipient }));
    worker.on('warning', () => {});
    await worker.start();
    return worker.leases.owner;
  },

  async sweep (store) {
    const { leases } = store.outbox.createWorker({ channels: { EMAIL: async () => {} } });
    const { time } = await leases.sweep({ limit: 1000 });
    await leases.sweep({ limit: 1000, before: time });
  },

  run: async (store, key, transaction) => store.idempotency.run(key,
    async ({ token, client }) => {
      await tell({ event: 'begun', key, token });
      await client?.query(`INSERT INTO ${store.schema}.effects VALUES ($1, $2)`, [key, token]);
      return { token };
    }, { lockTimeout: LEASE_MS, wait: 0, transaction }),
};

async function main () {
  const backoff = { strategy: 'fixed', minTimeout: 5 };
  const store = await openStore({ ...place, channels: { JOB: { maxAttempts: 100, backoff } } });
  store.on('warning', () => {});
  await store.query(`CREATE TABLE IF NOT EXISTS ${store.schema}.effects (key text, token text)`);
  process.on('message', ({ id, command, args }) => {
    commands[command](store, ...args).then(
      value => tell({ id, value: value ?? null }),
      ({ code, message, retryable }) => tell({ id, error: { code, message, retryable } }));
  });
  process.on('disconnect', () => process.exit());
  await tell({ event: 'ready' });
}

main();
