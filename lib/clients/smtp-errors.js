'use strict';

// What an error of nodemailer's means: for the message, for the breaker, and for those on duty.

const { isRetryable } = require('../primitives/classify');
const { ClientError } = require('./client-error');

// Replies that ask for other credentials (RFC 4954).
const AUTH_REPLIES = new Set([530, 534, 535, 538]);
// Nobody was asked: the breaker is open, or too many wait already.
const REFUSALS = new Set(['EOPENBREAKER', 'ESHUTDOWN', 'EBULKHEADFULL', 'ERATELIMITED']);
// Without a reply these are the network's or the server's trouble, which may pass.
const PASSING = new Set(['ECONNECTION', 'EDNS', 'ETIMEDOUT', 'EPROTOCOL', 'EPROXY', 'ESOCKET',
  'ETLS', 'EOPENBREAKER', 'ESHUTDOWN', 'EBULKHEADFULL', 'ERATELIMITED', 'EABORT', 'EMAXLIMIT']);
// Our own settings: whatever is sent next fails in the same way.
const SETTINGS = new Set(['EAUTH', 'ENOAUTH', 'EOAUTH2', 'ECONFIG', 'EREQUIRETLS']);
// The message itself, which fails again however often it is sent.
const MESSAGE = new Set(['EENVELOPE', 'EMESSAGE', 'ESTREAM', 'EMAXRECIPIENTS', 'EFILEACCESS',
  'EURLACCESS', 'EFETCH', 'ERR_INVALID_INPUT']);
// Events of this process, not of the server.
const LOCAL = new Set([...REFUSALS, 'EABORT', 'EMAXLIMIT']);

// What OpenSSL and Node.js call a certificate that they do not accept, and a server that does not
// speak TLS, or none of our versions, at this port.
const CERTIFICATE = new RegExp('CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY|DECODE|DECRYPT)|CRL_|' +
  'INVALID_(CA|PURPOSE)|PATH_LENGTH_EXCEEDED|WRONG_VERSION_NUMBER|UNSUPPORTED_PROTOCOL|' +
  'HANDSHAKE_FAILURE|PROTOCOL_VERSION');
const CAUSES_MAX = 5;

/** Whether the error, or what caused it, is a certificate that was refused. */
function isCertificateFault (error) {
  let next = error;
  for (let i = 0; i < CAUSES_MAX && next !== null && typeof next === 'object'; i++) {
    // nodemailer puts its own code in the place of the first one, which it keeps beside.
    for (const code of [next.originalCode, next.code]) {
      if (typeof code === 'string' && CERTIFICATE.test(code)) return true;
    }
    next = next.cause;
  }
  return false;
}

/** The reply of the server that an error carries; undefined if it answered nothing. */
function replyOf (error) {
  const reply = error?.responseCode;
  return Number.isInteger(reply) && reply >= 400 && reply <= 599 ? reply : undefined;
}

// A recipient that was refused, and a message that was, say nothing about the server.
function tripsByReply (reply, { code, command }) {
  if (command === 'RCPT TO') return false;
  return reply < 500 || (code !== 'EENVELOPE' && code !== 'EMESSAGE');
}

function verdict (kind, trips, responseCode) {
  return {
    kind, retryable: kind !== 'permanent', trips, alert: kind === 'ours', responseCode,
  };
}

/**
 * Judges an error of nodemailer's, or of a breaker or limit around it.
 *
 * - `retry`: it may pass. The network (ECONNECTION, EDNS, ETIMEDOUT, ESOCKET) and every reply 4xx.
 * - `permanent`: the same message fails again. Every reply 5xx, and what nodemailer refuses itself.
 * - `ours`: credentials (EAUTH, 535), a certificate, the configuration. No message is at fault and
 *   none gets through: the breaker opens, and somebody has to be told.
 *
 * @param {unknown} error
 * @returns {{ kind: 'retry'|'permanent'|'ours', retryable: boolean, trips: boolean,
 *   alert: boolean, responseCode: number | undefined }} `retryable`: whether the message may be
 *   sent again, be it after a repair; `trips`: whether it counts against the server
 */
function classifySmtpError (error) {
  if (error instanceof SmtpError) return error.verdict;
  const code = error?.code;
  const reply = replyOf(error);
  if (reply !== undefined) {
    if (AUTH_REPLIES.has(reply) || (code === 'EAUTH' && reply >= 500)) {
      return verdict('ours', true, reply);
    }
    return verdict(reply < 500 ? 'retry' : 'permanent', tripsByReply(reply, error), reply);
  }
  if (isCertificateFault(error) || SETTINGS.has(code)) return verdict('ours', true);
  if (PASSING.has(code)) return verdict('retry', !LOCAL.has(code));
  if (MESSAGE.has(code)) return verdict('permanent', false);
  // Other transports than SMTP have the network's own codes.
  return isRetryable(error) ? verdict('retry', true) : verdict('permanent', false);
}

/** Why a message was not sent. */
class SmtpError extends ClientError {
  #verdict;

  /**
   * @param {Error} cause nodemailer's, a breaker's or a limit's
   * @param {object} [more]
   * @param {string} [more.messageId]
   * @param {number} [more.attempts] how often it was tried
   * @param {boolean} [more.ambiguous] whether it may have been delivered all the same
   * @param {object[]} [more.rejected] recipients refused for good
   * @param {object[]} [more.deferred] recipients to be tried again
   */
  constructor (cause, more = {}) {
    const { messageId, attempts = 1, ambiguous = false, rejected = [], deferred = [] } = more;
    super(cause?.code ?? 'ERR_SMTP', cause?.message ?? String(cause), { cause });
    this.#verdict = classifySmtpError(cause);
    this.kind = this.#verdict.kind;
    this.retryable = this.#verdict.retryable;
    this.ambiguous = ambiguous;
    this.responseCode = this.#verdict.responseCode;
    this.command = cause?.command;
    this.messageId = messageId;
    this.attempts = attempts;
    this.rejected = rejected;
    this.deferred = deferred;
  }

  /** What retry() looks at: trying at once would only fail again. */
  get bail () { return this.kind !== 'retry'; }

  get verdict () { return this.#verdict; }

  /** What a log may hold: no message text, no credentials. */
  toJSON () {
    const {
      name, code, message, kind, retryable, ambiguous, responseCode, command, messageId, attempts,
      rejected, deferred,
    } = this;
    return {
      name, code, message, kind, retryable, ambiguous, responseCode, command, messageId, attempts,
      rejected, deferred,
    };
  }
}

ClientError.define(SmtpError, 'SmtpError');

/** Whether an error says that the server was not even asked. */
const isRefusal = error => REFUSALS.has(error?.code);

module.exports = { SmtpError, classifySmtpError, isRefusal };
