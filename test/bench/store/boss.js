'use strict';

// pg-boss as a subject: fetch and complete in loops, which is several times as fast as its work().

const PgBoss = require('pg-boss');

const QUEUE = 'job';

async function open ({ url }) {
  const boss = new PgBoss({
    connectionString: url, max: 12, supervise: false, schedule: false,
  });
  boss.on('error', () => {});
  await boss.start();
  await boss.createQueue(QUEUE);
  return { boss, close: () => boss.stop({ graceful: false, wait: true }) };
}

async function fill ({ boss }, count) {
  for (let done = 0; done < count; done += 1000) {
    await boss.insert(Array.from({ length: Math.min(1000, count - done) },
      (_, i) => ({ name: QUEUE, data: { n: done + i } })));
  }
}

async function drain ({ boss }, { count, batchSize = 50, concurrency = 10 }) {
  let sent = 0;
  const began = performance.now();
  await Promise.all(Array.from({ length: concurrency }, async () => {
    for (;;) {
      const jobs = await boss.fetch(QUEUE, { batchSize });
      if (jobs.length === 0) return;
      await boss.complete(QUEUE, jobs.map(({ id }) => id));
      sent += jobs.length;
    }
  }));
  const ms = performance.now() - began;
  if (sent !== count) throw new Error(`Ran ${sent} of ${count}`);
  return ms;
}

const LOCKED = `SELECT id, started_on::text AS owner FROM pgboss.job WHERE state = 'active'`;

/** Does jobs for ever. */
async function work ({ boss }, options, job) {
  for (let i = 0; i < 10; i++) {
    (async () => {
      for (;;) {
        const [given] = await boss.fetch(QUEUE);
        if (given === undefined) return;
        await job(given.id);
        await boss.complete(QUEUE, given.id);
      }
    })();
  }
}

async function enqueue ({ boss }, { clients, ms }) {
  const ends = performance.now() + ms;
  let count = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (performance.now() < ends) {
      await boss.send(QUEUE, { n: count });
      count++;
    }
  }));
  return count;
}

module.exports = { LOCKED, open, fill, drain, work, enqueue };
