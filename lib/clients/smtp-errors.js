'use strict';

// Failures of sending mails, classified: what they mean for the mail, for the breaker, and for the
// operator. Of a server's reply the basic code says too little: the enhanced code (RFC 3463), the
// stage of the session and the wording of the big relays decide.

const { SekeringError, wasNotAsked } = require('../base/errors');
const { isA, messageOf, read, textOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { isRetryable } = require('../primitives/classify');
const { ClientError, clean } = require('./client-error');

// ---- Replies of the server ---------------------------------------------------------------------

// What one recipient, or its server, takes in. ("Recipients" are those that an account writes to.)
const RECIPIENTS_LIMIT = new RegExp(
  '\\b(recipient|mailbox|inbox)\\b.{0,60}\\b(limit|quota|threads?|throttl|rate)|' +
  '\\b(limit|quota|threads?|rate|throttled)\\b.{0,60}' +
  '\\b(recipient|mailbox|inbox|received|incoming)\\b');

// All that `permanent` and `retry` do not say by the first digit of the code.
//
// - `pause`: the account has used up what it may send. No mail gets through for a while, and then
//   all do.
// - `ours`: our credentials, host, domain or settings. No mail gets through until somebody fixes
//   them.
// - `permanent`, `retry`: this mail or its recipient, in spite of rules further down.
//
// The first rule that fits decides. `at` are stages: greeting, EHLO, STARTTLS, AUTH, MAIL, RCPT,
// DATA, and session for replies to no command. A condition that a rule does not name always fits.
const RULES = [
  // The recipient's own mailbox, whose quota and pace are not ours (RFC 3463, 3.3; Gmail says
  // "The user you are trying to contact is receiving mail at a rate that…").
  { code: '5xx', says: /\byou (are trying|tried) to (contact|reach)\b/, kind: 'permanent' },
  { code: '4xx', says: /\byou (are trying|tried) to (contact|reach)\b/, kind: 'retry' },
  { code: '5xx', enhanced: /^5\.2\.[12]$/, kind: 'permanent' },
  { code: '4xx', enhanced: /^4\.2\.[12]$/, kind: 'retry' },

  // Mailgun's words for an account.
  {
    at: 'AUTH MAIL DATA', says: /\brecipient limit exceeded\b/, kind: 'pause', reason: 'quota',
  },
  { enhanced: /^5\.(1\.90|7\.23[23])$/, kind: 'pause', reason: 'quota' },
  { code: '5xx', says: RECIPIENTS_LIMIT, kind: 'permanent' },
  { code: '4xx', says: RECIPIENTS_LIMIT, kind: 'retry' },
  { at: 'RCPT', code: '5xx', enhanced: /^5\.1\.8$/, says: /\brecipient\b/, kind: 'permanent' },
  // A mail that is malformed or of the wrong kind (RFC 3463, 3.7).
  { at: 'MAIL DATA', code: '5xx', enhanced: /^5\.6\.\d+$/, kind: 'permanent' },

  // A mail that is too big: with 5.2.3 at Gmail ("exceeded Google's message size limits").
  { enhanced: /^5\.3\.4$/, kind: 'permanent' },
  {
    at: 'MAIL DATA', code: '552', kind: 'permanent',
    says: /\bsize\b|\btoo (big|large|long)\b|\blength\b|\b(mega|kilo)?bytes\b|\bMB\b/,
  },

  // What an account may send:
  // Gmail (5.4.5), https://support.google.com/a/answer/3726730
  // Exchange Online (SubmissionQuotaExceeded, 5.1.90, 5.7.232, 5.7.233), Microsoft's list
  // "Non-delivery reports in Exchange Online"
  // Amazon SES, https://docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html
  // SendGrid ("Maximum credits exceeded"), its list "SMTP Errors and Troubleshooting"
  // Mailgun ("recipient limit exceeded"), cPanel ("has exceeded the max emails per hour")
  { at: 'MAIL DATA', enhanced: /^5\.4\.5$/, kind: 'pause', reason: 'quota' },
  { at: 'MAIL DATA', code: '552', enhanced: /^5\.2\.3$/, kind: 'pause', reason: 'quota' },
  { says: /SubmissionQuotaExceeded|maximum credits exceeded/, kind: 'pause', reason: 'quota' },
  {
    says: /\b(daily|hourly|monthly|24[ -]hours?)\b.{0,60}\b(limit|quota)\b.{0,60}\b(exceed|reach)/,
    kind: 'pause', reason: 'quota',
  },
  {
    says: /\b(exceed|reach)(ed)?\b.{0,60}\b(daily|hourly|monthly)\b.{0,60}\b(limit|quota)/,
    kind: 'pause', reason: 'quota',
  },
  {
    says: /\bexceeded the max(imum)? (e?mails|defers and failures) per\b/,
    kind: 'pause', reason: 'quota',
  },
  // An account: "you have exceeded your messaging limits", "Sender rate limit exceeded".
  {
    at: 'AUTH MAIL RCPT DATA', kind: 'pause', reason: 'quota',
    says: new RegExp('\\b(exceed|reach)ed your (daily |hourly |monthly )?' +
      '(sending|messag(e|ing)|e?mail|smtp|relay|account) (limits?|quota)|' +
      '\\bsend(er|ing) (rate )?(limit|quota) exceeded|' +
      '\\bsender has exceeded (the|its) (\\w+ )?(limit|quota)|' +
      '\\b(limit|quota) exceeded for (the |this )?(sender|account|customer)\\b'),
  },
  // Zoho.
  { code: '5xx', says: /\bunusual sending activity\b/, kind: 'pause', reason: 'quota' },
  {
    at: 'AUTH MAIL DATA', kind: 'pause', reason: 'quota',
    says: /\b(sending|message|request|relay) (limit|quota)\b.{0,20}\bexceeded\b/,
  },

  // Too much at once, which soon passes: Amazon SES ("Throttling failure: Maximum sending rate
  // exceeded"), Exchange Online ("sender thread limit exceeded"), Gmail (7.28).
  { enhanced: /^[45]\.7\.28$/, kind: 'pause', reason: 'rate' },
  { at: 'MAIL DATA', code: '454', enhanced: /^4\.7\.0$/, kind: 'pause', reason: 'rate' },
  {
    at: 'greeting EHLO MAIL DATA', code: '4xx', kind: 'pause', reason: 'rate',
    says: /throttl|\bsending rate exceeded|\bthread limit exceeded|\brate limit(ed)?\b/,
  },
  // Postfix ("too much mail from", "too many recipients from"), Exchange Online.
  {
    code: '4xx', kind: 'pause', reason: 'rate',
    says: new RegExp('\\btoo (much mail|many (recipients|connections)) from\\b|' +
      '\\bconnections limit exceeded|\\bmaximum number of (concurrent )?connections\\b'),
  },
  {
    at: 'greeting EHLO MAIL', code: '4xx', kind: 'pause', reason: 'rate',
    says: /\btoo many (concurrent |simultaneous )?(smtp )?(connections|sessions|messages|mails)\b/,
  },

  // Signing in (RFC 4954), and what has to come before it.
  { code: '530', says: /\bSTARTTLS\b/, kind: 'ours', reason: 'tls' },
  { code: '530 534 535 538', kind: 'ours', reason: 'credentials' },
  { at: 'AUTH', code: '5xx', kind: 'ours', reason: 'credentials' },
  { at: 'STARTTLS', code: '5xx', kind: 'ours', reason: 'tls' },
  // nodemailer goes on by HELO, unless STARTTLS is required.
  { at: 'EHLO', code: '500 501 502 503 504', kind: 'ours', reason: 'tls' },

  // A server or a session that ends, as each does at times.
  {
    at: 'EHLO MAIL', code: '421', kind: 'retry',
    says: /\btime(d|-)? ?out\b|\bidle\b|\bshut(ting)? ?down\b|\brestart|\btoo long\b/,
  },
  { at: 'EHLO MAIL', code: '421', enhanced: /^4\.[34]\.\d+$/, kind: 'retry' },
  // The server rejects us, perhaps only for now.
  { at: 'greeting EHLO session', code: '5xx', kind: 'ours', reason: 'refused' },
  { at: 'greeting EHLO MAIL', code: '421', kind: 'ours', reason: 'refused' },
  { at: 'MAIL', code: '554', kind: 'ours', reason: 'refused' },
  { at: 'MAIL', code: '5xx', enhanced: /^5\.7\.\d+$/, kind: 'ours', reason: 'refused' },
  // SPF, DKIM, DMARC, reverse DNS (RFC 7372; Gmail uses more of these numbers), and banned senders
  // and addresses (Exchange Online). They come at any stage: Postfix waits for the recipient before
  // it refuses a client, and Gmail for the whole mail.
  { enhanced: /^[45]\.7\.(2[0-7]|29|30)$/, kind: 'ours', reason: 'refused' },
  {
    enhanced: /^5\.(1\.8|2\.252|7\.(57|60|50[1-3]|511|6[0-4]\d|70[58]|750))$/,
    kind: 'ours', reason: 'refused',
  },
  {
    code: '5xx', kind: 'ours', reason: 'refused',
    says: new RegExp('\\brelay(ing)?( access)? (is )?(denied|prohibited|disallowed|' +
      'not (permitted|allowed))|\\bnot (permitted|allowed) to relay|\\bunable to relay'),
  },
  {
    code: '5xx', kind: 'ours', reason: 'refused',
    says: new RegExp('\\b(client host|helo command|(sending|your) (ip|host|server))\\b' +
      '.{0,80}\\b(blocked|rejected|denied|black ?listed|block ?listed|banned)|' +
      '\\bbanned send(er|ing)\\b|\\bis in an? RBL\\b'),
  },
  // SendGrid, Amazon SES, Mailgun, Exchange Online, Postmark, Postfix, Exim.
  {
    code: '5xx 403', kind: 'ours', reason: 'refused',
    says: new RegExp('\\bunauthenticated senders?\\b|\\bsender is unauthenticated|' +
      '\\bverified sender identity|\\bemail address is not verified|\\bis not allowed to send:|' +
      '\\bnot authorized to send from\\b|\\bpermissions? to send as\\b|SendAsDenied|' +
      '\\bnot authorized to perform\\b|\\bis not a sender signature\\b|' +
      '\\bsender address rejected: (not (owned|logged)|domain not found)|' +
      '\\bsender verify failed|\\bis pending approval\\b|' +
      '\\boutgoing (e?mail|messages?)\\b.{0,60}\\b(suspended|blocked|disabled)|' +
      '\\bsending (is )?(paused|suspended)|' +
      '\\byour account\\b.{0,60}\\b(suspended|paused|disabled|blocked)'),
  },
];

// How long a pause lasts. A daily limit usually covers the last 24 hours, so part of it becomes
// free every hour. Trying more often than this may prolong the block.
const PAUSE_MS = { quota: 7_200_000, rate: 30_000 };
const HOURLY = /\bhourly\b|\b(per|an|one|1|this) hour\b/;
const HOURLY_PAUSE_MS = 900_000;

const ENHANCED = /(?:^|\n)\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})(?=\s|$)/;
const WORDS_MAX = 2000;

const STAGES = new Map([
  ['EHLO', 'EHLO'], ['HELO', 'EHLO'], ['LHLO', 'EHLO'], ['STARTTLS', 'STARTTLS'],
  ['MAIL FROM', 'MAIL'], ['RCPT TO', 'RCPT'], ['DATA', 'DATA'],
]);

/** The stage of the session at which an error of nodemailer's arose. */
function stageOf (error) {
  const [command, code] = [read(error, 'command'), read(error, 'code')];
  if (code === 'EAUTH' || /^AUTH\b/.test(command)) return 'AUTH';
  // Of the greeting alone it says EPROTOCOL.
  if (command === 'CONN') return code === 'EPROTOCOL' ? 'greeting' : 'session';
  // Other transports name no command.
  return STAGES.get(command) ?? (code === 'EMESSAGE' ? 'DATA' : undefined);
}

/** The text of the reply without addresses, which may contain any words. */
function wordsOf (response) {
  return response.slice(0, WORDS_MAX).replace(/\r?\n\d{3}[ -]([245]\.\d+\.\d+ )?/g, ' ')
    .replace(/(?<!\S)\S*@\S*/g, '');
}

const RULED = RULES.map(({ at, code, says, ...rule }) => ({
  ...rule,
  stages: at && new Set(at.split(' ')),
  codes: code && new Set(code.split(' ')),
  says: says && new RegExp(says, 'i'),
}));

/** Judges a reply that is no success: an error of nodemailer's with `responseCode`. */
function judgeReply (error) {
  const responseCode = read(error, 'responseCode');
  const response = textOf(read(error, 'response') ?? messageOf(error));
  const enhancedCode = ENHANCED.exec(response)?.[1];
  const words = wordsOf(response);
  const stage = stageOf(error);
  const group = `${Math.floor(responseCode / 100)}xx`;
  const found = RULED.find(rule =>
    (rule.stages === undefined || rule.stages.has(stage)) &&
    (rule.codes === undefined || rule.codes.has(String(responseCode)) || rule.codes.has(group)) &&
    (rule.enhanced === undefined || rule.enhanced.test(enhancedCode ?? '')) &&
    (rule.says === undefined || rule.says.test(words)));
  const { kind, reason } = found ?? { kind: responseCode < 500 ? 'retry' : 'permanent' };
  const isHourly = reason === 'quota' && HOURLY.test(words.toLowerCase());
  const pauseMs = kind === 'pause' ? (isHourly ? HOURLY_PAUSE_MS : PAUSE_MS[reason]) : undefined;
  return { kind, reason, stage, enhancedCode, pauseMs };
}

// ---- Other errors ------------------------------------------------------------------------------

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

function verdict (kind, { trips, reason, responseCode, enhancedCode, pauseMs }) {
  return {
    kind, retryable: kind !== 'permanent', trips, pauses: kind === 'pause',
    alert: kind === 'ours' || kind === 'pause', reason, responseCode, enhancedCode, pauseMs,
  };
}

/** What is wrong with the settings. */
const reasonOf = code =>
  (['EAUTH', 'ENOAUTH', 'EOAUTH2'].includes(code) ? 'credentials' : 'configuration');

/** A rejected message or recipient, and a quota of ours, do not count against the server. */
function verdictOnReply (responseCode, error) {
  const { kind, reason, stage, enhancedCode, pauseMs } = judgeReply(error);
  const trips = kind === 'ours' || (kind === 'retry' && stage !== 'RCPT');
  return verdict(kind, { trips, reason, responseCode, enhancedCode, pauseMs });
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
 */
function classifySmtpError (error) {
  if (isA(error, SmtpError)) return read(error, 'verdict');
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
  // Transports other than SMTP have the codes of the network.
  const passes = PASSING.has(code) || (!MESSAGE.has(code) && isRetryable(error));
  return verdict(passes ? 'retry' : 'permanent', { trips: passes });
}

/** The code and the message: nodemailer's own, unless they do not name the cause. */
function codeAndMessage (cause, { reason }) {
  const message = messageOf(cause);
  if (reason !== 'tls') return { code: read(cause, 'code') ?? 'ERR_SMTP', message };
  return {
    code: 'ERR_SMTP_TLS_REQUIRED',
    message: 'The mail server offers no TLS, so no password and no mail is sent to it. Enable ' +
      `TLS on the server, or set requireTls to false (${clean(message)})`,
  };
}

const DETAILS = optionsOf({
  relay: is.text('name of the relay, if there are several'),
  messageId: is.text('of the message'),
  attempts: is.integer('how often it was tried', { min: 0, default: 1 }),
  ambiguous: is.boolean('whether it may have been delivered all the same', { default: false }),
  isFinal: is.boolean('whether the client must not send it again', { default: false }),
  rejected: is.any('recipients that were refused for good'),
  deferred: is.any('recipients to be tried again'),
});

/** Why a message was not sent. */
class SmtpError extends ClientError {
  #verdict;

  constructor (cause, details) {
    const { relay, messageId, attempts, ambiguous, isFinal, rejected = [], deferred = [] } =
      DETAILS.read(details);
    const given = classifySmtpError(cause);
    const judged = isFinal ? { ...given, retryable: false } : given;
    const { code, message } = codeAndMessage(cause, judged);
    const { kind, reason, retryable, responseCode, enhancedCode } = judged;
    // What a log may hold: no message text, no credentials.
    super(code, relay === undefined ? message : `Relay ${relay}: ${message}`, {
      ...relay !== undefined && { relay },
      cause, kind, reason, retryable, ambiguous, responseCode, enhancedCode,
      command: read(cause, 'command'), messageId, attempts, rejected, deferred,
    });
    this.#verdict = judged;
  }

  /** What retry() looks at: trying at once would only fail again. */
  get bail () { return this.kind !== 'retry' || !this.retryable; }

  get verdict () { return this.#verdict; }
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
