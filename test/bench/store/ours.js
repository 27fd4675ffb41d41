'use strict';

// sekering as a subject: leases and history on, as for every user.

const { openDatabase } = require('../../../lib/store/database');
const { migrate } = require('../../../lib/store/migrate');
const { createOutbox } = require('../../../lib/store/outbox');

const CHANNEL = 'JOB';
const message = i => ({ channel: CHANNEL, recipient: `r${i}`, data: { n: i } });

async function open (place, connections = 12) {
  const database = await openDatabase({ ...place, ...(place.url && { connections }) });
  await migrate(database);
  const outbox = createOutbox({ database, options: { channels: { [CHANNEL]: {} } } });
  return { database, outbox, close: () => database.close() };
}

async function fill ({ outbox }, count) {
  for (let done = 0; done < count; done += 1000) {
    await outbox.enqueue(
      Array.from({ length: Math.min(1000, count - done) }, (_, i) => message(done + i)));
  }
}

/** Sends all that waits, and tells after how many ms each of them was settled. */
async function drain ({ outbox }, {
  count, batchSize = 500, concurrency = 10, unsettled = batchSize > 1 ? 500 : 0,
}) {
  const worker = outbox.createWorker({
    channels: { [CHANNEL]: { send: async () => {}, concurrency } },
    concurrency, batchSize, unsettled,
  });
  let fault;
  worker.on('warning', error => { fault = error; });
  const began = performance.now();
  const done = new Promise(resolve => {
    worker.on('idle', () => { if (worker.stats().sent >= count) resolve(); });
  });
  await worker.start();
  await done;
  const ms = performance.now() - began;
  await worker.stop();
  if (fault !== undefined || worker.stats().sent !== count) throw fault ?? new Error('Lost some');
  return ms;
}

const LOCKED = `SELECT id, lease_owner AS owner FROM sekering.notification_outbox
  WHERE status = 'SENDING'`;

/** Does jobs for ever. */
async function work ({ outbox }, { leaseMs }, job) {
  const worker = outbox.createWorker({
    channels: { [CHANNEL]: { send: ({ id }) => job(id), concurrency: 10 } }, leaseMs,
  });
  await worker.start();
}

/** Clients that each wait for one message to be durable before the next: messages in `ms`. */
async function enqueue ({ outbox }, { clients, ms }) {
  const ends = performance.now() + ms;
  let count = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (performance.now() < ends) {
      await outbox.enqueue(message(count));
      count++;
    }
  }));
  return count;
}

module.exports = { CHANNEL, LOCKED, open, fill, drain, work, enqueue };
