'use strict';

// Which errors are worth another attempt, and when.

const clock = require('../base/clock');
const { SekeringError, invalidOption, isRefusal, nearest, optionError } = require('../base/errors');
const { isA, read, textOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { asked } = require('../base/warn');

// The network may recover. The UND_ERR ones are those of fetch and undici.
const NETWORK_CODES = [
  'ECONNREFUSED', 'ETIMEDOUT', 'ENOTFOUND', 'ECONNRESET', 'EPIPE', 'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_SOCKET',
];
// The server may recover, was too busy, or waited for us in vain.
const RETRYABLE_STATUSES = ['5xx', 429, 408];

// ---- Kinds of errors ---------------------------------------------------------------------------
//
// A kind is one name for all codes or statuses that mean the same, whichever library reports them.

const TIMEOUTS = [
  'ETIMEDOUT', 'ESOCKETTIMEDOUT', 'ETIMEOUT', 'ERR_SOCKET_CONNECTION_TIMEOUT',
  'ECONNABORTED', // A timeout in axios.
  'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT',
];
const LOOKUPS = ['ENOTFOUND', 'EAI_AGAIN', 'EAI_FAIL', 'EAI_NODATA', 'EAI_NONAME', 'ESERVFAIL',
  'EDNS']; // Of nodemailer.
const RESETS = ['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET', 'ERR_STREAM_PREMATURE_CLOSE'];
const REFUSALS = ['ECONNREFUSED'];
const UNREACHABLE = ['EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN', 'EADDRNOTAVAIL'];
const TLS = ['EPROTO', 'ERR_SSL_*', 'ERR_TLS_*', 'CERT_*', 'UNABLE_TO_*',
  'SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT'];

const KINDS = {
  __proto__: null,
  connection_refused: { codes: REFUSALS },
  connection_reset: { codes: RESETS },
  connection_timeout: { codes: TIMEOUTS },
  dns_resolution: { codes: LOOKUPS },
  network: { codes: [...TIMEOUTS, ...LOOKUPS, ...RESETS, ...REFUSALS, ...UNREACHABLE] },
  network_unreachable: { codes: UNREACHABLE },
  rate_limited: { statuses: [429] },
  server_error: { statuses: ['5xx'] },
  timeout: { codes: [...TIMEOUTS, 'ERR_HTTP_REQUEST_TIMEOUT'] },
  tls: { codes: TLS },
};

// Kinds are lowercase; codes such as ECONNRESET are not.
const isKindName = name => /^[a-z][a-z_]*$/.test(name);

/** What is wrong with a name in a list of kinds and codes; undefined if nothing is. */
function kindFault (name) {
  if (!isKindName(name) || Object.hasOwn(KINDS, name)) return undefined;
  const meant = nearest(name, Object.keys(KINDS));
  return `Unknown kind of error.${meant === undefined ? '' : ` Did you mean ${meant}?`} Known ` +
    `kinds: ${Object.keys(KINDS).join(', ')}. Codes have capital letters, such as ECONNRESET`;
}

/** A set of codes. A code that ends with * stands for all codes with that beginning. */
class Codes {
  #names;
  #beginnings;

  constructor (codes) {
    this.#names = new Set(codes);
    this.#beginnings = codes.filter(code => code.endsWith('*')).map(code => code.slice(0, -1));
  }

  has (code) {
    return this.#names.has(code) || this.#beginnings.some(start => code.startsWith(start));
  }
}

/** The sets of statuses and codes from two lists. The second list may contain kinds. */
function setsOf (statuses, names) {
  const kinds = names.map(name => KINDS[name] ?? { codes: [name] });
  return [
    new Set([...statuses, ...kinds.flatMap(kind => kind.statuses ?? [])]),
    new Codes(kinds.flatMap(kind => kind.codes ?? [])),
  ];
}

// How many errors of a chain of causes are looked at.
const CAUSES_MAX = 5;

// The values are not checked: an error that is being made must not hide behind another one.
const ERROR_OPTIONS = optionsOf({
  cause: is.any('the error behind it'),
  code: is.any('in place of the default'),
  retryAfter: is.any('how long to wait, ms; text is read as the header Retry-After'),
});

/** An error that says by `retryable` whether another attempt may succeed. */
class JudgedError extends Error {
  constructor (message, options, standardCode, retryable) {
    // Some callers pass the cause in place of options.
    const { cause, code, retryAfter } = isA(options, Error)
      ? { cause: read(options, 'cause'), code: read(options, 'code'),
        retryAfter: read(options, 'retryAfter') }
      : ERROR_OPTIONS.read(options);
    super(message === undefined ? message : textOf(message),
      cause === undefined ? undefined : { cause });
    this.code = code ?? standardCode;
    this.retryable = retryable;
    if (retryAfter !== undefined) this.retryAfter = retryAfter;
  }
}

/** What failed may succeed at another attempt. */
class RetryableError extends JudgedError {
  constructor (message, options) {
    super(message, options, 'ERR_RETRYABLE', true);
  }
}

/** Another attempt would fail in the same way: retry() stops at once. */
class NonRetryableError extends JudgedError {
  constructor (message, options) {
    super(message, options, 'ERR_NON_RETRYABLE', false);
  }
}

SekeringError.define(RetryableError, 'RetryableError');
SekeringError.define(NonRetryableError, 'NonRetryableError');
// What retry() and async-retry look at. One error may still set it for itself.
Object.defineProperty(NonRetryableError.prototype, 'bail',
  { value: true, writable: true, configurable: true });

/** The error and what caused it, outermost first. */
function chain (error) {
  const errors = [];
  let next = error;
  while (next !== null && typeof next === 'object' && errors.length < CAUSES_MAX) {
    errors.push(next);
    next = read(next, 'cause');
  }
  return errors;
}

/** The HTTP status that an error carries, if any. */
function statusOf (error) {
  const values = [read(error, 'status'), read(error, 'statusCode'),
    read(read(error, 'response'), 'status'), read(error, 'httpStatus')];
  for (const value of values) {
    const status = typeof value === 'string' ? Number(value) : value;
    if (Number.isInteger(status) && status >= 100 && status <= 599) return status;
  }
  return undefined;
}

/** As judge, of an error and its causes: the first of them that says something. */
function judgeChain (error, statuses, codes) {
  for (const part of chain(error)) {
    const verdict = judge(part, statuses, codes);
    if (verdict !== undefined) return verdict;
  }
  return undefined;
}

/** An option that is an array. */
const list = (doc, of, standard, checkEach) => ({
  doc, expected: `an array of ${of}`, default: standard,
  check (option, value) {
    if (!Array.isArray(value)) throw invalidOption(option, this.expected, value);
    for (const each of value) checkEach(option, each);
    return value;
  },
});

function checkStatus (option, status) {
  if (/^[1-5]xx$/.test(status)) return;
  if (Number.isInteger(status) && status >= 100 && status <= 599) return;
  throw invalidOption(option, "HTTP statuses from 100 to 599 or classes such as '5xx'", status,
    typeof status === 'number' ? RangeError : TypeError);
}

function checkCode (option, code) {
  if (typeof code !== 'string') throw invalidOption(option, 'error codes', code);
  const fault = kindFault(code);
  if (fault !== undefined) throw optionError(RangeError, option, `${fault} (${option})`);
}

const RETRY_ON = optionsOf({
  statuses: list('that are retried', 'HTTP statuses', RETRYABLE_STATUSES, checkStatus),
  codes: list("or kinds that are retried; 'ETIMEDOUT' includes errors named TimeoutError",
    'error codes', NETWORK_CODES, checkCode),
  predicate: is.func('asked first; undefined leaves the decision to the lists'),
  otherwise: is.boolean('whether errors without a status or a known code are retried',
    { default: false }),
});

/** What one error says by itself: true, false, or undefined if it does not say. */
function judge (error, statuses, codes) {
  const said = read(error, 'retryable');
  if (typeof said === 'boolean') return said;
  if (isRefusal(error)) return false;
  const status = statusOf(error);
  if (status !== undefined) {
    return statuses.has(status) || statuses.has(`${Math.floor(status / 100)}xx`);
  }
  const code = read(error, 'code');
  if (typeof code === 'string' && codes.has(code)) return true;
  // What AbortSignal.timeout() makes has a number for a code.
  return read(error, 'name') === 'TimeoutError' && codes.has('ETIMEDOUT') ? true : undefined;
}

/** retryOn(), of options at some place. */
function judgeBy (options, place) {
  const { predicate, otherwise, ...lists } = RETRY_ON.read(options, place);
  const [statuses, codes] = setsOf(lists.statuses, lists.codes);
  return (error, attempt) => {
    const own = predicate &&
      asked('The predicate of retryOn failed', () => predicate(error, attempt));
    if (own !== undefined && own !== null) return Boolean(own);
    return judgeChain(error, statuses, codes) ?? otherwise;
  };
}

/**
 * A function that tells which errors to retry, for the option `shouldRetry`.
 *
 * The error is examined first, then its causes (at most 5 in all). The first of these decides: a
 * boolean `retryable`; an open breaker (never retried); the HTTP status in `status`, `statusCode`,
 * `response.status` or `httpStatus`; the code. Without any, `otherwise` does.
 */
const retryOn = options => judgeBy(options);

const STATUSES = new Set(RETRYABLE_STATUSES);
const CODES = new Set(NETWORK_CODES);

/** As isRetryable, but undefined for an error that does not say. */
const verdictOf = error => judgeChain(error, STATUSES, CODES);

/** Whether an error is worth another attempt: retryOn() without options. */
const isRetryable = error => verdictOf(error) ?? false;

// The upstream has too many calls, or took too long for this one.
const OVERLOAD_STATUSES = new Set([408, 429, 503, 504]);
const TIMEOUT_CODES = new Codes(KINDS.timeout.codes);

/**
 * Whether an error or one of its causes says that the upstream is overloaded: a timeout, or HTTP
 * 408, 429, 503 or 504.
 */
function isOverload (error) {
  return chain(error).some(part => {
    const code = read(part, 'code');
    return OVERLOAD_STATUSES.has(statusOf(part)) || read(part, 'name') === 'TimeoutError' ||
      (typeof code === 'string' && TIMEOUT_CODES.has(code));
  });
}

/** A header of whatever kind of headers it is; undefined where they cannot be read. */
function header (headers, name) {
  try {
    if (headers === null || typeof headers !== 'object') return undefined;
    if (typeof headers.get === 'function') return headers.get(name) ?? undefined;
    const key = Object.keys(headers).find(candidate => candidate.toLowerCase() === name);
    const value = key === undefined ? undefined : headers[key];
    return Array.isArray(value) ? value[0] : value;
  } catch {
    return undefined;
  }
}

/** The value of a Retry-After header: seconds, or a date. */
function parseRetryAfter (value) {
  const text = textOf(value).trim();
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  // Date.parse takes a good deal for a date, '-1' for one; those of HTTP name a month.
  const date = /[a-z]{3}/i.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(date) ? undefined : Math.max(date - clock.wall(), 0);
}

const isDelay = value => typeof value === 'number' && value >= 0;

/**
 * How long an error asks to wait: `retryAfterMs` or `retryAfter` (ms; text is read as the header),
 * or the Retry-After header in `headers` or `response.headers`, of the error or its causes.
 */
function retryAfterMs (error) {
  for (const part of chain(error)) {
    const given = [read(part, 'retryAfterMs'), read(part, 'retryAfter')];
    const delay = given.find(isDelay);
    if (delay !== undefined) return delay;
    const written = typeof given[1] === 'string' ? given[1]
      : header(read(part, 'headers'), 'retry-after') ??
        header(read(read(part, 'response'), 'headers'), 'retry-after');
    const ms = written === undefined ? undefined : parseRetryAfter(written);
    if (ms !== undefined) return ms;
  }
  return undefined;
}

module.exports = {
  NonRetryableError, RetryableError, isOverload, isRetryable, judgeBy, kindFault, retryAfterMs,
  retryOn, statusOf, verdictOf,
};
