'use strict';

// What is measured of sekering alone.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { Client } = require('pg');

const { leaseStatements } = require('../../../lib/store/outbox-leases');
const { OutboxTable } = require('../../../lib/store/outbox-table');
const ours = require('./ours');

const TABLE = 'sekering.notification_outbox';
const HISTORY = 1_000_000;

const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const connect = async ({ url }) => {
  const client = new Client({ connectionString: url });
  await client.connect();
  return client;
};

async function opened (place, work) {
  const handle = await ours.open(place);
  try {
    return await work(handle);
  } finally {
    await handle.close();
  }
}

/** ms that a claim of 50 takes, without the disk's part in a commit. */
async function claimMs (client, sql, i) {
  const began = performance.now();
  await client.query(sql.claim(ours.CHANNEL, 'bench', i, 60_000, 50, 10, 25, '', 2 ** 24));
  return performance.now() - began;
}

/**
 * How many times as long a claim takes beside a million rows of history: the medians of claims that
 * are made in turn beside it and in a table of their own.
 */
async function growth (place, { status }) {
  const schemas = ['sekering', 'grown'];
  const handles = await Promise.all(schemas.map(schema => ours.open({ ...place, schema })));
  const client = await connect(place);
  for (let i = 0; i < HISTORY; i += 50_000) {
    await client.query(`INSERT INTO grown.notification_outbox (channel, recipient, body_data,
        status, sent_at, died_at, dead_kind)
      SELECT 'JOB', 'old' || i, '{"n": 1}', $1, now(), now(), 'E'
      FROM generate_series(1, 50000) AS i`, [status]);
  }
  for (const [i, handle] of handles.entries()) {
    await ours.fill(handle, 5000);
    await client.query(`ANALYZE ${schemas[i]}.notification_outbox`);
  }
  await client.query('CHECKPOINT');
  const clients = await Promise.all(schemas.map(() => connect(place)));
  for (const each of clients) await each.query('SET synchronous_commit = off');
  const sqls = handles.map(({ database }) => leaseStatements(new OutboxTable(database.schema)));
  const times = [[], []];
  for (let i = 0; i < 180; i++) {
    const which = i % 2;
    times[which].push(await claimMs(clients[which], sqls[which], i));
  }
  for (const each of [client, ...clients]) await each.end();
  for (const handle of handles) await handle.close();
  return median(times[1]) / median(times[0]);
}

/** ms from the commit of an enqueue to the call of the sender, by another connection's worker. */
async function wake (place, { share }) {
  return opened(place, async handle => opened(place, async ({ outbox }) => {
    let heard;
    const worker = outbox.createWorker({
      channels: { [ours.CHANNEL]: async () => heard(performance.now()) }, pollInterval: 60_000,
    });
    await worker.start();
    const client = await connect(place);
    const times = [];
    for (let i = 0; i < 200; i++) {
      await new Promise(resolve => { setTimeout(resolve, 20); });
      const began = new Promise(resolve => { heard = resolve; });
      await client.query('BEGIN');
      await handle.outbox.enqueue({ channel: ours.CHANNEL, recipient: 'x' }, { client });
      await client.query('COMMIT');
      const committed = performance.now();
      times.push(await began - committed);
    }
    await worker.stop();
    await client.end();
    times.sort((a, b) => a - b);
    return times[Math.floor(times.length * share)];
  }));
}

/** Messages per second of four processes; throws where one was sent twice. */
async function four (place, { count }) {
  return opened(place, async handle => {
    await ours.fill(handle, count);
    const children = Array.from({ length: 4 }, () => fork(path.join(__dirname, 'sender.js'),
      [JSON.stringify({ place })], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }));
    await Promise.all(children.map(child => once(child, 'message')));
    const began = performance.now();
    for (const child of children) child.send('go');
    const left = `SELECT count(*)::int AS count FROM ${TABLE} WHERE status <> 'SENT'`;
    while ((await handle.database.query(left)).rows[0].count > 0) {
      await new Promise(resolve => { setTimeout(resolve, 20); });
    }
    const ms = performance.now() - began;
    const ids = await Promise.all(children.map(async child => {
      const answer = once(child, 'message');
      child.send('end');
      return (await answer)[0];
    }));
    const all = ids.flat();
    if (all.length !== count || new Set(all).size !== count) throw new Error('Sent twice, or lost');
    return count / ms * 1000;
  });
}

/** The rate while somebody elsewhere holds a snapshot from before, as a share of the rate else. */
async function pinned (place, { count }) {
  return opened(place, async handle => {
    await ours.fill(handle, count);
    const free = await ours.drain(handle, { count });
    const client = await connect(place);
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await client.query(`SELECT count(*) FROM ${TABLE}`);
    await ours.fill(handle, count);
    const held = await ours.drain(handle, { count });
    await client.end();
    return free / held;
  });
}

module.exports = { growth, wake, four, pinned };
