'use strict';

// Failures of calls to Midtrans, classified: what may be sent again, whose outcome is unknown, what
// is the caller's fault.

const { messageOf, read } = require('../base/foreign');
const { retryAfterMs } = require('../primitives/classify');
const { ClientError, clean, isObject } = require('./client-error');

const MESSAGES_MAX = 20;
// For these the status alone says enough.
const SPEAKING = new Set([401, 408, 429]);
// Midtrans answers in English or Indonesian, as the merchant's account is set.
const TAKEN = /has already been (taken|utili[sz]ed)|sudah (digunakan|dipakai)/i;

class MidtransError extends ClientError {
  constructor (code, message, { response, ...details } = {}) {
    super(code, message, {
      operation: undefined, orderId: undefined, httpStatus: undefined, statusCode: undefined,
      validationMessages: [], retryable: false, ambiguous: false, ...details,
    });
    // It may hold personal data, so neither inspect nor JSON shows it.
    Object.defineProperty(this, 'response', { value: response, enumerable: false });
  }

  /** What retry() looks at: true ends it. */
  get bail () { return !this.retryable; }
}

ClientError.define(MidtransError, 'MidtransError');

// The code and the judgement for each status, of HTTP or in the body. `lost`: the answer of the
// call may be lost, not the call.
const STATUSES = {
  401: { code: 'ERR_MIDTRANS_UNAUTHORIZED' },
  404: { code: 'ERR_MIDTRANS_NOT_FOUND' },
  406: { code: 'ERR_MIDTRANS_CONFLICT' },
  408: { code: 'ERR_MIDTRANS_TIMEOUT', retryable: true, lost: true },
  412: { code: 'ERR_MIDTRANS_CANNOT_MODIFY' },
  429: { code: 'ERR_MIDTRANS_RATE_LIMITED', retryable: true },
};
const SERVER_FAILED = { code: 'ERR_MIDTRANS_SERVER', retryable: true, lost: true };
const REFUSED = { code: 'ERR_MIDTRANS_REFUSED' };

const classOf = status => (status >= 500 ? SERVER_FAILED : STATUSES[status] ?? REFUSED);

/**
 * The status that counts: business errors come with HTTP 200 and a code in the body. When a server
 * failed, a code of a refusal in its body is not believed.
 */
function statusOf (httpStatus, body) {
  const written = isObject(body) ? body.status_code : undefined;
  const isCode = written !== undefined && /^[2-5]\d\d$/.test(written);
  const code = isCode ? Number(written) : undefined;
  if (httpStatus >= 400) return code >= (httpStatus >= 500 ? 500 : 400) ? code : httpStatus;
  return code ?? httpStatus;
}

/** Whether a body is what Midtrans sends when all is well. */
const isAnswer = (body, { core }) =>
  isObject(body) && (core ? body.status_code !== undefined : typeof body.token === 'string');

/** Whether a body refuses in the words of Midtrans, Core's or Snap's, and not of some proxy. */
const isRefusal = body =>
  isObject(body) && (body.status_code !== undefined || Array.isArray(body.error_messages));

const callOf = ({ operation, orderId }) =>
  (orderId === undefined ? operation : `${operation} of ${orderId}`);

/** Every message of an error's body, Snap's and Core's. */
function messagesOf (body) {
  if (!isObject(body)) return [];
  const list = value => (Array.isArray(value) ? value : []);
  return [...list(body.error_messages), ...list(body.validation_messages)]
    .filter(message => typeof message === 'string').slice(0, MESSAGES_MAX);
}

/** The error that an answer is; undefined for a success. 407 (expired) is a success, too. */
function errorOfAnswer ({ httpStatus, headers, body }, request, redact) {
  const { operation, orderId, mutating } = request;
  const status = statusOf(httpStatus, body);
  const inFlight = mutating && httpStatus === 202 && body?.transaction_status === undefined;
  const isWell = status < 400 || (status === 407 && httpStatus < 300);
  if (isWell && !inFlight && httpStatus < 300 && isAnswer(body, request)) return undefined;
  const details = { operation, orderId, httpStatus, response: body };
  if (inFlight) {
    return new MidtransError('ERR_MIDTRANS_IN_FLIGHT',
      `Midtrans is still working on an earlier ${operation} of ${orderId}`,
      { ...details, retryable: true, ambiguous: true });
  }
  // A refusal that does not look like Midtrans's comes from a proxy. Its 404 does not mean that
  // there is no such transaction.
  if (isWell || (!isRefusal(body) && !SPEAKING.has(status) && status < 500)) {
    return unreadable(httpStatus, request, details);
  }
  const messages = messagesOf(body).map(message => clean(redact(message)));
  let { code, retryable = false, lost = false } = classOf(status);
  if (messagesOf(body).some(message => TAKEN.test(message))) code = 'ERR_MIDTRANS_CONFLICT';
  const said = [body?.status_message, ...messages].filter(text => typeof text === 'string');
  return new MidtransError(code,
    `Midtrans answered ${status} to ${callOf(request)}` +
      (said.length === 0 ? '' : `: ${[...new Set(said)].map(t => clean(redact(t))).join('; ')}`),
    {
      ...details, statusCode: String(status), validationMessages: messages, retryable,
      ambiguous: lost && mutating, retryAfter: retryAfterMs({ headers }),
    });
}

/** An answer that cannot be Midtrans's: a proxy's page, a redirect, half a body. */
function unreadable (httpStatus, { operation, mutating }, details) {
  return new MidtransError('ERR_MIDTRANS_RESPONSE',
    `Midtrans's answer to ${operation} is unreadable (HTTP ${httpStatus})`,
    { ...details, retryable: true, ambiguous: mutating });
}

/** The error of a request without an answer. `sent`: whether any of it may have arrived. */
function errorOfTransport (cause, request, sent) {
  const { operation, orderId, mutating } = request;
  const code = read(cause, 'code');
  const timedOut = code === 'ETIMEDOUT' || code === 'UND_ERR_CONNECT_TIMEOUT';
  const what = timedOut ? 'did not answer in time' : 'could not be reached';
  return new MidtransError(timedOut ? 'ERR_MIDTRANS_TIMEOUT' : 'ERR_MIDTRANS_NETWORK',
    `Midtrans ${what} for ${callOf(request)} (${clean(code ?? messageOf(cause))})`,
    { operation, orderId, retryable: true, ambiguous: mutating && sent, cause });
}

/** The outcome of a call is unknown. */
function unknownOutcome (cause, { operation, orderId, refundKey, core }) {
  const details = { operation, orderId, ambiguous: true, retryable: !core, cause };
  if (refundKey !== undefined) details.refundKey = refundKey;
  const advice = core ? 'ask for its status before anything else'
    : 'send it again under the same order_id, with resume: true';
  return new MidtransError('ERR_MIDTRANS_UNKNOWN_OUTCOME',
    `It is not known whether Midtrans has done ${operation} of ${orderId}: ${advice}`, details);
}

/** A Snap order was made, but the answer with its token was lost. */
function tokenLost (cause, { operation, orderId }) {
  return new MidtransError('ERR_MIDTRANS_UNKNOWN_OUTCOME',
    `Midtrans has a page for ${orderId}, but the answer with its token was lost; so far nothing ` +
      'has been paid on it', { operation, orderId, ambiguous: true, tokenLost: true, cause });
}

/** The order_id is another transaction's. */
function orderConflict ({ operation, orderId }, transaction, cause) {
  return new MidtransError('ERR_MIDTRANS_CONFLICT',
    `${orderId} is another transaction already, so that ${operation} was not done`,
    { operation, orderId, statusCode: '406', response: transaction, cause });
}

/** Whether an error says that Midtrans is in trouble, so that the breaker counts it. */
const blamesUpstream = error =>
  read(error, 'retryable') && read(error, 'code') !== 'ERR_MIDTRANS_IN_FLIGHT';

module.exports = {
  MidtransError, blamesUpstream, errorOfAnswer, errorOfTransport, orderConflict, tokenLost,
  unknownOutcome, unreadable,
};
