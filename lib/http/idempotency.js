'use strict';

// Express middleware for the header Idempotency-Key, after the draft of the HTTP working group: a
// request that is sent again gets the answer of the first one.

const { createHash } = require('node:crypto');

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { IDEMPOTENCY_OPTIONS } = require('../store/idempotency');
const { problem, problemOf } = require('./problem');

const METHODS = ['POST', 'PATCH'];
const RESPONSE_BYTES = 1 << 20;
// In base64 it has to fit into what the store keeps of one result.
const RESPONSE_BYTES_MAX = 2 << 20;
const RETRY_AFTER_S = 1;

/** An option that is the store's own if it is not set here. */
const ofStore = name => ({ ...IDEMPOTENCY_OPTIONS.entries[name], default: undefined });

const OPTIONS = optionsOf({
  idempotency: is.having('store.idempotency', ['run', 'keyOf'], { required: true }),
  methods: is.where('of requests that may have a key', 'an array of methods such as POST',
    value => Array.isArray(value) && value.every(name => /^[A-Z]+$/.test(name)),
    { default: METHODS }),
  required: is.boolean('whether a request without a key is answered 400', { default: false }),
  scope: is.func('whose key it is', { default: callerOf }),
  storeServerErrors: is.boolean('whether answers of 500 and above are stored', { default: false }),
  maxResponse: is.integer('of an answer that is held and stored',
    { min: 0, max: RESPONSE_BYTES_MAX, default: RESPONSE_BYTES, unit: 'bytes' }),
  ttl: ofStore('ttl'),
  lockTimeout: ofStore('lockTimeout'),
  wait: ofStore('wait'),
});

// The same credentials can be written in several ways.
const AUTHORIZATION = /^(\S+) +(\S.*)$/;

// A string of RFC 8941, and parameters, none of which is defined yet.
const STRING = '"((?:[ !#-\\[\\]-~]|\\\\["\\\\])*)"';
const PARAMETER = `;[ ]*[a-z*][a-z0-9_.*-]*(?:=(?:${STRING.replace('(', '(?:')}|[^ ;,"]+))?`;
const KEY = new RegExp(`^[ ]*${STRING}(?:${PARAMETER})*[ ]*$`);
const KEY_CHARACTERS_MAX = 255;

const CODE = {
  missing: 'ERR_IDEMPOTENCY_KEY_MISSING',
  malformed: 'ERR_IDEMPOTENCY_KEY_MALFORMED',
  body: 'ERR_IDEMPOTENCY_BODY',
  notKept: 'ERR_IDEMPOTENCY_NOT_KEPT',
};

/** Ends a run whose answer is not stored. */
class NotStored extends SekeringError {}

/** Who sent a request, by its credentials: `bearer X` and `Bearer  X` are the same caller. */
function callerOf ({ headers: { authorization } }) {
  const [, scheme, credentials] = AUTHORIZATION.exec(authorization ?? '') ?? [];
  if (scheme === undefined) return authorization;
  return `${scheme[0].toUpperCase()}${scheme.slice(1).toLowerCase()} ${credentials}`;
}

/** The key in a header; undefined if it is malformed. */
function keyOf (header) {
  const text = KEY.exec(header)?.[1]?.replace(/\\(.)/g, '$1');
  return text?.length >= 1 && text.length <= KEY_CHARACTERS_MAX ? text : undefined;
}

const isBodyUnread = ({ body, rawBody, headers }) =>
  body === undefined && rawBody === undefined &&
  (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0);

/** A request as the store compares it. */
function payloadOf ({ method, originalUrl, url, body, rawBody }) {
  const said = rawBody ?? body;
  const bytes = said instanceof Uint8Array;
  return {
    method, url: originalUrl ?? url,
    [bytes ? 'sha256' : 'body']: bytes ? createHash('sha256').update(said).digest('hex') : said,
  };
}

/**
 * Resolves with the handler's answer. Rejects if there is none `patience` ms after the client has
 * gone: the handler may have noticed that, and have stopped.
 */
function untilEnded (res, held, patience) {
  return new Promise((resolve, reject) => {
    let timer;
    const onClose = () => {
      timer = clock.setTimer(() => reject(new NotStored('ERR_IDEMPOTENCY_ABANDONED')), patience,
        false);
    };
    if (res.destroyed) onClose();
    else res.once('close', onClose);
    held.ended.then(answer => {
      res.off('close', onClose);
      clock.clearTimer(timer);
      resolve(answer);
    });
  });
}

/** What is stored of an answer; undefined if it is not stored. */
function keptOf (answer, { storeServerErrors }) {
  const { status, headers, body } = answer;
  if (status >= 500 && !storeServerErrors) return undefined;
  return (answer.kept ??= { status, headers, body: body?.toString('base64') });
}

function replay (res, { status, headers, body }) {
  if (body === undefined) {
    problem(res, 409, {
      code: CODE.notKept, title: 'The answer to this Idempotency-Key was not kept',
      detail: `The request was carried out and answered with ${status}; ` +
        'the answer was too large to be kept.',
    });
    return;
  }
  res.statusCode = status;
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  res.setHeader('Idempotency-Replayed', 'true');
  res.end(Buffer.from(body, 'base64'));
}

/** Of a key that this request cannot have. */
const REFUSALS = new Set(['ERR_IDEMPOTENCY_IN_PROGRESS', 'ERR_IDEMPOTENCY_MISMATCH']);

/** Tells a client that its request was not carried out. */
function refuse (res, error, next) {
  const code = read(error, 'code');
  if (code === 'ERR_IDEMPOTENCY_IN_PROGRESS') {
    problem(res, 409, {
      code, title: 'A request is outstanding for this Idempotency-Key',
      detail: 'Send it again when the first one has been answered.', retryAfter: RETRY_AFTER_S,
    });
  } else if (code === 'ERR_IDEMPOTENCY_MISMATCH') {
    problem(res, 422, {
      code, title: 'Idempotency-Key is already used',
      detail: 'This key belongs to another request.',
    });
  } else if (problemOf(error).status === 503) {
    const { members } = problemOf(error);
    problem(res, 503, { retryAfter: RETRY_AFTER_S, ...members });
  } else {
    next(error);
  }
}

function refuseKey (res, header) {
  if (header === undefined) {
    return problem(res, 400, {
      code: CODE.missing, title: 'Idempotency-Key is missing',
      detail: 'This request needs the header Idempotency-Key.',
    });
  }
  return problem(res, 400, {
    code: CODE.malformed, title: 'Idempotency-Key is malformed',
    detail: `Idempotency-Key has to be a string of 1 to ${KEY_CHARACTERS_MAX} characters in ` +
      'quotation marks, as in "8e03978e-40d5-43dd-bc93-6894a57f9324".',
  });
}

/** Makes the middleware, which has to come after the parser of bodies. */
const idempotent = options => make(options, false);

/**
 * As `idempotent`, for a handler whose statements claim the key and store the answer along with
 * what else they write. The handler is called before the key is claimed, and must do nothing until
 * it has it. See `jointly`.
 */
const idempotentJointly = options => make(options, true);

/**
 * What a handler behind `idempotentJointly` needs.
 * @param {object} req
 * @param {(outcome: object) => void} write answers at once
 * @returns {{ joint?: object, answer: (outcome: object) => void }} joint: of Idempotency, if the
 *   request has a key
 */
const jointly = (req, write) => req.idempotency?.jointly(write) ?? { answer: write };

/** As `jointly`, for a request with a key. */
function answerJointly (joint, held, write, options) {
  let shown;
  const resultOf = outcome => {
    shown = held.preview(() => write(outcome));
    return shown && keptOf(shown, options);
  };
  const answer = outcome => (joint.isSettled ? held.end(shown) : write(outcome));
  return { joint: joint.after(resultOf), answer };
}

function make (options, isJoint) {
  const { ttl, lockTimeout, wait, ...own } = OPTIONS.read(options);
  const { idempotency, methods, required, scope, maxResponse } = own;
  const patience = lockTimeout ?? IDEMPOTENCY_OPTIONS.entries.lockTimeout.default;

  /** Has the request answered. @returns {Promise<object>} what is stored */
  async function answer ({ signal, token, confirm, joint }, held, req, res, next) {
    let isLost = false;
    req.idempotency = isJoint ? { jointly: write => answerJointly(joint, held, write, own) } : {
      signal, token,
      confirm: () => confirm().catch(error => {
        isLost = true;
        throw error;
      }),
    };
    next();
    const ended = await untilEnded(res, held, patience);
    // The handler has not done its work, and says so.
    if (isLost) throw new NotStored('ERR_IDEMPOTENCY_LOST');
    const value = keptOf(ended, own);
    if (value === undefined) throw new NotStored('ERR_IDEMPOTENCY_SERVER_ERROR');
    return value;
  }

  async function run (key, req, res, next) {
    let payload;
    try {
      payload = idempotency.keyOf(payloadOf(req));
    } catch {
      return problem(res, 400, { code: CODE.body, detail: 'The body is nested too deeply.' });
    }
    let held;
    try {
      const whose = String(await scope(req) ?? '');
      const start = isJoint ? 'runJointly' : 'run';
      const { value, replayed } = await idempotency[start](
        `http:${idempotency.keyOf([whose, key])}`, context => {
          held = new HeldResponse(res, maxResponse);
          return answer(context, held, req, res, next);
        }, { ttl, lockTimeout, wait, storeFailures: false, payload });
      if (!replayed || held?.isPassing) return held.send();
      held?.discard();
      return replay(res, value);
    } catch (error) {
      if (REFUSALS.has(read(error, 'code'))) {
        held?.discard();
        return refuse(res, error, next);
      }
      // Whatever has become of the key, the handler's answer is true.
      if (held?.isEnded) return held.send();
      return held === undefined ? refuse(res, error, next) : held.discard();
    }
  }

  return async function handleKey (req, res, next) {
    const header = req.headers['idempotency-key'];
    if (!methods.includes(req.method) || (header === undefined && !required)) return next();
    const key = header === undefined ? undefined : keyOf(header);
    if (key === undefined) return refuseKey(res, header);
    if (isBodyUnread(req)) {
      return problem(res, 415, { code: CODE.body, detail: 'No parser has read this body.' });
    }
    return run(key, req, res, next);
  };
}

// ---- Responses that wait -----------------------------------------------------------------------

// Headers of one connection or one client; the others belong to the answer.
const NOT_KEPT = new Set(['connection', 'content-length', 'date', 'keep-alive', 'set-cookie',
  'trailer', 'transfer-encoding', 'upgrade']);

const HELD_METHODS = ['write', 'end', 'writeHead', 'flushHeaders'];

const toBuffer = (chunk, encoding) => (typeof chunk === 'string'
  ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8')
  : Buffer.from(chunk));

const callbackOf = args => args.find(arg => typeof arg === 'function');

/**
 * A response that is held back until it has been stored. Nothing goes out before `send`, whatever
 * the handler does. If the response grows too large to be held, all but its last piece goes out.
 */
class HeldResponse {
  #res;
  #max;
  #original = {};
  #before;
  #status;
  #chunks = [];
  #bytes = 0;
  #resolve;
  #callback;
  #ended = false;
  #passing = false;
  #isPreview = false;
  #sent = false;

  constructor (res, max) {
    this.#res = res;
    this.#max = max;
    this.#before = res.getHeaders();
    this.#status = res.statusCode;
    /** Resolves with the answer when the handler has ended it. */
    this.ended = new Promise(resolve => { this.#resolve = resolve; });
    for (const name of HELD_METHODS) this.#original[name] = res[name];
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
    this.#release();
    const { status, all } = this.answer;
    if (!this.#passing) {
      this.#setHeaders(all);
      this.#res.statusCode = status;
    }
    this.#res.end(Buffer.concat(this.#chunks), this.#callback);
  }

  /** Drops the answer, so that the response can be used for another one. */
  discard () {
    this.#release();
    if (!this.#res.headersSent) this.#restore();
  }

  #restore () {
    this.#setHeaders(this.#before);
    this.#res.statusCode = this.#status;
    this.#res.statusMessage = undefined;
  }

  /**
   * What `write` answers, which it does at once. That counts only if `end` is called with it.
   * @returns {object | undefined} undefined if it is too large to be held
   */
  preview (write) {
    this.#isPreview = true;
    write();
    this.#isPreview = false;
    const isHeld = this.#bytes <= this.#max;
    const { answer } = this;
    this.answer = this.#callback = undefined;
    this.#ended = false;
    this.#chunks = [];
    this.#bytes = 0;
    this.#restore();
    return isHeld ? answer : undefined;
  }

  /** Answers as `preview` has shown. */
  end (answer) {
    this.#ended = true;
    this.#chunks = [answer.body];
    this.answer = answer;
    this.#resolve(answer);
  }

  #release () {
    this.#sent = true;
    Object.assign(this.#res, this.#original);
  }

  #setHeaders (headers) {
    const present = this.#res.getHeaders();
    for (const name of Object.keys(present)) {
      if (headers[name] === undefined) this.#res.removeHeader(name);
    }
    for (const [name, value] of Object.entries(headers)) {
      if (present[name] !== value) this.#res.setHeader(name, value);
    }
  }

  #write (chunk, args) {
    if (this.#sent || this.#ended) return this.#original.write.call(this.#res, chunk, ...args);
    const [encoding] = args;
    const bytes = toBuffer(chunk, encoding);
    if (bytes.length > 0) this.#chunks.push(bytes);
    this.#bytes += bytes.length;
    const callback = callbackOf(args);
    if (callback !== undefined) process.nextTick(callback);
    return this.#isPreview || this.#bytes <= this.#max || this.#pass();
  }

  /**
   * The response is too large to be held: from now on it passes through, except for the last piece,
   * which waits until the store knows of it. So a client that has it all finds the request done.
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
    if (!this.#isPreview) this.#resolve(this.answer);
    return this.#res;
  }

  #note () {
    const all = this.#res.getHeaders();
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

module.exports = { callerOf, idempotent, idempotentJointly, jointly, keyOf };
