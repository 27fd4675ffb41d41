'use strict';

// HTTP to one upstream, over undici's pooled connections. A request ends with one answer or one
// error, has one time limit for all of it, and tells the caller whether anything was sent.

const { brotliDecompressSync, unzipSync } = require('node:zlib');

const { Deadlines } = require('../base/deadline');
const { SekeringError, invalidOption, timedOut } = require('../base/errors');
const { isA, read, reasonOf } = require('../base/foreign');
const { is } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { ticks } = require('../base/recorder');

const BODY_BYTES_MAX = 1 << 20;
const CONNECTIONS_MAX = 10_000;
const ENCODINGS_MAX = 2;

const GZIP = [0x1f, 0x8b];
const DECODERS = new Map([
  ...['gzip', 'x-gzip', 'deflate'].map(name => [name, unzipSync]), ['br', brotliDecompressSync],
]);

/**
 * The bytes of a body without its encodings. We ask for none, but some proxies compress anyway, and
 * some of them do not say so: no text that we expect begins like gzip. Throws ERR_BODY_ENCODING.
 */
function decode (bytes, header) {
  if (bytes.length === 0) return bytes;
  const names = String(header ?? '').toLowerCase().split(',').map(name => name.trim())
    .filter(name => name !== '' && name !== 'identity');
  if (names.length === 0 && GZIP.every((byte, i) => bytes[i] === byte)) names.push('gzip');
  if (names.length > ENCODINGS_MAX) throw new SekeringError('ERR_BODY_ENCODING');
  try {
    return names.reduceRight((rest, name) =>
      DECODERS.get(name)(rest, { maxOutputLength: BODY_BYTES_MAX }), bytes);
  } catch (cause) {
    if (read(cause, 'code') === 'ERR_BUFFER_TOO_LARGE') throw tooLarge();
    throw new SekeringError('ERR_BODY_ENCODING', undefined, { cause });
  }
}

const tooLarge = () =>
  new SekeringError('ERR_BODY_TOO_LARGE', `Over ${BODY_BYTES_MAX} bytes`);

/** One request in flight: the handler that undici calls. */
class Exchange {
  settled = false;
  status = 0;
  headers = undefined;
  /** Called once when it needs no connection any more. */
  onDone = undefined;
  // Its place in the list of requests with the same time limit.
  started = 0;
  previous = null;
  next = null;
  #deadlines = null;
  #controller;
  #chunks = [];
  #bytes = 0;

  constructor ({ timeoutMs, signal, onSent }, resolve, reject) {
    this.resolve = resolve;
    this.reject = reject;
    this.signal = signal;
    this.onSent = onSent;
    signal?.addEventListener('abort', this);
    if (timeoutMs === Infinity) return;
    this.started = ticks();
    this.#deadlines = Deadlines.of(timeoutMs);
    this.#deadlines.add(this);
  }

  // As an event listener of the caller's signal; an object needs no closure.
  handleEvent () {
    this.giveUp(reasonOf(this.signal));
  }

  /** The deadline has passed. The list of deadlines has removed the request. */
  timeOut () {
    const { ms } = this.#deadlines;
    this.#deadlines = null;
    this.giveUp(timedOut(ms));
  }

  /** There is no deadline any more. */
  loseDeadline () {
    this.#deadlines = null;
  }

  giveUp (reason) {
    this.fail(reason);
    this.#controller?.abort(reason);
  }

  fail (error) {
    if (this.settled) return;
    this.release();
    this.reject(error);
  }

  release () {
    this.settled = true;
    this.#deadlines?.remove(this);
    this.signal?.removeEventListener('abort', this);
  }

  // A connection is there, and the request is about to be written.
  onRequestStart (controller) {
    if (this.settled) {
      controller.abort(new SekeringError('ETIMEDOUT', 'Timed out before the request was sent'));
      return;
    }
    this.#controller = controller;
    this.onSent?.();
  }

  onResponseStart (controller, status, headers) {
    this.status = status;
    this.headers = headers;
  }

  onResponseData (controller, chunk) {
    this.#bytes += chunk.length;
    if (this.#bytes > BODY_BYTES_MAX) {
      this.giveUp(tooLarge());
    } else {
      this.#chunks.push(chunk);
    }
  }

  onResponseEnd () {
    this.onDone?.();
    if (this.settled) return;
    this.release();
    const chunks = this.#chunks;
    const bytes = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    try {
      const text = decode(bytes, this.headers?.['content-encoding']).toString('utf8');
      this.resolve({ status: this.status, headers: this.headers, text });
    } catch (error) {
      this.reject(error);
    }
  }

  onResponseError (controller, error) {
    forgetData(error);
    this.onDone?.();
    this.fail(error);
  }
}

/** Removes an answer that could not be parsed: it may repeat the request's credentials. */
function forgetData (error) {
  try {
    if (isA(error, Error) && read(error, 'data') !== undefined) error.data = undefined;
  } catch {
    // An error of another dispatcher may be frozen.
  }
}

/**
 * The connections to one origin, and the queue for them. undici has a queue of its own, but there a
 * request that was given up would cost a connection when its turn came.
 */
class Lane {
  #pool;
  #left;
  #line = [];

  constructor (pool, connections) {
    this.#pool = pool;
    this.#left = connections;
  }

  dispatch (request, exchange) {
    if (this.#left > 0) this.#begin(request, exchange);
    else this.#line.push({ request, exchange });
  }

  #begin (request, exchange) {
    this.#left -= 1;
    exchange.onDone = () => {
      exchange.onDone = undefined;
      this.#left += 1;
      // Later, as requests in the queue may be given up at this moment, too.
      if (this.#line.length > 0) queueMicrotask(() => this.#next());
    };
    try {
      this.#pool.dispatch(request, exchange);
    } catch (error) {
      exchange.onResponseError(undefined, error);
    }
  }

  #next () {
    while (this.#left > 0 && this.#line.length > 0) {
      const { request, exchange } = this.#line.shift();
      if (!exchange.settled) this.#begin(request, exchange);
    }
  }

  close () {
    for (const { exchange } of this.#line.splice(0)) exchange.fail(closed());
    return this.#pool.close();
  }
}

const closed = () => new SekeringError('ESHUTDOWN', 'The client is closed');

// ---- Options -----------------------------------------------------------------------------------

const ADDRESS = 'an http or https address without a user, a query or a fragment';

function readBaseUrl (option, value) {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const fits = url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' &&
    url.password === '' && url.search === '' && url.hash === '';
  if (!fits) {
    // The address may hold a password, so it is not shown.
    throw invalidOption(option, ADDRESS,
      typeof value === 'string' ? new URL('http://hidden') : value);
  }
  return { origin: url.origin, prefix: url.pathname.replace(/(?<!\/)\/+$/, '') };
}

/** An option that is the address of an API; its value is { origin, prefix }. */
const baseUrl = (doc, address) => ({
  doc,
  expected: ADDRESS,
  default: address && readBaseUrl('default', address),
  check: readBaseUrl,
});

/** The options of a client that go to its HttpClient. */
const httpOptions = connections => ({
  connections: is.integer('connections to each address at once', {
    min: 1, max: CONNECTIONS_MAX, default: connections,
  }),
  dispatcher: is.having("undici's, for all requests (say, a ProxyAgent); it stays its owner's",
    ['dispatch'], { expected: 'a dispatcher of undici' }),
});

/** The value of a JSON text; undefined if it is none. */
function parseJson (text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

// ---- The client --------------------------------------------------------------------------------

class HttpClient {
  #dispatcher;
  #lanes = new Map();
  #undici;
  #connections;
  #closing;

  /** `feature`: what it is for, for the error when undici is missing. */
  constructor (feature, { connections, dispatcher }) {
    this.#connections = connections;
    this.#dispatcher = dispatcher;
    if (dispatcher === undefined) this.#undici = requirePeer('undici', feature);
  }

  #dispatcherOf (origin) {
    if (this.#dispatcher !== undefined) return this.#dispatcher;
    let lane = this.#lanes.get(origin);
    if (lane === undefined) {
      // One request at a time on a connection, and the time limits are ours.
      const connections = this.#connections;
      lane = new Lane(new this.#undici.Pool(origin, {
        connections, pipelining: 1, headersTimeout: 0, bodyTimeout: 0,
      }), connections);
      this.#lanes.set(origin, lane);
    }
    return lane;
  }

  /**
   * Sends { origin, method, path, headers, body }. `timeoutMs` limits all of it, the wait for a
   * connection included; `onSent` is called just before the first byte is written. Answers
   * { status, headers, text }, or rejects with ETIMEDOUT, ESHUTDOWN after close(), the signal's
   * reason, or undici's error.
   */
  request (request, options) {
    return new Promise((resolve, reject) => {
      options.signal?.throwIfAborted();
      if (this.closed) throw closed();
      const exchange = new Exchange(options, resolve, reject);
      try {
        this.#dispatcherOf(request.origin).dispatch(request, exchange);
      } catch (error) {
        exchange.fail(error);
      }
    });
  }

  get closed () { return this.#closing !== undefined; }

  /** Closes the connections, once the requests on them are done. No others are begun. */
  async close () {
    this.#closing ??= Promise.all([...this.#lanes.values()].map(lane => lane.close()));
    await this.#closing;
  }
}

module.exports = { HttpClient, baseUrl, httpOptions, parseJson };
