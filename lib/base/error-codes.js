'use strict';

// Every code that an error of sekering may have, in one table. docs/errors.md shows it; tests
// compare the two, and look for codes in the sources that are missing here.

/**
 * @typedef {object} ErrorCode
 * @property {string} class the errors' class
 * @property {string} message what it says: the message itself, or what the message tells
 * @property {boolean} [retryable] whether the same call may succeed later; left out where each
 *   error says so itself (`error.retryable`)
 * @property {'caller'|'upstream'|'local'|'operator'} fault whose it is: the calling code's, the
 *   upstream's, this process's (busy, stopping), or the operator's (configuration, credentials)
 * @property {boolean} [asked=true] false: the upstream was never asked, so nothing has happened
 * @property {boolean} [counts=false] whether a breaker in front of it counts it as a failure
 * @property {boolean} [breaker=false] whether a breaker makes it (CircuitBreaker.isOurError)
 */

/** @type {Record<string, ErrorCode>} */
const CODES = {
  EOPENBREAKER: {
    class: 'SekeringError', message: 'Breaker is open',
    retryable: false, fault: 'upstream', asked: false, breaker: true,
  },
  ETIMEDOUT: {
    class: 'SekeringError', message: 'Timed out',
    retryable: true, fault: 'upstream', counts: true, breaker: true,
  },
  ESEMLOCKED: {
    class: 'SekeringError', message: 'Semaphore locked',
    retryable: true, fault: 'local', asked: false, breaker: true,
  },
  ESHUTDOWN: {
    class: 'SekeringError', message: 'The circuit has been shutdown.',
    retryable: false, fault: 'local', asked: false, breaker: true,
  },
  EBULKHEADFULL: {
    class: 'SekeringError', message: 'The bulkhead is full',
    retryable: true, fault: 'local', asked: false,
  },
  ERATELIMITED: {
    class: 'SekeringError', message: 'The rate limit has been reached',
    retryable: true, fault: 'local', asked: false,
  },

  // The database of the store.
  ERR_STORE_CLOSED: {
    class: 'StoreError', message: 'The store has been closed', retryable: false, fault: 'local',
  },
  ERR_STORE_DIRECTORY_LOCKED: {
    class: 'StoreError', message: 'Another process uses the folder of the embedded database',
    retryable: true, fault: 'operator',
  },
  ERR_STORE_POOLER: {
    class: 'StoreError',
    message: 'The database is behind a pooler, such as PgBouncer, in transaction or statement ' +
      'mode, but the store needs sessions. Use the pooler in session mode, or the direct address ' +
      'of the database (Supabase: port 5432 instead of 6543; Neon: the host without -pooler)',
    retryable: false, fault: 'operator',
  },
  ERR_STORE_QUERY: {
    class: 'StoreError', message: 'The database refused a statement', fault: 'caller',
  },
  ERR_STORE_SCHEMA_VERSION: {
    class: 'StoreError', message: 'The schema was made by another release of sekering',
    retryable: false, fault: 'operator',
  },
  ERR_STORE_UNREACHABLE: {
    class: 'StoreError', message: 'The database cannot be reached', fault: 'upstream',
  },
  ERR_STORE_VALUE: {
    class: 'StoreError', message: 'A value does not come back from the database as it was sent',
    retryable: false, fault: 'operator',
  },

  // Payments and idempotency.
  ERR_IDEMPOTENCY_ABANDONED: {
    class: 'SekeringError', message: 'The client has gone, and the request was not answered',
    retryable: true, fault: 'local',
  },
  ERR_IDEMPOTENCY_IN_PROGRESS: {
    class: 'StoreError', message: 'The work under this idempotency key is being done',
    retryable: true, fault: 'caller',
  },
  ERR_IDEMPOTENCY_LATE: {
    class: 'StoreError', message: 'The lock of an idempotency key was extended too late',
    retryable: true, fault: 'local',
  },
  ERR_IDEMPOTENCY_LOST: {
    class: 'StoreError',
    message: 'The lock of this idempotency key expired, and another process may have the key',
    retryable: true, fault: 'local',
  },
  ERR_IDEMPOTENCY_MISMATCH: {
    class: 'StoreError', message: 'This idempotency key was used for another request',
    retryable: false, fault: 'caller',
  },
  ERR_IDEMPOTENCY_RESULT: {
    class: 'StoreError', message: 'The result of the work cannot be stored',
    retryable: false, fault: 'caller',
  },
  ERR_IDEMPOTENCY_SERVER_ERROR: {
    class: 'SekeringError', message: 'A server error is not stored',
    retryable: true, fault: 'local',
  },
  ERR_PAYMENT_HOOK: {
    class: 'SekeringError', message: 'This process does not have the hook', fault: 'operator',
  },
  ERR_PAYMENT_ORDER: {
    class: 'StoreError', message: 'The order contradicts what is stored',
    retryable: false, fault: 'caller',
  },
  ERR_WEBHOOK_BODY: {
    class: 'SekeringError',
    message: 'Something has read the body of a webhook before its signature could be checked',
    retryable: false, fault: 'operator',
  },
};

module.exports = { CODES };
