'use strict';

// Deadlines of callers. One travels with an AbortSignal, so it reaches everything that the signal
// is passed to: a context that is passed on by itself would reach work that others wait for, too,
// such as a shared load or the worker of an outbox. Between services it travels as the time that is
// left, because their clocks differ.

const { wall } = require('../base/clock');
const { deadlinePassed, msUntilDeadline, withCallersDeadline } = require('../base/deadline');
const { SekeringError, invalidOption } = require('../base/errors');
const { isA, read } = require('../base/foreign');
const { func, is, number, optionsOf, readSignal, readable } = require('../base/options');
const { asked } = require('../base/warn');

const OPTIONS = optionsOf({
  signal: is.signal("the caller's; an earlier deadline that it carries stays"),
});

/** The option `end` as ms from now: a number already is. */
function msUntil (end) {
  if (typeof end === 'number') return number('end', end, { min: 0, unit: 'ms' });
  const expected = 'ms from now, or a Date';
  if (!isA(end, Date)) throw invalidOption('end', expected, end);
  const time = readable('end', expected, end, () => Date.prototype.getTime.call(end));
  if (Number.isNaN(time)) throw invalidOption('end', expected, end);
  return Math.max(time - wall(), 0);
}

/** Calls `fn({ signal })` and waits for it, until `end` at most. */
async function withDeadline (end, fn, options) {
  const ms = msUntil(end);
  func('fn', fn);
  const { signal } = OPTIONS.read(options);
  signal?.throwIfAborted();
  if (ms === 0) throw deadlinePassed();
  return withCallersDeadline(signal, ms, own => fn({ signal: own }));
}

/** How long until the deadline that a signal carries, ms; Infinity if there is none. */
const timeLeft = signal => msUntilDeadline(readSignal(signal));

// ---- Between services --------------------------------------------------------------------------

// The header of gRPC over HTTP/2: at most eight digits and a unit, relative to now.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
const HEADER = 'grpc-timeout';
const AMOUNT_MAX = 99_999_999;
const UNITS_MS = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
const HEADER_EXPECTED = '1 to 8 digits and H, M, S, m, u or n, such as 1500m';

/** The header of a request that tells another service the deadline; empty without a deadline. */
function deadlineHeaders (signal) {
  const ms = timeLeft(signal);
  if (ms === Infinity) return {};
  const whole = Math.max(Math.floor(ms), 1);
  const value = whole <= AMOUNT_MAX ? `${whole}m`
    : `${Math.min(Math.floor(whole / UNITS_MS.S), AMOUNT_MAX)}S`;
  return { [HEADER]: value };
}

/** How long the sender of a request waits for the answer, ms; undefined if it does not say so. */
function readDeadlineHeaders (headers) {
  const value = readable('headers', 'headers of a request', headers, () =>
    (typeof read(headers, 'get') === 'function'
      ? asked('headers.get failed', () => headers.get(HEADER))
      : headers[HEADER]));
  if (value === undefined || value === null) return undefined;
  const [, amount, unit] = /^(\d{1,8})([HMSmun])$/.exec(typeof value === 'string' ? value : '') ??
    [];
  if (unit === undefined) {
    throw new SekeringError('ERR_INVALID_INPUT',
      `Expected ${HEADER_EXPECTED} in the header ${HEADER}`);
  }
  return Number(amount) * UNITS_MS[unit];
}

module.exports = { deadlineHeaders, readDeadlineHeaders, timeLeft, withDeadline };
