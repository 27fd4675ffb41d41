'use strict';

// How requests reach Midtrans: addresses, keys, headers, time limits, breaker, retries. It knows
// nothing about the meaning of a request; each request says itself whether it may be sent again:
//
//   transport.call(request, { signal, resume, timeout, headers, once })
//
//   request = {
//     operation,       the name of the call, for errors and events
//     api,             'snap', 'core' or 'iris': which host
//     method, path,    the path is encoded, with its query
//     json,            the body as text, or undefined
//     again,           what to do if it is unknown whether an attempt was carried out:
//                        'read'        it changes nothing: send it again
//                        'idempotent'  repeating does no harm: send it again
//                        'lookUp'      find out first (look, or orderId with judge)
//                        'never'       ERR_MIDTRANS_UNKNOWN_OUTCOME
//                      A request that certainly was not sent, or that was rejected for now (429),
//                      is sent again in any case.
//     orderId,         of a transaction, where there is one
//     judge(body),     of a status body: 'done', 'again', 'conflict' (another transaction has the
//                      order_id) or 'unclear' (cannot tell; sending it again does no harm)
//     look(ask),       in place of GET status: uses ask(request), and resolves { verdict, answer },
//                      with a verdict of judge or 'unknown'
//     isAnswer(body),  whether a body is what Midtrans sends when all is well; default: any JSON
//     raw,             true: resolves { httpStatus, headers, body, text } for every final answer,
//                      even an error. body is undefined if the text is not JSON. The call rejects
//                      only without an answer, or if the outcome is unknown (answerOf(error) is the
//                      answer, if there was one)
//     key,             an API key in place of the client's
//     approver,        true: with the approver's key
//     url,             { origin, path } in place of api and path
//   }
//
// `headers` are as readHeaders makes them. Otherwise a call resolves with the body of the answer.

const crypto = require('node:crypto');

const clock = require('../base/clock');
const { hadItsTime, isDeadline } = require('../base/deadline');
const { SekeringError, invalidOption } = require('../base/errors');
const { isA, isList, read, reasonOf } = require('../base/foreign');
const { bag, is, optionsOf, readable } = require('../base/options');
const { presets, retryPresets } = require('../primitives/presets');
const { Timeout } = require('../primitives/limits');
const { RetryPlan } = require('../primitives/retry-run');
const { redactor } = require('./client-error');
const { HttpClient, baseUrl, httpOptions, parseJson } = require('./http');
const { MidtransCall, hasEnded } = require('./midtrans-call');
const {
  MidtransError, blamesUpstream, errorOfAnswer, errorOfTransport
} = require('./midtrans-errors');
const { callThrough, isBreaker, readBreaker, readRetry } = require('./protection');

const CONNECTIONS = 64;

// ---- Headers -----------------------------------------------------------------------------------

const KEY_HEADERS = { snap: 'idempotency-key', core: 'idempotency-key', iris: 'x-idempotency-key' };
// Midtrans silently ignores longer keys.
const KEY_CHARACTERS_MAX = { 'idempotency-key': 46, 'x-idempotency-key': 100 };
const NOTIFICATION_HEADERS = ['x-override-notification', 'x-append-notification'];
const NOTIFICATION_URLS_MAX = 3;
const HEADER_CHARACTERS_MAX = 2048;
const HEADERS_TEXT = 'headers of Midtrans (X-Override-Notification, X-Append-Notification, ' +
  'Idempotency-Key, or others that begin with X-)';

/** Headers as an object of lower-case names; undefined if there are none. */
function readHeaders (option, value, allowsKeys) {
  if (isList(value)) throw invalidOption(option, 'an object', value);
  const entries = readable(option, 'an object of headers', value,
    () => Object.entries(bag(option, value)).filter(([, text]) => text !== undefined));
  if (entries.length === 0) return undefined;
  const headers = {};
  for (const [name, given] of entries) {
    const path = `${option}.${name}`;
    const lower = name.toLowerCase();
    const isKey = Object.hasOwn(KEY_CHARACTERS_MAX, lower);
    if (!isKey && !/^x-[a-z0-9-]{1,100}$/.test(lower)) {
      throw invalidOption(option, HEADERS_TEXT, name);
    }
    if (isKey && !allowsKeys) {
      throw invalidOption(path, 'no value (pass one to each call: keys cannot be shared)', given);
    }
    if (Object.hasOwn(headers, lower)) throw invalidOption(option, `only one ${name}`, given);
    headers[lower] = readHeader(path, lower, given);
  }
  return headers;
}

function readHeader (path, name, given) {
  if (NOTIFICATION_HEADERS.includes(name)) return readUrls(path, given);
  const max = KEY_CHARACTERS_MAX[name] ?? HEADER_CHARACTERS_MAX;
  const fits = typeof given === 'string' && given.length <= max && given === given.trim() &&
    /^[ -~]+$/.test(given);
  if (!fits) throw invalidOption(path, `1 to ${max} printable ASCII characters`, given);
  return given;
}

function readUrls (path, given) {
  const list = typeof given === 'string' ? given.split(',').map(url => url.trim()) : given;
  const fits = Array.isArray(list) && list.length >= 1 && list.length <= NOTIFICATION_URLS_MAX &&
    list.every(url => typeof url === 'string' && /^https?:\/\/[!-~]+$/.test(url) &&
      !url.includes(',') && URL.canParse(url)) && list.join().length <= HEADER_CHARACTERS_MAX;
  if (!fits) {
    throw invalidOption(path, `1 to ${NOTIFICATION_URLS_MAX} http or https addresses`, given);
  }
  return list.join();
}

/** An option `headers`. */
const headersOption = (doc, allowsKeys) => ({
  doc, expected: HEADERS_TEXT, check: (option, value) => readHeaders(option, value, allowsKeys),
});

// ---- Options -----------------------------------------------------------------------------------

/** An option that is an API key. */
const keyOption = (doc, spec) =>
  is.text(doc, { pattern: /./s, expected: 'a text that is not empty', ...spec });

const TRANSPORT = {
  production: is.boolean("whether to use Midtrans's production, not its sandbox"),
  isProduction: is.boolean('the same, as midtrans-client calls it'),
  timeout: is.any('ms for one request, a growing timeout, or false for no limit', {
    default: presets.midtrans.timeout,
  }),
  retry: is.any('options of retry(), laid over retryPresets.payment; false for one attempt'),
  breaker: is.any('a breaker, or its options, laid over presets.midtrans; false for none'),
  headers: headersOption('sent with each call', false),
  ...httpOptions(CONNECTIONS),
};

/** An option with other addresses of these APIs, for tests and proxies. */
const baseUrlsOption = (...apis) => is.table('other addresses, for tests and proxies',
  optionsOf(Object.fromEntries(apis.map(api => [api, baseUrl(`of ${api}`)]))));

const CALL = optionsOf({
  signal: is.signal('ends the call'),
  resume: is.boolean('whether an earlier call with the same input may have got through', {
    default: false,
  }),
  timeout: is.ms("for each request, where that is less than the client's", { min: 1 }),
  headers: headersOption('sent with this call, laid over those of the client', true),
  once: is.boolean('whether a call that only reads is made once, past the breaker', {
    default: false,
  }),
});

const HOSTS = {
  production: { app: 'https://app.midtrans.com', api: 'https://api.midtrans.com' },
  sandbox: { app: 'https://app.sandbox.midtrans.com', api: 'https://api.sandbox.midtrans.com' },
};

function isProductionOf ({ production, isProduction }) {
  if (production !== undefined && isProduction !== undefined && production !== isProduction) {
    throw invalidOption('isProduction', `the same as production (${production})`, isProduction);
  }
  return production ?? isProduction ?? false;
}

/** The addresses of the APIs. Those of the official client have paths in them. */
function hostsOf (settings) {
  const { app, api } = HOSTS[isProductionOf(settings) ? 'production' : 'sandbox'];
  const { snap, core, iris } = settings.baseUrls ?? {};
  const at = ({ origin, prefix }, path) => ({ origin, prefix: prefix.replace(path, '') });
  return {
    snap: at(snap ?? { origin: app, prefix: '' }, /\/snap\/v1$/),
    core: at(core ?? { origin: api, prefix: '' }, /\/v2$/),
    iris: at(iris ?? { origin: app, prefix: '' }, /\/iris\/api\/v1$/),
  };
}

/** A plan of retries. Whatever the options say, only what may be sent again is sent again. */
function planOf (value, preset = retryPresets.payment) {
  const options = readRetry(value, preset);
  const { attemptTimeout, shouldRetry } = options;
  if (attemptTimeout !== undefined) {
    throw invalidOption('retry.attemptTimeout', 'none (the client has a timeout)', attemptTimeout);
  }
  return new RetryPlan({
    ...options,
    shouldRetry: (error, attempt) => isA(error, MidtransError) && read(error, 'retryable') &&
      (shouldRetry ? shouldRetry(error, attempt) : true),
  });
}

function breakerOf (value, name) {
  if (value === false || value === null) return undefined;
  // The request itself has the time limit, because it knows whether anything was sent.
  return readBreaker(value, { ...presets.midtrans, timeout: false, name });
}

const ELABORATE = ['timeout', 'cache', 'coalesce', 'fallback', 'abortController',
  'autoRenewAbortController'];

/**
 * Whether the breaker was made here and has no extra features: then a call without a signal takes
 * the fast path through it.
 */
const isPlain = value => !isBreaker(value) && !ELABORATE.some(option => read(value, option));

// ---- Idempotency keys --------------------------------------------------------------------------

const KEPT_MS = 10 * 60 * 1000; // Midtrans forgets a key after 5 minutes.
const KEPT_MAX = 10_000;

/**
 * The keys of calls that concern an order. Calls with the same input share a key while one of them
 * is in flight or has an unknown outcome: then they are the same call. Afterwards an equal call is
 * a new call: with the old key, Midtrans would repeat its earlier answer, even if the transaction
 * has expired since.
 */
class SharedKeys {
  #orders = new Map();

  take ({ orderId, path, json = '' }) {
    const content = crypto.hash('sha256', `${path}\n${json}`, 'base64url');
    let entries = this.#orders.get(orderId);
    if (entries === undefined) {
      this.#orders.set(orderId, entries = new Map());
      if (this.#orders.size > KEPT_MAX) this.#orders.delete(this.#orders.keys().next().value);
    }
    let entry = entries.get(content);
    if (entry === undefined || (entry.calls === 0 && entry.until < clock.wall())) {
      entry = { key: crypto.randomUUID(), orderId, content, calls: 0, until: 0 };
      entries.set(content, entry);
    }
    entry.calls += 1;
    return entry;
  }

  release (entry, isKnown) {
    entry.calls -= 1;
    if (!isKnown) entry.until = clock.wall() + KEPT_MS;
    else if (entry.calls === 0) this.#drop(entry);
  }

  #drop ({ orderId, content }) {
    const entries = this.#orders.get(orderId);
    if (entries?.delete(content) && entries.size === 0) this.#orders.delete(orderId);
  }

  /** The order's transaction has ended, so that later calls concern another one. */
  forget (orderId) {
    this.#orders.delete(orderId);
  }
}

// ---- The transport -----------------------------------------------------------------------------

class MidtransTransport {
  #http;
  #hosts;
  #credentials;
  #own;
  #redact;
  #plain;
  #plan;
  #timeout;
  #tell;
  #keys = new SharedKeys();
  #runs = new Set();

  /**
   * @param {object} settings values of TRANSPORT, baseUrls, and keys: { main, approver }
   * @param {object} more { name: of the breaker, feature: for errors, tell(event, details) }
   */
  constructor (settings, { name = 'midtrans', feature = 'sekering/midtrans', tell }) {
    const { main, approver } = settings.keys;
    this.#credentials = { main: basicOf(main), approver: basicOf(approver ?? main) };
    this.#redact = redactor(...[main, approver].filter(Boolean).flatMap(key =>
      [key, basicOf(key).slice('Basic '.length)]));
    this.#own = settings.headers;
    this.#hosts = hostsOf(settings);
    this.#plan = planOf(settings.retry);
    const { timeout } = settings;
    this.#timeout = new Timeout(timeout === false ? Infinity : timeout);
    this.#http = new HttpClient(feature, settings);
    this.#plain = isPlain(settings.breaker);
    this.#tell = tell;
    this.breaker = breakerOf(settings.breaker, name);
  }

  async call (request, options = {}) {
    const call = new MidtransCall(this, request, options);
    if (request.again === 'read') return call.run(this.#plan, this.#runs);
    if (options.once) throw invalidOption('once', 'a call that only reads', true, RangeError);
    call.key = options.headers?.[KEY_HEADERS[request.api]];
    const isShared = request.orderId !== undefined && call.key === undefined;
    if (!isShared) {
      call.key ??= crypto.randomUUID();
      return call.run(this.#plan, this.#runs);
    }
    const entry = this.#keys.take(request);
    call.key = entry.key;
    let isKnown = true;
    try {
      return await call.run(this.#plan, this.#runs);
    } catch (error) {
      isKnown = read(error, 'code') !== 'ERR_MIDTRANS_UNKNOWN_OUTCOME';
      throw error;
    } finally {
      this.#keys.release(entry, isKnown);
    }
  }

  get closed () { return this.#http.closed; }

  /** Closes the connections once their requests are done, and ends calls that wait to try again. */
  async close () {
    const closing = this.#http.close();
    for (const run of this.#runs) {
      if (run.running === 0) run.stop(new SekeringError('ESHUTDOWN', 'The client is closed'));
    }
    await closing;
  }

  tell (event, details) { this.#tell(event, details); }

  /**
   * One request through the breaker. Resolves with the answer; errors that are the caller's fault
   * count as successes.
   */
  async send (request, call) {
    const { answer, error } = await this.#through(request, call);
    if (error !== undefined) throw error;
    return answer;
  }

  #through (request, call) {
    const { breaker } = this;
    const { signal } = call;
    if (!breaker?.enabled || call.once) return this.#ask(request, signal, call);
    return this.#plain && signal === undefined
      ? breaker.fire(() => this.#ask(request, undefined, call))
      : callThrough(breaker, context => this.#ask(request, context.signal, call), signal,
        this.#abortCounter(call));
  }

  /** Tells the breaker whether Midtrans has hung when the caller's deadline ends this attempt. */
  #abortCounter (call) {
    const began = clock.now();
    const limit = this.#limitOf(call);
    return reason => isDeadline(reason) && hadItsTime(clock.now() - began, limit);
  }

  /** How long the next request of a call, or of a look-up, may take, ms. */
  #limitOf ({ attempt = 1, timeout = Infinity }) {
    return Math.min(this.#timeout.limitOf(attempt), timeout);
  }

  /**
   * Bypasses the breaker, because we must learn what became of the money even while the circuit is
   * open. Resolves with the answer; undefined if Midtrans does not know the thing.
   */
  async look (request, { signal, timeout }) {
    const { answer, error } = await this.#ask({ ...request, timeout }, signal);
    if (read(error, 'code') === 'ERR_MIDTRANS_NOT_FOUND') return undefined;
    if (error !== undefined) throw error;
    return answer;
  }

  /**
   * One request: an attempt of `call`, or a look-up without one. Resolves with the answer, or with
   * an `error` that does not count against Midtrans; rejects with an error that does.
   */
  async #ask (request, signal, call) {
    let given;
    try {
      given = await this.#http.request(this.#describe(request, call), {
        timeoutMs: this.#limitOf(call ?? request),
        signal,
        onSent: call && (() => call.onSent()),
      });
    } catch (cause) {
      if (signal?.aborted) throw reasonOf(signal);
      if (read(cause, 'code') === 'ESHUTDOWN') return { error: cause };
      throw errorOfTransport(cause, request, call?.sent ?? false);
    }
    const { status: httpStatus, headers, text } = given;
    const answer = { httpStatus, headers, body: parseJson(text), text };
    const error = errorOfAnswer(answer, request, this.#redact);
    if (error === undefined) {
      this.#notice(answer.body);
      return { answer };
    }
    if (error.code === 'ERR_MIDTRANS_UNAUTHORIZED') {
      this.#tell('alert', { kind: 'unauthorized', error });
    }
    if (blamesUpstream(error)) throw error;
    return { error };
  }

  #notice (body) {
    const orderId = body?.order_id;
    if (typeof orderId === 'string' && hasEnded(body)) {
      this.#keys.forget(orderId);
    }
  }

  /** The request as undici takes it, with headers as a flat list of names and values. */
  #describe (request, call) {
    const { method, json, api, key, approver } = request;
    const { origin, path } = request.url ?? this.#placeOf(request);
    const headers = [
      'accept', 'application/json', 'authorization',
      key === undefined ? this.#credentials[approver ? 'approver' : 'main'] : basicOf(key),
      'user-agent', 'sekering'
    ];
    if (method !== 'GET' || json !== undefined) headers.push('content-type', 'application/json');
    if (call?.key !== undefined) headers.push(KEY_HEADERS[api], call.key);
    const others = this.#own === undefined ? call?.headers : { ...this.#own, ...call?.headers };
    for (const name in others) {
      if (name !== KEY_HEADERS[api]) headers.push(name, others[name]);
    }
    return { origin, method, path, headers, body: json };
  }

  #placeOf ({ api, path }) {
    const { origin, prefix } = this.#hosts[api];
    return { origin, path: prefix + path };
  }
}

const basicOf = key => `Basic ${Buffer.from(`${key}:`).toString('base64')}`;

module.exports = {
  CALL, MidtransTransport, TRANSPORT, baseUrlsOption, headersOption, keyOption, planOf,
};
