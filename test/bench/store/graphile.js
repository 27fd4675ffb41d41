'use strict';

// graphile-worker as a subject, with the settings that its documentation gives for throughput.

const { Logger, makeWorkerUtils, run } = require('graphile-worker');
const { Pool } = require('pg');

const logger = new Logger(() => () => {});

async function open ({ url }) {
  const pool = new Pool({ connectionString: url, max: 24 });
  pool.on('error', () => {});
  pool.on('connect', client => client.on('error', () => {}));
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  return { pool, utils, close: async () => { await utils.release(); await pool.end(); } };
}

async function fill ({ pool }, count) {
  await pool.query(`SELECT graphile_worker.add_job('job', json_build_object('n', i))
    FROM generate_series(1, $1) AS i`, [count]);
}

const isEmpty = async pool =>
  (await pool.query('SELECT EXISTS (SELECT FROM graphile_worker._private_jobs) AS left')).rows[0]
    .left === false;

/** Does jobs until it is stopped. */
function work ({ pool }, { batchSize = 1, concurrency = 10 }, job) {
  const worker = batchSize === 1 ? {} : {
    localQueue: { size: batchSize }, completeJobBatchDelay: 0, failJobBatchDelay: 0,
  };
  return run({
    pgPool: pool, concurrency, noHandleSignals: true, logger,
    taskList: { job: (data, helpers) => job(helpers.job.id) }, preset: { worker },
  });
}

const LOCKED = `SELECT id, locked_by AS owner FROM graphile_worker._private_jobs
  WHERE locked_at IS NOT NULL`;

async function drain ({ pool }, { count, batchSize = 500 }) {
  const seen = { count: 0 };
  const began = performance.now();
  const runner = await work({ pool }, { batchSize }, async () => { seen.count++; });
  for (;;) {
    if (seen.count >= count && await isEmpty(pool)) break;
    await new Promise(go => { setTimeout(go, 5); });
  }
  const ms = performance.now() - began;
  await runner.stop();
  if (seen.count !== count) throw new Error(`Ran ${seen.count} of ${count}`);
  return ms;
}

async function enqueue ({ utils }, { clients, ms }) {
  const ends = performance.now() + ms;
  let count = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (performance.now() < ends) {
      await utils.addJob('job', { n: count });
      count++;
    }
  }));
  return count;
}

module.exports = { LOCKED, open, fill, drain, work, enqueue };
