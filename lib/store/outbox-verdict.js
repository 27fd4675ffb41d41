'use strict';

// What becomes of a message whose sending failed.

const { messageOf, read, textOf } = require('../base/foreign');
const { retryAfterMs, verdictOf } = require('../primitives/classify');

// Nobody was asked: it is not the message's doing, and no attempt.
const SHUT = new Set(['EOPENBREAKER', 'ESHUTDOWN']);
const TURNED_AWAY = new Set(['ERATELIMITED', 'EBULKHEADFULL']);
// Of errors of our clients: the account or its settings are at fault, and nothing gets through.
const PAUSING_KINDS = new Set(['pause', 'ours']);

const TURNED_AWAY_MS = 1000;
const BEHIND_MS = 1;
const DELAY_MS_MAX = 30 * 24 * 3600 * 1000;
const TEXT_MAX = 1000;

/** Text for the database: without what it cannot hold, and bounded. */
const clean = (text, max = TEXT_MAX) =>
  textOf(text).slice(0, max).toWellFormed().replaceAll('\0', '');

/** Whether another attempt could not help. An error that says nothing is given the chance. */
function isFinal (error) {
  const retryable = read(error, 'retryable');
  if (typeof retryable === 'boolean') return !retryable;
  if (read(error, 'bail') === true) return true;
  return verdictOf(error) === false;
}

function describe (error) {
  const code = read(error, 'code');
  const name = read(error, 'name') ?? 'Error';
  const entry = { name: clean(name, 100), message: clean(messageOf(error)) };
  if (typeof code === 'string' || typeof code === 'number') entry.code = clean(code, 100);
  return entry;
}

/**
 * @param {unknown} error what the sender threw
 * @param {object} message
 * @param {(retry: number) => number} delayOf its channel's backoff
 * @returns {{ outcome: 'retry'|'dead'|'release', rests?: boolean }} for `settleUnsent`; `rests`:
 *   the channel as a whole has to wait
 */
function verdictOn (error, message, delayOf) {
  const asked = retryAfterMs(error);
  const wait = asked === undefined ? undefined : Math.min(asked, DELAY_MS_MAX);
  const entry = describe(error);
  const code = read(error, 'code');
  if (SHUT.has(code) || PAUSING_KINDS.has(read(error, 'kind'))) {
    // It comes after those that are due by now: if it is this one that is answered so, the others
    // get on all the same.
    const delay = SHUT.has(code) ? undefined : BEHIND_MS;
    return { outcome: 'release', attempts: 0, rests: true, wait, delay, error: entry.message };
  }
  if (TURNED_AWAY.has(code)) {
    return { outcome: 'release', attempts: 0, delay: wait ?? TURNED_AWAY_MS };
  }
  const attempt = message.attemptCount + 1;
  const settled = { attempts: 1, error: entry.message, entry: { attempt, ...entry } };
  if (isFinal(error) || attempt >= message.maxAttempts) {
    const kind = entry.code ?? entry.name;
    return { outcome: 'dead', ...settled, kind, reason: entry.message };
  }
  const delay = wait ?? delayOf(message.attemptCount);
  return { outcome: 'retry', ...settled, delay: Math.min(delay, DELAY_MS_MAX) };
}

module.exports = { clean, verdictOn };
