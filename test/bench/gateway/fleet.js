'use strict';

// All that a measurement needs: a PostgreSQL, the fake, services of two workers, and the load.

const fs = require('node:fs');
const path = require('node:path');

const { Client } = require('pg');

const { regions } = require('../../../lib');
const { startPostgres } = require('../../support/postgres');
const { start } = require('./processes');

const WORKERS = 2;
// As Linux counts CPU time for whoever asks: 100 a second.
const TICK_US = 10_000;

/**
 * CPU time that a process of PostgreSQL and its ended children have taken, in microseconds: its own
 * to the nanosecond, theirs in ticks.
 */
function cpuOf (pid) {
  try {
    const [ns] = fs.readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ');
    const fields = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
    return ns / 1000 + (Number(fields[13]) + Number(fields[14])) * TICK_US;
  } catch {
    // It has just ended, and counts among the children of the first one.
    return 0;
  }
}

/** The ids of a server's processes, the first one first. @param {{ socketDir: string }} postgres */
function processesOf ({ socketDir }) {
  const file = path.join(socketDir, 'data', 'postmaster.pid');
  const pid = fs.readFileSync(file, 'utf8').split('\n')[0];
  const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return [pid, ...children.split(' ')].map(Number);
}

/** CPU of all of a server's processes, in microseconds. */
const usageOf = postgres => processesOf(postgres).reduce((sum, pid) => sum + cpuOf(pid), 0);

/** @returns {Promise<unknown[][]>} the rows that a statement gives */
async function ask (database, text) {
  const client = new Client({ connectionString: database });
  await client.connect();
  try {
    return (await client.query({ text, rowMode: 'array' })).rows;
  } finally {
    await client.end();
  }
}

/** How many bytes of WAL a database's server has written. */
async function walBytes (database) {
  const [[bytes]] = await ask(database, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn");
  return Number(bytes);
}

class Fleet {
  #postgres;
  #started = [];
  #namespace = `load-${process.pid}`;

  async open () {
    this.#postgres = await startPostgres();
    this.#started.push(this.fake = await start('fake.js'), this.load = await start('load.js'));
    return this;
  }

  /** @param {'gateway'|'shop'|'bare'} subject */
  async service (subject, config, execArgv) {
    const database = await this.#postgres.createDatabase();
    const service = await start('service.js', {
      subject, workers: WORKERS, midtrans: this.fake.ready, database, config,
      namespace: this.#namespace,
    }, execArgv);
    this.#started.push(service);
    return { name: subject, url: service.ready, database, ask: service.ask };
  }

  /** CPU of all of the database's processes, in microseconds. */
  databaseUsage () {
    return usageOf(this.#postgres);
  }

  /** The gateway's orders as [id, state, token]. */
  async orders ({ database }) {
    return ask(database, 'SELECT order_id, state, token FROM sekering.payment_orders');
  }

  /** How many bytes of WAL the database has written. */
  async walBytes ({ database }) { return walBytes(database); }

  async close () {
    for (const process of this.#started.reverse()) await process.stop();
    await this.#postgres?.close();
    const own = regions.list().filter(({ namespace }) => namespace.startsWith(this.#namespace));
    for (const { namespace } of own) regions.remove(namespace);
  }
}

const openFleet = () => new Fleet().open();

module.exports = { WORKERS, ask, openFleet, processesOf, usageOf, walBytes };
