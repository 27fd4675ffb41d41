'use strict';

// The judgement on every class of error that nodemailer, a breaker or a limit comes with.

const util = require('node:util');

const { isRetryable, RetryableError, NonRetryableError } = require('../../lib');
const { SmtpError, classifySmtpError } = require('../../lib/clients/smtp');

const fault = (code, responseCode, more) =>
  Object.assign(new Error(`${code} ${responseCode ?? ''}`), { code, responseCode, ...more });
const atRcpt = { command: 'RCPT TO' };
const atData = { command: 'DATA' };
const atConnect = { command: 'CONN' };
const atToken = (more, message) => Object.assign(
  fault('EAUTH', undefined, { command: 'AUTH XOAUTH2', ...more }), message && { message });

// What, the error, its kind, whether it counts against the server.
const TABLE = [
  ['the connection was closed', fault('ECONNECTION'), 'retry', true],
  ['no such host, perhaps for now', fault('EDNS'), 'retry', true],
  ['no answer in time', fault('ETIMEDOUT'), 'retry', true],
  ['nobody listens', fault('ESOCKET', undefined, { originalCode: 'ECONNREFUSED' }), 'retry', true],
  ['reset', fault('ESOCKET', undefined, { originalCode: 'ECONNRESET' }), 'retry', true],
  ['a socket error that says no more', fault('ESOCKET'), 'retry', true],
  ['421 at any time', fault('ECONNECTION', 421), 'retry', true],
  ['an answer that is no SMTP', fault('EPROTOCOL'), 'retry', true],
  ['a proxy in trouble', fault('EPROXY'), 'retry', true],
  ['STARTTLS cut short', fault('ETLS'), 'retry', true],
  ['a token endpoint that is away', atToken({ originalCode: 'ECONNREFUSED' }), 'retry', true],
  ['a token endpoint in trouble', atToken({ originalCode: 'EOAUTH2' }, 'temporarily_unavailable'),
    'retry', true],
  ['a token endpoint behind a page', atToken({ name: 'SyntaxError' }), 'retry', true],
  ['454: no sign-in for now', fault('EAUTH', 454), 'retry', true],
  ['450 to the sender', fault('EENVELOPE', 450, { command: 'MAIL FROM' }), 'retry', true],
  ['450 to every recipient', fault('EENVELOPE', 450, atRcpt), 'retry', false],
  ['451 to the message', fault('EMESSAGE', 451, atData), 'retry', true],
  ['452: no room', fault('EMESSAGE', 452, atData), 'retry', true],

  ['550 to every recipient', fault('EENVELOPE', 550, atRcpt), 'permanent', false],
  ['553 to the sender', fault('EENVELOPE', 553, { command: 'MAIL FROM' }), 'permanent', false],
  ['552: too big', fault('EMESSAGE', 552, atData), 'permanent', false],
  ['554 to the message', fault('EMESSAGE', 554, atData), 'permanent', false],
  ['an envelope that nodemailer refuses', fault('EENVELOPE'), 'permanent', false],
  ['a message that nodemailer refuses', fault('EMESSAGE'), 'permanent', false],
  ['an attachment that cannot be read', fault('ESTREAM'), 'permanent', false],
  ['a file that may not be read', fault('EFILEACCESS'), 'permanent', false],
  ['a fault in a program', new TypeError('x is not a function'), 'permanent', false],
  ['no error at all', undefined, 'permanent', false],

  ['535: wrong password', fault('EAUTH', 535), 'ours', true],
  ['534: a stronger way to sign in', fault('EAUTH', 534), 'ours', true],
  ['530: sign in first', fault('EENVELOPE', 530, { command: 'MAIL FROM' }), 'ours', true],
  ['no credentials for a way to sign in', fault('EAUTH'), 'ours', true],
  ['no credentials at all', fault('ENOAUTH'), 'ours', true],
  ['a token that cannot be had', fault('EOAUTH2'), 'ours', true],
  ['the configuration', fault('ECONFIG'), 'ours', true],
  ['421 to the greeting', fault('EPROTOCOL', 421, atConnect), 'ours', true],
  ['554 to the greeting: it does not want us', fault('EPROTOCOL', 554, atConnect), 'ours', true],
  ['an end that was no answer', fault('ECONNECTION', 554, atConnect), 'ours', true],
  ['a token that is refused', atToken({ originalCode: 'EOAUTH2' }, 'invalid_grant: Bad Request'),
    'ours', true],
  ['a certificate signed by nobody',
    fault('ESOCKET', undefined, { originalCode: 'DEPTH_ZERO_SELF_SIGNED_CERT' }), 'ours', true],
  ['a certificate of another host',
    fault('ESOCKET', undefined, { originalCode: 'ERR_TLS_CERT_ALTNAME_INVALID' }), 'ours', true],
  ['an expired certificate, in the cause',
    fault('ESOCKET', undefined, { cause: fault('CERT_HAS_EXPIRED') }), 'ours', true],
  ['a chain that cannot be followed, after STARTTLS',
    fault('ETLS', undefined, { originalCode: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' }), 'ours', true],
  ['no TLS at this port',
    fault('ESOCKET', undefined, { originalCode: 'ERR_SSL_WRONG_VERSION_NUMBER' }), 'ours', true],

  ['an open breaker', fault('EOPENBREAKER'), 'retry', false],
  ['too many in the line', fault('EBULKHEADFULL'), 'retry', false],
  ['no place left in the breaker', fault('ESEMLOCKED'), 'retry', false],
  ['the network, from another kind of transport', fault('ECONNRESET'), 'retry', true]
];

test.each(TABLE)('%s', (_, error, kind, trips) => {
  const verdict = classifySmtpError(error);
  expect(verdict).toMatchObject({
    kind, retryable: kind !== 'permanent', trips, pauses: false, alert: kind === 'ours',
    responseCode: error?.responseCode
  });
  // Judged by what is inside, once it is wrapped.
  const wrapped = new SmtpError(error);
  expect(classifySmtpError(wrapped)).toEqual(verdict);
  expect(wrapped).toMatchObject({ kind, retryable: verdict.retryable });
  expect(isRetryable(wrapped)).toBe(verdict.retryable);
  expect(wrapped instanceof RetryableError).toBe(verdict.retryable);
  expect(wrapped instanceof NonRetryableError).toBe(!verdict.retryable);
  expect(wrapped.bail).toBe(kind !== 'retry');
});

test('an SmtpError shows what happened, and JSON holds it all', () => {
  const cause = fault('EAUTH', 535, { command: 'AUTH PLAIN' });
  const error = new SmtpError(cause, { messageId: '<1@a>', attempts: 2, ambiguous: true });
  expect(error).toMatchObject({
    name: 'SmtpError', code: 'EAUTH', kind: 'ours', reason: 'credentials', responseCode: 535,
    command: 'AUTH PLAIN',
    messageId: '<1@a>', attempts: 2, ambiguous: true, rejected: [], deferred: [], cause
  });
  expect(error).toBeInstanceOf(Error);
  expect(error instanceof SmtpError).toBe(true);
  expect(cause instanceof SmtpError).toBe(false);
  expect(JSON.parse(JSON.stringify(error))).toMatchObject({ code: 'EAUTH', attempts: 2 });
  expect(util.inspect(error)).toContain('SmtpError');
});
