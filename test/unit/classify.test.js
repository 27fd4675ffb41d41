'use strict';

// Which errors are worth another attempt, and when.

const path = '../../lib/primitives/classify';
const { RetryableError, NonRetryableError, isRetryable, retryOn, retryAfterMs } = require(path);
const { time, withClock } = require('../support/retry-helpers');

const withCode = code => Object.assign(new Error(code), { code });
const withStatus = (status, key = 'status') => Object.assign(new Error('HTTP'), { [key]: status });

describe('the two errors', () => {
  test.each([
    [RetryableError, 'RetryableError', 'ERR_RETRYABLE'],
    [NonRetryableError, 'NonRetryableError', 'ERR_NON_RETRYABLE'],
  ])('%p is an Error with a name, a code, a cause', (Type, name, code) => {
    const cause = new Error('why');
    const error = new Type('what', { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ message: 'what', name, code, cause });
    expect(error.stack).toMatch(new RegExp(`^${name}: what`));
    expect(Object.hasOwn(new Type('what'), 'cause')).toBe(false);
    expect(new Type('what', { code: 'MINE' }).code).toBe('MINE');
    expect(new Type().message).toBe('');
    expect(() => new Type('what', 5)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });

  test('one bails, the other does not; either may say otherwise', () => {
    expect(new NonRetryableError('x').bail).toBe(true);
    expect(new RetryableError('x').bail).toBe(undefined);
    expect(Object.assign(new NonRetryableError('x'), { bail: false }).bail).toBe(false);
    expect(Object.keys(new NonRetryableError('x'))).toEqual(['code', 'retryable']);
  });

  test('have a `retryable`, which may be changed', () => {
    expect({ ...new RetryableError('x') }).toEqual({ code: 'ERR_RETRYABLE', retryable: true });
    expect({ ...new NonRetryableError('x') }).toEqual(
      { code: 'ERR_NON_RETRYABLE', retryable: false });
    expect(isRetryable(Object.assign(new RetryableError('x'), { retryable: false }))).toBe(false);
  });

  test('are told apart, also in another copy of the package', () => {
    let copy;
    jest.isolateModules(() => { copy = require(path); });
    expect(copy.RetryableError).not.toBe(RetryableError);
    expect(new copy.RetryableError('x')).toBeInstanceOf(RetryableError);
    expect(new NonRetryableError('x')).toBeInstanceOf(copy.NonRetryableError);
    expect(new copy.RetryableError('x')).not.toBeInstanceOf(NonRetryableError);
    expect(isRetryable(new copy.RetryableError('x'))).toBe(true);
  });

  test('can be extended', () => {
    class Busy extends RetryableError {}
    class Closed extends RetryableError {}
    expect(new Busy('x')).toBeInstanceOf(Busy);
    expect(new Busy('x')).toBeInstanceOf(RetryableError);
    expect(new Busy('x')).not.toBeInstanceOf(Closed);
    expect(new RetryableError('x')).not.toBeInstanceOf(Busy);
  });

  test.each([[null], [undefined], [5], ['x'], [{}], [new Error('x')]])(
    '%p is neither', value => {
      expect(value instanceof RetryableError).toBe(false);
      expect(value instanceof NonRetryableError).toBe(false);
    });
});

describe('isRetryable', () => {
  test.each([
    'ECONNREFUSED', 'ETIMEDOUT', 'ENOTFOUND', 'ECONNRESET', 'EPIPE', 'EAI_AGAIN',
    'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_SOCKET',
  ])('yes: %s', code => {
    expect(isRetryable(withCode(code))).toBe(true);
  });

  test.each([
    'EACCES', 'ENOENT', 'ERR_INVALID_ARG_TYPE', 'EOPENBREAKER', 'ESHUTDOWN', 'ESEMLOCKED',
    'UND_ERR_INVALID_ARG', 'constructor', '',
  ])('no: %p', code => {
    expect(isRetryable(withCode(code))).toBe(false);
  });

  test.each([500, 502, 503, 504, 599, 429, 408, '503'])('yes: HTTP %p', status => {
    for (const key of ['status', 'statusCode', 'httpStatus']) {
      expect(isRetryable(withStatus(status, key))).toBe(true);
    }
    expect(isRetryable(Object.assign(new Error('axios'), { response: { status } }))).toBe(true);
  });

  test.each([400, 401, 403, 404, 406, 409, 422, 200, 302, 600, 99, 5, NaN, 'error', null])(
    'no: HTTP %p', status => {
      expect(isRetryable(withStatus(status))).toBe(false);
    });

  test('the status counts more than the code', () => {
    expect(isRetryable(Object.assign(withStatus(404), { code: 'ECONNRESET' }))).toBe(false);
    expect(isRetryable(Object.assign(withStatus(503), { code: 'ERR_BAD_RESPONSE' }))).toBe(true);
  });

  test.each([
    ['a status', { status: 404 }, { status: 503 }],
    ['a code', { code: 'EACCES' }, { code: 'ECONNRESET' }],
    ['an open breaker', { code: 'EOPENBREAKER' }, { code: 'EOPENBREAKER' }],
    ['nothing else', {}, {}],
  ])('`retryable` of any error counts more than %s', (what, no, yes) => {
    expect(isRetryable(Object.assign(new Error('x'), no, { retryable: true }))).toBe(true);
    expect(isRetryable(Object.assign(new Error('x'), yes, { retryable: false }))).toBe(false);
    expect(isRetryable({ ...no, retryable: true })).toBe(true);
  });

  test('`retryable` counts in a cause, and only as a boolean that can be read', () => {
    const cause = Object.assign(new Error('x'), { retryable: true });
    expect(isRetryable(new Error('outer', { cause }))).toBe(true);
    expect(isRetryable(Object.assign(withStatus(503), { retryable: 'no' }))).toBe(true);
    const trap = { get retryable () { throw new Error('trap'); }, status: 503 };
    expect(isRetryable(trap)).toBe(true);
  });

  test('looks at the cause, and no further than the first that says something', () => {
    const fetchFailed = new TypeError('fetch failed', { cause: withCode('ECONNREFUSED') });
    expect(isRetryable(fetchFailed)).toBe(true);
    expect(isRetryable(new Error('a', { cause: fetchFailed }))).toBe(true);
    expect(isRetryable(new NonRetryableError('a', { cause: fetchFailed }))).toBe(false);
    expect(isRetryable(new RetryableError('a', { cause: withStatus(404) }))).toBe(true);
    expect(isRetryable(Object.assign(withStatus(404), { cause: fetchFailed }))).toBe(false);
    const refused = Object.assign(withCode('EOPENBREAKER'), { cause: fetchFailed });
    expect(isRetryable(refused)).toBe(false);
  });

  test('does not follow causes without an end', () => {
    const round = new Error('round');
    round.cause = round;
    expect(isRetryable(round)).toBe(false);
    let deep = withCode('ECONNRESET');
    for (let i = 0; i < 5; i++) deep = new Error('outer', { cause: deep });
    expect(isRetryable(deep)).toBe(false);
  });

  test('time that ran out by AbortSignal.timeout is, an abort is not', () => {
    expect(isRetryable(new DOMException('late', 'TimeoutError'))).toBe(true);
    expect(isRetryable(new DOMException('gone', 'AbortError'))).toBe(false);
  });

  test.each([[undefined], [null], [0], ['ECONNRESET'], [503], [() => {}], [Symbol('x')]])(
    'no: %p', value => {
      expect(isRetryable(value)).toBe(false);
    });
});

describe('retryOn', () => {
  test('takes lists', () => {
    const judge = retryOn({ statuses: [429, 500, 502, 503, 504], codes: ['EBUSY'] });
    expect([429, 500, 502, 503, 504].every(status => judge(withStatus(status)))).toBe(true);
    expect([400, 401, 403, 404, 408, 501].some(status => judge(withStatus(status)))).toBe(false);
    expect(judge(withCode('EBUSY'))).toBe(true);
    expect(judge(withCode('ECONNRESET'))).toBe(false);
    expect(judge(new DOMException('late', 'TimeoutError'))).toBe(false);
  });

  test('takes classes of statuses', () => {
    const judge = retryOn({ statuses: ['5xx'] });
    expect(judge(withStatus(507))).toBe(true);
    expect(judge(withStatus(429))).toBe(false);
    expect(judge(withCode('ECONNRESET'))).toBe(true);
  });

  test('asks the predicate first', () => {
    const predicate = jest.fn(error => ({ yes: true, no: false })[error.message]);
    const judge = retryOn({ predicate });
    expect(judge(new Error('yes'), 2)).toBe(true);
    expect(judge(Object.assign(withStatus(503), { message: 'no' }))).toBe(false);
    expect(judge(withStatus(503))).toBe(true);
    expect(judge(new Error('else'))).toBe(false);
    expect(predicate).toHaveBeenNthCalledWith(1, new Error('yes'), 2);
  });

  test('knows kinds of errors by name, whichever library reports them', () => {
    const judges = names => retryOn({ statuses: [], codes: names });
    for (const [kind, codes, others] of [
      ['connection_timeout', ['ETIMEDOUT', 'ESOCKETTIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT',
        'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ECONNABORTED'], ['ECONNRESET']],
      ['dns_resolution', ['ENOTFOUND', 'EAI_AGAIN', 'EDNS'], ['ETIMEDOUT', 'dns_resolution']],
      ['connection_reset', ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'], ['ECONNREFUSED']],
      ['connection_refused', ['ECONNREFUSED'], ['ECONNRESET']],
      ['network_unreachable', ['EHOSTUNREACH', 'ENETUNREACH'], ['ECONNREFUSED']],
      ['timeout', ['ETIMEDOUT', 'ERR_HTTP_REQUEST_TIMEOUT'], ['ECONNRESET']],
      ['network', ['ETIMEDOUT', 'EAI_AGAIN', 'EPIPE', 'ECONNREFUSED', 'ENETDOWN'], ['EPROTO']],
      ['tls', ['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER', 'CERT_HAS_EXPIRED',
        'UNABLE_TO_VERIFY_LEAF_SIGNATURE'], ['ERR_SS', 'ECONNRESET', '']],
    ]) {
      const judge = judges([kind]);
      expect([kind, codes.filter(code => !judge(withCode(code)))]).toEqual([kind, []]);
      expect([kind, others.filter(code => judge(withCode(code)))]).toEqual([kind, []]);
      expect(judge(new TypeError('fetch failed', { cause: withCode(codes[0]) }))).toBe(true);
      expect(judge(new DOMException('late', 'TimeoutError')))
        .toBe(['connection_timeout', 'timeout', 'network'].includes(kind));
      expect(judge(withStatus(503))).toBe(false);
    }
    expect(judges(['rate_limited'])(withStatus(429))).toBe(true);
    expect(judges(['rate_limited'])(withStatus(503))).toBe(false);
    expect(judges(['server_error'])(withStatus(507))).toBe(true);
    expect(judges(['server_error', 'EMINE', '40001'])(withCode('EMINE'))).toBe(true);
    expect(judges(['EMINE', '40001'])(withCode('40001'))).toBe(true);
  });

  test('rejects an unknown kind, and suggests the right one', () => {
    expect(() => retryOn({ codes: ['ECONNRESET', 'conection_timeout'] })).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_OPTION', option: 'codes',
        message: expect.stringMatching(/Did you mean connection_timeout\? Known kinds: .*network/),
      }));
    for (const name of ['constructor', 'to_string', 'x']) {
      expect(() => retryOn({ codes: [name] })).toThrow('Unknown kind of error');
    }
  });

  test('decides by `otherwise` about errors without a status or a known code', () => {
    const judge = retryOn({ statuses: ['5xx'], otherwise: true });
    expect(judge(new Error('x'))).toBe(true);
    expect(judge(withCode('EACCES'))).toBe(true);
    expect(judge(withStatus(429))).toBe(false);
    expect(judge(withCode('EOPENBREAKER'))).toBe(false);
    expect(judge(new NonRetryableError('x'))).toBe(false);
    expect(retryOn()(new Error('x'))).toBe(false);
  });

  test('with empty lists knows only the two errors', () => {
    const judge = retryOn({ statuses: [], codes: [] });
    expect(judge(withStatus(503))).toBe(false);
    expect(judge(new RetryableError('x'))).toBe(true);
  });

  test.each([
    ['options', 5], ['statuses', { statuses: 503 }], ['statuses', { statuses: [99] }],
    ['statuses', { statuses: ['6xx'] }], ['statuses', { statuses: [null] }],
    ['codes', { codes: 'EBUSY' }], ['codes', { codes: [5] }], ['predicate', { predicate: 'x' }],
    ['otherwise', { otherwise: 'x' }],
  ])('refuses wrong %s', (option, options) => {
    expect(() => retryOn(options))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }));
  });
});

describe('retryAfterMs', () => {
  withClock();

  test.each([
    [{ retryAfterMs: 250 }, 250],
    [{ retryAfter: 1500 }, 1500],
    [{ retryAfter: 0 }, 0],
    [{ retryAfter: '3' }, 3000],
    [{ headers: { 'retry-after': '3' } }, 3000],
    [{ headers: { 'Retry-After': 3 } }, 3000],
    [{ headers: { 'RETRY-AFTER': ['7', '9'] } }, 7000],
    [{ headers: new Headers({ 'Retry-After': '1.5' }) }, 1500],
    [{ response: { headers: { 'retry-after': ' 12 ' } } }, 12_000],
    [{ response: { headers: new Headers({ 'retry-after': '0' }) } }, 0],
    [{ headers: {}, response: { headers: { 'retry-after': '4' } } }, 4000],
    [{ cause: { retryAfter: 5 } }, 5],
    [{ retryAfter: '1', cause: { retryAfter: 5 } }, 1000],
  ])('%p asks for %p ms', (detail, ms) => {
    expect(retryAfterMs(Object.assign(new Error('busy'), detail))).toBe(ms);
  });

  test('reads dates', () => {
    const at = offset => new Date(Math.floor(time().wall / 1000) * 1000 + offset).toUTCString();
    const ms = retryAfterMs({ headers: { 'retry-after': at(30_000) } });
    expect(ms).toBeGreaterThan(29_000);
    expect(ms).toBeLessThanOrEqual(30_000);
    expect(retryAfterMs({ retryAfter: at(-30_000) })).toBe(0);
  });

  test.each([
    [{}], [{ retryAfter: -5 }], [{ retryAfter: NaN }], [{ retryAfter: 'soon' }],
    [{ retryAfter: '-1' }], [{ headers: { 'retry-after': '' } }], [{ headers: 'none' }],
    [{ headers: null, response: null }], [null], [undefined], ['5'], [5],
  ])('%p does not ask', value => {
    expect(retryAfterMs(value)).toBe(undefined);
  });
});

test('an error in place of options is the error behind it', () => {
  const cause = Object.assign(new Error('inner'), { code: 'EINNER', extra: 1 });
  expect(new RetryableError('outer', cause)).toMatchObject({ code: 'EINNER' });
});
