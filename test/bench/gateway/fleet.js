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

/** CPU time that a process and its ended children have taken, in microseconds. */
function cpuOf (pid) {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * TICK_US;
}

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
    const file = path.join(this.#postgres.socketDir, 'data', 'postmaster.pid');
    const pid = fs.readFileSync(file, 'utf8').split('\n')[0];
    const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return [pid, ...children.split(' ')].reduce((sum, each) => sum + cpuOf(each), 0);
  }

  /** The gateway's orders as [id, state, token]. */
  async orders ({ database }) {
    return ask(database, 'SELECT order_id, state, token FROM sekering.payment_orders');
  }

  /** How many bytes of WAL the database has written. */
  async walBytes ({ database }) {
    const [[bytes]] = await ask(database, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn");
    return Number(bytes);
  }

  async close () {
    for (const process of this.#started.reverse()) await process.stop();
    await this.#postgres?.close();
    const own = regions.list().filter(({ namespace }) => namespace.startsWith(this.#namespace));
    for (const { namespace } of own) regions.remove(namespace);
  }
}

const openFleet = () => new Fleet().open();

module.exports = { WORKERS, openFleet };
