'use strict';

// Failures of sessions, classified, and explained to the operator.

const { messageOf, read, textOf } = require('../base/foreign');
const { ClientError, clean } = require('./client-error');

const CAUSES_MAX = 5;
// The message, not the session, is at fault.
const CALLERS_FAULT = new Set([400, 404, 406, 413]);

const CLOSED = 428;
const NOT_OPEN = /web ?socket is not open/i;

const TIMED_OUT = /\bE?TIMED?[ _-]?OUT\b|timeout/i;
const NO_SESSION = /unable to create (a )?session/i;
const WEB_SOCKET = new RegExp('web ?socket|\\bws\\b|socket hang up|connection (closed|terminated|' +
  'failure|lost)|ECONNRESET|ECONNREFUSED|EPIPE|stream errored', 'i');
const NO_ADDRESS = /ENOTFOUND|EAI_AGAIN/;

/** The status in an error of Baileys and similar libraries (Boom). */
function statusOf (error) {
  const status = read(read(error, 'output'), 'statusCode') ?? read(error, 'statusCode') ??
    read(error, 'status');
  return Number.isInteger(status) ? status : undefined;
}

/**
 * Whether a socket says that its connection was closed before it could write anything: Baileys by
 * 428, a WebSocket by its message.
 */
const isUnsent = error => statusOf(error) === CLOSED || NOT_OPEN.test(messageOf(error));

const isCallersFault = error => CALLERS_FAULT.has(statusOf(error));

/** Codes and messages of an error and what caused it. */
function wordsOf (error) {
  const words = [];
  let next = error;
  for (let i = 0; i < CAUSES_MAX && next !== null && next !== undefined; i++) {
    const name = read(next, 'name');
    words.push(read(next, 'code'), name === 'TimeoutError' ? name : undefined,
      typeof next === 'object' ? read(next, 'message') : textOf(next));
    next = typeof next === 'object' ? read(next, 'cause') : undefined;
  }
  return words.filter(word => typeof word === 'string').join(' ');
}

/** What kind of trouble it is. */
function troubleOf (error) {
  const words = wordsOf(error);
  const status = statusOf(error);
  if (read(error, 'code') === 'EOPENBREAKER') return 'open';
  if (status === 401 || /logged out/i.test(words)) return 'logged-out';
  if (NO_SESSION.test(words)) return 'no-session';
  if (NO_ADDRESS.test(words)) return 'no-address';
  if (status === 408 || TIMED_OUT.test(words)) return 'timed-out';
  if (WEB_SOCKET.test(words) || status === 428 || status === 1006) return 'web-socket';
  return 'other';
}

const ADVICE = {
  open: 'its circuit breaker is open after repeated failures. It tries again by itself; ask for ' +
    'a new QR code or reset it by hand to try at once',
  'logged-out': 'the telephone has ended the session. Ask for a new QR code and scan it',
  'no-session': 'a session could not be created. Ask for a new QR code; if it happens again, ' +
    'delete the stored session of this instance and pair it afresh',
  'no-address': "WhatsApp's address could not be looked up. Check the server's DNS and network",
  'timed-out': 'WhatsApp did not answer in time (ETIMEDOUT). Check the network and firewall of ' +
    'the server, and whether the telephone is online; it is tried again by itself',
  'web-socket': 'the connection to WhatsApp (WebSocket) failed or was cut. It is tried again by ' +
    'itself; if it goes on, check proxy and firewall, and that no other server uses this session',
};

/**
 * What an error of a session means and what to do, in a sentence or two, without secrets.
 * @param {unknown} error
 * @param {string} [id] of the instance
 * @returns {string}
 */
function operatorMessage (error, id) {
  const advice = ADVICE[troubleOf(error)] ??
    `failed: ${clean(read(error, 'message') ?? error ?? 'unknown error')}`;
  return id === undefined ? advice : `Instance ${clean(id)}: ${advice}`;
}

/** Why a call of a session failed. */
class SessionError extends ClientError {
  /**
   * @param {string} id
   * @param {Error} cause
   * @param {boolean} [ambiguous] whether the message may have been sent all the same
   */
  constructor (id, cause, ambiguous = false) {
    const code = read(cause, 'code');
    super(typeof code === 'string' ? code : 'ERR_SESSION', operatorMessage(cause, id), { cause });
    this.id = id;
    this.ambiguous = ambiguous;
    this.trouble = troubleOf(cause);
    this.circuit_breaker = this.trouble === 'open';
    this.retryable = this.trouble !== 'logged-out' && this.code !== 'ERR_SESSION_QR' &&
      !isCallersFault(cause);
  }
}

ClientError.define(SessionError, 'SessionError');

module.exports = {
  SessionError, isCallersFault, isUnsent, operatorMessage, statusOf, troubleOf,
};
