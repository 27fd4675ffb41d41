'use strict';

// Failures of sending mails, classified: what they mean for the mail, for the breaker, and for the
// operator.

const { SekeringError, wasNotAsked } = require('../base/errors');
const { messageOf, read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { isRetryable } = require('../primitives/classify');
const { ClientError, clean } = require('./client-error');
const { judgeReply } = require('./smtp-replies');

// Without a reply these are trouble of the network or the server, which may pass.
const PASSING = new Set(['ECONNECTION', 'EDNS', 'ETIMEDOUT', 'EPROTOCOL', 'EPROXY', 'ESOCKET',
  'ETLS']);
// Events of this process, not of the server.
const LOCAL = new Set(['EABORT', 'EMAXLIMIT']);
// Our own settings: the next mail fails in the same way.
const SETTINGS = new Set(['EAUTH', 'ENOAUTH', 'EOAUTH2', 'ECONFIG', 'EREQUIRETLS']);
// The message itself: it fails again however often it is sent.
const MESSAGE = new Set(['EENVELOPE', 'EMESSAGE', 'ESTREAM', 'EMAXRECIPIENTS', 'EFILEACCESS',
  'EURLACCESS', 'EFETCH', 'ERR_INVALID_INPUT']);

// The codes of OpenSSL and Node.js for a certificate that they reject, and for a server that speaks
// no TLS, or no version of ours, on this port.
const CERTIFICATE = new RegExp('CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY|DECODE|DECRYPT)|CRL_|' +
  'INVALID_(CA|PURPOSE)|PATH_LENGTH_EXCEEDED|WRONG_VERSION_NUMBER|UNSUPPORTED_PROTOCOL|' +
  'HANDSHAKE_FAILURE|PROTOCOL_VERSION');
const CAUSES_MAX = 5;

// What a token endpoint says when it is in trouble itself (RFC 6749, 4.1.2.1, and the big
// providers), and what nodemailer says when the answer was neither a token nor a refusal.
const TOKEN_PASSES = new RegExp('^(server_error|temporarily_unavailable|internal_(error|failure)|' +
  'backend_error|slow_down|rate_limit|quota|\\[object Object\\]|No access token|' +
  'Invalid authentication response)', 'i');

/** Whether the error, or what caused it, is a certificate that was refused. */
function isCertificateFault (error) {
  let next = error;
  for (let i = 0; i < CAUSES_MAX && next !== null && typeof next === 'object'; i++) {
    // nodemailer replaces the code by its own, and keeps the first one as originalCode.
    for (const code of [read(next, 'originalCode'), read(next, 'code')]) {
      if (typeof code === 'string' && CERTIFICATE.test(code)) return true;
    }
    next = read(next, 'cause');
  }
  return false;
}

/** The reply of the server that an error carries; undefined if it answered nothing. */
function replyOf (error) {
  const reply = read(error, 'responseCode');
  return Number.isInteger(reply) && reply >= 400 && reply <= 599 ? reply : undefined;
}

/** Whether getting a token failed because its endpoint, or the way to it, is in trouble. */
function isTokenTrouble (error) {
  const [code, originalCode] = [read(error, 'code'), read(error, 'originalCode')];
  const isToken = code === 'EOAUTH2' || originalCode === 'EOAUTH2';
  if (isToken) return TOKEN_PASSES.test(messageOf(error));
  // A proxy's page in place of JSON, or an error of the network.
  return code === 'EAUTH' && read(error, 'command') === 'AUTH XOAUTH2' &&
    (read(error, 'name') === 'SyntaxError' || originalCode !== undefined);
}

function verdict (kind, { trips, reason, responseCode, enhancedCode }) {
  return {
    kind, retryable: kind !== 'permanent', trips, pauses: kind === 'pause',
    alert: kind === 'ours' || kind === 'pause', reason, responseCode, enhancedCode,
  };
}

/** What is wrong with the settings. */
function reasonOf (code) {
  return code === 'EAUTH' || code === 'ENOAUTH' || code === 'EOAUTH2'
    ? 'credentials' : 'configuration';
}

/** A rejected message or recipient, and a quota of ours, do not count against the server. */
function verdictOnReply (responseCode, error) {
  const { kind, reason, stage, enhancedCode } = judgeReply(error);
  const trips = kind === 'ours' || (kind === 'retry' && stage !== 'RCPT');
  return verdict(kind, { trips, reason, responseCode, enhancedCode });
}

/**
 * Classifies an error of nodemailer, or of a breaker or limit around it.
 *
 * - `retry`: it may pass. The network (ECONNECTION, EDNS, ETIMEDOUT, ESOCKET) and most replies 4xx.
 * - `permanent`: the same message fails again. Replies 5xx about a message or a recipient, and what
 *   nodemailer refuses itself.
 * - `pause`: the account has sent as much as it may. All messages must wait, and `alert` is
 *   emitted.
 * - `ours`: credentials (EAUTH, 535), a certificate, no TLS, a host or sender that is rejected, the
 *   configuration. No message is at fault and none gets through: the breaker opens, and `alert` is
 *   emitted.
 *
 * @param {unknown} error
 * @returns {{ kind: 'retry'|'permanent'|'pause'|'ours', retryable: boolean, trips: boolean,
 *   pauses: boolean, alert: boolean, reason: string | undefined, responseCode: number | undefined,
 *   enhancedCode: string | undefined }} `retryable`: whether the message may be sent again, be it
 *   after a repair; `trips`: whether it counts against the server; `reason`: of `pause` 'quota',
 *   'rate' or 'manual', of `ours` 'credentials', 'certificate', 'tls', 'refused' or 'configuration'
 */
function classifySmtpError (error) {
  if (error instanceof SmtpError) return error.verdict;
  const code = read(error, 'code');
  const reply = replyOf(error);
  if (reply !== undefined) return verdictOnReply(reply, error);
  if (code === 'ERR_SMTP_PAUSED') {
    return verdict('pause', { trips: false, reason: read(error, 'reason') });
  }
  if (isCertificateFault(error)) return verdict('ours', { trips: true, reason: 'certificate' });
  if (SETTINGS.has(code)) {
    return isTokenTrouble(error)
      ? verdict('retry', { trips: true })
      : verdict('ours', { trips: true, reason: reasonOf(code) });
  }
  if (wasNotAsked(error) || LOCAL.has(code)) return verdict('retry', { trips: false });
  if (PASSING.has(code)) return verdict('retry', { trips: true });
  if (MESSAGE.has(code)) return verdict('permanent', { trips: false });
  // Transports other than SMTP have the codes of the network.
  return isRetryable(error)
    ? verdict('retry', { trips: true })
    : verdict('permanent', { trips: false });
}

/** The code and the message: nodemailer's own, unless they do not name the cause. */
function wordsOf (cause, { reason }) {
  const message = messageOf(cause);
  if (reason !== 'tls') return { code: read(cause, 'code') ?? 'ERR_SMTP', message };
  return {
    code: 'ERR_SMTP_TLS_REQUIRED',
    message: 'The mail server offers no TLS, so no password and no mail is sent to it. Enable ' +
      `TLS on the server, or set requireTls to false (${clean(message)})`,
  };
}

const DETAILS = optionsOf({
  messageId: is.text('of the message'),
  attempts: is.integer('how often it was tried', { min: 0, default: 1 }),
  ambiguous: is.boolean('whether it may have been delivered all the same', { default: false }),
  rejected: is.any('recipients that were refused for good'),
  deferred: is.any('recipients to be tried again'),
});

/** Why a message was not sent. */
class SmtpError extends ClientError {
  #verdict;

  /**
   * @param {Error} cause nodemailer's, a breaker's or a limit's
   * @param {object} [details] see DETAILS
   */
  constructor (cause, details) {
    const { messageId, attempts, ambiguous, rejected = [], deferred = [] } = DETAILS.read(details);
    const judged = classifySmtpError(cause);
    const { code, message } = wordsOf(cause, judged);
    super(code, message, { cause });
    this.#verdict = judged;
    this.kind = judged.kind;
    this.retryable = judged.retryable;
    this.ambiguous = ambiguous;
    this.reason = judged.reason;
    this.responseCode = judged.responseCode;
    this.enhancedCode = judged.enhancedCode;
    this.command = read(cause, 'command');
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
    const { name, code, message, kind, reason, retryable, ambiguous } = this;
    const { responseCode, enhancedCode, command, messageId, attempts, rejected, deferred } = this;
    return {
      name, code, message, kind, reason, retryable, ambiguous, responseCode, enhancedCode, command,
      messageId, attempts, rejected, deferred,
    };
  }
}

ClientError.define(SmtpError, 'SmtpError');

/** The client is paused: the server was not asked. */
function pausedError ({ reason, error }) {
  const paused = new SekeringError('ERR_SMTP_PAUSED', `The SMTP client is paused: ${reason}`,
    { cause: error });
  paused.reason = reason;
  return paused;
}

module.exports = { SmtpError, classifySmtpError, pausedError };
