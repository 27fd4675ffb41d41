'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const util = require('node:util');

const { readConfig, secretsOf } = require('../../lib/gateway/config');
const { breakerOptions, retryOptions, timeoutOf } = require('../../lib/gateway/services');
const { presets, retryPresets } = require('../../lib/primitives/presets');

const SECRET = 'planted-secret-0123456789';

let folder;
beforeAll(() => { folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-config-')); });
afterAll(() => fs.rmSync(folder, { recursive: true }));

function toml (text) {
  const file = path.join(folder, 'sekering.toml');
  fs.writeFileSync(file, text);
  return file;
}

function faultsOf (given, env = {}) {
  try {
    readConfig(given, { env });
  } catch (error) {
    expect(error).toMatchObject({ name: 'SekeringError', code: 'ERR_CONFIG' });
    for (const { path: place, message } of error.faults) {
      expect(error.message).toContain(place);
      expect(error.message).toContain(message);
    }
    return Object.fromEntries(error.faults.map(fault => [fault.path, fault.message]));
  }
  return {};
}

describe('what is read', () => {
  test('nothing at all is a configuration: the defaults', () => {
    const config = readConfig();
    expect(config).toMatchObject({
      profile: 'production',
      server: { host: '127.0.0.1', port: 3000, bodyLimit: 65536 },
      retry: { fallback: { maxWait: 5000 } },
      schedule: {
        deadLetters: '*/5 * * * *', breakers: '*/2 * * * *', health: '* * * * *',
        report: '0 * * * *', retentionDays: 7
      },
      admin: { tokens: [] }
    });
    expect(config.midtrans).toBe(undefined);
    expect(() => { config.server.port = 1; }).toThrow(TypeError);
  });

  test('TOML with the sections of retries, its names with underscores', () => {
    const config = readConfig(toml(`
      profile = "testing"
      [midtrans]
      server_key = "env:KEY"
      [retry]
      min_timeout = 200
      [retry.circuit_breaker]
      consecutive_failures = 5
      reset_timeout = { initial = 60000, factor = 2 }
      [retry.policy]
      retryable_statuses = [429, "5xx"]
      [retry.fallback]
      cache_ttl = 1000
      [upstreams.movie_api]
      preset = "movieApi"
      default = { some_films = [] }
      [degradation.features]
      new_orders = "SEVERE"
      [[admin.tokens]]
      name = "ops"
      role = "operate"
      token = "env:TOKEN"
    `), { env: { KEY: 'key', TOKEN: SECRET } });
    expect(config).toMatchObject({
      midtrans: { serverKey: 'key', production: false },
      retry: {
        minTimeout: 200,
        circuitBreaker: {
          consecutiveFailures: 5, resetTimeout: { initial: 60000, factor: 2 }, namespace: 'default'
        },
        policy: { retryableStatuses: [429, '5xx'] },
        fallback: { cacheTtl: 1000 }
      },
      upstreams: { movie_api: { preset: 'movieApi', default: { some_films: [] } } },
      degradation: { features: { new_orders: 'SEVERE' } },
      admin: { tokens: [{ name: 'ops', role: 'operate', token: SECRET }] }
    });
  });

  test('a port may come from the environment, where everything is text', () => {
    expect(readConfig({ server: { port: 'env:PORT' } }, { env: { PORT: '8080' } }).server.port)
      .toBe(8080);
  });
});

describe('proxies', () => {
  const read = trustProxy => readConfig({ server: { trustProxy } }).server.trustProxy;

  test('are a number of hops or a list, as objects, TOML and variables write it', () => {
    expect(read(undefined)).toBe(false);
    for (const value of [false, 0, 1, 3, ['loopback', '10.0.0.0/8', '2001:db8::/32', '::1']]) {
      expect(read(value)).toEqual(value);
    }
    expect(read(' 2 ')).toBe(2);
    expect(read('false')).toBe(false);
    expect(read('loopback, 10.1.2.3')).toEqual(['loopback', '10.1.2.3']);
    const { server } = readConfig(toml('[server]\ntrust_proxy = "env:PROXIES"'),
      { env: { PROXIES: 'linklocal,uniquelocal' } });
    expect(server.trustProxy).toEqual(['linklocal', 'uniquelocal']);
  });

  test('are never everybody', () => {
    for (const value of [true, 'true', 'TRUE']) {
      expect(faultsOf({ server: { trustProxy: value } })['server.trustProxy'])
        .toMatch(/^Invalid input: true would let clients choose their address; write the number/);
    }
    for (const value of ['0.0.0.0/0', '::/0', ['loopback', '::/0'], '10.0.0.0/33', 'everybody', '',
      'loopback,', [], [1], -1, 1.5, 101, null, {}, 'fe80::1%eth0', '10.0.0.0/']) {
      const [[place, message]] = Object.entries(faultsOf({ server: { trustProxy: value } }));
      expect(place).toMatch(/^server\.trustProxy(\[\d\])?$/);
      expect(message).toMatch(/^(Invalid input: expected|Too )/);
    }
    expect(faultsOf(toml('[server]\ntrust_proxy = true'))).toEqual({
      'server.trust_proxy': expect.stringContaining('networks such as 10.0.0.0/8'),
    });
  });
});

describe('what is wrong', () => {
  test('all of it is said at once, with its place', () => {
    const faults = faultsOf({
      profile: 'fast',
      server: { port: 70_000, prot: 1 },
      store: { url: 'mysql://x', directory: 'y' },
      midtrans: { serverKey: '', orderIdPattern: '(', circuitBreaker: { halfOpenProbes: 17 } },
      smtp: { from: 'a@b.example' },
      whatsapp: {},
      upstreams: { 'a b': {}, c: { preset: 'none' } },
      retry: { jitter: 2, circuitBreaker: { scope: 'galaxy' }, policy: { retryableStatuses: [7] } },
      schedule: { health: 'often' },
      admin: { tokens: [{ name: 'x', token: 'short' }] },
      logging: { level: 'loud' }
    });
    expect(Object.keys(faults).sort()).toEqual([
      'admin.tokens[0].token', 'logging.level', 'midtrans.circuitBreaker.halfOpenProbes',
      'midtrans.orderIdPattern', 'midtrans.serverKey', 'profile',
      'retry.circuitBreaker.scope', 'retry.jitter', 'retry.policy.retryableStatuses[0]',
      'schedule.health', 'server.port', 'server.prot', 'smtp', 'store', 'store.url',
      'upstreams.a b', 'upstreams.c.preset', 'whatsapp'
    ]);
    expect(faults['server.prot']).toBe('No such option');
  });

  test('in TOML the places are named as they are written there', () => {
    const faults = faultsOf(toml(`
      [midtrans]
      server_key = "env:NOT_SET"
      circuit_breaker = { half_open_probes = 17 }
      [upstreams.MovieApi]
      time_out = 3
    `));
    expect(faults).toMatchObject({
      'midtrans.server_key': 'The environment variable NOT_SET is not set',
      'midtrans.circuit_breaker.half_open_probes': expect.stringContaining('16'),
      'upstreams.MovieApi.time_out': 'No such option'
    });
    expect(Object.keys(faults)).toHaveLength(3);
  });

  test('a file that is missing or no TOML', () => {
    expect(faultsOf(path.join(folder, 'none.toml'))['']).toBe('It cannot be read (ENOENT)');
    expect(faultsOf(toml('a = 1\nb = '))['']).toMatch(/^It is not TOML at line 2, column \d/);
  });

  test('anything but an object or a path', () => {
    for (const given of [null, 5, [], () => {}]) {
      expect(() => readConfig(given)).toThrow(expect.objectContaining({
        code: 'ERR_INVALID_OPTION', message: expect.stringContaining('for config')
      }));
    }
  });
});

describe('secrets', () => {
  const config = () => readConfig({
    store: { url: `postgres://shop:${SECRET}%21@db.example/shop` },
    midtrans: { serverKey: `${SECRET}-key` },
    smtp: { host: 'relay.example', from: 'a@b.example', user: 'shop', password: SECRET },
    whatsapp: { cloud: { accessToken: SECRET, phoneNumberId: '1', appSecret: SECRET } },
    admin: { tokens: [{ name: 'ops', token: SECRET }] }
  });

  test('are in no error, whatever is wrong with them', () => {
    const wrong = [
      { midtrans: { serverKey: `${SECRET} \n` } },
      { midtrans: { serverKey: { [SECRET]: 1 } } },
      { smtp: { from: 'a@b.example', url: `http://u:${SECRET}@relay.example` } },
      { store: { url: `postgres:/${SECRET}`, directory: SECRET } },
      { admin: { tokens: [{ name: 'x', token: `${SECRET} ${SECRET}` }] } },
      { admin: { tokens: [SECRET] } }
    ];
    for (const given of wrong) {
      let error;
      try {
        readConfig(given);
      } catch (thrown) {
        error = thrown;
      }
      expect(error.code).toBe('ERR_CONFIG');
      expect(util.inspect(error, { depth: 9 })).not.toContain(SECRET);
    }
    const broken = toml(`[midtrans]\nserver_key = "${SECRET}`);
    expect(() => readConfig(broken)).toThrow('It is not TOML');
    expect(() => readConfig(broken)).not.toThrow(SECRET);
  });

  test('are not shown when the configuration is', () => {
    const shown = [JSON.stringify(config()), util.inspect(config(), { depth: 9 })];
    for (const text of shown) {
      expect(text).not.toContain(SECRET);
      expect(text).toContain('[secret]');
      expect(text).toContain('relay.example');
    }
  });

  test('are known, for redaction, also as they are sent', () => {
    expect(secretsOf(config())).toEqual(expect.arrayContaining([
      SECRET, `${SECRET}!`, `${SECRET}%21`, `${SECRET}-key`,
      Buffer.from(`${SECRET}-key:`).toString('base64')
    ]));
  });
});

describe('figures of the parts', () => {
  test('preset, then profile, then [retry…], then the own section', () => {
    const config = readConfig({
      profile: 'production',
      midtrans: { serverKey: 'k', circuitBreaker: { resetTimeout: 5 } },
      retry: { retries: 2, circuitBreaker: { resetTimeout: 4, volumeThreshold: 9 } }
    });
    expect(breakerOptions(config, 'midtrans', presets.midtrans, config.midtrans.circuitBreaker))
      .toEqual({
        ...presets.midtrans, rampUp: 10000, volumeThreshold: 9, resetTimeout: 5, timeout: false,
        name: 'midtrans', scope: 'host', namespace: expect.stringMatching(/^default\.[0-9a-f]{8}$/)
      });
    expect(breakerOptions(config, 'smtp', presets.smtp).resetTimeout).toBe(4);
    expect(retryOptions(config, retryPresets.payment))
      .toEqual({ ...retryPresets.payment, maxRetryTime: 120000, retries: 2 });
    expect(timeoutOf(config, presets.midtrans)).toBe(10000);
    expect(timeoutOf(config, presets.midtrans, 7)).toBe(7);
  });

  test('profiles: testing is short and shares nothing', () => {
    const config = readConfig({ profile: 'testing' });
    expect(breakerOptions(config, 'smtp', presets.smtp))
      .toMatchObject({ resetTimeout: 100, timeout: false });
    expect(breakerOptions(config, 'smtp', presets.smtp)).not.toHaveProperty('scope');
    expect(timeoutOf(config, presets.midtrans)).toBe(1000);
    expect(timeoutOf(readConfig({ profile: 'development' }), presets.midtrans)).toBe(30000);
  });

  test('jitter takes the place of a preset\'s randomize', () => {
    const config = readConfig({ retry: { jitter: 0.1 } });
    expect(retryOptions(config, retryPresets.payment)).toMatchObject({
      jitter: 0.1, randomize: false
    });
  });
});
