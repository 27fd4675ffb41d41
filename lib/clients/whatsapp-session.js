'use strict';

// One session: the socket that the user's connect() makes, its connection, messages over it, and
// failures, classified and explained to the operator.

const clock = require('../base/clock');
const { withDeadline } = require('../base/deadline');
const { SekeringError, invalidOption } = require('../base/errors');
const { isA, isList, messageOf, promiseOf, read, reasonOf, textOf } = require('../base/foreign');
const { retry } = require('../primitives/retry');
const { ClientError, clean } = require('./client-error');
const { classifyGreenState } = require('./whatsapp-errors');

// A connection that has lasted this long counts as stable.
const STABLE_MS = 60_000;

// ---- Failures ----------------------------------------------------------------------------------

const CAUSES_MAX = 5;
// The message, not the session, is at fault.
const CALLERS_FAULT = new Set([400, 404, 406, 413]);

const CLOSED = 428;

// Why a connection was closed, by the status with which Baileys closes. 515 asks to reconnect; the
// others need a person.
const CLOSES = {
  401: 'logged-out', 403: 'forbidden', 411: 'outdated', 440: 'replaced', 500: 'bad-session',
  515: 'restart',
};
const NEEDS_PERSON = new Set(['logged-out', 'forbidden', 'outdated', 'replaced', 'bad-session']);
// An error of the socket itself: its status is the HTTP status, or 500 for anything else.
const SOCKET_ERROR = /^WebSocket Error/;

// Why each error closed a connection. On other errors, the status means something else.
const closes = new WeakMap();

/** Notes that an error has closed a connection. Returns it. */
function noteClose (error) {
  const status = statusOf(error);
  if (SOCKET_ERROR.test(messageOf(error))) closes.set(error, 'web-socket');
  else if (Object.hasOwn(CLOSES, status)) closes.set(error, CLOSES[status]);
  return error;
}

const needsPerson = error => NEEDS_PERSON.has(troubleOf(error));
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

// whatsapp-web.js: the recipient has no WhatsApp.
const NO_RECIPIENT = /\bNo LID for user\b|\binvalid wid\b/i;
const isCallersFault = error =>
  CALLERS_FAULT.has(statusOf(error)) || NO_RECIPIENT.test(messageOf(error));

// whatsapp-web.js: its browser or page is gone, and no event says so.
const CRASHED = new RegExp('\\b(session|target|page|browser|connection) (closed|crashed)\\b|' +
  'page has been closed|detached frame|execution context was destroyed|' +
  'browser has disconnected', 'i');
const isCrash = error => CRASHED.test(messageOf(error));

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
  if (closes.has(error)) return closes.get(error);
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
  forbidden: 'WhatsApp has banned or restricted this number. Appeal in WhatsApp on the ' +
    'telephone; nothing is sent until somebody connects the instance again',
  outdated: 'WhatsApp no longer accepts this session or this version of the library. ' +
    'Update the library, then ask for a new QR code',
  replaced: 'another program has taken over this session. Stop that program, or this one, and ' +
    'connect the instance again: while both run, they cut each other off',
  'bad-session': 'the stored session is damaged or was rejected. Delete it, ask for a new QR ' +
    'code and scan it',
  unscanned: 'the connection ended before anybody scanned the QR code. Ask for a new QR code and ' +
    'scan it',
  restart: 'WhatsApp asked to reconnect, as it does after pairing. This happens automatically',
  'no-session': 'a session could not be created. Ask for a new QR code; if it happens again, ' +
    'delete the stored session of this instance and pair it afresh',
  'no-address': "WhatsApp's address could not be looked up. Check the server's DNS and network",
  'timed-out': 'WhatsApp did not answer in time (ETIMEDOUT). Check the network and firewall of ' +
    'the server, and whether the telephone is online; it is tried again by itself',
  'web-socket': 'the connection to WhatsApp (WebSocket) failed or was cut. It is tried again by ' +
    'itself; if it goes on, check proxy and firewall, and that no other server uses this session',
};

/** What an error of a session means and what to do, in a sentence or two, without secrets. */
function operatorMessage (error, id) {
  const advice = ADVICE[troubleOf(error)] ??
    `failed: ${clean(read(error, 'message') ?? error ?? 'unknown error')}`;
  return id === undefined ? advice : `Instance ${clean(id)}: ${advice}`;
}

/** Why a call of a session failed. */
class SessionError extends ClientError {
  constructor (id, cause, ambiguous = false) {
    const code = read(cause, 'code');
    const trouble = troubleOf(cause);
    const waits = !ambiguous && (NEEDS_PERSON.has(trouble) || code === 'ERR_SESSION_QR');
    super(typeof code === 'string' ? code : 'ERR_SESSION', operatorMessage(cause, id), {
      // Until a person has connected the instance, its messages wait; those of others are sent.
      kind: waits ? 'instance' : undefined,
      cause, id, ambiguous, trouble, circuit_breaker: trouble === 'open',
      // Only a person can know whether a message has arrived.
      retryable: !waits && !ambiguous && !isCallersFault(cause),
    });
  }
}

ClientError.define(SessionError, 'SessionError');

// ---- What became of messages -------------------------------------------------------------------

// WebMessageInfo.Status of Baileys.
const STATUSES = { 0: 'failed', 2: 'sent', 3: 'delivered', 4: 'read', 5: 'read' };

const textIf = value => (typeof value === 'string' ? value : undefined);

/** A status as webhooks have it, of one of our messages; undefined if it is none. */
function statusOfKey (key, status, { at, recipient = read(key, 'remoteJid'), errors = [] } = {}) {
  const messageId = textIf(read(key, 'id'));
  if (messageId === undefined || status === undefined || read(key, 'fromMe') === false) {
    return undefined;
  }
  return {
    messageId, status, recipient: textIf(recipient), reference: undefined, at,
    phoneNumberId: undefined, errors,
  };
}

/** Of one entry of `messages.update`. */
function statusOfUpdate (entry) {
  const update = read(entry, 'update');
  const status = STATUSES[textOf(read(update, 'status'))];
  const reason = read(read(update, 'messageStubParameters'), 0);
  const errors = status !== 'failed' || reason === undefined ? [] : [{
    code: textOf(reason), title: undefined, message: undefined, details: undefined,
    verdict: classifyGreenState(undefined),
  }];
  return statusOfKey(read(entry, 'key'), status, { errors });
}

/** Of one entry of `message-receipt.update`: of a group, by one of its members. */
function statusOfReceipt (entry) {
  const receipt = read(entry, 'receipt');
  const seconds = name => Number(textOf(read(receipt, name) ?? NaN));
  const [seen, received] = [seconds('readTimestamp'), seconds('receiptTimestamp')];
  const status = seen > 0 ? 'read' : received > 0 ? 'delivered' : undefined;
  return statusOfKey(read(entry, 'key'), status, {
    at: (seen > 0 ? seen : received) * 1000, recipient: read(receipt, 'userJid'),
  });
}

// ---- The session -------------------------------------------------------------------------------

/**
 * States: idle, connecting, qr (waits to be scanned), open, closed; logged-out and stopped: until a
 * person asks for a connection.
 *
 * A socket tells of its connection in either of two ways: as Baileys does, by `connection.update`
 * ({ connection: 'open' | 'close', qr, lastDisconnect: { error } }) on itself or on its `ev`; or by
 * events `open`, `close` (reason), `error` and `qr`. One without events is open from the beginning.
 * It tells of messages as Baileys does, or by `status` (as in webhooks).
 */
class Session {
  state = 'idle';
  qr = undefined;
  lastError = undefined;
  /** Whether it is to be connected again when it is lost. */
  wanted = false;
  /** How often in a row the connection was lost soon after it was made. */
  losses = 0;
  /** How often in a row WhatsApp has asked to reconnect. */
  restarts = 0;
  #openedAt = 0;
  #owner;
  #socket = undefined;
  #listeners = [];
  // The call of retry() that connects it, for all who wait for it.
  #connecting = undefined;
  // Of the attempt to connect that is under way: { resolve, reject }.
  #waiting = undefined;
  // Whether the next attempt is to begin with a new QR code.
  #fresh = false;
  // Grows when the session is abandoned: attempts of an earlier era no longer matter.
  #era = 0;

  /**
   * The owner has `connect`: the user's; `retry`: options of retry(), for connecting;
   * `guard(session, fn, signal)`: calls fn({ signal }) through the session's breaker;
   * `onUp(session, event)`: 'open' or 'qr'; `onStatus(session, status)`;
   * `onDown(session, { error, wasOpen, isCounted })`: isCounted: whether the breaker knows of the
   * error.
   */
  constructor (id, owner) {
    this.id = id;
    this.#owner = owner;
  }

  get isOpen () { return this.state === 'open'; }

  /** Whether nothing is sent until a person asks for a connection. */
  get isStopped () { return this.state === 'logged-out' || this.state === 'stopped'; }

  /** Lets messages connect it again. */
  allow () { if (this.isStopped) this.state = 'closed'; }

  /** Whether it shows a code, or is about to be open. */
  get isConnecting () { return this.state === 'connecting' || this.state === 'qr'; }

  /** Whether somebody waits for its connection. */
  get isAwaited () { return this.#connecting !== undefined; }

  // ---- Connecting -------------------------------------------------------------------------------

  /** Waits until it is open or shows a QR code; connects it if nobody does yet. */
  async connect (signal) {
    if (this.isOpen || this.state === 'qr') return;
    this.#connecting ??= this.#establish();
    const connecting = this.#connecting;
    signal?.throwIfAborted();
    await withDeadline(signal, Infinity, () => connecting);
  }

  /** Ends the connection, so that the next one begins with a new QR code. */
  restart () {
    this.abandon();
    this.#connecting = undefined;
    this.#fresh = true;
  }

  /** Ends the connection, and rejects all who wait for it. */
  abandon () {
    this.#drop('idle');
    this.#waiting?.reject(givenUp());
    this.#waiting = undefined;
    this.#era += 1;
  }

  #establish () {
    this.wanted = true;
    const era = this.#era;
    const { guard, retry: options } = this.#owner;
    const connecting = retry(async () => {
      if (this.#era !== era) throw givenUp();
      return guard(this, ({ signal }) => this.#open(signal));
    }, {
      ...options,
      shouldRetry: (error, attempt) => this.#era === era &&
        troubleOf(error) !== 'open' && !needsPerson(error) &&
        (options.shouldRetry ? options.shouldRetry(error, attempt) : true),
      onRetry: (error, attempt, delay) => options.onRetry(this.id, error, attempt, delay),
    });
    const done = () => {
      if (this.#connecting === connecting) this.#connecting = undefined;
    };
    connecting.then(done, done);
    return connecting;
  }

  /** One attempt: until the session is open, or shows a QR code. */
  async #open (signal) {
    const fresh = this.#fresh;
    this.#fresh = false;
    this.#drop('connecting');
    let waiting;
    const settled = new Promise((resolve, reject) => { waiting = { resolve, reject }; });
    settled.catch(() => {});
    this.#waiting = waiting;
    const giveUp = () => this.#waiting?.reject(reasonOf(signal));
    signal.addEventListener('abort', giveUp, { once: true });
    let made;
    try {
      made = this.#owner.connect(this.id, { signal, fresh });
      const socket = await Promise.race([made, settled]);
      if (typeof socket?.sendMessage !== 'function') {
        throw new Error('Unable to create session: connect() gave no socket');
      }
      // Another attempt has begun meanwhile.
      if (this.#waiting !== waiting) throw givenUp();
      this.#adopt(socket);
      await settled;
    } catch (error) {
      this.lastError = error;
      // The socket may still come.
      if (this.#socket === undefined) promiseOf(made).then(endSocket, () => {});
      if (this.#waiting === waiting) {
        this.#drop(stateAfter(error));
      }
      throw error;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  }

  // ---- Sending ----------------------------------------------------------------------------------

  /**
   * Sends a message, once the session is open. Answers { value }, or { unsent: error } if the
   * connection turned out to be closed before anything was written.
   */
  async send (chat, content, signal) {
    const socket = await this.#ready(signal);
    let isHanded = false;
    const sendMessage = () => {
      isHanded = true;
      return socket.sendMessage(chat, content);
    };
    try {
      return { value: await this.#owner.guard(this, sendMessage, signal) };
    } catch (error) {
      if (!isHanded || signal?.aborted) throw error;
      if (!isUnsent(error)) {
        if (isCrash(error) && this.#socket === socket) this.#lose(error, true);
        throw new SessionError(this.id, error, !isCallersFault(error));
      }
      if (this.#socket === socket) this.#lose(error, true);
      return { unsent: error };
    }
  }

  async #ready (signal) {
    if (this.isStopped) throw this.lastError;
    if (!this.isOpen) await this.connect(signal);
    if (this.isOpen) return this.#socket;
    throw new SekeringError('ERR_SESSION_QR');
  }

  /** Calls a method of the open socket that only some libraries have. */
  async call (name, args, signal) {
    const socket = await this.#ready(signal);
    if (typeof read(socket, name) !== 'function') {
      throw invalidOption('connect', `a function that returns a socket with ${name}()`, undefined);
    }
    return this.#owner.guard(this, () => socket[name](...args), signal);
  }

  // ---- The socket -------------------------------------------------------------------------------

  #adopt (socket) {
    this.#socket = socket;
    const source = typeof socket.ev?.on === 'function' ? socket.ev : socket;
    if (typeof source.on !== 'function') {
      this.#opened();
      return;
    }
    const leave = source.off ?? source.removeListener;
    const listen = (event, listener) => {
      // Not every socket lets go of its listeners.
      const heed = value => { if (this.#socket === socket) listener(value); };
      source.on(event, heed);
      this.#listeners.push(() => leave?.call(source, event, heed));
    };
    const closed = reason => this.#closed(noteClose(errorOf(reason)));
    const failed = reason => this.#closed(errorOf(reason));
    listen('connection.update', update => this.#update(update));
    listen('messages.update', updates => this.#tell(updates, statusOfUpdate));
    listen('message-receipt.update', receipts => this.#tell(receipts, statusOfReceipt));
    listen('status', status => this.#tell([status], given => given));
    listen('open', () => this.#opened());
    listen('qr', qr => this.#shown(qr));
    listen('close', closed);
    // Without a listener it would end the process.
    listen('error', failed);
    if (socket.isOpen === true || socket.connected === true) this.#opened();
  }

  #update (update) {
    const [connection, qr] = [read(update, 'connection'), read(update, 'qr')];
    if (qr) this.#shown(qr);
    if (connection === 'open') this.#opened();
    if (connection !== 'close') return;
    this.#closed(noteClose(errorOf(read(read(update, 'lastDisconnect'), 'error'))));
  }

  #tell (entries, statusOf) {
    if (this.#socket === undefined || !isList(entries)) return;
    for (const entry of Array.from(entries)) {
      const status = statusOf(entry);
      if (status !== undefined) this.#owner.onStatus(this, status);
    }
  }

  #opened () {
    if (this.#socket === undefined || this.isOpen) return;
    this.state = 'open';
    this.#openedAt = clock.now();
    this.qr = undefined;
    this.#waiting?.resolve();
    this.#owner.onUp(this, 'open');
  }

  #shown (qr) {
    if (this.#socket === undefined || this.isOpen) return;
    this.state = 'qr';
    this.qr = qr;
    this.#waiting?.resolve();
    this.#owner.onUp(this, 'qr');
  }

  #closed (error) {
    if (this.#socket === undefined) return;
    this.lastError = error;
    this.#lose(error, false);
  }

  #lose (error, isCounted) {
    const waiting = this.#waiting;
    const wasOpen = this.isOpen;
    // If nobody scans the code, it is not shown again and again. If it was scanned, we reconnect.
    const isUnscanned = this.state === 'qr' && troubleOf(error) !== 'restart';
    if (isUnscanned || needsPerson(error)) this.wanted = false;
    if (isUnscanned && !needsPerson(error)) closes.set(error, 'unscanned');
    // The call that connects it passes the error through the breaker.
    const isAwaited = this.state === 'connecting' && waiting !== undefined;
    if (wasOpen && clock.now() - this.#openedAt >= STABLE_MS) this.losses = this.restarts = 0;
    this.losses += 1;
    this.restarts = troubleOf(error) === 'restart' ? this.restarts + 1 : 0;
    this.#drop(stateAfter(error));
    this.#owner.onDown(this, { error, wasOpen, isCounted: isCounted || isAwaited });
    waiting?.reject(error);
  }

  /** Lets go of the socket and ends it. */
  #drop (state) {
    const socket = this.#socket;
    for (const leave of this.#listeners.splice(0)) quietly(leave);
    this.#socket = undefined;
    this.qr = undefined;
    this.state = state;
    if (socket !== undefined) endSocket(socket);
  }
}

/** Calls a function of the user's, and ignores what goes wrong. */
function quietly (fn) {
  try {
    fn()?.catch?.(() => {});
  } catch {
    // The socket was to be given up anyway.
  }
}

/** Ends a socket, and ignores its last errors. */
function endSocket (socket) {
  quietly(() => { socket?.on?.('error', () => {}); });
  quietly(() => (socket?.end ?? socket?.close)?.call(socket));
}

/** The state of a session that an error has ended. */
function stateAfter (error) {
  if (troubleOf(error) === 'logged-out') return 'logged-out';
  return needsPerson(error) ? 'stopped' : 'closed';
}

const givenUp = () => new SekeringError('ESHUTDOWN', 'The connection was given up');

function errorOf (reason) {
  if (isA(reason, Error)) return reason;
  const error = new Error(
    typeof reason === 'string' && reason !== '' ? reason : 'Connection closed');
  try {
    return Object.assign(error, typeof reason === 'object' && reason !== null && reason);
  } catch {
    return error;
  }
}

module.exports = {
  Session, SessionError, isCallersFault, isUnsent, needsPerson, operatorMessage, statusOf,
  troubleOf,
};
