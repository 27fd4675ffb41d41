'use strict';

// Whatever judges, describes or reports an error copes with one that cannot be read.

const { invalidOption, wasNotAsked } = require('../../lib/base/errors');
const { reasonOf } = require('../../lib/base/foreign');
const { readSignal } = require('../../lib/base/options');
const { guarded, warn } = require('../../lib/base/warn');
const { ClientError } = require('../../lib/clients/client-error');
const midtrans = require('../../lib/clients/midtrans-errors');
const { SmtpError, classifySmtpError } = require('../../lib/clients/smtp-errors');
const whatsapp = require('../../lib/clients/whatsapp-errors');
const session = require('../../lib/clients/whatsapp-session');
const { createLogger } = require('../../lib/gateway/logger');
const { problemOf } = require('../../lib/http/problem');
const CircuitBreaker = require('../../lib/primitives/breaker');
const {
  NonRetryableError, RetryableError, isRetryable, retryAfterMs
} = require('../../lib/primitives/classify');
const { verdictOn } = require('../../lib/store/outbox-verdict');
const { storeError } = require('../../lib/store/store-errors');
const { ERRORS } = require('../support/hostile');

const message = { attemptCount: 0, maxAttempts: 5 };
const logged = jest.fn();
const log = createLogger({}, { error: logged });
const request = { operation: 'charge', orderId: '1', mutating: true };

const READERS = {
  isRetryable,
  retryAfterMs,
  'instanceof RetryableError': error => error instanceof RetryableError,
  'instanceof NonRetryableError': error => error instanceof NonRetryableError,
  'instanceof ClientError of a client': error => error instanceof SmtpError,
  isOurError: CircuitBreaker.isOurError,
  invalidOption: error => invalidOption('option', 'something else', error).message,
  classifySmtpError,
  wasNotAsked,
  SmtpError: error => new SmtpError(error).toJSON(),
  'errorOfTransport of Midtrans': error => midtrans.errorOfTransport(error, request, true).message,
  'errorOfTransport of WhatsApp': error => whatsapp.errorOfTransport(error, true).message,
  'refusedError of WhatsApp': error => whatsapp.refusedError(error).message,
  SessionError: error => new session.SessionError('1', error).message,
  operatorMessage: error => session.operatorMessage(error, '1'),
  isUnsent: session.isUnsent,
  isCallersFault: session.isCallersFault,
  storeError: error => storeError(error).message,
  problemOf,
  'a log': error => log.error({ err: error }, 'It failed'),
};

test.each(ERRORS)('%s can be judged, described and logged', (_, make) => {
  for (const [name, reader] of Object.entries(READERS)) {
    let thrown = 'nothing';
    try {
      reader(make());
    } catch {
      thrown = 'something';
    }
    expect([name, thrown]).toEqual([name, 'nothing']);
  }
});

test('an outbox keeps what can be read of an error, and tries again', () => {
  const error = Object.assign(new Error('503 from upstream'), { code: 'E503' });
  Object.defineProperty(error, 'response', { get () { throw new Error('no response'); } });
  const verdict = verdictOn(error, message, () => 5);
  expect(verdict).toMatchObject({
    outcome: 'retry', delay: 5, entry: { attempt: 1, message: '503 from upstream', code: 'E503' },
  });
  for (const [, make] of ERRORS) expect(verdictOn(make(), message, () => 5).outcome).toBe('retry');
});

test('a warning says what can be read of an error', () => {
  const emitted = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
  for (const [, make] of ERRORS) {
    warn('It failed', make());
    guarded('It failed', () => { throw make(); });
  }
  expect(emitted).toHaveBeenCalledTimes(2 * ERRORS.length);
  warn('It failed', new Error('as it said'));
  expect(emitted.mock.calls.at(-1)[0]).toBe('It failed: as it said');
  emitted.mockRestore();
});

test('an error of a client is told apart from one that cannot be read', () => {
  expect(ClientError.prototype).toBeInstanceOf(Error);
  expect(new SmtpError(new Error('x'))).toBeInstanceOf(SmtpError);
});

test('a signal whose reason cannot be read ends calls with an AbortError', () => {
  const signal = Object.defineProperty(new AbortController().signal, 'reason', {
    get () { throw new Error('no reason'); },
  });
  expect(readSignal(signal)).toBe(signal);
  expect(reasonOf(signal)).toMatchObject({ name: 'AbortError' });
});

test('a signal that one cannot stop listening to is refused', () => {
  const signal = { aborted: false, addEventListener () {} };
  expect(() => readSignal(signal)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});
