'use strict';

// What goes wrong in the store, and what pg and PGlite throw as errors of ours.

const { CODES } = require('../base/error-codes');
const { SekeringError } = require('../base/errors');
const { isA, messageOf, read } = require('../base/foreign');

/**
 * An error of the store. `retryable` says whether the same call may succeed later. `sqlState` is
 * the database's own code if it was the database that refused.
 */
class StoreError extends SekeringError {
  constructor (code, message, { retryable, sqlState, ...options } = {}) {
    super(code, message, options);
    this.retryable = retryable ?? CODES[code]?.retryable ?? false;
    if (sqlState !== undefined) this.sqlState = sqlState;
  }
}

SekeringError.define(StoreError, 'StoreError');

/** SQLSTATEs, or classes of them, of a database that is unavailable for now. */
const GONE = /^(08|57P0[1-5]|57014|25P03|25P04|53300)/;
/** Of a standby, or of a primary that was made read-only. */
const READ_ONLY = '25006';
/** Of one that does not let us in, which does not heal by itself. */
const SHUT = /^(28|3D000)/;
/**
 * Of a server or a pooler that rejects a connection's startup. PgBouncer uses it also when it is
 * full, or its server is away for the moment.
 */
const UNWELCOME = '08P01';
const FULL = /try again|no more connections|cannot connect|crashed|timeout|shut|suspend|terminat/i;
/** Of statements that may succeed when they are retried: conflicts, locks, a full disk. */
const PASSING = /^(40|53|55P03|58030)/;
/** Of a plan that a migration has made stale: the connection has to drop it. */
const STALE = '0A000';

const NETWORK = new Set(['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT',
  'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENOENT', 'EACCES']);

// Messages of pg that come without a code.
const LOST = new RegExp(['Connection terminated', 'timeout exceeded when trying to connect',
  'Query read timeout', 'not queryable', 'Client was closed', 'Connection ended',
  'timeout expired', 'Client has already been connected'].join('|'), 'i');
const CLOSED_POOL = /after calling end on the pool/;

const SQL_STATE = /^[0-9A-Z]{5}$/;

/** What to do about a connection with TLS: by codes of Node, and by words of pg and the server. */
const ADVICE = [
  [/^(SELF_SIGNED|DEPTH_ZERO|UNABLE_TO_(GET|VERIFY))/,
    'sslrootcert has to name the file of the authority that has signed its certificate'],
  [/^CERT_HAS_EXPIRED/, 'the certificate of the server has to be renewed'],
  [/^CERT_NOT_YET_VALID/, 'check the clocks of both machines'],
  [/^ERR_TLS_CERT_ALTNAME/, 'the host has to be a name that the certificate of the server has'],
  [/^ERR_SSL_\w+_ALERT_(\w+_)?(CA|CERTIFICATE)/, 'the server rejects the certificate of sslcert'],
  [/^ERR_OSSL_|^ERR_MISSING_PASSPHRASE/,
    'sslcert and sslkey have to name a certificate and its key, as PEM without a passphrase'],
  [/not support SSL/, 'turn on TLS in the server; only sslmode=disable does without'],
  [/no encryption/, 'the server may want TLS: sslmode=verify-full'],
  [/valid client certificate/, 'sslcert and sslkey have to name the files of one'],
];

function gone (cause, why, retryable = true, sqlState = undefined) {
  const given = read(cause, 'code');
  const code = typeof given === 'string' ? given : '';
  const [, advice] = ADVICE.find(([sign]) => sign.test(code) || sign.test(why)) ?? [];
  const reason = read(cause, 'reason');
  // The whole message of OpenSSL has lines of its source in it.
  const words = /^ERR_(OSSL|SSL)_/.test(code) && typeof reason === 'string' ? reason : why;
  return new StoreError('ERR_STORE_UNREACHABLE',
    `The database cannot be reached: ${words}${advice === undefined ? '' : ` (${advice})`}`,
    { cause, retryable, sqlState });
}

/**
 * What a driver threw, as an error of the store.
 * @param {boolean} [isStart] whether it came from opening a connection
 */
function storeError (cause, isStart = false) {
  if (isA(cause, StoreError)) return cause;
  const code = read(cause, 'code');
  const message = messageOf(cause);
  if (CLOSED_POOL.test(message)) {
    return new StoreError('ERR_STORE_CLOSED', 'The pool of the store has been closed', { cause });
  }
  if (NETWORK.has(code)) return gone(cause, code);
  if (LOST.test(message)) return gone(cause, message);
  if (typeof code !== 'string' || !SQL_STATE.test(code)) return gone(cause, message, false);
  if (isStart && code === UNWELCOME) return gone(cause, message, FULL.test(message), code);
  if (GONE.test(code)) return gone(cause, message, true, code);
  if (code === READ_ONLY) {
    return new StoreError('ERR_STORE_READ_ONLY', undefined, { cause, sqlState: code });
  }
  if (SHUT.test(code)) return gone(cause, message, false, code);
  const retryable = PASSING.test(code) || isStalePlan(cause);
  return new StoreError('ERR_STORE_QUERY', `The database refused a statement: ${message}`,
    { cause, retryable, sqlState: code });
}

// The message may be in any language. The routine in the server has one name.
const isStalePlan = error =>
  read(error, 'code') === STALE && read(error, 'routine') === 'RevalidateCachedQuery';

/** Whether the connection that this error came from can no longer be used. */
const breaksConnection = error =>
  read(error, 'code') !== 'ERR_STORE_QUERY' || isStalePlan(read(error, 'cause'));

module.exports = { StoreError, breaksConnection, storeError };
