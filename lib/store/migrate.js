'use strict';

// Brings the schema up to date: applies each file of sql/ once, in the order of their numbers. All
// of it is one transaction, so that a schema is never half-made. One role may own the schema, and
// another use it, with the rights that `grantsFor` lists.

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { quote } = require('./sql-client');
const { StoreError } = require('./store-errors');

const FOLDER = path.join(__dirname, 'sql');
const FILE = /^(\d{3})-[a-z0-9-]+\.sql$/;

// An index on a large table takes time, and so does waiting for the migration of another process.
const TIMEOUT_MS = 600_000;

const OPTIONS = optionsOf({
  folder: is.text('with the migrations', { default: FOLDER }),
  dryRun: is.boolean('only checks that the schema is that of this release', { default: false }),
});

const NO_RIGHT = '42501';
const NO_COLUMN = '42703';

/** Runs what the rights of the role may not suffice for, and says then who can help. */
async function withRights (advice, work) {
  try {
    return await work();
  } catch (error) {
    if (read(error, 'sqlState') !== NO_RIGHT) throw error;
    throw new StoreError('ERR_STORE_QUERY', advice, { cause: error, sqlState: NO_RIGHT });
  }
}

/** The migrations of a folder in their order: `{ version, name, text, checksum }`. */
function readMigrations (folder) {
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

const asOwner = (database, work) => withRights(
  `The schema ${database.schema} needs migrations, and this role may not make them: run ` +
  '"sekering migrate" as the owner of the schema', work);

/** The applied migrations by version; undefined if there is no schema yet. */
async function readApplied (database, client) {
  // From the catalog itself: to_regclass may answer with what was true before we got the lock.
  const { rows: [{ exists }] } = await client.query(`SELECT EXISTS (SELECT FROM pg_class
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = $1)
    AND relname = 'migrations') AS exists`, [database.schemaName]);
  if (!exists) return undefined;
  try {
    const { rows } = await withRights(`This role has no rights on the schema ${database.schema}. ` +
      'The output of "sekering grants --role <role>", run as its owner, grants them',
    () => client.query(
      `SELECT version, name, checksum FROM ${database.schema}.migrations ORDER BY version`));
    return new Map(rows.map(row => [row.version, row]));
  } catch (error) {
    if (read(error, 'sqlState') !== NO_COLUMN) throw error;
    throw mismatch(`The table migrations in the schema ${database.schema} is not one of ` +
      'sekering: use another schema');
  }
}

/** The migrations still to be applied, if those that were are ours. */
function pendingOf (migrations, applied, schema) {
  const latest = migrations.at(-1)?.version ?? 0;
  const present = Math.max(0, ...applied.keys());
  if (present > latest) {
    throw mismatch(`The schema ${schema} has version ${present}, but this release of sekering ` +
      `knows no later version than ${latest}: use the newer release`);
  }
  for (const { version, name, checksum } of migrations) {
    const row = applied.get(version);
    if (row !== undefined && row.checksum !== checksum) {
      throw mismatch(`The schema ${schema} was made by ${row.name}, which differs from the ` +
        `${name} of this release of sekering`);
    }
  }
  return migrations.filter(({ version }) => !applied.has(version));
}

/** Makes the schema. If there is one, this needs no rights except those on the schema. */
async function makeSchema (database, client) {
  const { rows: [{ exists }] } = await client.query(
    'SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS exists', [database.schemaName]);
  if (!exists) {
    await withRights(`The schema ${database.schema} does not exist, and this role may not create ` +
      `it. The owner of the database can: CREATE SCHEMA ${database.schema} AUTHORIZATION <role>`,
    () => client.query(`CREATE SCHEMA ${database.schema}`));
  }
  await asOwner(database, () => client.query(`CREATE TABLE IF NOT EXISTS
    ${database.schema}.migrations (version integer PRIMARY KEY, name text NOT NULL,
      checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())`));
}

/** @returns {Promise<string[]>} the names of the migrations that were applied now */
async function applyPending (database, client, migrations) {
  // Other processes that open the store now wait here, and then find nothing to do.
  await client.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 0))',
    [`sekering.migrate.${database.schemaName}`]);
  let applied = await readApplied(database, client);
  if (applied === undefined) {
    await makeSchema(database, client);
    applied = new Map();
  }
  const pending = pendingOf(migrations, applied, database.schema);
  for (const { version, name, text, checksum } of pending) {
    await asOwner(database, () =>
      client.script(text.replaceAll('{schema}', () => database.schema)));
    await client.query(
      `INSERT INTO ${database.schema}.migrations (version, name, checksum) VALUES ($1, $2, $3)`,
      [version, name, checksum]);
  }
  return pending.map(({ name }) => name);
}

/**
 * @param {import('./sql-client').Database} database
 * @param {object} [options] as OPTIONS
 * @returns {Promise<{ applied: string[], version: number }>}
 * @throws {StoreError} ERR_STORE_SCHEMA_VERSION, ERR_STORE_NOT_MIGRATED for a dry run
 */
async function migrate (database, options) {
  const { folder, dryRun } = OPTIONS.read(options);
  const migrations = readMigrations(folder);
  const applied = await readApplied(database, database) ?? new Map();
  const pending = pendingOf(migrations, applied, database.schema);
  const version = migrations.at(-1)?.version ?? 0;
  if (pending.length === 0) return { applied: [], version };
  if (dryRun) {
    throw new StoreError('ERR_STORE_NOT_MIGRATED', `The schema ${database.schema} is not ` +
      `migrated (it has version ${Math.max(0, ...applied.keys())}, this release needs ` +
      `${version}): run "sekering migrate" as the owner of the schema`);
  }
  const names = await database.transaction(
    client => applyPending(database, client, migrations), { timeout: TIMEOUT_MS });
  return { applied: names, version };
}

/**
 * The statements that give a role all rights that the store needs, except that to migrate: for the
 * owner of the schema. The last one is for tables of later migrations.
 * @param {string} schema @param {string} role their names
 */
function grantsFor (schema, role) {
  const [place, user] = [quote(schema), quote(role)];
  const rights = 'SELECT, INSERT, UPDATE, DELETE';
  return [
    `GRANT USAGE ON SCHEMA ${place} TO ${user};`,
    `GRANT ${rights} ON ALL TABLES IN SCHEMA ${place} TO ${user};`,
    `REVOKE INSERT, UPDATE, DELETE ON ${place}.migrations FROM ${user};`,
    `ALTER DEFAULT PRIVILEGES IN SCHEMA ${place} GRANT ${rights} ON TABLES TO ${user};`,
  ];
}

module.exports = { grantsFor, migrate };
