'use strict';

// Commands around a server: sekering init, check, migrate, grants, serve and demo.

const fs = require('node:fs');
const path = require('node:path');

const { CliError, EXIT, integer, withSession } = require('./session');
const { plain, table } = require('./terminal');

// The other parts of the gateway are loaded by the commands that need them: they take a while.

const PROBE_MS = 5000;
// All sections of a configuration, with comments.
const TEMPLATE = path.join(__dirname, 'sekering.toml');

async function init (session, file) {
  try {
    // Readable only by its owner: it may get secrets later.
    fs.writeFileSync(file, fs.readFileSync(TEMPLATE), { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    throw new CliError('ERR_CLI_FILE', cause.code === 'EEXIST'
      ? `${file} already exists` : `Cannot write ${file} (${cause.code})`, EXIT.failed,
    { cause });
  }
  session.answer({ file }, () => `Wrote ${file}. Next: sekering check`);
}

/** The settings of the store. The owner of its schema may have another address. */
function storeOf ({ config, env, options: { url } }) {
  if (url === undefined) return config.store;
  const { readConfig } = require('../gateway/config');
  const { store } = readConfig({ store: { url } }, { env });
  return { ...config.store, url: store.url, directUrl: undefined, directory: undefined,
    memory: undefined };
}

async function migrate (session) {
  const { placeOf } = require('../gateway/gateway');
  const answer = await require('../store').migrateStore(placeOf(storeOf(session)));
  session.answer(answer, ({ applied, version }) => (applied.length === 0
    ? `Already at version ${version}` : `${applied.join('\n')}\nNow at version ${version}`));
}

async function grants (session, { role = userOf(session.config.store.url) }) {
  const { grantsFor } = require('../store/migrate');
  if (role === undefined) {
    throw new CliError('ERR_CLI_USAGE', 'Pass --role, or set the user in store.url', EXIT.usage);
  }
  const statements = grantsFor(session.config.store.schema ?? 'sekering', role);
  session.answer({ role, statements }, () => statements.join('\n'));
}

const userOf = url => (url === undefined ? undefined
  : decodeURIComponent(new URL(url.replace('@/', '@host/')).username) || undefined);

/** Opens the store with the schema that it has. @returns {Promise<string | undefined>} a note */
async function tryStore ({ config }) {
  const { placeOf } = require('../gateway/gateway');
  try {
    const store = await require('../store').openStore({ ...placeOf(config.store), migrate: false });
    await store.close();
    return undefined;
  } catch (error) {
    if (error.code !== 'ERR_STORE_NOT_MIGRATED' || config.store.migrate === false) throw error;
    return 'serve will migrate its schema';
  }
}

/** Requests that change nothing. If one resolves to a text, that is shown. */
function probesOf (session, clients) {
  const { canShare, regions } = require('../base/regions');
  const { midtrans, smtp, whatsapp } = clients;
  return {
    ...canShare && { regions: async () => regions.directory() },
    store: () => tryStore(session),
    ...midtrans && { midtrans: () => midtrans.ping({ signal: AbortSignal.timeout(PROBE_MS) }) },
    ...Object.fromEntries((smtp?.relays ?? []).map(relay =>
      [relay.breaker.name, async () => { await relay.verify({ timeout: PROBE_MS }); }])),
    ...whatsapp && { whatsapp: () => whatsapp.ping({ signal: AbortSignal.timeout(PROBE_MS) }) },
  };
}

async function tryProbe (name, probe) {
  try {
    const note = await probe();
    return { name, ok: true, ...typeof note === 'string' && { note } };
  } catch (error) {
    // A running server locks its embedded database. That is no fault.
    if (error.code === 'ERR_STORE_DIRECTORY_LOCKED') return { name, ok: true, note: 'in use' };
    return { name, ok: false, code: error.code ?? error.name, note: error.message };
  }
}

async function check (session) {
  const { referencesOf } = require('../gateway/config');
  const { makeClients } = require('../gateway/services');
  const { config } = session;
  const { clients, orders, breakers } = makeClients({
    ...config, retry: { ...config.retry, circuitBreaker: { scope: 'instance' } }
  });
  const results = await Promise.all(Object.entries(probesOf(session, clients))
    .map(([name, probe]) => tryProbe(name, probe)));
  for (const client of [...Object.values(clients), orders]) await client?.close();
  for (const breaker of Object.values(breakers)) breaker.shutdown();
  const references = referencesOf(config);
  const rows = Object.entries(references).map(row => row.map(cell => plain(cell)));
  session.answer({ config: session.configFile ?? null, references, results }, () => [
    `Configuration: ${session.configFile ?? 'none, only defaults'}`,
    ...rows.length === 0 ? [] : [table(['SETTING', 'FROM'], rows)],
    table(['PART', 'REACHABLE', 'CODE', ''], results.map(({ name, ok, code = '', note = '' }) =>
      [name, ok ? 'yes' : 'no', code, plain(note)])),
  ].join('\n'));
  if (results.some(({ ok }) => !ok)) process.exitCode = EXIT.failed;
}

/**
 * Resolves when the program should end. Further signals are ignored, so that they do not cut off
 * what is in flight: npm repeats a signal that the terminal has already sent, for one.
 */
function interrupted () {
  return new Promise(resolve => { process.on('SIGINT', resolve).on('SIGTERM', resolve); });
}

async function serve (session, { port }) {
  const { createGateway } = require('../gateway/gateway');
  const { startServer } = require('../http/app');
  const { config } = session;
  const gateway = await createGateway(port === undefined ? config : {
    ...config, server: { ...config.server, port },
  }, { env: session.env });
  const server = await startServer(gateway);
  session.answer({ url: server.url }, ({ url }) => `Listening on ${url}`);
  await interrupted();
  await server.close();
}

async function demo (session, options) {
  const { runDemo } = require('./demo');
  process.exitCode = await runDemo({ ...options, json: session.options.json });
}

function addSetUpCommands (program) {
  program.command('serve')
    .description('run the gateway')
    .option('--port <port>', 'overrides server.port', integer(0, 65_535))
    .action(withSession(serve));
  program.command('demo')
    .description('run the gateway against fake upstreams that break')
    .option('--seconds <n>', 'stop after n seconds (default: 15 without a terminal)',
      integer(5, 3600))
    .option('--port <port>', 'of the dashboard; 0 for any free port', integer(0, 65_535))
    .option('--directory <folder>', 'folder of its database')
    .action(withSession(demo));
  program.command('init')
    .description('write a commented configuration file')
    .argument('[file]', 'name of the file', 'sekering.toml')
    .action(withSession(init));
  program.command('check')
    .description('check the configuration, and whether every service can be reached')
    .action(withSession(check));
  program.command('migrate')
    .description('update the database schema; --url: address of the database for its owner')
    .action(withSession(migrate));
  program.command('grants')
    .description('print the SQL that gives a role what serve needs once the schema is migrated')
    .option('--role <name>', 'the role (default: the user in store.url)')
    .action(withSession(grants));
}

module.exports = { addSetUpCommands };
