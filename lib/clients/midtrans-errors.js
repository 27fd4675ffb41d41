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
  #answer;

  /** `answer` is { httpStatus, headers, body, text }, if there was one. */
  constructor (code, message, { answer, ...details } = {}) {
    super(code, message, {
      operation: undefined, orderId: undefined, httpStatus: undefined, statusCode: undefined,
      validationMessages: [], retryable: false, ambiguous: false, ...details,
    });
    this.#answer = answer;
    // It may hold personal data, so neither inspect nor JSON shows it.
    Object.defineProperty(this, 'response', { value: answer?.body, enumerable: false });
  }

  /** The answer behind an error, or behind its cause; undefined if there was none. */
  static answerOf (failure) {
    if (!(#answer in Object(failure))) return undefined;
    return failure.#answer ?? MidtransError.answerOf(read(failure, 'cause'));
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

/** Whether a body refuses in the words of Midtrans (Core, Snap or Iris), not of some proxy. */
const isRefusal = body => isObject(body) && (body.status_code !== undefined ||
  Array.isArray(body.error_messages) || typeof body.error_message === 'string' ||
  (typeof body.errors === 'object' && body.errors !== null) ||
  typeof body.status_message === 'string');

const callOf = ({ operation, orderId }) =>
  (orderId === undefined ? operation : `${operation} of ${orderId}`);

/** All messages in the body of an error. Iris has them in objects, by the place of the fault. */
function messagesOf (body) {
  if (!isObject(body)) return [];
  const found = [body.error_messages, body.validation_messages, body.errors]
    .flatMap(list => (typeof list === 'object' ? Object.values(list ?? {}).flat(2) : list));
  return found.filter(message => typeof message === 'string').slice(0, MESSAGES_MAX);
}

/** The error that an answer is; undefined for a success. 407 (expired) is a success, too. */
function errorOfAnswer (answer, request, redact) {
  const { httpStatus, headers, body, text } = answer;
  const { operation, orderId, again, api, isAnswer } = request;
  const mutating = again !== 'read';
  const status = statusOf(httpStatus, body);
  const inFlight = mutating && api !== 'iris' && httpStatus === 202 &&
    body?.transaction_status === undefined;
  const isWell = status < 400 || (status === 407 && httpStatus < 300);
  const isOurs = isAnswer === undefined ? body !== undefined : isAnswer(body, text);
  if (isWell && !inFlight && httpStatus < 300 && isOurs) return undefined;
  const details = { operation, orderId, httpStatus, answer };
  if (inFlight) {
    return new MidtransError('ERR_MIDTRANS_IN_FLIGHT',
      `Midtrans is still working on an earlier ${callOf(request)}`,
      { ...details, retryable: true, ambiguous: true });
  }
  // A refusal that does not look like Midtrans's comes from a proxy. Its 404 does not mean that
  // there is no such transaction.
  if (isWell || (!isRefusal(body) && !SPEAKING.has(status) && status < 500)) {
    return unreadable(answer, request, details);
  }
  const messages = messagesOf(body).map(message => clean(redact(message)));
  let { code, retryable = false, lost = false } = classOf(status);
  if (messagesOf(body).some(message => TAKEN.test(message))) code = 'ERR_MIDTRANS_CONFLICT';
  const said = [body?.status_message, body?.error_message, ...messages]
    .filter(message => typeof message === 'string');
  return new MidtransError(code,
    `Midtrans answered ${status} to ${callOf(request)}` +
      (said.length === 0 ? '' : `: ${[...new Set(said)].map(t => clean(redact(t))).join('; ')}`),
    {
      ...details, statusCode: String(status), validationMessages: messages, retryable,
      ambiguous: lost && mutating, retryAfter: retryAfterMs({ headers }),
    });
}

/** An answer that cannot be Midtrans's: a proxy's page, a redirect, half a body. */
function unreadable (answer, { operation, again }, details) {
  return new MidtransError('ERR_MIDTRANS_RESPONSE',
    `Midtrans's answer to ${operation} is unreadable (HTTP ${answer.httpStatus})`,
    { ...details, answer, retryable: true, ambiguous: again !== 'read' });
}

const UNREADABLE = new Set(['ERR_BODY_ENCODING', 'ERR_BODY_TOO_LARGE']);

/** The error of a request without an answer. `sent`: whether any of it may have arrived. */
function errorOfTransport (cause, request, sent) {
  const { operation, orderId, again } = request;
  const code = read(cause, 'code');
  const timedOut = code === 'ETIMEDOUT' || code === 'UND_ERR_CONNECT_TIMEOUT';
  const [kind, what] = timedOut ? ['ERR_MIDTRANS_TIMEOUT', 'did not answer in time']
    : UNREADABLE.has(code) ? ['ERR_MIDTRANS_RESPONSE', 'sent an unreadable answer']
      : ['ERR_MIDTRANS_NETWORK', 'could not be reached'];
  return new MidtransError(kind,
    `Midtrans ${what} for ${callOf(request)} (${clean(code ?? messageOf(cause))})`,
    { operation, orderId, retryable: true, ambiguous: again !== 'read' && sent, cause });
}

/** What to do about an unknown outcome. */
function adviceOf ({ again, api, orderId }) {
  if (again === 'idempotent') {
    const as = orderId === undefined ? '' : ' under the same order_id';
    return `send it again${as}, with resume: true`;
  }
  if (api === 'iris') return 'check the payouts before you do anything else';
  return again === 'lookUp' ? 'check its status before you do anything else'
    : 'check with Midtrans before you do anything else';
}

/** The outcome of a call is unknown. `key` is the idempotency key that it was sent with. */
function unknownOutcome (cause, request, key) {
  const { operation, orderId, refundKey, again, api } = request;
  const details = { operation, orderId, ambiguous: true, retryable: again === 'idempotent', cause };
  if (refundKey !== undefined) details.refundKey = refundKey;
  if (api === 'iris' && key !== undefined) details.idempotencyKey = key;
  return new MidtransError('ERR_MIDTRANS_UNKNOWN_OUTCOME',
    `It is unknown whether Midtrans executed ${callOf(request)}: ${adviceOf(request)}`, details);
}

/** A Snap order was made, but the answer with its token was lost. `retryable`: it is replaced. */
function tokenLost (cause, { operation, orderId, retryable = false }) {
  return new MidtransError('ERR_MIDTRANS_UNKNOWN_OUTCOME',
    `Midtrans has a page for ${orderId}, but the answer with its token was lost; so far nothing ` +
      'has been paid on it',
    { operation, orderId, ambiguous: true, retryable, tokenLost: true, cause });
}

/** The order_id is another transaction's. */
function orderConflict ({ operation, orderId }, answer, cause) {
  return new MidtransError('ERR_MIDTRANS_CONFLICT',
    `${orderId} already belongs to another transaction, so ${operation} was not done`,
    { operation, orderId, statusCode: '406', answer, cause });
}

/** Whether an error says that Midtrans is in trouble, so that the breaker counts it. */
const blamesUpstream = error =>
  read(error, 'retryable') && read(error, 'code') !== 'ERR_MIDTRANS_IN_FLIGHT';

const { answerOf } = MidtransError;

module.exports = {
  MidtransError, answerOf, blamesUpstream, errorOfAnswer, errorOfTransport, orderConflict,
  tokenLost, unknownOutcome, unreadable,
};
