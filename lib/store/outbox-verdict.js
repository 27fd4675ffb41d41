'use strict';

// What becomes of a message that could not be sent.

const { messageOf, read, textOf } = require('../base/foreign');
const { retryAfterMs, verdictOf } = require('../primitives/classify');
const { hasBailed } = require('../primitives/retry-run');

// With these the provider was not asked, so they are no attempt. The first two concern the whole
// channel, the others this message alone.
const SHUT = new Set(['EOPENBREAKER', 'ESHUTDOWN']);
const BUSY = new Set(['ERATELIMITED', 'EBULKHEADFULL']);
// Kinds of our clients' errors that mean: the account or its settings are wrong, nothing is sent.
const PAUSING_KINDS = new Set(['pause', 'ours']);

// Of one account among several: only its messages wait.
const INSTANCE = 'instance';

const BUSY_MS = 1000;
const INSTANCE_MS = 60_000;
const BEHIND_MS = 1;
const DELAY_MS_MAX = 30 * 24 * 3600 * 1000;
const TEXT_MAX = 1000;

/** A text that the database can hold, of limited length. */
const clean = (text, max = TEXT_MAX) =>
  textOf(text).slice(0, max).toWellFormed().replaceAll('\0', '');

/** Whether another attempt is useless. An error that does not say gets another attempt. */
function isFinal (error) {
  const retryable = read(error, 'retryable');
  if (typeof retryable === 'boolean') return !retryable;
  if (read(error, 'bail') === true || hasBailed(error)) return true;
  return verdictOf(error) === false;
}

const stoodStill = ms => `The event loop stood still for ${ms} ms while this message was sent`;

function describe (error, blockedMs) {
  const code = read(error, 'code');
  const name = read(error, 'name') ?? 'Error';
  const message = clean(messageOf(error));
  const entry = {
    name: clean(name, 100),
    message: blockedMs > 0 ? `${message} (${stoodStill(blockedMs)})` : message,
  };
  if (typeof code === 'string' || typeof code === 'number') entry.code = clean(code, 100);
  return entry;
}

/**
 * @param {unknown} error what the sender threw
 * @param {object} message
 * @param {(retry: number) => number} delayOf its channel's backoff
 * @param {number} [blockedMs] for how long the event loop stood still meanwhile
 * @returns {{ outcome: 'retry'|'dead'|'release', rests?: boolean, wait?: number,
 *   delay?: number }} what to write. `rests`: the whole channel has to wait, for `wait` ms;
 *   `delay`: ms until the message is due
 */
function verdictOn (error, message, delayOf, blockedMs = 0) {
  const asked = retryAfterMs(error);
  const wait = asked === undefined ? undefined : Math.min(asked, DELAY_MS_MAX);
  const entry = describe(error, blockedMs);
  const code = read(error, 'code');
  if (SHUT.has(code) || PAUSING_KINDS.has(read(error, 'kind'))) {
    // It goes behind those that are due: if only this message has that answer, the others are sent.
    const delay = SHUT.has(code) ? undefined : BEHIND_MS;
    return { outcome: 'release', attempts: 0, rests: true, wait, delay, error: entry.message };
  }
  if (read(error, 'kind') === INSTANCE) {
    return { outcome: 'release', attempts: 0, delay: wait ?? INSTANCE_MS, error: entry.message };
  }
  if (BUSY.has(code)) {
    return { outcome: 'release', attempts: 0, delay: wait ?? BUSY_MS };
  }
  const { attemptCount, maxAttempts } = message;
  const attempt = attemptCount + 1;
  const settled = { attempts: 1, error: entry.message, entry: { attempt, ...entry } };
  // The error itself is not part of the reason: it is stored as the message's last error.
  const buried = reason => ({
    outcome: 'dead', ...settled, kind: entry.code ?? entry.name, reason,
  });
  if (isFinal(error)) {
    return buried(read(error, 'ambiguous') === true
      ? 'May have been delivered, so it is not sent again' : 'Permanent failure');
  }
  if (attempt >= maxAttempts) return buried(`Max retries (${maxAttempts}) exceeded`);
  const delay = wait ?? delayOf(attemptCount);
  return { outcome: 'retry', ...settled, delay: Math.min(delay, DELAY_MS_MAX) };
}

module.exports = { clean, stoodStill, verdictOn };
