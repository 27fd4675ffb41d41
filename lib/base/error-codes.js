'use strict';

// Every code that an error of sekering may have, in one table. docs/errors.md shows it; tests
// compare the two, and look for codes in the sources that are missing here.

/**
 * @typedef {object} ErrorCode
 * @property {string} class the errors' class
 * @property {string} message the message itself, or its gist
 * @property {boolean} [retryable] whether the same call may succeed later; omitted if only the
 *   error itself can tell (`error.retryable`)
 * @property {'caller'|'upstream'|'local'|'operator'} fault who caused it: the calling code, the
 *   upstream, this process (busy, stopping), or the operator (configuration, credentials)
 * @property {boolean} [asked=true] false: the upstream was never asked, so nothing has happened
 * @property {boolean} [counts=false] whether a breaker in front of it counts it as a failure
 */

/** @type {Record<string, ErrorCode>} */
const CODES = {
  EOPENBREAKER: {
    class: 'SekeringError', message: 'Breaker is open',
    retryable: false, fault: 'upstream', asked: false,
  },
  ETIMEDOUT: {
    class: 'SekeringError', message: 'Timed out',
    retryable: true, fault: 'upstream', counts: true,
  },
  EDEADLINE: {
    class: 'SekeringError', message: 'The deadline of the call has passed',
    retryable: true, fault: 'caller',
  },
  ESEMLOCKED: {
    class: 'SekeringError', message: 'Semaphore locked',
    retryable: true, fault: 'local', asked: false,
  },
  ESHUTDOWN: {
    class: 'SekeringError', message: 'The circuit has been shutdown.',
    retryable: false, fault: 'local', asked: false,
  },
  EBULKHEADFULL: {
    class: 'SekeringError', message: 'The bulkhead or the adaptive limiter is full',
    retryable: true, fault: 'local', asked: false,
  },
  ELOADSHED: {
    class: 'SekeringError',
    message: 'The process is too busy for calls of this priority',
    retryable: true, fault: 'local', asked: false,
  },
  ERATELIMITED: {
    class: 'SekeringError', message: 'The rate limit has been reached',
    retryable: true, fault: 'local', asked: false,
  },
  ERR_CHAOS_IN_PRODUCTION: {
    class: 'SekeringError',
    message: 'Faults are not injected where NODE_ENV is production, unless allowInProduction is ' +
      'true',
    retryable: false, fault: 'operator',
  },

  // The database of the store.
  ERR_STORE_CLOSED: {
    class: 'StoreError', message: 'The store has been closed', retryable: false, fault: 'local',
  },
  ERR_STORE_DIRECTORY_LOCKED: {
    class: 'StoreError', message: 'Another process uses the folder of the embedded database',
    retryable: true, fault: 'operator',
  },
  ERR_STORE_DEAF: {
    class: 'StoreError',
    message: 'A pooler in transaction mode does not pass on notifications of the database, so ' +
      'this process polls every two seconds. Set directUrl (store.direct_url) to the address of ' +
      'the database itself (Supabase: port 5432 instead of 6543; Neon: the host without -pooler)',
    retryable: false, fault: 'operator',
  },
  ERR_STORE_NOT_MIGRATED: {
    class: 'StoreError', message: 'The schema lacks migrations: run sekering migrate as its owner',
    retryable: false, fault: 'operator',
  },
  ERR_STORE_POOLER: {
    class: 'StoreError',
    message: 'The database is behind a pooler, such as PgBouncer, in statement mode, but the ' +
      'store needs transactions. Use the pooler in session or transaction mode, or the address ' +
      'of the database itself',
    retryable: false, fault: 'operator',
  },
  ERR_STORE_QUERY: {
    class: 'StoreError', message: 'The database refused a statement', fault: 'caller',
  },
  ERR_STORE_READ_ONLY: {
    class: 'StoreError',
    message: 'The database is read-only: it is a standby, or default_transaction_read_only is on',
    retryable: true, fault: 'upstream',
  },
  ERR_STORE_SCHEMA_VERSION: {
    class: 'StoreError', message: 'The schema was made by another release of sekering',
    retryable: false, fault: 'operator',
  },
  ERR_STORE_UNREACHABLE: {
    class: 'StoreError', message: 'The database cannot be reached', fault: 'upstream',
  },
  ERR_STORE_VALUE: {
    class: 'StoreError', message: 'The database returned a value other than the one sent',
    retryable: false, fault: 'operator',
  },

  // The clients.
  ERR_BODY_ENCODING: {
    class: 'SekeringError', message: 'The body of a response is compressed and cannot be read',
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_BODY_TOO_LARGE: {
    class: 'SekeringError', message: 'The body of a response is too large',
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_INVALID_INPUT: {
    class: 'TypeError', message: 'The input of a call is invalid; nothing was sent',
    retryable: false, fault: 'caller',
  },
  ERR_MIDTRANS_CANNOT_MODIFY: {
    class: 'MidtransError', message: "The transaction's state does not allow this change (412)",
    retryable: false, fault: 'caller',
  },
  ERR_MIDTRANS_CONFLICT: {
    class: 'MidtransError', message: 'Another transaction already has this order_id (406)',
    retryable: false, fault: 'caller',
  },
  ERR_MIDTRANS_IN_FLIGHT: {
    class: 'MidtransError', message: 'Midtrans is still processing an earlier request',
    retryable: true, fault: 'upstream',
  },
  ERR_MIDTRANS_NETWORK: {
    class: 'MidtransError', message: 'Midtrans could not be reached',
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_MIDTRANS_NOT_FOUND: {
    class: 'MidtransError', message: 'Midtrans knows no such transaction (404)',
    retryable: false, fault: 'caller',
  },
  ERR_MIDTRANS_RATE_LIMITED: {
    class: 'MidtransError', message: 'Midtrans got too many requests (429)',
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_MIDTRANS_REFUSED: {
    class: 'MidtransError', message: 'Midtrans refused the request (any other 4xx)',
    retryable: false, fault: 'caller',
  },
  ERR_MIDTRANS_RESPONSE: {
    class: 'MidtransError', message: "Midtrans's answer is unreadable",
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_MIDTRANS_SERVER: {
    class: 'MidtransError', message: 'Midtrans answered with a server error (5xx)',
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_MIDTRANS_SIGNATURE: {
    class: 'MidtransError', message: 'A notification is not signed by Midtrans',
    retryable: false, fault: 'caller',
  },
  ERR_MIDTRANS_TIMEOUT: {
    class: 'MidtransError', message: 'Midtrans did not answer in time',
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_MIDTRANS_UNAUTHORIZED: {
    class: 'MidtransError', message: 'Midtrans does not accept the server key (401)',
    retryable: false, fault: 'operator',
  },
  ERR_MIDTRANS_UNKNOWN_OUTCOME: {
    class: 'MidtransError', message: 'It is unknown whether Midtrans carried out the request',
    fault: 'upstream',
  },
  ERR_SESSION: {
    class: 'SessionError', message: 'A session failed; the message says what to do',
    fault: 'upstream',
  },
  ERR_SESSION_LIMIT: {
    class: 'SessionError', message: 'All instances are connected: there is no room for another',
    retryable: true, fault: 'local', asked: false,
  },
  ERR_SESSION_QR: {
    class: 'SessionError', message: "The session's QR code must be scanned first",
    retryable: false, fault: 'operator',
  },
  ERR_SMTP: {
    class: 'SmtpError', message: 'A mail was not sent',
    fault: 'upstream',
  },
  ERR_SMTP_PAUSED: {
    class: 'SmtpError', message: 'The SMTP client is paused',
    retryable: true, fault: 'operator', asked: false,
  },
  ERR_SMTP_TLS_REQUIRED: {
    class: 'SmtpError', message: 'The mail server offers no TLS',
    retryable: true, fault: 'operator', counts: true,
  },
  ERR_WHATSAPP_NETWORK: {
    class: 'WhatsAppError', message: 'WhatsApp could not be reached',
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_WHATSAPP_PAUSED: {
    class: 'WhatsAppError', message: 'No message can be sent: check credentials, quota and account',
    retryable: true, fault: 'operator',
  },
  ERR_WHATSAPP_RECIPIENT_RATE: {
    class: 'WhatsAppError', message: 'Too many messages to one number',
    retryable: true, fault: 'caller',
  },
  ERR_WHATSAPP_REFUSED: {
    class: 'WhatsAppError', message: 'WhatsApp refused the message',
    retryable: false, fault: 'caller',
  },
  ERR_WHATSAPP_RESPONSE: {
    class: 'WhatsAppError', message: "WhatsApp's answer is unreadable",
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_WHATSAPP_SIGNATURE: {
    class: 'SekeringError',
    message: 'A webhook is not signed by WhatsApp, or a handshake has another verify token',
    retryable: false, fault: 'caller',
  },
  ERR_WHATSAPP_WEBHOOK: {
    class: 'SekeringError', message: 'The webhook is no JSON object with a text typeWebhook',
    retryable: false, fault: 'caller',
  },
  ERR_WHATSAPP_TIMEOUT: {
    class: 'WhatsAppError', message: 'WhatsApp did not answer in time',
    retryable: true, fault: 'upstream', counts: true,
  },
  ERR_WHATSAPP_UNAVAILABLE: {
    class: 'WhatsAppError', message: 'WhatsApp has a server error, or got too many requests',
    retryable: true, fault: 'upstream', counts: true,
  },

  // Payments and idempotency.
  ERR_IDEMPOTENCY_ABANDONED: {
    class: 'SekeringError', message: 'The client disconnected before the request was answered',
    retryable: true, fault: 'local',
  },
  ERR_IDEMPOTENCY_DONE: {
    class: 'StoreError', message: 'The work of this idempotency key was done before',
    retryable: false, fault: 'caller',
  },
  ERR_IDEMPOTENCY_IN_PROGRESS: {
    class: 'StoreError', message: 'Another call with this idempotency key is in progress',
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
    class: 'SekeringError', message: 'A response with a server error is not stored',
    retryable: true, fault: 'local',
  },
  ERR_PAYMENT_HOOK: {
    class: 'SekeringError', message: 'This process does not have the payment hook',
    fault: 'operator',
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

  // Gateway, HTTP and the command line.
  ERR_ADMIN_FORBIDDEN: {
    class: 'answer (403)', message: "The token's role does not allow this",
    retryable: false, fault: 'caller',
  },
  ERR_ADMIN_FOREIGN_ORIGIN: {
    class: 'answer (403)', message: 'The request comes from a page of another site',
    retryable: false, fault: 'caller',
  },
  ERR_ADMIN_RATE_LIMITED: {
    class: 'answer (429)', message: 'Too many requests with this token, or without a valid one',
    retryable: true, fault: 'caller',
  },
  ERR_ADMIN_UNAUTHORIZED: {
    class: 'answer (401)', message: 'The request has no valid bearer token',
    retryable: false, fault: 'caller',
  },
  ERR_CHECK_FAILED: {
    class: 'answer (health)', message: 'A check failed with an error that has no code of its own',
    fault: 'upstream',
  },
  ERR_CONFIG: {
    class: 'SekeringError', message: 'The configuration has mistakes; `faults` lists all of them',
    retryable: false, fault: 'operator',
  },
  ERR_DEGRADED: {
    class: 'answer (503)', message: 'A feature is off at the current degradation level',
    retryable: true, fault: 'upstream',
  },
  ERR_EVENTS_FULL: {
    class: 'answer (503)', message: 'Too many readers of the event stream',
    retryable: true, fault: 'local',
  },
  ERR_GATEWAY_NO_CLIENT: {
    class: 'SekeringError', message: 'The configuration has no section midtrans',
    retryable: false, fault: 'operator',
  },
  ERR_GATEWAY_JOB: {
    class: 'SekeringError', message: 'A scheduled job failed with undefined',
    retryable: true, fault: 'local',
  },
  ERR_INTERNAL: {
    class: 'answer (500)',
    message: 'Something unexpected failed; the error itself goes to the log or to `onError`',
    fault: 'local',
  },
  ERR_LISTEN: {
    class: 'SekeringError', message: 'The server cannot listen on its host and port',
    retryable: false, fault: 'operator',
  },
  ERR_METHOD_NOT_ALLOWED: {
    class: 'answer (405)', message: 'The path does not support this method; see the header Allow',
    retryable: false, fault: 'caller',
  },
  ERR_NOT_FOUND: {
    class: 'answer (404)', message: 'There is nothing under this path or id',
    retryable: false, fault: 'caller',
  },
  ERR_REQUEST: {
    class: 'answer (4xx)', message: 'A request cannot be read: its path or its body is damaged',
    retryable: false, fault: 'caller',
  },
  ERR_REQUEST_CONTENT_TYPE: {
    class: 'answer (415)',
    message: 'A body needs the header Content-Type: application/json, in UTF-8, not compressed',
    retryable: false, fault: 'caller',
  },
  ERR_REQUEST_JSON: {
    class: 'answer (400)', message: 'The body of a request is not a JSON object or array',
    retryable: false, fault: 'caller',
  },
  ERR_REQUEST_TOO_LARGE: {
    class: 'answer (413)', message: 'The body of a request is larger than the service takes',
    retryable: false, fault: 'caller',
  },
  ERR_SERVICE_DOWN: {
    class: 'SekeringError', message: 'A service that the caller requires is down',
    retryable: true, fault: 'upstream', asked: false,
  },
  ERR_UNAVAILABLE: {
    class: 'answer (202)', message: 'The order is queued after an error that has no code',
    retryable: true, fault: 'upstream',
  },
  ERR_CLI_FAILED: {
    class: 'SekeringError', message: 'The server answered with an error',
    fault: 'upstream',
  },
  ERR_CLI_FILE: {
    class: 'SekeringError', message: 'The file exists, or cannot be written',
    retryable: false, fault: 'operator',
  },
  ERR_CLI_INPUT: {
    class: 'SekeringError', message: 'The server rejected the arguments',
    retryable: false, fault: 'caller',
  },
  ERR_CLI_NOT_FOUND: {
    class: 'SekeringError', message: 'Not found on the server',
    retryable: false, fault: 'caller',
  },
  ERR_CLI_ROLE: {
    class: 'SekeringError', message: "The token's role does not allow this",
    retryable: false, fault: 'operator',
  },
  ERR_CLI_TOKEN: {
    class: 'SekeringError', message: 'There is no token, or the server rejected it',
    retryable: false, fault: 'operator',
  },
  ERR_CLI_UNREACHABLE: {
    class: 'SekeringError', message: 'No server answers at the address',
    retryable: true, fault: 'upstream',
  },
  ERR_CLI_USAGE: {
    class: 'SekeringError', message: 'The arguments cannot be combined',
    retryable: false, fault: 'caller',
  },
  ERR_IDEMPOTENCY_BODY: {
    class: 'answer (415)', message: 'No parser has read the body of the request',
    retryable: false, fault: 'operator',
  },
  ERR_IDEMPOTENCY_KEY_MALFORMED: {
    class: 'answer (400)', message: 'The Idempotency-Key is not a string in quotation marks',
    retryable: false, fault: 'caller',
  },
  ERR_IDEMPOTENCY_KEY_MISSING: {
    class: 'answer (400)', message: 'The request has no Idempotency-Key',
    retryable: false, fault: 'caller',
  },
  ERR_IDEMPOTENCY_NOT_KEPT: {
    class: 'answer (409)', message: 'The request was executed, but its response was not stored',
    retryable: false, fault: 'local',
  },

  // Options, packages, shared regions.
  ERR_ENGINE: {
    class: 'SekeringError', message: 'SEKERING_ENGINE asks for what does not load',
    retryable: false, fault: 'operator',
  },
  ERR_INVALID_OPTION: {
    class: 'TypeError or RangeError', message: 'An option or argument is wrong or unknown',
    retryable: false, fault: 'caller',
  },
  ERR_MISSING_PEER: {
    class: 'SekeringError', message: 'An optional package is not installed',
    retryable: false, fault: 'operator',
  },
  ERR_NAME_TAKEN: {
    class: 'SekeringError', message: 'The shared region uses this name for something else',
    retryable: false, fault: 'caller',
  },
  ERR_REGION_CORRUPT: {
    class: 'SekeringError', message: 'The shared region is damaged and cannot be repaired',
    retryable: false, fault: 'operator',
  },
  ERR_REGION_FOREIGN: {
    class: 'SekeringError',
    message: 'The file of the shared region is not safe: it is a link, or other users own it or ' +
      'can read it, or they can replace files in its folder',
    retryable: false, fault: 'operator',
  },
  ERR_REGION_FULL: {
    class: 'SekeringError', message: 'The shared region has no room for another name',
    retryable: false, fault: 'caller',
  },
  ERR_REGION_MEMORY: {
    class: 'SekeringError', message: 'This process has no memory for its part of the shared region',
    retryable: true, fault: 'local',
  },
  ERR_REGION_NO_SPACE: {
    class: 'SekeringError', message: 'The disk of the shared region is full',
    retryable: true, fault: 'operator',
  },
  ERR_REGION_PARTICIPANTS: {
    class: 'SekeringError', message: '256 threads already use the shared region',
    retryable: true, fault: 'operator',
  },
  ERR_REGION_SYSTEM: {
    class: 'SekeringError',
    message: 'The system cannot open the shared region; the message says why',
    retryable: true, fault: 'operator',
  },
  ERR_SCOPE_UNSUPPORTED: {
    class: 'SekeringError',
    message: 'With strictScope: shared scopes need the binary, on Linux, macOS or Windows',
    retryable: false, fault: 'caller',
  },

  // Limits and retries.
  ERR_NON_RETRYABLE: {
    class: 'NonRetryableError', message: 'Another attempt would fail in the same way',
    retryable: false, fault: 'caller', counts: true,
  },
  ERR_OPTIONS_MISMATCH: {
    class: 'SekeringError',
    message: 'A breaker or limit with this name exists, but with other options',
    retryable: false, fault: 'caller',
  },
  ERR_RETRYABLE: {
    class: 'RetryableError', message: 'Another attempt may succeed',
    retryable: true, fault: 'upstream', counts: true,
  },

  // sekering/testing.
  ERR_VIRTUAL_CLOCK: {
    class: 'SekeringError', message: 'A virtual clock is already in use: call its restore() first',
    retryable: false, fault: 'caller',
  },
  ERR_VIRTUAL_CLOCK_TIMERS: {
    class: 'SekeringError',
    message: 'There are no fake timers of Jest or vitest that include setTimeout and Date: call ' +
      'jest.useFakeTimers() or vi.useFakeTimers() first',
    retryable: false, fault: 'caller',
  },
  ERR_VIRTUAL_CLOCK_LOOP: {
    class: 'SekeringError', message: 'Timers of a virtual clock set each other without end',
    retryable: false, fault: 'caller',
  },

  // The outbox.
  ERR_OUTBOX_BLOCKED: {
    class: 'StoreError', message: 'The event loop stood still while a message was sent',
    retryable: true, fault: 'local',
  },
  ERR_OUTBOX_CHANNEL: {
    class: 'StoreError', message: 'The channel of a message is unknown',
    retryable: false, fault: 'caller',
  },
  ERR_OUTBOX_CRASHED: {
    class: 'StoreError',
    message: 'Workers repeatedly died or lost their lease while they held a message',
    retryable: false, fault: 'local',
  },
  ERR_OUTBOX_GIVEN_UP: {
    class: 'StoreError', message: 'A call moved the message to the dead letters',
    retryable: false, fault: 'caller',
  },
  ERR_OUTBOX_LEFT_BEHIND: {
    class: 'StoreError', message: 'The worker stopped while senders were still at work',
    retryable: false, fault: 'local',
  },
  ERR_OUTBOX_MESSAGE: {
    class: 'StoreError', message: 'A message is invalid (see `faults`)',
    retryable: false, fault: 'caller',
  },
  ERR_OUTBOX_TEMPLATE: {
    class: 'StoreError', message: 'The template of a message cannot be filled in',
    retryable: false, fault: 'caller',
  },
  ERR_OUTBOX_TOO_LARGE: {
    class: 'StoreError', message: 'A message, or a call with many messages, is too large',
    retryable: false, fault: 'caller',
  },
  ERR_STORE_OLD_SNAPSHOT: {
    class: 'StoreError',
    message: 'A transaction has been open for long: the outbox gets slower until it ends',
    retryable: true, fault: 'operator',
  },
};

module.exports = { CODES };
