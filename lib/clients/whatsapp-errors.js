'use strict';

// Failures of WhatsApp, classified by the provider's own code: the HTTP status says too little.

const { messageOf, read, textOf } = require('../base/foreign');
const { retryAfterMs } = require('../primitives/classify');
const { ClientError, clean, isObject } = require('./client-error');

// The provider is in trouble, or got too many calls of an app, a page, an account or a flow
// (132069).
const RETRY = new Set([
  1, 2, 131000, 131016, 131057, 133004,
  4, 17, 32, 341, 613, 80007, 130429, 132069,
]);
// Too many messages to one number: it says nothing about the others.
const RECIPIENT = new Set([131056]);
// 131037: our display name is not approved; 133010: our number is not registered.
const PAUSE = new Set([0, 3, 10, 190, 368, 131031, 131037, 131042, 131048, 133010]);
const DEAD = new Set([100, 131008, 131009, 131021, 131026, 131047, 131049, 131051]);
// The recipient's country, or our own: only the next recipients can tell.
const DOUBTFUL = new Set([130497]);
// The customer has not written for a day: only a template may be sent.
const NEEDS_TEMPLATE = 131047;

const AUTH = new Set([0, 3, 10, 190]);
const QUOTA = new Set([131048, 131042]);

const between = (code, low, high) => code >= low && code <= high;

/** The kind of a code of the Cloud API; undefined if it is not known. */
function kindOfCode (code) {
  if (RETRY.has(code)) return 'retry';
  if (RECIPIENT.has(code)) return 'recipient';
  if (PAUSE.has(code) || between(code, 200, 299)) return 'pause';
  if (DOUBTFUL.has(code) || DEAD.has(code) || between(code, 132000, 132999)) return 'dead';
  return undefined;
}

/** The kind of an HTTP status, where nothing better is known. */
function kindOfStatus (status) {
  if (typeof status !== 'number') return 'dead';
  if (status >= 500 || status === 429 || status === 408) return 'retry';
  return status === 401 || status === 403 ? 'pause' : 'dead';
}

function verdict (kind, { reason, needsTemplate = false, doubtful = false } = {}) {
  return {
    kind,
    retryable: kind !== 'dead',
    trips: kind === 'retry',
    pauses: kind === 'pause',
    reason: kind === 'pause' ? reason ?? 'account' : undefined,
    needsTemplate,
    doubtful,
  };
}

/**
 * Classifies an error of the Cloud API, as it is in an answer (`error`) or a webhook (`errors[]`).
 *
 * - `retry`: the provider is in trouble or got too many calls: back off and try again.
 * - `recipient`: too many messages to this number: wait. Other numbers are not affected.
 * - `pause`: credentials, quota or account: no message gets through until somebody fixes it.
 * - `dead`: this message fails again however often it is sent. With `doubtful` (130497, and a code
 *   that is unknown under HTTP 403) it may concern all recipients: the client pauses when three
 *   in a row have got the same.
 *
 * `httpStatus` counts for codes that are not known.
 */
function classifyCloudError (error, httpStatus = 0) {
  const code = Number.isInteger(read(error, 'code')) ? read(error, 'code') : undefined;
  const known = kindOfCode(code) ?? (read(error, 'is_transient') === true ? 'retry' : undefined);
  // The API understood the message, and refuses it for a reason that we do not know.
  const isRefusal = known === undefined && httpStatus === 403 && isObject(error);
  const kind = known ?? (isRefusal ? 'dead' : kindOfStatus(httpStatus));
  let reason;
  if (AUTH.has(code) || between(code, 200, 299)) reason = 'credentials';
  else if (QUOTA.has(code)) reason = 'quota';
  else if (known === undefined && kind === 'pause') reason = 'credentials';
  return verdict(kind, {
    reason, needsTemplate: code === NEEDS_TEMPLATE, doubtful: isRefusal || DOUBTFUL.has(code),
  });
}

/** Classifies an answer of Green API. */
function classifyGreenError (httpStatus, said = '') {
  const text = textOf(said);
  if (httpStatus === 466) return verdict('pause', { reason: 'quota' });
  // The token or the instance in the address is wrong.
  if (httpStatus === 401 || httpStatus === 403 || httpStatus === 404) {
    return verdict('pause', { reason: 'credentials' });
  }
  if (httpStatus === 400 && /instance\b.{0,20}\bstart/i.test(text)) return verdict('retry');
  // A redirect, or a page.
  const isEarly = typeof httpStatus === 'number' && httpStatus < 400;
  if (isEarly || /^\s*</.test(text)) return classifyForeign(httpStatus);
  return verdict(kindOfStatus(httpStatus));
}

// What Green API says about an instance, and about a message that it could not deliver.
const GREEN_STATES = {
  notAuthorized: 'credentials', blocked: 'account', yellowCard: 'account', suspended: 'account',
};

/** Classifies the state of an instance or a message of Green API, if it is a bad state. */
const classifyGreenState = state => (Object.hasOwn(GREEN_STATES, state)
  ? verdict('pause', { reason: GREEN_STATES[state] }) : verdict('dead'));

/** Classifies the answer of a proxy: its refusal tells nothing about the message. */
function classifyForeign (httpStatus) {
  const judged = classifyCloudError(undefined, httpStatus);
  return judged.kind === 'dead' ? verdict('retry') : judged;
}

class WhatsAppError extends ClientError {
  /** `judged` is a verdict of classifyCloudError(); `details` are its properties, and `cause`. */
  constructor (code, message, judged, details) {
    const { kind, retryable, needsTemplate } = judged;
    super(code, message, {
      kind, retryable, ambiguous: false, providerCode: undefined, httpStatus: undefined,
      details: undefined, needsTemplate, reference: undefined, attempts: 0, ...details,
    });
    Object.defineProperty(this, 'verdict', { value: judged, enumerable: false });
  }

  /** What retry() looks at: another attempt now would only fail again. */
  get bail () { return this.kind === 'dead' || this.kind === 'pause'; }
}

ClientError.define(WhatsAppError, 'WhatsAppError');

const CODES = {
  retry: 'ERR_WHATSAPP_UNAVAILABLE',
  recipient: 'ERR_WHATSAPP_RECIPIENT_RATE',
  pause: 'ERR_WHATSAPP_PAUSED',
  dead: 'ERR_WHATSAPP_REFUSED',
};

/** What the provider says about an error, in one text. */
function sayingOf ({ title, message = title, details }) {
  return [message, message?.includes(details) ? undefined : details].filter(Boolean).join(': ');
}

/**
 * The error of an answer or a webhook: `providerCode`, `message`, and `details`, which says more.
 */
function errorOfAnswer ({ status, headers }, judged, { providerCode, message, details }) {
  const said = sayingOf({ message, details });
  const number = [providerCode, status && `HTTP ${status}`].filter(Boolean).join(', ');
  return new WhatsAppError(CODES[judged.kind],
    `WhatsApp refused the message (${number})${said ? `: ${clean(said)}` : ''}`, judged, {
      providerCode, httpStatus: status, retryAfter: retryAfterMs({ headers }),
      details: details === undefined ? undefined : clean(details),
      // A server in between failed, perhaps after the message went through.
      ambiguous: judged.kind === 'retry' && providerCode === undefined && status >= 500,
    });
}

/** A refusal that turned out to concern all recipients. */
function ofEverybody ({ message, providerCode, httpStatus, retryAfter, details }) {
  return new WhatsAppError(CODES.pause, message, verdict('pause'),
    { providerCode, httpStatus, retryAfter, details });
}

/** A success whose answer is unreadable: the message may be on its way. */
function unreadable ({ status }) {
  return new WhatsAppError('ERR_WHATSAPP_RESPONSE',
    `The answer of WhatsApp is unreadable (HTTP ${status})`, verdict('retry'),
    { httpStatus: status, ambiguous: true });
}

/** The error of a request without an answer. `sent`: whether any of it may have arrived. */
function errorOfTransport (cause, sent) {
  const code = read(cause, 'code');
  const timedOut = code === 'ETIMEDOUT' || code === 'UND_ERR_CONNECT_TIMEOUT';
  return new WhatsAppError(timedOut ? 'ERR_WHATSAPP_TIMEOUT' : 'ERR_WHATSAPP_NETWORK',
    `WhatsApp ${timedOut ? 'did not answer in time' : 'could not be reached'} ` +
      `(${clean(code ?? messageOf(cause))})`,
    verdict('retry'), { cause, ambiguous: sent });
}

/** The channel is paused: the provider was not asked. */
function pausedError ({ reason, error }) {
  return new WhatsAppError('ERR_WHATSAPP_PAUSED', `The WhatsApp channel is paused: ${reason}`,
    verdict('pause', { reason }), { cause: error, providerCode: read(error, 'providerCode') });
}

/** The provider was not asked: the breaker is open, or too many messages wait. */
function refusedError (cause) {
  const judged = { ...verdict('retry'), trips: false };
  return new WhatsAppError(read(cause, 'code'), messageOf(cause), judged, { cause });
}

module.exports = {
  WhatsAppError, classifyCloudError, classifyForeign, classifyGreenError, classifyGreenState,
  errorOfAnswer, errorOfTransport, ofEverybody, pausedError, refusedError, sayingOf, unreadable,
};
