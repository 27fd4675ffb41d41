'use strict';

// Commands around a server: sekering init, check, migrate, grants, serve and demo.

const fs = require('node:fs');

const clock = require('../base/clock');
const { checkPeers } = require('../base/peer');
const { packagesOf } = require('../gateway/packages');
const { PARTS, init } = require('./init');
const { CliError, EXIT, choices, integer, withSession } = require('./session');
const { plain, table } = require('./terminal');

// The other parts of the gateway are loaded by the commands that need them: they take a while.

const PROBE_MS = 5000;
const NOTE_MAX = 1000;
// How soon the end of npx is noticed.
const PARENT_MS = 500;
// The shell of npx, which can end before the gateway has started.
const PARENT = process.ppid;

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

/** Which engine runs, and why it is not the binary. */
function describeEngine () {
  const { engine, whyWasm } = require('../base/native');
  return engine === 'wasm' ? `WebAssembly, since the binary is not used: ${whyWasm}` : 'the binary';
}

/** Requests that change nothing. If one resolves to a text, that is shown. */
function probesOf (session, clients) {
  const { hasFiles, regions } = require('../base/regions');
  const { midtrans, smtp, whatsapp } = clients;
  return {
    engine: async () => describeEngine(),
    ...hasFiles && { regions: async () => regions.directory() },
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

/** Whether the note goes below the table: cells are cut. */
const isLong = ({ ok, note = '' }) => !ok || plain(note) !== plain(note, NOTE_MAX);

async function check (session) {
  const { referencesOf } = require('../gateway/config');
  const { makeClients } = require('../gateway/services');
  const { config } = session;
  checkPeers(packagesOf(config, { server: true }), 'sekering check');
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
    table(['PART', 'REACHABLE', 'CODE', ''], results.map(result =>
      [result.name, result.ok ? 'yes' : 'no', result.code ?? '',
        isLong(result) ? '' : result.note ?? ''])),
    // In full: it may be a command.
    ...results.filter(isLong).map(({ name, note }) => `${name}: ${plain(note, NOTE_MAX)}`),
  ].join('\n'));
  if (results.some(({ ok }) => !ok)) process.exitCode = EXIT.failed;
}

/**
 * Resolves when the program should end. Further signals are ignored, so that they do not cut off
 * what is in flight: npm repeats a signal that the terminal has already sent, for one.
 */
function interrupted ({ env }) {
  return new Promise(resolve => {
    process.on('SIGINT', resolve).on('SIGTERM', resolve);
    // npx and npm pass signals on to a shell, which dies of them and tells nobody.
    if (env.npm_command === undefined) return;
    const look = () => {
      if (process.ppid !== PARENT) return resolve();
      clock.setTimer(look, PARENT_MS, false);
    };
    look();
  });
}

/** What is on, what is off, and where everything is, in lines. */
function placesOf ({ url, on, off, token, local }) {
  return [
    `Listening on ${url}`,
    `  dashboard  ${url}/dashboard/  (${token ?? 'no token: set admin.tokens'})`,
    `  API        ${url}/orders, ${url}/notifications`,
    ...['midtrans', 'whatsapp'].filter(name => on.some(each => each.startsWith(name)))
      .map(name => `  webhooks   ${url}/webhooks/${name}`),
    `  on         ${on.join(', ')}`,
    ...off.map(each => `  off        ${each}`),
    ...local.length === 0 ? []
      : [`  note       on this machine: ${local.join(', ')} (fakes of init need serve --fakes)`],
  ].join('\n');
}

/** Whether the embedded database has yet to be made. */
function isNew ({ url, memory, directory }) {
  const { DIRECTORY } = require('../store/database');
  return url === undefined && !memory && !fs.existsSync(directory ?? DIRECTORY);
}

function partsOf (config, fakes = {}) {
  const parts = ['midtrans', 'smtp', 'whatsapp'];
  const { url, memory } = config.store;
  const embedded = memory ? 'database in memory' : 'embedded database';
  const [present, absent] = [parts.filter(name => config[name] !== undefined),
    parts.filter(name => config[name] === undefined)];
  return {
    on: [
      url === undefined ? embedded : 'PostgreSQL',
      ...present.map(name => (name in fakes ? `${name} (fake)` : name)),
    ],
    off: [
      ...absent.map(name => `${name}: there is no section ${name}`),
      ...config.server.tokens.length === 0 ? ['orders and messages: set server.tokens'] : [],
      ...config.admin.tokens.length === 0 ? ['dashboard and commands: set admin.tokens'] : [],
    ],
  };
}

/** The upstreams that are on this machine. */
const localOf = ({ midtrans, smtp, whatsapp }) => Object.entries({
  midtrans: midtrans?.coreUrl, smtp: smtp?.host, whatsapp: whatsapp?.cloud?.baseUrl,
}).filter(([, place]) => /^(https?:\/\/)?(127\.|localhost\b)/.test(place)).map(([name]) => name);

async function serve (session, { port, fakes: wantsFakes }) {
  const config = session.neededConfig;
  checkPeers(packagesOf(config, { server: true }), 'sekering serve');
  const { startFakes } = require('./fakes');
  const started = wantsFakes ? await startFakes(config) : undefined;
  try {
    await serveWith(session, config, { port, started });
  } finally {
    await started?.close();
  }
}

/** A gateway whose server cannot start must not keep this process. */
async function startServerOf (gateway, options) {
  const { startServer } = require('../http/app');
  try {
    return await startServer(gateway, options);
  } catch (error) {
    await gateway.stop();
    throw error;
  }
}

/** @param {{ port?: number, started?: object }} options started: fakes */
async function serveWith (session, config, { port, started }) {
  const { createGateway } = require('../gateway/gateway');
  const { addFakes } = require('./fakes');
  if (isNew(config.store)) console.error('Making the embedded database, which takes a moment');
  const gateway = await createGateway(port === undefined ? config : {
    ...config, server: { ...config.server, port },
  }, { env: session.env });
  const server = await startServerOf(gateway, {
    extend: app => { if (started !== undefined) addFakes(app, { ...started, config }); },
  });
  const { on, off } = partsOf(config, started?.fakes);
  const local = started === undefined ? localOf(config) : [];
  const [user] = config.admin.tokens;
  const token = user && `token "${user.name}" of ${session.configFile ?? 'the configuration'}`;
  // Signals are heard before anybody can see that it runs.
  const end = interrupted(session);
  session.answer({ url: server.url, dashboard: `${server.url}/dashboard/`, on, off },
    answer => placesOf({ ...answer, token, local }));
  await end;
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
    .option('--fakes', 'start fakes of the upstreams that the configuration has on this machine')
    .action(withSession(serve));
  program.command('demo')
    .description('run the gateway against fake upstreams that break')
    .option('--seconds <n>', 'stop after n seconds (default: 15 without a terminal)',
      integer(5, 3600))
    .option('--port <port>', 'of the dashboard; 0 for any free port', integer(0, 65_535))
    .option('--directory <folder>', 'folder of its database')
    .action(withSession(demo));
  program.command('init')
    .description('write a configuration file with new tokens, and install what it needs')
    .argument('[file]', 'name of the file', 'sekering.toml')
    .option('--with <parts>', `${PARTS.join(', ')}, separated by commas`, choices(PARTS))
    .option('--fakes', 'with fakes of the upstreams, to try it out (serve --fakes)')
    .option('--install', 'install the packages that are missing')
    .option('--no-install', 'only print the command that does')
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
