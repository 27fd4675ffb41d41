'use strict';

// Brings the schema up to date: the files of sql/, in the order of their numbers, each once. The
// whole run is one transaction, so that a schema is never half-made.

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { StoreError } = require('./store-errors');

const FOLDER = path.join(__dirname, 'sql');
const FILE = /^(\d{3})-[a-z0-9-]+\.sql$/;

// An index on a large table takes its time, and so does another's migration that we wait for.
const TIMEOUT_MS = 600_000;

const NO_RIGHT = '42501';

/** The migrations that there are: `{ version, name, text, checksum }`, in order. */
function readMigrations (folder = FOLDER) {
  return fs.readdirSync(folder).filter(file => FILE.test(file)).sort().map(file => {
    const text = fs.readFileSync(path.join(folder, file), 'utf8');
    return {
      version: Number(FILE.exec(file)[1]),
      name: path.basename(file, '.sql'),
      text,
      checksum: createHash('sha256').update(text).digest('hex'),
    };
  });
}

const mismatch = message => new StoreError('ERR_STORE_SCHEMA_VERSION', message);

/** What was applied, by version; undefined when the schema has not been made. */
async function readApplied (database, client) {
  // From the catalog itself: to_regclass may remember what was so before we waited for the lock.
  const { rows: [{ exists }] } = await client.query(`SELECT EXISTS (SELECT FROM pg_class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
    AND relname = 'migrations') AS exists`, [database.schemaName]);
  if (!exists) return undefined;
  const { rows } = await client.query(
    `SELECT version, name, checksum FROM ${database.schema}.migrations ORDER BY version`);
  return new Map(rows.map(row => [row.version, row]));
}

/** Those that are still to be applied, if the ones that were are ours. */
function pendingOf (migrations, applied, schema) {
  const latest = migrations.at(-1)?.version ?? 0;
  const present = Math.max(0, ...applied.keys());
  if (present > latest) {
    throw mismatch(`The schema ${schema} is of version ${present}, and this release of sekering ` +
      `knows no later one than ${latest}: use the newer release`);
  }
  for (const { version, name, checksum } of migrations) {
    const row = applied.get(version);
    if (row !== undefined && row.checksum !== checksum) {
      throw mismatch(`The schema ${schema} was made by another ${row.name} than the ${name} of ` +
        'this release of sekering');
    }
  }
  return migrations.filter(({ version }) => !applied.has(version));
}

/** Makes the schema if it may; one that is there needs no right beyond those on itself. */
async function makeSchema (database, client) {
  const { rows: [{ exists }] } = await client.query(
    'SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS exists', [database.schemaName]);
  if (!exists) {
    try {
      await client.query(`CREATE SCHEMA ${database.schema}`);
    } catch (error) {
      if (error.sqlState !== NO_RIGHT) throw error;
      throw new StoreError('ERR_STORE_QUERY', `The schema ${database.schema} does not exist, and ` +
        `this role may not make it. Its owner can: CREATE SCHEMA ${database.schema} ` +
        'AUTHORIZATION <role>', { cause: error, sqlState: NO_RIGHT });
    }
  }
  await client.query(`CREATE TABLE IF NOT EXISTS ${database.schema}.migrations (
    version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now())`);
}

/** @returns {Promise<string[]>} the names of those that were applied now */
async function applyPending (database, client, migrations) {
  // Others who open the store at this moment wait here, and then find nothing to do.
  await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
    [`sekering.migrate.${database.schemaName}`]);
  let applied = await readApplied(database, client);
  if (applied === undefined) {
    await makeSchema(database, client);
    applied = new Map();
  }
  const pending = pendingOf(migrations, applied, database.schema);
  for (const { version, name, text, checksum } of pending) {
    await client.script(text.replaceAll('{schema}', database.schema));
    await client.query(
      `INSERT INTO ${database.schema}.migrations (version, name, checksum) VALUES ($1, $2, $3)`,
      [version, name, checksum]);
  }
  return pending.map(({ name }) => name);
}

/**
 * @param {object} database of openDatabase
 * @param {{ folder?: string, dryRun?: boolean }} [options] `dryRun` only checks that the schema is
 *   not one of a newer release
 * @returns {Promise<{ applied: string[], version: number }>}
 */
async function migrate (database, { folder, dryRun = false } = {}) {
  const migrations = readMigrations(folder);
  const applied = await readApplied(database, database) ?? new Map();
  const pending = pendingOf(migrations, applied, database.schema);
  if (dryRun) return { applied: [], version: Math.max(0, ...applied.keys()) };
  const version = migrations.at(-1)?.version ?? 0;
  if (pending.length === 0) return { applied: [], version };
  const names = await database.transaction(
    client => applyPending(database, client, migrations), { timeout: TIMEOUT_MS });
  return { applied: names, version };
}

module.exports = { migrate };
