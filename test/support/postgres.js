'use strict';

// A PostgreSQL of its own for a test file: private folder, a free port on loopback, trusted users.
// It syncs its files as in earnest. As root it runs as the user postgres, since it refuses root.

const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { Client } = require('pg');

const { freePort } = require('./ports');
const { ROOT } = require('./setup');

const BIN = '/usr/lib/postgresql/15/bin';
/** Settings that somebody may have made for a server: nothing of ours depends on them. */
const HOSTILE = {
  datestyle: 'German', intervalstyle: 'sql_standard', bytea_output: 'escape',
  timezone: 'Asia/Kathmandu', extra_float_digits: -15, array_nulls: 'off',
  standard_conforming_strings: 'off', default_transaction_isolation: 'serializable',
  default_transaction_deferrable: 'on', row_security: 'off', client_encoding: 'LATIN1',
  transform_null_equals: 'on', backslash_quote: 'off', quote_all_identifiers: 'on',
  search_path: 'another,public',
};

const TEMPLATE = path.join(ROOT, 'node_modules', '.cache', 'sekering', 'postgres-15');

// Ends the server and removes its folder when whoever started it closes the pipe, or is killed.
const WATCHDOG = 'cat >/dev/null; kill -QUIT "$(head -1 "$0/data/postmaster.pid")" 2>/dev/null; ' +
  'for i in 1 2 3 4 5 6 7 8 9 10; do ' +
  'rm -rf "$0" 2>/dev/null; [ -e "$0" ] || break; sleep 0.2; done';

/** Who the server runs as: options of spawn. */
function user () {
  if (process.getuid() !== 0) return {};
  const id = flag => Number(spawnSync('id', [flag, 'postgres'], { encoding: 'utf8' }).stdout);
  return { uid: id('-u'), gid: id('-g') };
}

async function run (program, args, options) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], cwd: '/', ...options });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', text => { output += text; });
  // What it starts in the background may keep the pipes: its own end is what counts.
  const [status] = await once(child, 'exit');
  child.stdout.destroy();
  child.stderr.destroy();
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${output}`);
}

function chown (folder, { uid, gid }) {
  if (uid === undefined) return;
  fs.chownSync(folder, uid, gid);
}

/** Makes a data folder once, as that takes seconds; later ones are copies of it. */
async function makeData (target) {
  const owner = user();
  if (!fs.existsSync(TEMPLATE)) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-initdb-'));
    chown(folder, owner);
    await run(path.join(BIN, 'initdb'), ['-D', path.join(folder, 'data'), '-U', 'postgres',
      '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'], owner);
    fs.mkdirSync(path.dirname(TEMPLATE), { recursive: true });
    const copy = `${TEMPLATE}.${process.pid}`;
    await run('cp', ['-a', path.join(folder, 'data'), copy]);
    fs.rmSync(folder, { recursive: true });
    try {
      fs.renameSync(copy, TEMPLATE);
    } catch {
      // Another test has made it at the same time.
      fs.rmSync(copy, { recursive: true });
    }
  }
  await run('cp', ['-a', TEMPLATE, target]);
}

class Postgres {
  #folder;
  #watchdog;
  #databases = 0;
  #settings;

  constructor (folder, port, settings) {
    this.#folder = folder;
    this.#settings = settings;
    this.port = port;
    this.socketDir = folder;
    this.url = this.urlOf('postgres');
    this.#watchdog = spawn('sh', ['-c', WATCHDOG, folder],
      { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    this.#watchdog.unref();
    this.#watchdog.stdin.unref();
  }

  urlOf (database, user = 'postgres') {
    return `postgres://${user}@127.0.0.1:${this.port}/${database}`;
  }

  #control (...args) {
    return run(path.join(BIN, 'pg_ctl'), [...args, '-w', '-D', path.join(this.#folder, 'data')],
      user());
  }

  async start () {
    const options = `-p ${this.port} -k ${this.#folder} -c listen_addresses=127.0.0.1 ` +
      '-c fsync=on -c max_connections=200 -c shared_buffers=64MB' +
      Object.entries(this.#settings).map(([name, value]) => ` -c ${name}=${value}`).join('');
    await this.#control('start', '-l', path.join(this.#folder, 'log'), '-o', options);
  }

  /** @param {'fast'|'immediate'|'smart'} [mode] */
  async stop (mode = 'fast') {
    await this.#control('stop', '-m', mode);
  }

  async restart (mode) {
    await this.stop(mode);
    await this.start();
  }

  /** One statement as the superuser. */
  async query (text, url = this.url) {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      return await client.query(text);
    } finally {
      await client.end();
    }
  }

  /** @returns {Promise<Postgres>} a hot standby, which follows this server until it is promoted */
  async startStandby () {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-pg-'));
    chown(folder, user());
    await run(path.join(BIN, 'pg_basebackup'), ['-d', this.url, '-D', path.join(folder, 'data'),
      '--write-recovery-conf', '--checkpoint=fast', '--no-sync'], user());
    const standby = new Postgres(folder, await freePort(), this.#settings);
    await standby.start();
    return standby;
  }

  async promote () { await this.#control('promote'); }

  /** @returns {Promise<string>} the address of a new, empty database */
  async createDatabase () {
    this.#databases++;
    const name = `test_${this.#databases}`;
    await this.query(`CREATE DATABASE ${name}`);
    return this.urlOf(name);
  }

  /**
   * The files that it shows to clients of TLS: from now on, or from its start.
   * @param {{ cert: string, key: string, ca?: string }} files `ca` signs certificates of clients
   */
  async setCertificate ({ cert, key, ca }) {
    for (const [name, file] of Object.entries({ 'server.crt': cert, 'server.key': key, ca })) {
      if (file === undefined) continue;
      const target = path.join(this.#folder, 'data', name);
      fs.copyFileSync(file, target);
      fs.chmodSync(target, 0o600);
      chown(target, user());
    }
    if (fs.existsSync(path.join(this.#folder, 'data', 'postmaster.pid'))) await this.reload();
  }

  /** Lets it read its files again, and waits until new connections see what is in them. */
  async reload () {
    const loaded = async () => (await this.query(
      'SELECT pg_conf_load_time()::text AS at')).rows[0].at;
    const before = await loaded();
    await this.#control('reload');
    while (await loaded() === before);
  }

  /** Rules for who may connect how, before those that let everybody in. */
  async allow (...rules) {
    const file = path.join(this.#folder, 'data', 'pg_hba.conf');
    fs.writeFileSync(file, [...rules, fs.readFileSync(file, 'utf8')].join('\n'));
    await this.reload();
  }

  /** What the server has written. */
  log () { return fs.readFileSync(path.join(this.#folder, 'log'), 'utf8'); }

  /** Ends it and removes all that it was. */
  async close () {
    this.#watchdog.ref();
    const ended = once(this.#watchdog, 'exit');
    this.#watchdog.stdin.end();
    await ended;
  }
}

const TLS = "ssl = on\nssl_ca_file = 'ca'\n";

/**
 * @param {Record<string, string | number>} [settings] of the server, besides what tests need
 * @param {{ ssl?: { cert: string, key: string, ca: string } }} [options] `ssl`: see setCertificate
 */
async function startPostgres (settings = {}, { ssl } = {}) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-pg-'));
  const postgres = new Postgres(folder, await freePort(), settings);
  chown(folder, user());
  await makeData(path.join(folder, 'data'));
  if (ssl) {
    // Not on its command line, where no test could change it any more.
    fs.appendFileSync(path.join(folder, 'data', 'postgresql.conf'), TLS);
    await postgres.setCertificate(ssl);
  }
  await postgres.start();
  return postgres;
}

let shared;

/**
 * A schema that every new database has, and that names without a schema are looked up in first. Its
 * tables are called like ours, but have no columns.
 */
function anotherSchema () {
  const folder = path.join(ROOT, 'lib', 'store', 'sql');
  const text = fs.readdirSync(folder)
    .map(file => fs.readFileSync(path.join(folder, file), 'utf8')).join('\n');
  const ours = [...text.matchAll(/^CREATE TABLE \{schema\}\.(\w+)/gm)].map(([, name]) => name);
  return ['CREATE SCHEMA another',
    ...['migrations', ...ours].map(name => `CREATE TABLE another.${name} ()`)].join('; ');
}

async function startHostile () {
  // Only processes die in tests, not the machine, so nothing has to be on the disk.
  const postgres = await startPostgres({ ...HOSTILE, fsync: 'off' });
  await postgres.query(anotherSchema(), postgres.urlOf('template1'));
  return postgres;
}

/** One server for the whole test file, started by the first test that needs it. */
function sharedPostgres () {
  shared ??= startHostile();
  return shared;
}

async function closeShared () {
  await (await shared)?.close();
  shared = undefined;
}

/**
 * The same tests on both engines.
 * @param {(engine: { name: 'postgresql'|'pglite', place: () => Promise<object> }) => void} define
 *   `place()` gives options that lead openStore or openDatabase to an empty database
 */
function describeEngines (name, define) {
  afterAll(closeShared);
  describe(`${name}, on PostgreSQL`, () => {
    const place = async () => ({ url: await (await sharedPostgres()).createDatabase() });
    define({ name: 'postgresql', place });
  });
  describe(`${name}, on PGlite`, () => {
    define({ name: 'pglite', place: async () => ({ memory: true }) });
  });
}

module.exports = {
  HOSTILE, anotherSchema, closeShared, chown, describeEngines, freePort, run, sharedPostgres,
  startPostgres, user,
};
