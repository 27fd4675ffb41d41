'use strict';

// JSON over HTTP: the bodies of requests, the answers, and errors as problem+json (RFC 9457).
// Clients never see the insides of the service.

const { STATUS_CODES } = require('node:http');

const { isList, messageOf, read } = require('../base/foreign');
const { is, number, optionsOf } = require('../base/options');
const { warn } = require('../base/warn');

const STATUS_MIN = 400;
const STATUS_MAX = 599;
const SERVER_ERROR = 500;
const MS_PER_SECOND = 1000;

/**
 * Errors that mean something to a client: status and detail. The detail `true` stands for the
 * message of the error, which says what was wrong with the client's input.
 */
const PROBLEMS = {
  ERR_INVALID_INPUT: [400, true],
  ERR_OUTBOX_MESSAGE: [400, true],
  ERR_OUTBOX_CHANNEL: [400, true],
  ERR_OUTBOX_TEMPLATE: [400, true],
  ERR_OUTBOX_TOO_LARGE: [413, true],
  ERR_PAYMENT_ORDER: [409, true],
  ERR_GATEWAY_NO_CLIENT: [404, 'This service takes no orders.'],
  ERR_WEBHOOK_BODY: [503, true],
  ERR_IDEMPOTENCY_MISMATCH: [422, 'The key was used with another request before.'],
  ERR_IDEMPOTENCY_IN_PROGRESS: [409, 'A request with the same key is still in progress.'],
  ERR_IDEMPOTENCY_DONE: [409, 'A request with the same key was carried out before.'],
  ERR_IDEMPOTENCY_LOST: [409, 'Another request has taken over the key. Send it again.'],
  ERR_STORE_UNREACHABLE: [503, 'The service cannot reach its database at the moment.'],
  ERR_STORE_READ_ONLY: [503, 'The database of the service takes no writes at the moment.'],
  ERR_STORE_CLOSED: [503, 'The service is stopping.'],
  ERR_SERVICE_DOWN: [503, 'Something that this request needs is down. Try again later.'],
  EOPENBREAKER: [503, 'Something that this request needs is down. Try again later.'],
  ESHUTDOWN: [503, 'The service is stopping.'],
  EBULKHEADFULL: [503, 'The service is busy. Try again later.'],
  ELOADSHED: [503, 'The service is busy. Try again later.'],
  ESEMLOCKED: [503, 'The service is busy. Try again later.'],
  ERATELIMITED: [429, 'There were too many requests.'],
  EDEADLINE: [504, 'The request could not be answered in the time that it had.'],
  ETIMEDOUT: [504, 'Something that this request needs did not answer in time.'],
};

const OPTIONS = optionsOf({
  onError: is.func('gets what was answered with 500',
    { default: error => warn('A request failed', error) }),
});

/** JSON in which amounts, which are bigints, are text. */
const toJson = value => JSON.stringify(value,
  (_key, member) => typeof member === 'bigint' ? String(member) : member);

/** Answers with JSON that nobody may cache. `res` is of Express or of Node.js. */
function sendJson (res, status, value) {
  const text = toJson(value);
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.end(res.req?.method === 'HEAD' ? undefined : text);
}

/** Answers with problem+json. Further members are sent as they are. */
function problem (res, status, members = {}) {
  number('status', status, { min: STATUS_MIN, max: STATUS_MAX, integer: true });
  const { type = 'about:blank', title = STATUS_CODES[status] ?? 'Error', ...rest } = members;
  const text = JSON.stringify({ type, title, status, ...rest });
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/problem+json');
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('Content-Length', Buffer.byteLength(text));
  if (members.retryAfter !== undefined) {
    res.setHeader('Retry-After', String(Math.max(Math.ceil(members.retryAfter), 0)));
  }
  res.end(res.req?.method === 'HEAD' ? undefined : text);
}

/** What a client may know about an error: { status, members }. */
function problemOf (error) {
  const code = read(error, 'code');
  if (typeof code === 'string' && Object.hasOwn(PROBLEMS, code)) {
    const [status, detail] = PROBLEMS[code];
    const members = { code, detail: detail === true ? messageOf(error) : detail };
    if (code === 'EOPENBREAKER') members.circuit_breaker = true;
    const faults = read(error, 'faults');
    if (detail === true && isList(faults)) members.faults = faults;
    const retryAfterMs = read(error, 'retryAfterMs');
    if (typeof retryAfterMs === 'number' && retryAfterMs >= 0) {
      members.retryAfter = Math.ceil(retryAfterMs / MS_PER_SECOND);
    }
    return { status, members };
  }
  // Express and its body parsers mark mistakes of the client with `expose`. A URIError is a path
  // that cannot be decoded.
  const status = read(error, 'status');
  const isClients = (read(error, 'expose') === true || read(error, 'name') === 'URIError') &&
    Number.isInteger(status) && status >= STATUS_MIN && status < SERVER_ERROR;
  return isClients ? { status, members: mistakeIn(error, status) }
    : { status: SERVER_ERROR, members: { code: 'ERR_INTERNAL' } };
}

/** What a client has done wrong, in our words: those of Express may quote the request. */
function mistakeIn (error, status) {
  const type = read(error, 'type');
  if (type === 'entity.parse.failed') {
    return { code: 'ERR_REQUEST_JSON', detail: 'Expected a JSON object or array as the body.' };
  }
  if (status === 413) {
    const limit = read(error, 'limit');
    const most = Number.isInteger(limit) ? `at most ${limit} bytes` : 'fewer bytes';
    return { code: 'ERR_REQUEST_TOO_LARGE', detail: `Expected a body of ${most}.` };
  }
  if (status === 415) {
    const expected = type === 'charset.unsupported'
      ? 'a body in UTF-8' : 'a body without this Content-Encoding';
    return { code: 'ERR_REQUEST_CONTENT_TYPE', detail: `Expected ${expected}.` };
  }
  return { code: 'ERR_REQUEST', detail: 'The request cannot be read.' };
}

const notFound = (req, res) => problem(res, 404, { code: 'ERR_NOT_FOUND' });

// ---- Bodies ------------------------------------------------------------------------------------

const CONTENT_TYPE_SHOWN = 100;

const hasBody = ({ headers }) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0;

/**
 * Express middleware that reads a body of JSON; there may be none. It says what is wrong with other
 * bodies, which Express would silently leave unread.
 * @param {object} express
 * @param {number} limit in bytes
 */
function jsonBody (express, limit) {
  const parse = express.json({ limit, inflate: false });
  return function readBody (req, res, next) {
    const type = req.headers['content-type'] ?? '';
    if (!hasBody(req) || /^application\/json *(;|$)/i.test(type)) return parse(req, res, next);
    const received = type === '' ? 'a body without it' : type.slice(0, CONTENT_TYPE_SHOWN);
    problem(res, 415, {
      code: 'ERR_REQUEST_CONTENT_TYPE',
      detail: `Expected the header Content-Type: application/json but received ${received}.`,
    });
  };
}

// ---- Errors ------------------------------------------------------------------------------------

/** Express middleware for what a router throws: the last one of an application. */
function problemHandler (options) {
  const { onError } = OPTIONS.read(options);
  // Express recognises middleware for errors by its four arguments.
  // eslint-disable-next-line no-unused-vars
  return function handleProblem (error, req, res, next) {
    const { status, members } = problemOf(error);
    if (status === SERVER_ERROR) onError(error, req);
    // An answer that has already begun can only be cut off.
    if (res.headersSent) res.destroy();
    else problem(res, status, members);
  };
}

module.exports = { jsonBody, notFound, problem, problemHandler, problemOf, sendJson, toJson };
