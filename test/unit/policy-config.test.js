'use strict';

// A file that a team has written, word for word, and the policy made from it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { policyFromConfig, readConfig } = require('../../lib/gateway');
const { makeUpstreams } = require('../../lib/gateway/services');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const FILE = `
[retry]
enabled = true
max_retries = 3
initial_delay = "1s"
max_delay = "30s"
multiplier = 2.0
jitter = true

[retry.circuit_breaker]
enabled = true
failure_threshold = 5
success_threshold = 3
timeout = "60s"

[retry.policy]
retryable_status_codes = [429, 500, 502, 503, 504]
retryable_errors = ["connection_timeout", "dns_resolution", "connection_reset"]

[retry.fallback]
enabled = true
strategy = "cache"
cache_ttl = "1h"
`;

// The same configuration, written in other ways.
const WRITTEN_OTHERWISE = {
  'in another order, with comments': `
    # What to do when an upstream fails
    [retry.fallback]
    cache_ttl = "60m" # one hour
    strategy = ["cache"]
    [retry.policy]
    retryable_errors = [
      "connection_reset", # EPIPE, too
      "connection_timeout",
      "dns_resolution",
    ]
    retryable_status_codes = [ 504, 503, 502, 500, 429 ]
    [retry.circuit_breaker]
    timeout = "1m"
    success_threshold = 3
    failure_threshold = 5
    [retry]
    jitter = true
    multiplier = 2
    max_delay = "30000ms"
    initial_delay = "1000ms"
    max_retries = 3`,
  'with dotted names': `
    retry.max_retries = 3
    retry.initial_delay = 1000
    retry.max_delay = 30_000
    retry.multiplier = 2.0
    retry.jitter = true
    retry.circuit_breaker.failure_threshold = 5
    retry.circuit_breaker.success_threshold = 3
    retry.circuit_breaker.timeout = 60_000
    retry.policy.retryable_status_codes = [429, 500, 502, 503, 504]
    retry.policy.retryable_errors = ["connection_timeout", "dns_resolution", "connection_reset"]
    retry.fallback.strategy = "cache"
    retry.fallback.cache_ttl = "1h0m0s"`,
  'inline, with our own names': [
    'retry = { retries = 3, min_timeout = "1s", max_timeout = "0.5m", factor = 2, jitter = 0.1',
    'circuit_breaker = { consecutive_failures = 5, success_threshold = 3, reset_timeout = "60s" }',
    'policy = { retryable_statuses = [429, 500, 502, 503, 504], ' +
      'retryable_errors = ["connection_timeout", "dns_resolution", "connection_reset"] }',
    'fallback = { strategy = "cache", cache_ttl = 3_600_000 } }',
  ].join(', '),
  'with the line ends and the mark of Windows': `\uFEFF${FILE.replaceAll('\n', '\r\n')}`,
};

const failed = details => Object.assign(new Error('failed'), details);
const HOUR_MS = 3_600_000;

let folder;
beforeAll(() => { folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-policy-')); });
afterAll(() => fs.rmSync(folder, { recursive: true }));

let time;
beforeEach(() => { time = useVirtualClock(); });
afterEach(() => time.restore());

function toml (text) {
  const file = path.join(folder, 'retry.toml');
  fs.writeFileSync(file, text);
  return file;
}

/** A function that fails with `error` while that is set, and the times of its calls. */
function upstream () {
  const calls = [];
  const fn = async (...args) => {
    calls.push(time.now);
    if (upstreamed.error !== undefined) throw upstreamed.error;
    return `page ${args.join()}`;
  };
  const upstreamed = { fn, calls, error: undefined };
  return upstreamed;
}

/** Waits for a promise while the virtual time passes. */
async function after (promise, ms = HOUR_MS / 2) {
  const settled = promise.then(value => ({ value }), error => ({ error }));
  await time.advanceAsync(ms);
  return settled;
}

/** The calls that an error gets, from one call of a policy. */
async function callsFor (made, error) {
  const server = Object.assign(upstream(), { error });
  await after(made.execute(server.fn), 60_000);
  return server.calls.length;
}

const withoutBreaker = file => file.replace(/(circuit_breaker\]\nenabled = )true/, '$1false');

describe('the file', () => {
  test.each(Object.entries(WRITTEN_OTHERWISE))('%s it means the same', (_, text) => {
    const { retry } = readConfig(toml(FILE));
    const other = readConfig(toml(text)).retry;
    const plain = ({ policy, circuitBreaker, enabled, ...rest }) => ({
      ...rest, circuitBreaker: { ...circuitBreaker, enabled: undefined },
      policy: {
        retryableStatuses: policy.retryableStatuses.toSorted(),
        retryableErrors: policy.retryableErrors.toSorted(),
      },
    });
    expect(plain(other)).toEqual(plain(retry));
    expect(retry).toMatchObject({
      retries: 3, minTimeout: 1000, maxTimeout: 30_000, factor: 2, jitter: 0.1,
      circuitBreaker: { consecutiveFailures: 5, successThreshold: 3, resetTimeout: 60_000 },
      policy: { retryableStatuses: [429, 500, 502, 503, 504] },
      fallback: { enabled: true, strategy: ['cache'], cacheTtl: HOUR_MS },
    });
  });

  test('an object may have camel case or snake case names', () => {
    const { retry } = readConfig({
      retry: { max_retries: 2, initialDelay: '2s', circuitBreaker: { timeout: '5m' } },
    });
    expect(retry).toMatchObject({
      retries: 2, minTimeout: 2000, circuitBreaker: { resetTimeout: 300_000 },
    });
  });

  test('a configuration that has been read can be read again', () => {
    const config = readConfig(toml(FILE));
    expect(readConfig(config)).toBe(config);
    expect(JSON.stringify(readConfig({ ...config }))).toBe(JSON.stringify(config));
  });

  test.each([
    ['[retry]\nmax_retries = 3\nretries = 3', 'retry.retries', 'max_retries'],
    ['[retry]\nmin_timeout = 1\ninitial_delay = 1', 'retry.initial_delay', 'min_timeout'],
    ['[retry]\nmax_timeout = 9\nmax_delay = 9', 'retry.max_delay', 'max_timeout'],
    ['[retry]\nfactor = 2\nmultiplier = 2', 'retry.multiplier', 'factor'],
    ['[smtp]\nhost = "x"\nfrom = "a@b.example"\n[smtp.circuit_breaker]\ntimeout = 1\n' +
      'reset_timeout = 1', 'smtp.circuit_breaker.reset_timeout', 'timeout'],
    ['[retry.circuit_breaker]\nfailure_threshold = 1\nconsecutive_failures = 1',
      'retry.circuit_breaker.consecutive_failures', 'failure_threshold'],
    ['[retry.policy]\nretryable_status_codes = [500]\nretryableStatuses = [500]',
      'retry.policy.retryableStatuses', 'retryable_status_codes'],
    ['[upstreams.a.retry]\nretries = 1\nmax_retries = 1', 'upstreams.a.retry.max_retries',
      'retries'],
  ])('two names for one thing: %j', (text, place, other) => {
    expect(() => readConfig(toml(text))).toThrow(expect.objectContaining({
      code: 'ERR_CONFIG',
      faults: [{ path: place, message: `It means the same as ${other}: keep one of them` }],
    }));
  });

  test('an invalid value is reported under the name that the user wrote', () => {
    expect(() => readConfig(toml(FILE.replace('= 3', '= -3')))).toThrow('retry.max_retries: ');
    expect(() => readConfig(toml(FILE.replace('"60s"', '"60"')))).toThrow(
      'retry.circuit_breaker.timeout: Expected a duration such as "500ms", "1.5s" ' +
      'or "1h30m", or a number of milliseconds, from 1 ms to 365 days, but received "60"');
    expect(() => readConfig(toml(FILE.replace('"30s"', '"0.3s"')))).toThrow(
      'retry.initial_delay: initial_delay is greater than max_delay');
  });
});

describe('its policy', () => {
  test('waits 1, 2 and 4 s, each ±10 %, and gives up after three retries', async () => {
    const waits = [];
    for (let i = 0; i < 40; i++) {
      const server = Object.assign(upstream(), { error: failed({ status: 503 }) });
      const { error } = await after(policyFromConfig(toml(FILE)).execute(server.fn));
      expect(error).toBe(server.error);
      expect(server.calls).toHaveLength(4);
      waits.push(server.calls.slice(1).map((at, n) => (at - server.calls[n]) / 2 ** n));
    }
    const all = waits.flat();
    expect(Math.min(...all)).toBeGreaterThanOrEqual(899);
    expect(Math.max(...all)).toBeLessThanOrEqual(1101);
    expect(Math.max(...all) - Math.min(...all)).toBeGreaterThan(50);
  });

  test('no delay is longer than max_delay', async () => {
    const server = Object.assign(upstream(), { error: failed({ status: 503 }) });
    const text = withoutBreaker(FILE).replace('max_retries = 3', 'max_retries = 10')
      .replace('jitter = true', 'jitter = false');
    await after(policyFromConfig(toml(text)).execute(server.fn));
    const waits = server.calls.slice(1).map((at, n) => at - server.calls[n]);
    expect(waits).toEqual(
      [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000, 30_000]);
  });

  test('opens after five failures in a row for 60 s, closes after three successes', async () => {
    const made = policyFromConfig(toml(FILE));
    const server = upstream();
    const load = () => made.execute(server.fn);
    server.error = failed({ status: 501 });
    for (let i = 0; i < 4; i++) await after(load(), 0);
    server.error = undefined;
    await load(); // A success ends the row of failures.
    server.error = failed({ status: 501 });
    for (let i = 0; i < 4; i++) await after(load(), 0);
    expect(made.breaker.closed).toBe(true);
    await after(load(), 0);
    expect(made.breaker.opened).toBe(true);

    const before = server.calls.length;
    server.error = undefined;
    await time.advanceAsync(59_999);
    expect((await after(load(), 0)).error.code).toBe('EOPENBREAKER');
    expect(server.calls).toHaveLength(before);
    await time.advanceAsync(1);
    for (let i = 0; i < 2; i++) {
      await load();
      expect(made.breaker.closed).toBe(false);
    }
    await load();
    expect(made.breaker.closed).toBe(true);
    // No ramp: all calls pass at once.
    for (let i = 0; i < 100; i++) await load();
    expect(server.calls).toHaveLength(before + 103);
  });

  test('answers that the request was wrong do not open it; 408 and 429 do', async () => {
    const text = FILE.replace('[429, ', '[');
    for (const [status, isOpen] of [
      [400, false], [401, false], [404, false], [422, false], [408, true], [429, true], [501, true],
    ]) {
      const made = policyFromConfig(toml(text));
      const fail = async () => { throw failed({ status }); };
      for (let i = 0; i < 6; i++) await after(made.execute(fail), 0);
      expect([status, made.breaker.opened]).toEqual([status, isOpen]);
    }
  });

  test('retries exactly the statuses that it lists', async () => {
    for (const [status, calls] of [
      [429, 4], [500, 4], [502, 4], [503, 4], [504, 4],
      [400, 1], [401, 1], [403, 1], [404, 1], [408, 1], [422, 1], [501, 1], [505, 1],
    ]) {
      const made = policyFromConfig(toml(withoutBreaker(FILE)));
      expect([status, await callsFor(made, failed({ status }))]).toEqual([status, calls]);
    }
  });

  test('retries exactly the kinds of errors that it lists', async () => {
    const timeout = new DOMException('The operation timed out', 'TimeoutError');
    for (const [error, calls] of [
      ...['ETIMEDOUT', 'ESOCKETTIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT',
        'ENOTFOUND', 'EAI_AGAIN', 'ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'].flatMap(code => [
        [failed({ code }), 4], [failed({ cause: failed({ code }) }), 4],
      ]),
      [timeout, 4],
      [failed({ code: 'ECONNREFUSED' }), 1], [failed({ code: 'EPROTO' }), 1], [failed({}), 1],
    ]) {
      const made = policyFromConfig(toml(withoutBreaker(FILE)));
      expect([error.code, await callsFor(made, error)]).toEqual([error.code, calls]);
    }
  });

  test('a predicate is called before its lists are used', async () => {
    const predicate = ({ retry }) => retry;
    for (const [error, calls] of [
      [{ status: 404, retry: true }, 4], [{ status: 503, retry: false }, 1], [{ status: 503 }, 4],
      [{ status: 404 }, 1],
    ]) {
      const made = policyFromConfig(toml(withoutBreaker(FILE)), { predicate });
      expect(await callsFor(made, failed(error))).toBe(calls);
    }
  });

  test('answers from its cache for an hour', async () => {
    const server = upstream();
    const load = policyFromConfig(toml(FILE)).wrap(id => server.fn(id));
    expect(await load(7)).toBe('page 7');
    server.error = failed({ status: 404 });
    await time.advanceAsync(HOUR_MS - 2000);
    expect(await load.answer(7)).toMatchObject({
      value: 'page 7', source: 'fallback', error: server.error,
    });
    expect((await after(load(8), 0)).error).toBe(server.error);
    await time.advanceAsync(2000);
    expect((await after(load(7), 0)).error).toBe(server.error);
  });

  test('the strategies are tried in the order of the list', async () => {
    const text = FILE.replace('"cache"', '["degraded", "cache", "default"]') +
      'default = { pages = [], is_old = true }\n';
    const server = upstream();
    const asked = [];
    const load = policyFromConfig(toml(text), {
      degraded: async (id, error) => {
        asked.push([id, error]);
        if (id === 1) return 'a smaller page';
        throw error;
      },
    }).wrap(server.fn);
    await load(1);
    await load(2);
    server.error = failed({ status: 404 });
    expect(await load(1)).toBe('a smaller page');
    const { declined } = require('../..').fallbackChain;
    const declining = policyFromConfig(toml(text), { degraded: () => declined }).wrap(server.fn);
    expect(await declining(3)).toEqual({ pages: [], is_old: true });
    const own = policyFromConfig(toml(text), { degraded: () => declined, default: null });
    expect(await own.wrap(server.fn)(3)).toBe(null);
    expect(asked).toEqual([[1, server.error]]);
  });

  test('a strategy that needs code says so', () => {
    for (const strategy of ['default', 'degraded']) {
      const file = toml(FILE.replace('"cache"', `"${strategy}"`));
      expect(() => policyFromConfig(file)).toThrow(expect.objectContaining({
        code: 'ERR_INVALID_OPTION', option: strategy,
        message: expect.stringContaining('retry.fallback.strategy lists it'),
      }));
      expect(readConfig(file).retry.fallback.strategy).toEqual([strategy]);
    }
  });

  test('the section of the upstream with its name overrides the general one', async () => {
    const text = `${FILE}[upstreams.movies]\ncache = false\ndefault = 5\n` +
      '[upstreams.movies.retry]\nmax_retries = 1\n';
    const server = Object.assign(upstream(), { error: failed({ status: 500 }) });
    const movies = policyFromConfig(toml(text), { name: 'movies' });
    expect(await after(movies.execute(server.fn))).toEqual({ value: 5 });
    expect(server.calls).toHaveLength(2);
    expect(movies.breaker.name).toBe('movies');
    expect(policyFromConfig(toml(text)).breaker.name).toBe('policy');
  });
});

describe('enabled = false', () => {
  const off = section => FILE.replace(new RegExp(`(\\[${section}\\]\nenabled = )true`), '$1false');

  test('of [retry]: one attempt', async () => {
    const made = policyFromConfig(toml(off('retry')));
    expect(await callsFor(made, failed({ status: 503 }))).toBe(1);
    expect(made.breaker.enabled).toBe(true);
  });

  test('of the breaker: it never opens', async () => {
    const made = policyFromConfig(toml(off('retry.circuit_breaker')));
    for (let i = 0; i < 20; i++) expect(await callsFor(made, failed({ status: 404 }))).toBe(1);
    expect(made.breaker.enabled).toBe(false);
    expect(made.breaker.opened).toBe(false);
  });

  test('of the fallback: no old answer, no default, no function', async () => {
    const server = upstream();
    const text = off('retry.fallback').replace('"cache"', '["cache", "default", "degraded"]');
    const load = policyFromConfig(toml(text), { default: 1, degraded: () => 2 }).wrap(server.fn);
    await load(1);
    server.error = failed({ status: 404 });
    expect((await after(load(1), 0)).error).toBe(server.error);
  });
});

describe('a gateway with the file', () => {
  const upstreamsOf = text => makeUpstreams(
    readConfig(toml(`${text}\n[upstreams.movies]\n[upstreams.prices]\ncache = false\n`)));

  test('its upstreams do the same, with one breaker each', async () => {
    const upstreams = upstreamsOf(FILE.replace('timeout = "60s"', '$&\nscope = "instance"'));
    const server = upstream();
    const load = upstreams.wrap('movies', server.fn);
    expect(await load(1)).toBe('page 1');
    server.error = failed({ code: 'ETIMEDOUT' });
    expect(await after(load(1), 10_000)).toEqual({ value: 'page 1' });
    expect(server.calls).toHaveLength(5);
    expect(await after(load(1), 10_000)).toEqual({ value: 'page 1' });
    expect(upstreams.breakers.movies.opened).toBe(true);
    expect(upstreams.breakers.prices.opened).toBe(false);
    const prices = upstreams.wrap('prices', server.fn);
    expect((await after(prices(1), 10_000)).error).toBe(server.error);
  });

  test('two functions of an upstream never get each other\'s old answers', async () => {
    const upstreams = upstreamsOf(FILE.replace('timeout = "60s"', '$&\nscope = "instance"'));
    const server = {};
    const answer = kind => async id => {
      if (server.error) throw server.error;
      return `${kind} ${id}`;
    };
    const users = Object.defineProperty(answer('user'), 'name', { value: 'users' });
    const orders = Object.defineProperty(answer('order'), 'name', { value: 'orders' });
    expect(await upstreams.wrap('movies', users)(7)).toBe('user 7');
    server.error = failed({ status: 404 });
    expect((await after(upstreams.wrap('movies', orders)(7), 0)).error).toBe(server.error);
    expect(await upstreams.wrap('movies', users)(7)).toBe('user 7');
  });

  test('a function without arguments gets its own old answer only', async () => {
    const made = policyFromConfig(toml(FILE));
    const server = {};
    const answer = value => async () => {
      if (server.error) throw server.error;
      return value;
    };
    const all = made.wrap(answer('all'));
    const mine = made.wrap(answer('mine'));
    const byKey = made.wrap(answer('by key'), { key: () => 'own' });
    for (const load of [all, mine, byKey]) await load();
    server.error = failed({ status: 404 });
    expect(await all()).toBe('all');
    expect(await mine()).toBe('mine');
    expect(await byKey()).toBe('by key');
    expect(await made.wrap(answer('another'), { key: () => 'own' })()).toBe('by key');
    expect((await after(made.wrap(answer('new'))(), 0)).error).toBe(server.error);
    await expect(made.execute(answer('all'), { key: 'own' })).resolves.toBe('by key');
  });
});
