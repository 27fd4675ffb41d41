'use strict';

// sekering init, check, migrate, serve and demo

const fs = require('node:fs');

const { makeClients } = require('../gateway/services');
const { placeOf } = require('../gateway/gateway');
const { openStore } = require('../store');
const { CliError, EXIT } = require('./admin-client');
const { CONFIG } = require('./init-file');
const { plain, table } = require('./tables');

const PROBE_MS = 5000;

async function init (session, file) {
  try {
    // Others may use the machine; what is filled in later may be a secret.
    fs.writeFileSync(file, CONFIG, { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    throw new CliError('ERR_CLI_FILE', cause.code === 'EEXIST'
      ? `${file} is there already` : `${file} cannot be written (${cause.code})`, EXIT.failed,
    { cause });
  }
  session.answer({ file }, () => `${file} is written. Next: sekering check`);
}

const open = (session, options) => openStore({ ...placeOf(session.config.store), ...options });

async function migrate (session) {
  // Opening it does it; asking again tells the version.
  const store = await open(session, { migrate: false });
  try {
    const answer = await store.migrate();
    session.answer(answer, ({ applied, version }) => (applied.length === 0
      ? `Nothing to do: version ${version}` : `${applied.join('\n')}\nNow version ${version}`));
  } finally {
    await store.close();
  }
}

/** Each asks something that changes nothing. */
function probesOf (session, clients) {
  const { midtrans, smtp, whatsapp } = clients;
  return {
    store: async () => {
      const store = await open(session, { migrate: false });
      const { ok, error } = await store.health();
      await store.close();
      if (!ok) throw new Error(error);
    },
    ...midtrans && { midtrans: () => midtrans.ping({ signal: AbortSignal.timeout(PROBE_MS) }) },
    ...smtp && { smtp: () => smtp.verify({ timeout: PROBE_MS }) },
    ...whatsapp && { whatsapp: () => whatsapp.ping({ signal: AbortSignal.timeout(PROBE_MS) }) },
  };
}

async function ask (name, probe) {
  try {
    await probe();
    return { name, ok: true };
  } catch (error) {
    // A running server has the embedded database to itself, and that is as it should be.
    if (error.code === 'ERR_STORE_DIRECTORY_LOCKED') return { name, ok: true, note: 'in use' };
    return { name, ok: false, code: error.code ?? error.name, note: error.message };
  }
}

async function check (session) {
  const { config } = session;
  const { clients, orders, breakers } = makeClients({
    ...config, retry: { ...config.retry, circuitBreaker: { scope: 'instance' } }
  });
  const results = await Promise.all(Object.entries(probesOf(session, clients))
    .map(([name, probe]) => ask(name, probe)));
  for (const client of [...Object.values(clients), orders]) await client?.close();
  for (const breaker of Object.values(breakers)) breaker.shutdown();
  session.answer({ config: session.configFile ?? null, results }, () => [
    `Configuration: ${session.configFile ?? 'none, all defaults'}`,
    table(['PART', 'ANSWERS', 'CODE', ''], results.map(({ name, ok, code = '', note = '' }) =>
      [name, ok ? 'yes' : 'no', code, plain(note)])),
  ].join('\n'));
  if (results.some(({ ok }) => !ok)) process.exitCode = EXIT.failed;
}

/**
 * Resolves when somebody wants the program to end. Whoever says so twice (npm passes on what a
 * terminal has sent already) must not cut off what is in flight: the time for that is limited.
 */
function interrupted () {
  return new Promise(resolve => { process.on('SIGINT', resolve).on('SIGTERM', resolve); });
}

async function serve (session, { port }) {
  const { createGateway } = require('../gateway');
  const { startServer } = require('../http');
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

module.exports = { check, demo, init, migrate, serve };
