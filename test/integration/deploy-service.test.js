'use strict';

// deploy/: how a gateway is run. The steps of the Dockerfile are run in an empty folder, and what
// the files for Docker, Kubernetes, systemd, PM2 and nginx say is compared with that service.

const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { parse, parseAllDocuments } = require('yaml');

const { startMidtransFake } = require('../../lib/testing');
const { order, until } = require('../support/gateway-helpers');
const { freePort } = require('../support/ports');
const { closeShared, sharedPostgres } = require('../support/postgres');
const { cleanEnv, makeFolder, pack } = require('../support/sandbox');
const { ROOT } = require('../support/setup');

const read = name => fs.readFileSync(path.join(ROOT, 'deploy', name), 'utf8');

const TOML = read('sekering.toml');
const COMPOSE = parse(read('compose.yaml'));
const KUBERNETES = parseAllDocuments(read('kubernetes.yaml')).map(document => document.toJS());
const [DEPLOYMENT, SERVICE, BUDGET] = ['Deployment', 'Service', 'PodDisruptionBudget']
  .map(kind => KUBERNETES.find(document => document.kind === kind));
const POD = DEPLOYMENT.spec.template;
const [CONTAINER] = POD.spec.containers;
const UNIT = read('sekering.service');
const PORT = 3000;

const TOKENS = {
  SHOP_TOKEN: 'planted-shop-token-0123', OPERATOR_TOKEN: 'planted-operator-token-0123',
  MONITOR_TOKEN: 'planted-monitor-token-0123', MIDTRANS_SERVER_KEY: 'SB-Mid-server-planted',
};

/** The instructions of the Dockerfile by stage: [name, rest of the line]. */
function stagesOf (dockerfile) {
  const stages = [];
  for (const line of dockerfile.split('\n').filter(text => /^[A-Z]/.test(text))) {
    const [, name, rest] = /^([A-Z]+) (.*)$/.exec(line);
    if (name === 'FROM') stages.push([]);
    stages.at(-1).push([name, rest]);
  }
  return stages;
}

const STAGES = stagesOf(read('Dockerfile'));
const LAST = Object.fromEntries(STAGES[1].map(([name, rest]) => [name, rest]));
const commandOf = text => JSON.parse(/(?:^|CMD )(\[.*\])$/.exec(text)[1]);

let folder;
let app;
let port;
let midtrans;
let env;
let child;
let output = '';

beforeAll(async () => {
  folder = makeFolder();
  app = path.join(folder, 'app');
  fs.mkdirSync(app);
  const { file } = await pack(folder);
  // The stage `packages`, in an empty folder, with this checkout in place of the registry's.
  const base = cleanEnv({ SEKERING: file });
  for (const [name, rest] of STAGES[0].filter(([each]) => each === 'RUN')) {
    const { status, stderr } = spawnSync('sh', ['-c', rest],
      { cwd: app, env: base, encoding: 'utf8' });
    expect([name, rest, status, stderr]).toEqual([name, rest, 0, expect.any(String)]);
  }
  port = await freePort();
  midtrans = await startMidtransFake({ serverKey: TOKENS.MIDTRANS_SERVER_KEY });
  const postgres = await sharedPostgres();
  const { url } = midtrans;
  const toml = TOML.replace(`port = ${PORT}`, `port = ${port}`)
    .replace('[midtrans]', `[midtrans]\nsnap_url = "${url}"\ncore_url = "${url}"`);
  fs.writeFileSync(path.join(app, 'sekering.toml'), toml);
  env = { ...base, ...TOKENS, DATABASE_URL: await postgres.createDatabase() };
  const [command, ...args] = commandOf(LAST.CMD);
  child = spawn(command, args, { cwd: app, env, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', text => { output += text; });
  }
  await until(() => checkHealth() === 0 || child.exitCode !== null);
  expect([child.exitCode, output]).toEqual([null, expect.any(String)]);
});

afterAll(async () => {
  if (child?.exitCode === null) {
    child.kill('SIGKILL');
    await once(child, 'close');
  }
  await midtrans?.close();
  await closeShared();
  fs.rmSync(folder, { recursive: true });
});

/** Runs the HEALTHCHECK of the image. */
function checkHealth (at = port) {
  const [command, ...args] = commandOf(LAST.HEALTHCHECK);
  const local = args.map(arg => arg.replace(`:${PORT}/`, `:${at}/`));
  expect(local).not.toEqual(args);
  return spawnSync(command, local, { cwd: app, env, timeout: 60_000 }).status;
}

const ask = async (place, options) =>
  (await fetch(`http://127.0.0.1:${port}${place}`, options)).status;
const withToken = name => ({ headers: { authorization: `Bearer ${TOKENS[name]}` } });

describe('the Dockerfile', () => {
  test('has two stages of the same Node.js, and runs as another user than root', () => {
    expect(STAGES.map(([[, image]]) => image.split(' ')[0])).toEqual([LAST.FROM, LAST.FROM]);
    const [, major] = /^node:(\d+)-/.exec(LAST.FROM);
    expect(Number(major)).toBeGreaterThanOrEqual(20);
    expect(LAST).toMatchObject({ USER: 'node', EXPOSE: String(PORT), STOPSIGNAL: 'SIGTERM' });
    expect(TOML).toContain(`port = ${PORT}\n`);
    // What is copied from outside is there.
    const copies = STAGES[1].filter(([name]) => name === 'COPY')
      .map(([, rest]) => rest.split(' ')[0]).filter(name => !name.startsWith('--from'));
    expect(copies.map(name => fs.existsSync(path.join(ROOT, 'deploy', name)))).toEqual([true]);
  });

  test('makes a service that takes orders, with the tokens of the configuration', async () => {
    const { headers } = withToken('SHOP_TOKEN');
    const post = body => ask('/orders', {
      method: 'POST', headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(await post(order('deployed'))).toBe(201);
    expect(await ask('/metrics', withToken('MONITOR_TOKEN'))).toBe(200);
    expect(await ask('/metrics')).toBe(401);
    expect(await ask('/admin/reliability/session', withToken('OPERATOR_TOKEN'))).toBe(200);
  });

  test('notices by its health check that nothing answers', async () => {
    expect(checkHealth()).toBe(0);
    expect(checkHealth(await freePort())).toBe(1);
  });
});

/** The variables that the configuration reads. */
const variables = () => [...TOML.matchAll(/^[^#\n]*"env:(\w+)"/gm)].map(([, name]) => name).sort();

test('the configuration needs what the others give it', () => {
  const { environment } = COMPOSE.services.gateway;
  expect(Object.keys(environment).sort()).toEqual(variables());
  const [, named] = /# (DATABASE_URL, .*)\n/.exec(read('kubernetes.yaml'));
  expect(named.split(', ').sort()).toEqual(variables());
  const needed = [...JSON.stringify(COMPOSE).matchAll(/\$\{(\w+):\?\}/g)].map(([, name]) => name);
  const comments = read('compose.yaml').split('\n').filter(line => line.startsWith('#')).join('\n');
  expect(needed.filter(name => !comments.includes(name))).toEqual([]);
});

const secondsOf = text => Number(/^(\d+)s?$/.exec(text)[1]);
const SHUTDOWN_S = secondsOf(/shutdown_timeout = "(\w+)"/.exec(TOML)[1]);

test('each gives the gateway time to finish', () => {
  const [sleep, seconds] = CONTAINER.lifecycle.preStop.exec.command;
  expect(sleep).toBe('sleep');
  expect(POD.spec.terminationGracePeriodSeconds).toBeGreaterThan(Number(seconds) + SHUTDOWN_S);
  expect(secondsOf(COMPOSE.services.gateway.stop_grace_period)).toBeGreaterThan(SHUTDOWN_S);
  expect(secondsOf(/TimeoutStopSec=(\d+)/.exec(UNIT)[1])).toBeGreaterThan(SHUTDOWN_S);
  expect(require('../../deploy/pm2.config').apps[0].kill_timeout / 1000)
    .toBeGreaterThan(SHUTDOWN_S);
});

describe('compose.yaml', () => {
  test('publishes the port of the gateway, to this machine only', () => {
    expect(COMPOSE.services.gateway.ports).toEqual([`127.0.0.1:${PORT}:${PORT}`]);
  });

  test('starts the gateway when the database answers', () => {
    const { gateway, database } = COMPOSE.services;
    expect(gateway.depends_on.database.condition).toBe('service_healthy');
    expect(database.healthcheck.test[1]).toBe('pg_isready');
    const url = new URL(gateway.environment.DATABASE_URL.replace(/\$\{.*\}/, 'x'));
    expect([url.hostname, url.username, url.pathname]).toEqual(['database',
      database.environment.POSTGRES_USER, `/${database.environment.POSTGRES_DB}`]);
    expect(database.volumes[0].split(':')[0] in COMPOSE.volumes).toBe(true);
  });
});

describe('kubernetes.yaml', () => {
  test.each(['startupProbe', 'livenessProbe', 'readinessProbe'])('%s asks an address that answers',
    async probe => {
      const { path: place, port: name } = CONTAINER[probe].httpGet;
      expect(await ask(place)).toBe(200);
      expect(CONTAINER.ports.find(entry => entry.name === name).containerPort).toBe(PORT);
    });

  test('the start may take as long as the gateway waits for its database', () => {
    const { periodSeconds, failureThreshold } = CONTAINER.startupProbe;
    expect(periodSeconds * failureThreshold).toBeGreaterThan(60);
  });

  test('its parts name each other', () => {
    const { labels } = POD.metadata;
    const selectors = [DEPLOYMENT.spec.selector.matchLabels, SERVICE.spec.selector,
      BUDGET.spec.selector.matchLabels,
      POD.spec.topologySpreadConstraints[0].labelSelector.matchLabels];
    for (const selector of selectors) expect(selector).toEqual(labels);
    const ports = CONTAINER.ports.map(({ name }) => name);
    expect(ports).toContain(SERVICE.spec.ports[0].targetPort);
    expect(BUDGET.spec.minAvailable).toBeLessThan(DEPLOYMENT.spec.replicas);
    const [mount] = CONTAINER.volumeMounts;
    expect(mount.mountPath).toBe(path.posix.join(LAST.WORKDIR, mount.subPath));
    expect(POD.spec.volumes.map(({ name }) => name)).toEqual([mount.name]);
  });
});

describe('without containers', () => {
  test('the unit is one that systemd accepts', () => {
    const verify = text => {
      const file = path.join(folder, 'sekering.service');
      fs.writeFileSync(file, text);
      const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file],
        { encoding: 'utf8' });
      return { status, ofOurs: stderr.includes('sekering.service') };
    };
    expect(verify(UNIT)).toEqual({ status: 0, ofOurs: false });
    expect(verify(UNIT.replace('Restart=always', 'Restart=maybe')).ofOurs).toBe(true);
  });

  test('systemd and PM2 start what the image starts', () => {
    const [, script, command] = commandOf(LAST.CMD);
    expect(UNIT).toContain(`ExecStart=/usr/bin/env node ${script} ${command}\n`);
    expect(require('../../deploy/pm2.config').apps[0])
      .toMatchObject({ script, args: command, exec_mode: 'cluster' });
  });
});

describe('nginx', () => {
  test('passes requests on, with the address of the client', async () => {
    const front = await freePort();
    const text = read('nginx.conf').replace('listen 80;', `listen 127.0.0.1:${front};`)
      .replace(`127.0.0.1:${PORT}`, `127.0.0.1:${port}`);
    const names = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
    const temp = names.map(name => `${name}_temp_path ${folder}/${name};`).join('\n');
    fs.writeFileSync(path.join(folder, 'nginx.conf'), `daemon off; pid ${folder}/nginx.pid;
      error_log stderr; events {} http { access_log off; ${temp}\n${text} }`);
    const nginx = spawn('nginx', ['-c', path.join(folder, 'nginx.conf')], { stdio: 'ignore' });
    try {
      const through = (place, options) => fetch(`http://127.0.0.1:${front}${place}`, options);
      await until(() => through('/health').then(({ status }) => status === 200, () => false));
      expect((await through('/webhooks/midtrans', { method: 'POST', body: '{}' })).status)
        .toBeGreaterThanOrEqual(400);
      const { headers } = withToken('OPERATOR_TOKEN');
      const reset = await through('/reset-circuit-breaker/midtrans', {
        method: 'POST',
        headers: { ...headers, origin: `http://127.0.0.1:${front}`, 'x-forwarded-for': '6.6.6.6' },
      });
      expect(reset.status).toBe(200);
      const { entries } = await (await through('/admin/reliability/audit', { headers })).json();
      expect(entries[0]).toMatchObject({ action: 'breaker.reset', address: '127.0.0.1' });
    } finally {
      nginx.kill();
      await once(nginx, 'close');
    }
  });
});

test('SIGTERM ends the service, without an error', async () => {
  const closed = once(child, 'close');
  child.kill(LAST.STOPSIGNAL);
  expect(await closed).toEqual([0, null]);
});
