'use strict';

// Which errors are worth another attempt, and when.

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { isA, read, textOf } = require('../base/foreign');
const { bag, func } = require('../base/options');

// The network may recover. The UND_ERR ones are those of fetch and undici.
const NETWORK_CODES = [
  'ECONNREFUSED', 'ETIMEDOUT', 'ENOTFOUND', 'ECONNRESET', 'EPIPE', 'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'UND_ERR_SOCKET',
];
// The server may recover, had too much to do, or waited for us in vain.
const RETRYABLE_STATUSES = ['5xx', 429, 408];
// These say that nobody was asked.
const REFUSALS = new Set(['EOPENBREAKER', 'ESHUTDOWN']);

// How many errors of a chain of causes are looked at.
const CAUSES_MAX = 5;

/** A property of all errors of a class, which one of them may still set for itself. */
function define (Type, name, value) {
  Object.defineProperty(Type.prototype, name, { value, writable: true, configurable: true });
}

/** Makes `instanceof` true for the errors of another copy of this package as well. */
function recognise (Type, mark) {
  define(Type, mark, true);
  Object.defineProperty(Type, Symbol.hasInstance, {
    value (object) {
      // A class that extends this one inherits the method, and has to be told apart.
      if (this !== Type) return Function.prototype[Symbol.hasInstance].call(this, object);
      return object !== null && typeof object === 'object' && read(object, mark) === true;
    },
  });
}

class JudgedError extends Error {
  constructor (message, options, code) {
    const given = bag('options', options);
    super(message, 'cause' in given ? { cause: given.cause } : undefined);
    this.code = given.code ?? code;
    if (given.retryAfter !== undefined) this.retryAfter = given.retryAfter;
  }
}

/** What failed may succeed at another attempt. */
class RetryableError extends JudgedError {
  /**
   * @param {string} [message]
   * @param {{ cause?: unknown, code?: string, retryAfter?: number }} [options] `code` is
   *   'ERR_RETRYABLE' unless given; `retryAfter` is how long to wait, in ms
   */
  constructor (message, options) {
    super(message, options, 'ERR_RETRYABLE');
  }
}

/** Another attempt would fail in the same way: retry() stops at once. */
class NonRetryableError extends JudgedError {
  /**
   * @param {string} [message]
   * @param {{ cause?: unknown, code?: string }} [options] `code` is 'ERR_NON_RETRYABLE' unless
   *   given
   */
  constructor (message, options) {
    super(message, options, 'ERR_NON_RETRYABLE');
  }
}

define(RetryableError, 'name', 'RetryableError');
define(NonRetryableError, 'name', 'NonRetryableError');
define(NonRetryableError, 'bail', true); // What retry() and async-retry look at.
recognise(RetryableError, Symbol.for('sekering.RetryableError'));
recognise(NonRetryableError, Symbol.for('sekering.NonRetryableError'));

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

function checkStatus (status) {
  if (/^[1-5]xx$/.test(status)) return;
  if (Number.isInteger(status) && status >= 100 && status <= 599) return;
  throw invalidOption('statuses', "HTTP statuses from 100 to 599 or classes such as '5xx'", status,
    typeof status === 'number' ? RangeError : TypeError);
}

function list (option, value, kind) {
  if (!Array.isArray(value)) throw invalidOption(option, `an array of ${kind}`, value);
  return value;
}

function readLists (options) {
  const { statuses = RETRYABLE_STATUSES, codes = NETWORK_CODES, predicate } =
    bag('options', options);
  list('statuses', statuses, 'HTTP statuses').forEach(checkStatus);
  for (const code of list('codes', codes, 'error codes')) {
    if (typeof code !== 'string') throw invalidOption('codes', 'error codes', code);
  }
  if (predicate !== undefined) func('predicate', predicate);
  return { statuses: new Set(statuses), codes: new Set(codes), predicate };
}

/** What one error says by itself: true, false, or undefined if it does not say. */
function judge (error, statuses, codes) {
  if (isA(error, RetryableError)) return true;
  if (isA(error, NonRetryableError)) return false;
  const code = read(error, 'code');
  if (REFUSALS.has(code)) return false;
  const status = statusOf(error);
  if (status !== undefined) {
    return statuses.has(status) || statuses.has(`${Math.floor(status / 100)}xx`);
  }
  if (typeof code === 'string' && codes.has(code)) return true;
  // What AbortSignal.timeout() makes has a number for a code.
  return read(error, 'name') === 'TimeoutError' && codes.has('ETIMEDOUT') ? true : undefined;
}

/**
 * A function that tells which errors to retry, for the option `shouldRetry`.
 *
 * An error is looked at from the outside in, along its causes (at most 5), and the first thing
 * found decides: RetryableError and NonRetryableError; an open breaker (never); the HTTP status in
 * `status`, `statusCode`, `response.status` or `httpStatus`; the code. An error that says nothing
 * is not retried.
 *
 * @param {object} [options]
 * @param {Array<number|string>} [options.statuses=['5xx', 429, 408]] statuses, and classes of them
 * @param {string[]} [options.codes] the network's unless given; with 'ETIMEDOUT' go errors that
 *   are named TimeoutError
 * @param {(error: any, attempt?: number) => boolean|undefined} [options.predicate] asked first;
 *   undefined leaves it to the lists
 * @returns {(error: unknown, attempt?: number) => boolean}
 * @throws {TypeError|RangeError} ERR_INVALID_OPTION
 */
function retryOn (options) {
  const { statuses, codes, predicate } = readLists(options);
  return (error, attempt) => {
    const own = predicate?.(error, attempt);
    if (own !== undefined && own !== null) return Boolean(own);
    return judgeChain(error, statuses, codes) ?? false;
  };
}

const byDefault = retryOn();

/** Whether an error is worth another attempt: retryOn() without options. */
const isRetryable = error => byDefault(error);

const STATUSES = new Set(RETRYABLE_STATUSES);
const CODES = new Set(NETWORK_CODES);

/** As isRetryable, but undefined for an error that does not say. */
const verdictOf = error => judgeChain(error, STATUSES, CODES);

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
 * @returns {number|undefined} ms, at least 0; undefined if it does not say
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
  RetryableError, NonRetryableError, isRetryable, retryOn, retryAfterMs, verdictOf,
};
