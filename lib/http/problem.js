'use strict';

// Errors over HTTP: problem+json as RFC 9457 has it, and never anything of our insides.

const { messageOf, read } = require('../base/foreign');
const { bag, func } = require('../base/options');
const { problem } = require('../base/problem');
const { warn } = require('../base/warn');

// Errors whose meaning for a client is known: [status, detail]. `true` stands for the error's own
// message, which says what was wrong with the client's input.
const KNOWN = {
  ERR_INVALID_INPUT: [400, true],
  ERR_OUTBOX_MESSAGE: [400, true],
  ERR_OUTBOX_CHANNEL: [400, true],
  ERR_OUTBOX_TEMPLATE: [400, true],
  ERR_OUTBOX_TOO_LARGE: [413, true],
  ERR_PAYMENT_ORDER: [409, true],
  ERR_GATEWAY_NO_CLIENT: [404, 'This service takes no orders.'],
  ERR_WEBHOOK_BODY: [500, true],
  ERR_IDEMPOTENCY_MISMATCH: [422, 'The key was used with another request before.'],
  ERR_IDEMPOTENCY_IN_PROGRESS: [409, 'A request with the same key is being dealt with.'],
  ERR_IDEMPOTENCY_LOST: [409, 'Another request has taken the key over. Send it again.'],
  ERR_STORE_UNREACHABLE: [503, 'The service cannot reach its database at the moment.'],
  ERR_STORE_CLOSED: [503, 'The service is stopping.'],
  EOPENBREAKER: [503, 'A service that is needed for this is down.'],
  ESHUTDOWN: [503, 'The service is stopping.'],
  EBULKHEADFULL: [503, 'The service is busy.'],
  ESEMLOCKED: [503, 'The service is busy.'],
  ERATELIMITED: [429, 'There were too many requests.'],
  ETIMEDOUT: [504, 'A service that is needed for this did not answer in time.'],
};

// What Express and its body parsers mark as the client's fault.
const CLIENTS_FAULT = 400;
const SERVER_FAULT = 500;
const MS_PER_SECOND = 1000;

/** What a client may know of an error: { status, members }. */
function problemOf (error) {
  const code = read(error, 'code');
  const known = typeof code === 'string' && Object.hasOwn(KNOWN, code) ? KNOWN[code] : undefined;
  if (known !== undefined) {
    const [status, detail] = known;
    const members = { code, detail: detail === true ? messageOf(error) : detail };
    const faults = read(error, 'faults');
    if (detail === true && Array.isArray(faults)) members.faults = faults;
    const retryAfterMs = read(error, 'retryAfterMs');
    if (retryAfterMs >= 0) members.retryAfter = Math.ceil(retryAfterMs / MS_PER_SECOND);
    return { status, members };
  }
  // Only errors made for HTTP clients carry `expose`; their messages may still quote the request.
  const status = read(error, 'status');
  // An address that cannot be decoded is the client's fault as well.
  const isClients = (read(error, 'expose') === true || read(error, 'name') === 'URIError') &&
    Number.isInteger(status) && status >= CLIENTS_FAULT && status < SERVER_FAULT;
  return { status: isClients ? status : SERVER_FAULT, members: {} };
}

const notFound = (req, res) => problem(res, 404);

/**
 * Express middleware for what a router throws: the last one of an application.
 * @param {object} [options]
 * @param {(error: unknown, req: object) => void} [options.onError] gets what was answered with a
 *   status of 500; default: a process warning
 */
function problemHandler (options) {
  const { onError = error => warn('A request failed', error) } = bag('options', options);
  func('onError', onError);
  // Express tells middleware for errors by its four arguments.
  // eslint-disable-next-line no-unused-vars
  return function handleProblem (error, req, res, next) {
    const { status, members } = problemOf(error);
    if (status === SERVER_FAULT) onError(error, req);
    // Of an answer that has begun nothing better can be made than an end that shows.
    if (res.headersSent) res.destroy();
    else problem(res, status, members);
  };
}

module.exports = { notFound, problem, problemHandler, problemOf };
