'use strict';

// The functions that a user gives to a gateway: each throws every value that cannot be read, and
// each never settles. The gateway goes on, says it, and stops.

const { createGateway } = require('../../lib/gateway');
const { startServer } = require('../../lib/http');
const { useVirtualClock } = require('../../lib/testing');
const {
  collector, configFor, startFakes, until
} = require('../support/gateway-helpers');
const { ERRORS } = require('../support/hostile');
const { passTime } = require('../support/passing-time');
const { describeEngines } = require('../support/postgres');

const THROWN = [
  ...ERRORS.filter(([name]) => !/^an error whose/.test(name)),
  ['undefined', () => undefined],
];
const NAMES = THROWN.map(([name]) => name);
const HOOKS = ['onPaid', 'onDenied', 'onFailed', 'onRefund', 'onRefunded', 'onChargeback',
  'onTransition', 'onNotification'];
const UPSTREAM = { preset: 'movieApi', retry: { retries: 0 } };

const throwNth = i => { throw THROWN[i][1](); };
const never = () => new Promise(() => {});

const callbackWarnings = spy => spy.mock.calls
  .filter(([, options]) => options?.code === 'SEKERING_CALLBACK').map(([text]) => text);

/** Where its store is. */
let where = async () => ({});
let fakes;
let gateway;
let server;
let log;

beforeAll(async () => { fakes = await startFakes(); });
afterEach(async () => {
  await server?.close();
  await gateway?.stop({ timeout: 0 });
  server = gateway = undefined;
});
afterAll(() => fakes?.close());

async function start (parts, over) {
  log = collector();
  gateway = await createGateway(configFor(fakes, await where(), over), { logger: log, ...parts });
  await gateway.start();
}

const logged = message => log.lines.filter(line => line.message === message);
const hookOf = (hook, i) => ({
  channel: 'PAYMENT_HOOK', recipient: hook, data: { hook, notice: JSON.stringify({ i }) },
});

test('checks that throw what cannot be read are unhealthy, and the others are answered',
  async () => {
    const checks = Object.fromEntries(THROWN.flatMap((_, i) => [
      [`now${i}`, () => throwNth(i)], [`later${i}`, { check: async () => throwNth(i) }],
    ]));
    await start({ checks: {
      ...checks, never: { check: never, timeout: 1 }, well: () => ({ status: 'healthy' }),
    } });
    for (const look of [1, 2]) {
      const { checks: answers } = await gateway.health.check();
      for (const name of [...Object.keys(checks), 'never']) {
        expect([look, name, answers[name].status]).toEqual([look, name, 'unhealthy']);
        expect(answers[name].error).toMatch(name === 'never' ? 'ETIMEDOUT' : 'ERR_CHECK_FAILED');
      }
      expect(answers.well.status).toBe('healthy');
    }
    expect(await gateway.health.ready()).toMatchObject({ ready: true });
    expect(await gateway.schedule.run('health')).toBe(true);
    expect((await gateway.schedule.last())[0]).toMatchObject({ job: 'health', error: null });
  });

test('fallbacks and upstreams that throw what cannot be read reject with it', async () => {
  await start({ fallbacks: { films: i => throwNth(i) } }, {
    upstreams: { films: UPSTREAM, other: UPSTREAM },
  });
  const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
  try {
    for (const name of ['films', 'other']) {
      const ask = gateway.upstream(name, async i => throwNth(i));
      for (const i of THROWN.keys()) {
        const answer = await ask(i).then(() => 'answered', () => 'rejected');
        expect([name, NAMES[i], answer]).toEqual([name, NAMES[i], 'rejected']);
        gateway.breakers[name].close();
      }
    }
    expect(callbackWarnings(warned)).toHaveLength(THROWN.length);
  } finally {
    warned.mockRestore();
  }
});

test('routes that throw what cannot be read are answered 500', async () => {
  log = collector();
  gateway = await createGateway(configFor(fakes, {}), { logger: log });
  server = await startServer(gateway, {
    extend: app => {
      app.get('/now/:i', ({ params }) => throwNth(params.i));
      app.get('/later/:i', async ({ params }) => throwNth(params.i));
      app.get('/coded/:kind', ({ params }) => {
        throw Object.assign(new Error('coded'), {
          code: 'ERR_INVALID_INPUT', [params.kind]: THROWN.find(([name]) =>
            name === 'a Proxy whose every trap throws')[1](),
        });
      });
    },
  });
  const ask = async path => (await fetch(server.url + path)).status;
  for (const i of THROWN.keys()) {
    // Express takes a false value that is thrown at once for none.
    const isNothing = ['undefined', 'null'].includes(NAMES[i]);
    expect([NAMES[i], await ask(`/now/${i}`)]).toEqual([NAMES[i], isNothing ? 404 : 500]);
    expect([NAMES[i], await ask(`/later/${i}`)]).toEqual([NAMES[i], 500]);
  }
  for (const kind of ['faults', 'retryAfterMs']) expect(await ask(`/coded/${kind}`)).toBe(400);
  expect(await ask('/health/live')).toBe(200);
  expect(logged('A request failed').length).toBeGreaterThan(THROWN.length);
});

describeEngines('on either engine', ({ place: empty }) => {
  beforeAll(async () => { where = empty; });
  afterAll(() => { where = async () => ({}); });

  test('hooks and senders that throw what cannot be read: again, then a dead letter', async () => {
    const hooks = Object.fromEntries(HOOKS.map(hook => [hook, ({ i }) => throwNth(i)]));
    await start({
      hooks,
      senders: {
        SMS: ({ data }) => throwNth(data.i),
        PUSH: { send: async ({ data }) => throwNth(data.i) },
        WELL: async () => 'sent',
      },
    });
    const { outbox } = gateway.store;
    const dead = new Set();
    gateway.worker.on('dead', ({ id }) => dead.add(id));
    const messages = NAMES.flatMap((_, i) => [
      ...HOOKS.map(hook => hookOf(hook, i)),
      ...['SMS', 'PUSH'].map(channel =>
        ({ channel, recipient: '1', body: 'Hello', data: { i } })),
    ]);
    const ids = (await outbox.enqueue(messages.map(message =>
      ({ ...message, maxAttempts: 2 })))).map(({ id }) => id);
    await until(() => ids.every(id => dead.has(id)));
    const { id } = await gateway.notify({ channel: 'WELL', recipient: '1', body: 'Hello' });
    await until(async () => (await outbox.get(id)).status === 'SENT');
    // A line's own `message` is the id.
    const told = new Set(log.lines.filter(({ delayMs }) => delayMs > 0).map(line => line.message));
    const letters = new Set(logged('Dead letter').map(({ letter }) => letter));
    expect(ids.filter(each => !told.has(each) || !letters.has(each))).toEqual([]);
  });

  test('strategies that throw what cannot be read, or never answer, keep no other letter',
    async () => {
      const kinds = NAMES.map((_, i) => `KIND_${i}`);
      await start({
        recovery: {
          ...Object.fromEntries(kinds.map((kind, i) => [kind, () => throwNth(i)])),
          NEVER: never, WELL: () => 'drop',
        },
        senders: { SMS: never },
      });
      const { deadLetters } = gateway.store;
      // The last one is the name of a member that all objects have.
      for (const kind of ['NEVER', ...kinds, 'WELL', 'toString']) {
        await deadLetters.add({ channel: 'SMS', recipient: '1', body: 'Hello' }, 'none', { kind });
      }
      const clock = useVirtualClock();
      try {
        const done = new Promise(resolve => { gateway.once('job', resolve); });
        await passTime(clock, gateway.schedule.run('deadLetters'));
        expect(await done).toMatchObject({
          error: undefined, result: { failed: NAMES.length + 1, dropped: 1, kept: 1 },
        });
      } finally {
        clock.restore();
      }
      const warnings = logged('A dead letter could not be recovered');
      expect(warnings).toHaveLength(NAMES.length + 1);
      expect(warnings[0]).toMatchObject({ level: 'warn', err: { code: 'ETIMEDOUT' } });
    });

  test('a logger, sessions and listeners that throw what cannot be read stop nothing', async () => {
    const warned = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
    try {
      let calls = 0;
      const fail = () => throwNth(calls++ % THROWN.length);
      await start({
        logger: { debug: fail, info: fail, warn: async () => fail(), error: fail },
        sessions: { on () {}, off: fail },
      });
      gateway.on('job', fail);
      gateway.on('job', async () => fail());
      // Three calls for each run: two listeners and the logger.
      for (const name of NAMES) {
        expect([name, await gateway.schedule.run('health')]).toEqual([name, true]);
        expect((await gateway.schedule.last())[0]).toMatchObject({ error: null });
      }
      await gateway.stop();
      await expect(gateway.store.query('SELECT 1'))
        .rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' });
      expect(calls).toBeGreaterThan(3 * THROWN.length);
      const texts = callbackWarnings(warned);
      expect(texts).toHaveLength(calls);
      for (const what of ['The logger failed', "A listener of 'job' failed",
        'The sessions could not be left']) {
        expect(texts.some(text => text.startsWith(what))).toBe(true);
      }
    } finally {
      warned.mockRestore();
    }
  });

  test('functions that never settle do not keep a gateway from stopping', async () => {
    const at = new Set();
    let release;
    const released = new Promise(resolve => { release = resolve; });
    const hang = name => () => {
      at.add(name);
      return released;
    };
    log = collector();
    gateway = await createGateway(configFor(fakes, await where(), {
      upstreams: { films: { ...UPSTREAM, timeout: 1e6 } },
      server: { port: 0, shutdownTimeout: 100 },
    }), {
      logger: log,
      hooks: Object.fromEntries(HOOKS.map(hook => [hook, hang(hook)])),
      senders: { SMS: hang('SMS') },
      checks: { slow: { check: hang('check'), timeout: 1e6 } },
      recovery: { NEVER: hang('strategy') },
      fallbacks: { films: hang('fallback') },
    });
    server = await startServer(gateway, { extend: app => { app.get('/hang', hang('route')); } });
    const { deadLetters, outbox } = gateway.store;
    await deadLetters.add({ channel: 'SMS', recipient: '1', body: 'x' }, 'none', { kind: 'NEVER' });
    for (const hook of HOOKS) {
      await outbox.enqueue(hookOf(hook, 0));
    }
    await gateway.notify({ channel: 'SMS', recipient: '1', body: 'Hello' });
    const answer = gateway.upstream('films', () => { throw new Error('down'); })();
    const jobs = ['deadLetters', 'health'].map(job => gateway.schedule.run(job));
    const cut = expect(fetch(`${server.url}/hang`)).rejects.toThrow('fetch failed');
    const left = ['SMS', 'check', 'strategy', 'fallback', 'route'];
    await until(() => left.every(name => at.has(name)) && HOOKS.some(hook => at.has(hook)));
    await server.close();
    await cut;
    expect(logged('Worker warning').map(({ err }) => err.code)).toContain('ERR_OUTBOX_LEFT_BEHIND');
    expect(logged('Job failed').map(({ job, err }) => [job, err.code]).sort())
      .toEqual([['deadLetters', 'ETIMEDOUT'], ['health', 'ETIMEDOUT']]);
    expect(log.lines.at(-1)).toMatchObject({ message: 'Gateway stopped' });
    // Only now, so that no timer of theirs is left. No job is told twice.
    release();
    await Promise.all([answer, ...jobs]);
    expect(logged('Job failed')).toHaveLength(2);
    expect(logged('Job finished')).toHaveLength(0);
  });
});
