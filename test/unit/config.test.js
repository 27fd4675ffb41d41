'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const util = require('node:util');

const { canShare } = require('../../lib/base/regions');
const {
  policyFromConfig, readConfig, referencesOf, secretsOf
} = require('../../lib/gateway/config');
const { breakerOptions, retryOptions, timeoutOf } = require('../../lib/gateway/services');
const { presets, retryPresets } = require('../../lib/primitives/presets');
const { Dice } = require('../support/random');

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
        .toMatch(/^Not accepted: true would let clients choose their address; write the number/);
    }
    for (const value of ['0.0.0.0/0', '::/0', ['loopback', '::/0'], '10.0.0.0/33', 'everybody', '',
      'loopback,', [], [1], -1, 1.5, 101, null, {}, 'fe80::1%eth0', '10.0.0.0/']) {
      const [[place, message]] = Object.entries(faultsOf({ server: { trustProxy: value } }));
      expect(place).toMatch(/^server\.trustProxy(\[\d\])?$/);
      expect(message).toMatch(/^Expected /);
    }
    expect(faultsOf(toml('[server]\ntrust_proxy = true'))).toEqual({
      'server.trust_proxy': expect.stringContaining('networks such as 10.0.0.0/8'),
    });
  });
});

describe('what is wrong', () => {
  test('it says in plain words what is missing, and what was expected, without the value', () => {
    expect(() => readConfig({ smtp: { host: 'relay.example' } })).toThrow(
      'smtp.from is missing: the sender\'s address, for example "Shop <orders@example.com>"');
    expect(faultsOf({
      midtrans: {}, server: { bodyLimit: 1, tokens: [{ name: '', token: SECRET }] },
      health: { strict: SECRET }, profile: 'prod', logging: 4, admin: { tokens: SECRET },
      outbox: { maxAttempts: 1.5 },
    })).toEqual({
      'midtrans.serverKey':
        'is missing: the server key of the account, for example "env:MIDTRANS_SERVER_KEY"',
      'server.bodyLimit': 'Expected at least 1024 but received 1',
      'server.tokens[0].name': 'Expected at least 1 character but received an empty text',
      'health.strict': expect.stringMatching(
        /^Expected true or false but received a text of \d+ characters$/),
      'profile': 'Expected one of "production", "development", "testing" but received a text of ' +
        '4 characters',
      'logging': 'Expected a section but received 4',
      'admin.tokens': expect.stringMatching(/^Expected a list but received a text of/),
      'outbox.maxAttempts': 'Expected a whole number but received 1.5',
    });
  });

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
      'upstreams.MovieApi.time_out': 'No such option. Did you mean timeout?'
    });
    expect(Object.keys(faults)).toHaveLength(3);
  });

  test('a misspelt name is recognised in every section, also one of another library', () => {
    expect(faultsOf(toml(`
      [retry]
      max_retrys = 3
      [retry.circuit_breaker]
      failure_treshold = 5
      [retry.policy]
      retryable_status_code = [500]
      [retry.fallback]
      stategy = "cache"
      [[admin.tokens]]
      name = "x"
      tokn = "${SECRET}"
      [nothing_like_it]
    `))).toMatchObject({
      'retry.max_retrys': 'No such option. Did you mean max_retries?',
      'retry.circuit_breaker.failure_treshold': 'No such option. Did you mean failure_threshold?',
      'retry.policy.retryable_status_code':
        'No such option. Did you mean retryable_status_codes?',
      'retry.fallback.stategy': 'No such option. Did you mean strategy?',
      'admin.tokens[0].tokn': 'No such option. Did you mean token?',
      nothing_like_it: 'No such option',
    });
  });

  test('figures that contradict each other', () => {
    expect(faultsOf({
      retry: {
        minTimeout: '2s', maxTimeout: '1s', circuitBreaker: { minimumCalls: 3 },
      },
      upstreams: {
        a: {
          retry: { randomize: true, jitter: 0.5 },
          circuitBreaker: { slidingWindowSize: 5, minimumCalls: 6 },
        },
        b: { circuitBreaker: { slidingWindowSize: 5, resetTimeout: { initial: '2s', max: '1s' } } },
        c: { circuitBreaker: { slidingWindowSize: 5, slowCallThresholdPercentage: 5 } },
        d: { retry: { strategy: 'decorrelated', jitter: true } },
      },
    })).toEqual({
      'retry.minTimeout': 'minTimeout is greater than maxTimeout',
      'retry.circuitBreaker.slidingWindowSize': expect.stringContaining('minimumCalls needs it'),
      'upstreams.a.circuitBreaker.minimumCalls':
        expect.stringContaining('at most slidingWindowSize (5)'),
      'upstreams.b.circuitBreaker.resetTimeout': expect.stringContaining('at least'),
      'retry.circuitBreaker.slowCallDuration': expect.stringContaining('needs it'),
    });
  });

  test('upstreams with a name that another breaker has', () => {
    const upstreams = {
      smtp: {}, midtrans: {}, whatsapp: {}, database: {}, 'smtp.spare': {}, 'smtp.2': {},
    };
    const taken = [['database', 'the database']];
    const faults = list => Object.fromEntries(list.map(([name, whose]) => [`upstreams.${name}`,
      `Expected another name for this upstream: ${whose} has it`]));
    expect(faultsOf({ upstreams })).toEqual(faults(taken));
    expect(faultsOf({
      upstreams, midtrans: { serverKey: SECRET },
      whatsapp: { green: { instanceId: 1, token: 't' } },
      smtp: { from: 'a@b.co', relays: [{ name: 'spare', host: 'a' }, { host: 'b' }] },
    })).toEqual(faults([
      ...taken, ['smtp', 'the section smtp'], ['midtrans', 'the section midtrans'],
      ['whatsapp', 'the section whatsapp'], ['smtp.spare', 'a mail relay'],
      ['smtp.2', 'a mail relay'],
    ]));
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

describe('durations', () => {
  // Every setting that is one, where a value of another may stand beside it.
  const PLACES = [
    'server.shutdownTimeout', 'store.timeout', 'midtrans.timeout', 'smtp.timeout',
    'whatsapp.timeout', 'upstreams.a.timeout', 'upstreams.a.retry.minTimeout',
    'upstreams.a.retry.maxTimeout', 'retry.minTimeout', 'retry.maxTimeout',
    'retry.circuitBreaker.slowCallDuration', 'retry.circuitBreaker.resetTimeout',
    'retry.circuitBreaker.rampUp', 'retry.circuitBreaker.rollingCountTimeout',
    'smtp.circuitBreaker.resetTimeout.initial', 'smtp.circuitBreaker.resetTimeout.max',
    'retry.fallback.maxWait', 'retry.fallback.cacheTtl', 'outbox.leaseMs', 'outbox.pollInterval',
    'degradation.interval', 'degradation.hysteresis',
  ];
  const base = () => ({
    midtrans: { serverKey: 'k' }, smtp: { host: 'x', from: 'a@b.example' },
    whatsapp: { green: { instanceId: 1, token: 't' } }, upstreams: { a: {} },
  });

  function withValue (place, value, config = base()) {
    const names = place.split('.');
    let section = config;
    for (const name of names.slice(0, -1)) section = (section[name] ??= {});
    section[names.at(-1)] = value;
    if (place.endsWith('.max')) section.initial = 1;
    return config;
  }
  const valueAt = (config, place) => place.split('.').reduce((value, name) => value[name], config);

  test('every setting in milliseconds takes text with units, too', () => {
    for (const place of PLACES) {
      expect([place, valueAt(readConfig(withValue(place, '1m0.5s')), place)])
        .toEqual([place, 60_500]);
      expect(valueAt(readConfig(withValue(place, 60_500)), place)).toBe(60_500);
      const [fault, ...others] = Object.entries(faultsOf(withValue(place, 'soon')));
      expect(fault).toEqual([place, expect.stringMatching(
        /^Expected a duration such as "500ms".*but received another text of 4 characters$/)]);
      expect(others).toEqual([]);
    }
  });

  test('no setting is a number of milliseconds only', () => {
    const types = fs.readFileSync(require.resolve('../../lib/gateway/config.d.ts'), 'utf8');
    expect(types).toMatch(/minTimeout\?: D/);
    expect(types).not.toMatch(/\w*(Timeout|Ms|Interval|Ttl|Wait|Delay)\?: number/);
  });

  test('how late the event loop may be is one, or false', () => {
    const read = maxLoopDelay => readConfig({ server: { maxLoopDelay } }).server.maxLoopDelay;
    expect([undefined, false, '1.5s', 1, 60_000].map(read)).toEqual([500, false, 1500, 1, 60_000]);
    expect(readConfig({ profile: 'testing' }).server.maxLoopDelay).toBe(false);
    expect(readConfig(toml('[server]\nmax_loop_delay = false')).server.maxLoopDelay).toBe(false);
    for (const value of [0, 60_001, '2m', true, 'soon', null]) {
      expect(faultsOf({ server: { maxLoopDelay: value } })).toEqual({
        'server.maxLoopDelay': expect.stringContaining('from 1 ms to 60 s, or false, but received'),
      });
    }
  });

  const read = value => readConfig({ retry: { maxTimeout: value } }).retry.maxTimeout;

  test.each([
    ['0', 0], ['0s', 0], ['500ms', 500], ['1s', 1000], ['1.5s', 1500], ['.5s', 500], ['1.s', 1000],
    ['5m', 300_000], ['1h', 3_600_000], ['1h30m', 5_400_000], ['1h0m0.001s', 3_600_001],
    ['+5s', 5000], ['30m1h', 5_400_000], ['1500us', 1.5], ['1500\u00b5s', 1.5],
    ['1500\u03bcs', 1.5], ['1000000ns', 1], ['0.1s', 100], ['1.1s', 1100],
    ['8760h', 31_536_000_000], [0, 0], [2.5, 2.5],
  ])('%j is %p ms', (value, expected) => {
    expect(readConfig({ outbox: { pollInterval: '10ms' } }).outbox.pollInterval).toBe(10);
    expect(readConfig({ degradation: { hysteresis: value } }).degradation.hysteresis)
      .toBe(expected);
  });

  test.each([
    ['5', '"5"'], ['3 seconds', '"3 seconds"'], ['1d', '"1d"'], ['-1s', '"-1s"'], ['.s', '".s"'],
    ['1,5s', '"1,5s"'], ['1S', '"1S"'], ['1h 30m', '"1h 30m"'], ['8761h', '"8761h"'],
    ['', 'another text of 0 characters'], ['1s ', 'another text of 3 characters'],
    ['for ever', 'another text of 8 characters'], [SECRET, 'another text of 25 characters'],
    ['9'.repeat(200), 'another text of 200 characters'],
    [-1, '-1'], [NaN, 'NaN'], [Infinity, 'Infinity'], [true, 'true'], [null, 'null'],
    [[], 'a list'], [{}, 'an object'], [1n, 'a bigint'],
  ])('%p is none', (value, received) => {
    const { 'retry.maxTimeout': fault } = faultsOf({ retry: { maxTimeout: value } });
    expect(fault).toContain('or a number of milliseconds, from 0 ms to 365 days, but received ' +
      received);
  });

  test('may come from the environment; then an invalid one is not shown', () => {
    const given = { outbox: { leaseMs: 'env:LEASE' } };
    expect(readConfig(given, { env: { LEASE: '45s' } }).outbox.leaseMs).toBe(45_000);
    expect(faultsOf(given, { LEASE: '45 sec' })['outbox.leaseMs'])
      .toMatch(/but received something else from env:LEASE$/);
  });

  test('a growing reset timeout is explained by the part that is wrong', () => {
    const of = resetTimeout => faultsOf({ retry: { circuitBreaker: { resetTimeout } } });
    expect(of({ initial: '1 s' })).toEqual({
      'retry.circuitBreaker.resetTimeout.initial': expect.stringContaining('received "1 s"'),
    });
    expect(of({ max: '1s' })).toEqual({
      'retry.circuitBreaker.resetTimeout.initial': expect.stringContaining('received nothing'),
    });
    expect(of({ initial: '1s', faktor: 2 })).toEqual({
      'retry.circuitBreaker.resetTimeout.faktor': expect.stringMatching(/^No such option/),
    });
    expect(read('3s')).toBe(3000);
  });
});

describe('kinds of errors', () => {
  const of = retryableErrors => faultsOf({ retry: { policy: { retryableErrors } } });

  test('are names or codes', () => {
    expect(of(['connection_timeout', 'tls', 'ECONNRESET', 'MY_OWN_CODE', '57P01']))
      .toEqual({});
  });

  test('an unknown name is rejected, and the error lists the known names', () => {
    expect(of(['timeout', 'conection_reset', 'something'])).toEqual({
      'retry.policy.retryableErrors[1]': expect.stringMatching(
        /^Unknown kind of error\. Did you mean connection_reset\? Known kinds: /),
      'retry.policy.retryableErrors[2]': expect.stringMatching(
        /^Unknown kind of error\. Known kinds: .*Codes have capital letters, such as ECONNRESET$/),
    });
  });
});

describe('files', () => {
  const place = (name, content) => {
    fs.mkdirSync(path.join(folder, 'secrets'), { recursive: true });
    fs.writeFileSync(path.join(folder, 'secrets', name), content);
    return path.join(folder, 'secrets', name);
  };

  test('stand for any text, without the line break at their end', () => {
    for (const [content, value] of [[SECRET, SECRET], [`${SECRET}\n`, SECRET],
      [`${SECRET}\r\n`, SECRET], [`${SECRET}\n\n`, `${SECRET}\n`]]) {
      const config = readConfig({
        smtp: { host: 'x', from: 'a@b.example', password: `file:${place('password', content)}` },
      });
      expect(config.smtp.password).toBe(value);
      expect(JSON.stringify(config)).not.toContain(SECRET);
      expect(secretsOf(config)).toContain(value);
    }
  });

  test('relative paths start at the folder of the configuration, not the current folder', () => {
    place('key', 'SB-Mid-server-key\n');
    fs.symlinkSync(path.join(folder, 'secrets', 'key'), path.join(folder, 'secrets', 'link'));
    const config = readConfig(toml(`
      [midtrans]
      server_key = "file:secrets/link"
      timeout = "file:./secrets/../secrets/timeout"
      [smtp]
      host = "relay"
      from = "a@b.example"
      password = "env:PASSWORD"
    `.replace('timeout"', `${path.basename(place('timeout', '3s\n'))}"`)),
    { env: { PASSWORD: SECRET } });
    expect(config.midtrans).toMatchObject({ serverKey: 'SB-Mid-server-key', timeout: 3000 });
    expect(referencesOf(config)).toEqual({
      'midtrans.server_key': 'file:secrets/link',
      'midtrans.timeout': 'file:./secrets/../secrets/timeout',
      'smtp.password': 'env:PASSWORD',
    });
  });

  test('that cannot be used are reported with their setting, without their content', () => {
    place('empty', '\n');
    place('large', 'x'.repeat(2 ** 20 + 1));
    place('spaces', `${SECRET} and more`);
    expect(faultsOf(toml(`
      [midtrans]
      server_key = "file:secrets/none"
      snap_url = "file:secrets"
      core_url = "file:secrets/empty"
      order_id_pattern = "file:secrets/large"
      [smtp]
      host = "env:NOT SET"
      password = "env:"
      [whatsapp.cloud]
      access_token = "file:secrets/spaces"
      phone_number_id = "env:constructor"
      app_secret = "file:/dev/zero"
      verify_token = "file:a\\u0000b"
    `))).toEqual({
      'midtrans.server_key': 'The file secrets/none cannot be read (ENOENT)',
      'midtrans.snap_url': 'secrets is not a file',
      'midtrans.core_url': 'The file secrets/empty is empty',
      'midtrans.order_id_pattern': 'The file secrets/large is too large',
      'smtp.host': 'Expected the name of a variable after "env:"',
      'smtp.password': 'Expected the name of a variable after "env:"',
      'smtp.from': expect.any(String),
      'whatsapp.cloud.access_token': 'Expected a text without spaces',
      'whatsapp.cloud.phone_number_id': 'The environment variable constructor is not set',
      'whatsapp.cloud.app_secret': '/dev/zero is not a file',
      'whatsapp.cloud.verify_token': expect.stringContaining('cannot be read'),
    });
  });
});

describe('rubbish', () => {
  const NAMES = [...'abc', 'retry', 'smtp', 'upstreams', 'default', 'circuit_breaker', 'timeout',
    'resetTimeout', 'tokens', 'url', 'password', 'strategy', 'fallback', 'policy', 'features',
    'retryable_errors', 'server', 'port', 'trustProxy', 'jitter', '__proto__', 'constructor',
    'toString', 'initial', 'max_retries', 'retries', '', 'a b', '0', 'profile', 'degradation'];
  const LEAVES = [null, undefined, true, 0, -1, 1e300, NaN, 'env:SECRET', 'file:nothing', 'x', '1s',
    '5 s', SECRET, `${SECRET} ${SECRET}`, `https://u:${SECRET}@h`, 10n, Symbol('s'), () => {},
    new Date(NaN), /x/, new Map([[SECRET, 1]]), Buffer.from('x'),
    Object.defineProperty({}, 'x', {
      enumerable: true, get () { throw new TypeError(SECRET); },
    }),
    new Proxy({}, { ownKeys () { throw new Error(SECRET); } }),
    new Proxy({}, { getPrototypeOf () { throw new Error(SECRET); } }),
    new Proxy([], { get () { throw new Error(SECRET); } })];

  function rubbish (dice, depth = 0) {
    if (depth > 4 || dice.chance(0.25 * depth)) return dice.pick(LEAVES);
    const several = of => Array.from({ length: dice.below(5) }, of);
    if (depth > 0 && dice.chance(0.2)) return several(() => rubbish(dice, depth + 1));
    return Object.fromEntries(several(() => [dice.pick(NAMES), rubbish(dice, depth + 1)]));
  }

  test('of any shape gives ERR_CONFIG and shows no secret', () => {
    let refused = 0;
    for (let seed = 1; seed <= 3000; seed++) {
      let thrown;
      try {
        readConfig(rubbish(new Dice(seed)), { env: { SECRET } });
      } catch (error) {
        thrown = error;
      }
      if (thrown === undefined) continue;
      refused++;
      expect([seed, thrown.code, thrown.name]).toEqual([seed, 'ERR_CONFIG', 'SekeringError']);
      expect(util.inspect(thrown, { depth: 9 })).not.toContain(SECRET);
    }
    expect(refused).toBeGreaterThan(1000);
  });

  // What readConfig accepts must not fail later, when its parts are made.
  test('of figures: a policy can be made from any that is accepted', () => {
    const FIGURES = {
      retry: {
        retries: [0, 3, 100], strategy: ['exponential', 'fixed', 'decorrelated'], factor: [1, 3],
        minTimeout: ['10ms', 1, '1h'], maxTimeout: [0, '5ms', '1m'], randomize: [true, false],
        jitter: [true, false, 0, 0.5, 'full'], enabled: [true, false],
      },
      circuitBreaker: {
        errorThresholdPercentage: [0, 100], volumeThreshold: [0, 9], consecutiveFailures: [1, 5],
        failureCount: [2], slidingWindowSize: [1, 50], minimumCalls: [1, 20],
        slowCallDuration: ['5s'], slowCallThresholdPercentage: [50], successThreshold: [1, 3],
        resetTimeout: ['1m', { initial: '2s', max: '1s' }, { initial: '1s', max: '1h' }],
        halfOpenProbes: [1, 16], rampUp: [0, '1m'], rollingCountTimeout: [1, '10s'],
        rollingCountBuckets: [1, 1000], enabled: [true, false],
      },
    };
    const choose = (dice, figures) => Object.fromEntries(Object.entries(figures)
      .filter(() => dice.chance(0.3)).map(([name, values]) => [name, dice.pick(values)]));
    let accepted = 0;
    for (let seed = 1; seed <= 2000; seed++) {
      const dice = new Dice(seed);
      const given = {
        profile: dice.pick(['production', 'development', 'testing']),
        retry: {
          ...choose(dice, FIGURES.retry), circuitBreaker: choose(dice, FIGURES.circuitBreaker),
        },
        upstreams: {
          a: {
            preset: dice.pick(Object.keys(presets)), retry: choose(dice, FIGURES.retry),
            circuitBreaker: choose(dice, FIGURES.circuitBreaker),
          },
        },
      };
      if (Object.keys(faultsOf(given)).length > 0) continue;
      accepted++;
      policyFromConfig(given, { name: 'a' }).breaker.shutdown();
    }
    expect(accepted).toBeGreaterThan(100);
  });

  test('that contains itself, or is very deep', () => {
    const round = { upstreams: {} };
    round.upstreams.a = { default: round };
    expect(faultsOf(round)).toEqual({
      'upstreams.a.default': 'It is nested too deeply'
    });
    let deep = {};
    for (let i = 0; i < 100_000; i++) deep = { default: deep };
    expect(Object.values(faultsOf({ retry: { fallback: { default: deep } } })))
      .toEqual(['It is nested too deeply']);
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
        name: 'midtrans',
        ...canShare && {
          scope: 'host', namespace: expect.stringMatching(/^default\.[0-9a-f]{8}$/),
        },
      });
    expect(breakerOptions(config, 'smtp', presets.smtp).resetTimeout).toBe(4);
    expect(retryOptions(config, retryPresets.payment))
      .toEqual({ ...retryPresets.payment, maxRetryTime: 120000, retries: 2 });
    expect(timeoutOf(config, presets.midtrans)).toBe(10000);
    expect(timeoutOf(config, presets.midtrans, 7)).toBe(7);
  });

  test('gateways of two databases share all breakers but that of the database', () => {
    const namespaceOf = (name, url) => breakerOptions(
      readConfig({ store: { url }, retry: { circuitBreaker: { scope: 'host' } } }), name,
      presets[name]).namespace;
    const addressOf = (host, password) => `postgres://shop:${password}@${host}/shop`;
    const [first, second] = ['one', 'two'].map(host => addressOf(host, 'secret'));
    expect(namespaceOf('midtrans', first)).toBe(namespaceOf('midtrans', second));
    expect(namespaceOf('database', first)).toBe(namespaceOf('database', addressOf('one', 'new')));
    expect(namespaceOf('database', first)).not.toBe(namespaceOf('database', second));
  });

  test('profiles: testing is short and shares nothing', () => {
    const config = readConfig({ profile: 'testing' });
    expect(breakerOptions(config, 'smtp', presets.smtp))
      .toMatchObject({ resetTimeout: 100, timeout: false });
    expect(breakerOptions(config, 'smtp', presets.smtp)).not.toHaveProperty('scope');
    expect(timeoutOf(config, presets.midtrans)).toBe(1000);
  });

  test.each([
    ['production', [10000, 5000, 8000, 3000, 30000, 0, undefined]],
    ['development', [3000, 3000, 3000, 3000, 3000, 3000, 3000]],
    ['testing', [1000, 1000, 1000, 1000, 1000, 1000, 1000]],
  ])('a profile only shortens time limits: %s', (profile, expected) => {
    const config = readConfig({ profile });
    const names = ['midtrans', 'smtp', 'whatsapp', 'database', 'aiProvider', 'movieApi',
      'apiClient'];
    expect(names.map(name => timeoutOf(config, presets[name]))).toEqual(expected);
    expect(timeoutOf(config, { timeout: 500 })).toBe(500);
    expect(timeoutOf(config, presets.aiProvider, 60000)).toBe(60000);
  });

  test('jitter takes the place of a preset\'s randomize', () => {
    const config = readConfig({ retry: { jitter: 0.1 } });
    expect(retryOptions(config, retryPresets.payment)).toMatchObject({
      jitter: 0.1, randomize: false
    });
  });
});
