'use strict';

// A response that is held back until it has been stored. Nothing goes out before `send`, whatever
// the handler does. If the response grows too large to be held, all but its last piece goes out.

// Headers of one connection or one client; the others belong to the answer.
const NOT_KEPT = new Set(['connection', 'content-length', 'date', 'keep-alive', 'set-cookie',
  'trailer', 'transfer-encoding', 'upgrade']);

const METHODS = ['write', 'end', 'writeHead', 'flushHeaders'];

const toBuffer = (chunk, encoding) => (typeof chunk === 'string'
  ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8')
  : Buffer.from(chunk));

const callbackOf = args => args.find(arg => typeof arg === 'function');

class HeldResponse {
  #res;
  #max;
  #original = {};
  #before;
  #chunks = [];
  #bytes = 0;
  #resolve;
  #callback;
  #ended = false;
  #passing = false;
  #sent = false;

  /** @param {object} res @param {number} max bytes that are held */
  constructor (res, max) {
    this.#res = res;
    this.#max = max;
    this.#before = { ...res.getHeaders() };
    /** Resolves with the answer when the handler has ended it. */
    this.ended = new Promise(resolve => { this.#resolve = resolve; });
    for (const name of METHODS) this.#original[name] = res[name];
    res.write = (chunk, ...args) => this.#write(chunk, args);
    res.end = (...args) => this.#end(args);
    res.writeHead = (status, ...args) => this.#writeHead(status, args);
    res.flushHeaders = () => {};
  }

  get isEnded () { return this.#ended; }

  /** Whether it grew too large, so that all but its last piece has gone out. */
  get isPassing () { return this.#passing; }

  /** Sends the answer as it was when the handler ended it. */
  send () {
    if (this.#sent) return;
    this.discard();
    const { status, all } = this.answer;
    const res = this.#res;
    if (!this.#passing) {
      for (const name of res.getHeaderNames()) res.removeHeader(name);
      for (const [name, value] of Object.entries(all)) res.setHeader(name, value);
      res.statusCode = status;
    }
    res.end(Buffer.concat(this.#chunks), this.#callback);
  }

  /** Drops the answer, so that the response can be used for another one. */
  discard () {
    this.#sent = true;
    Object.assign(this.#res, this.#original);
  }

  #write (chunk, args) {
    if (this.#sent || this.#ended) return this.#original.write.call(this.#res, chunk, ...args);
    const [encoding] = args;
    const bytes = toBuffer(chunk, encoding);
    if (bytes.length > 0) this.#chunks.push(bytes);
    this.#bytes += bytes.length;
    const callback = callbackOf(args);
    if (callback !== undefined) process.nextTick(callback);
    return this.#bytes <= this.#max || this.#pass();
  }

  /**
   * The response is too large to be held: from now on it passes through, except for the last piece,
   * which waits until the store knows of it. So a client that has it all finds the request done.
   * @returns {boolean} whether the handler may go on writing
   */
  #pass () {
    this.#passing = true;
    const { write, writeHead, flushHeaders } = this.#original;
    Object.assign(this.#res, { writeHead, flushHeaders });
    let mayGoOn = true;
    for (const chunk of this.#chunks.splice(0, this.#chunks.length - 1)) {
      mayGoOn = write.call(this.#res, chunk);
    }
    return mayGoOn;
  }

  #end (args) {
    if (this.#ended) return this.#res;
    const [chunk, encoding] = args;
    if (chunk !== undefined && chunk !== null && typeof chunk !== 'function') {
      this.#write(chunk, typeof encoding === 'string' ? [encoding] : []);
    }
    this.#ended = true;
    this.#callback = callbackOf(args);
    this.#note();
    this.#resolve(this.answer);
    return this.#res;
  }

  #note () {
    const all = { ...this.#res.getHeaders() };
    const headers = Object.fromEntries(Object.entries(all).filter(([name, value]) =>
      !NOT_KEPT.has(name) && value !== this.#before[name]));
    this.answer = {
      status: this.#res.statusCode, headers, all,
      body: this.#passing ? undefined : Buffer.concat(this.#chunks),
    };
  }

  #writeHead (status, args) {
    this.#res.statusCode = status;
    if (typeof args[0] === 'string') this.#res.statusMessage = args.shift();
    const [headers = {}] = args;
    if (Array.isArray(headers)) {
      for (let i = 0; i + 1 < headers.length; i += 2) {
        this.#res.setHeader(headers[i], headers[i + 1]);
      }
    } else {
      for (const [name, value] of Object.entries(headers)) this.#res.setHeader(name, value);
    }
    return this.#res;
  }
}

module.exports = { HeldResponse };
