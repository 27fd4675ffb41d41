'use strict';

// Shards: a PostgreSQL server and a gateway each. All have the same Midtrans, as shards of one
// merchant do, and the same configuration besides the database.

const { regions } = require('../../../lib');
const { startPostgres } = require('../../support/postgres');
const { ask, processesOf, usageOf, walBytes } = require('../gateway/fleet');
const { start } = require('../gateway/processes');

let groups = 0;

class Shards {
  #namespace;
  #started = [];
  #servers = [];
  /** Of each shard: its gateway's address, and that of its database. */
  #services = [];

  /** @param {{ count: number, config?: object }} options `config` of each gateway */
  async open ({ count, config }) {
    groups += 1;
    this.#namespace = `shards-${process.pid}-${groups}`;
    this.#started.push(this.fake = await start('fake.js'), this.load = await start('load.js'));
    for (let i = 0; i < count; i++) {
      const server = await startPostgres();
      this.#servers.push(server);
      const database = await server.createDatabase();
      const service = await start('service.js', {
        subject: 'gateway', workers: 1, midtrans: this.fake.ready, database, config,
        namespace: this.#namespace,
      });
      this.#started.push(service);
      this.#services.push({ url: service.ready, database, ask: service.ask });
    }
    return this;
  }

  get count () { return this.#services.length; }

  /** Of the first so many shards. */
  urls (count = this.count) { return this.#services.slice(0, count).map(({ url }) => url); }

  /**
   * What the first so many shards have used until now: statements, bytes of WAL, and µs of CPU of
   * the gateways and of the databases.
   */
  async used (count) {
    const services = this.#services.slice(0, count);
    const sum = async each => (await Promise.all(services.map(each))).reduce((a, b) => a + b, 0);
    return {
      statements: await sum(service => service.ask('statements')),
      wal: await sum(({ database }) => walBytes(database)),
      gateway: await sum(service => service.ask('usage')),
      database: this.#servers.slice(0, count).reduce((us, server) => us + usageOf(server), 0),
    };
  }

  /** The orders of each shard as [id, state, token]. */
  async ordersByShard () {
    return Promise.all(this.#services.map(({ database }) =>
      ask(database, 'SELECT order_id, state, token FROM sekering.payment_orders')));
  }

  /** The orders of all shards, as those of one gateway. */
  async orders () { return (await this.ordersByShard()).flat(); }

  /** Lets the servers write down every statement with its values during `work`. */
  async logged (work) {
    const set = async text => {
      for (const server of this.#servers) {
        await server.query(text);
        await server.reload();
      }
    };
    const before = this.#servers.map(server => server.log().length);
    await set("ALTER SYSTEM SET log_statement = 'all'");
    await work();
    await set('ALTER SYSTEM RESET log_statement');
    return this.#servers.map((server, i) => server.log().slice(before[i]));
  }

  /** Ends a shard's server, as a restart does. */
  async stop (shard) { await this.#servers[shard].stop(); }

  async start (shard) { await this.#servers[shard].start(); }

  /** Lets a shard's server stand still: connections stay, and nobody answers. */
  freeze (shard) { this.#signal(shard, 'SIGSTOP'); }

  thaw (shard) { this.#signal(shard, 'SIGCONT'); }

  #signal (shard, signal) {
    // The first one starts the others, so none is missed.
    const [first] = processesOf(this.#servers[shard]);
    process.kill(first, signal);
    for (const pid of processesOf(this.#servers[shard]).slice(1)) process.kill(pid, signal);
  }

  async close () {
    for (const process of this.#started.reverse()) await process.stop();
    for (const server of this.#servers) await server.close();
    const own = regions.list().filter(({ namespace }) => namespace.startsWith(this.#namespace));
    for (const { namespace } of own) regions.remove(namespace);
  }
}

/** @returns {Promise<Shards>} */
async function openShards (options) {
  const shards = new Shards();
  try {
    return await shards.open(options);
  } catch (error) {
    await shards.close();
    throw error;
  }
}

module.exports = { openShards };
