'use strict';

// The HTTP client of `sekering/midtrans-client`: the requests, results and errors of the official
// client, with a breaker, a time limit and retries that never take or pay out money twice.

const { randomUUID } = require('node:crypto');
const http = require('node:http');

const { isA, isList, messageOf, read, textOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { presets, retryPresets } = require('../primitives/presets');
const { getCircuitBreaker } = require('../primitives/registry');
const { RetryPlan } = require('../primitives/retry-run');
const { isObject, redactor } = require('./client-error');
const { HttpClient: Connections, httpOptions, parseJson } = require('./http');
const { MidtransCall } = require('./midtrans-call');
const {
  MidtransError: Failure, blamesUpstream, errorOfAnswer, errorOfTransport
} = require('./midtrans-errors');
const { amountOf } = require('./midtrans-states');
const { callThrough, readBreaker, readRetry } = require('./protection');

const FEATURE = 'sekering/midtrans-client';
const CONNECTIONS = 64;
// The callers of a drop-in expect an answer soon.
const RETRIES = 2;

// ---- Errors ------------------------------------------------------------------------------------

class MidtransError extends Error {
  constructor (message, httpStatusCode = null, ApiResponse = null, rawHttpClientData = null) {
    super(message);
    this.name = this.constructor.name;
    this.httpStatusCode = httpStatusCode;
    this.ApiResponse = ApiResponse;
    this.rawHttpClientData = rawHttpClientData;
  }
}

/** A request without an answer, or whose answer is an HTTP error: what axios rejects with. */
class RequestError extends Error {
  constructor (message, code, config, response) {
    super(message);
    this.name = 'RequestError';
    if (code !== undefined) this.code = code;
    if (response !== undefined) this.response = response;
    hide(this, 'config', config);
  }
}

/** A property that inspect and JSON do not show, as it may hold personal data. */
const hide = (object, name, value) =>
  Object.defineProperty(object, name, { value, enumerable: false, configurable: true });

// Messages and codes of Node.js, where those of undici differ.
const TRANSPORT = new Map([
  ['ETIMEDOUT', ms => [`timeout of ${ms}ms exceeded`, 'ECONNABORTED']],
  ['UND_ERR_SOCKET', () => ['socket hang up', 'ECONNRESET']],
  ['UND_ERR_CONNECT_TIMEOUT', () => ['connect ETIMEDOUT', 'ETIMEDOUT']],
]);

/** What is known of a failure for which there is no answer. */
function errorOfSilence (failure, config, timeoutMs) {
  let cause = failure;
  while (isA(cause, Failure) && read(cause, 'cause') !== undefined) cause = read(cause, 'cause');
  const code = read(cause, 'code');
  const known = TRANSPORT.get(code)?.(timeoutMs);
  return new RequestError(...known ?? [messageOf(cause), code], config);
}

/** Gives an error what we know beyond the official client. */
function withDetails (error, failure) {
  if (failure === undefined) return error;
  error.code = read(failure, 'code');
  for (const name of ['retryable', 'ambiguous', 'orderId', 'tokenLost', 'retryAfter']) {
    const value = read(failure, name);
    if (value !== undefined) error[name] = value;
  }
  hide(error, 'cause', failure);
  return error;
}

const apiError = (status, response) => new MidtransError(
  `Midtrans API is returning API error. HTTP status code: ${status}. ` +
  `API response: ${JSON.stringify(response.data)}`, status, response.data, response);

const networkError = error => new MidtransError(
  'Midtrans API request failed. HTTP response not found, likely connection failure, ' +
  `with message: ${JSON.stringify(messageOf(error))}`, null, null, error);

// ---- Options -----------------------------------------------------------------------------------

const PROTECTION = optionsOf({
  timeout: is.ms('for one request, or false for no limit', {
    min: 1, default: presets.midtrans.timeout, or: [false],
  }),
  retry: is.any('options of retry(), laid over retryPresets.payment; false for one attempt'),
  breaker: is.any('a breaker, or its options, laid over presets.midtrans; false for none'),
  dispatcher: httpOptions(CONNECTIONS).dispatcher,
});

// The request has the time limit, as it knows whether anything was sent.
const BREAKER = { ...presets.midtrans, timeout: false };

/** A plan of retries: whatever the options say, only what may be sent again is. */
function planOf (value) {
  const options = readRetry(value, { ...retryPresets.payment, retries: RETRIES });
  const { shouldRetry } = options;
  return new RetryPlan({
    ...options,
    shouldRetry: (error, attempt) => isA(error, Failure) && read(error, 'retryable') &&
      (shouldRetry ? shouldRetry(error, attempt) : true),
  });
}

// One set of connections for all clients: many programs make a client for each request.
let connections;

/** As the official client does, it goes through the proxy that the environment names. */
function sharedConnections () {
  if (connections === undefined) {
    const { EnvHttpProxyAgent } = requirePeer('undici', FEATURE);
    const names = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'];
    const dispatcher = names.some(name => process.env[name])
      ? new EnvHttpProxyAgent({ headersTimeout: 0, bodyTimeout: 0 }) : undefined;
    connections = new Connections(FEATURE, { connections: CONNECTIONS, dispatcher });
  }
  return connections;
}

/** The breaker that all clients share for the host of an address. */
function sharedBreaker (address) {
  const { host } = new URL(address);
  return getCircuitBreaker(`midtrans ${host}`, { volumeThreshold: 5, ...BREAKER });
}

// ---- What may be sent again --------------------------------------------------------------------

/** An id of an order or a transaction as text; undefined if it cannot be one. */
const idOf = value => (typeof value === 'number' || (typeof value === 'string' && value !== '')
  ? String(value) : undefined);

const judgeState = (...states) => body =>
  (states.includes(body.transaction_status) ? 'done' : 'again');

const judgeCharge = amount => body => {
  // The order_id of a transaction that expired may be used again.
  if (body.transaction_status === 'expire') return 'again';
  const found = amountOf(body);
  return found === undefined || found === Number(amount) ? 'done' : 'conflict';
};

const judgeRefund = key => body => {
  const { refunds, transaction_status: state } = body;
  if (!isList(refunds)) return /refund$/.test(state) ? 'unclear' : 'again';
  return refunds.some(refund => refund?.refund_key === key) ? 'done' : 'again';
};

const CHANGES = {
  approve: body => (body.fraud_status === 'accept' ? 'done' : 'again'),
  deny: judgeState('deny'),
  cancel: judgeState('cancel'),
  expire: judgeState('expire'),
};

/**
 * The calls whose outcome GET status shows, and Snap's, which makes one page per order_id. No other
 * call but a GET is sent again unless it surely was not executed.
 */
const REPEATABLE = [
  [/\/v2\/charge$/, ({ transaction_details: details }) =>
    ['charge', details?.order_id, judgeCharge(details?.gross_amount)]],
  [/\/v2\/capture$/, ({ transaction_id: id }) =>
    ['capture', id, judgeState('capture', 'settlement')]],
  [/\/v2\/([^/]+)\/(approve|deny|cancel|expire)$/, (body, id, operation) =>
    [operation, decodeURIComponent(id), CHANGES[operation]]],
  [/\/v2\/([^/]+)\/refund(?:\/online\/direct)?$/, ({ refund_key: key }, id) =>
    ['refund', idOf(key) && decodeURIComponent(id), judgeRefund(key)]],
  [/\/transactions$/, ({ transaction_details: details }) =>
    ['createTransaction', details?.order_id, undefined]],
];

/** What MidtransCall has to know of a request: whether, and how, it may be sent again. */
function describe (method, url, json) {
  const mutating = method !== 'GET';
  const route = method === 'POST'
    ? REPEATABLE.find(([pattern]) => pattern.test(url.pathname)) : undefined;
  const operation = `${method} ${url.pathname}`;
  const unknown = { operation, mutating, core: true, repeatable: !mutating };
  if (route === undefined) return unknown;
  const [pattern, read] = route;
  const [, ...parts] = pattern.exec(url.pathname);
  const body = json === undefined ? undefined : parseJson(json);
  const [name, id, judge] = read(isObject(body) ? body : {}, ...parts);
  const orderId = idOf(id);
  if (orderId === undefined) return unknown;
  return {
    operation: name, orderId, mutating, judge, repeatable: true, core: judge !== undefined,
    prefix: `${url.origin}${url.pathname.slice(0, url.pathname.search(pattern))}`,
  };
}

// ---- Requests ----------------------------------------------------------------------------------

/** Headers by name in lower case. As in axios, there are `get`, `set`, `has` and `delete`. */
class Headers {
  get (name) { return this[String(name).toLowerCase()]; }

  has (name) { return this.get(name) !== undefined; }

  set (name, value) {
    this[String(name).toLowerCase()] = value;
    return this;
  }

  delete (name) { return delete this[String(name).toLowerCase()]; }
}

const METHODS = ['common', 'delete', 'get', 'head', 'options', 'patch', 'post', 'put', 'query'];
// The connection's own.
const NOT_OURS = new Set(['host', 'connection', 'content-length', 'transfer-encoding',
  'keep-alive', 'upgrade', 'expect']);

function mergeHeaders (...sources) {
  const headers = new Headers();
  for (const [name, value] of sources.flatMap(source => Object.entries(source ?? {}))) {
    const isGroup = METHODS.includes(name) && typeof value === 'object';
    if (!isGroup && value !== undefined && value !== null && value !== false) {
      headers.set(name, value);
    }
  }
  return headers;
}

/** Names and values in turn. */
const headerList = headers => Object.entries(headers)
  .filter(([name, value]) => !NOT_OURS.has(name.toLowerCase()) && value !== undefined &&
    value !== null && value !== false)
  .flatMap(([name, value]) =>
    [name.toLowerCase(), String(value).replace(/[\u0000-\u0008\u000a-\u001f\u007f]/g, '')]);

const encode = text => encodeURIComponent(text).replace(/%3A/g, ':').replace(/%24/g, '$')
  .replace(/%2C/g, ',').replace(/%20/g, '+');

/** Pairs of a query; what is inside an object has its path as its name: `a[b]`. */
function pairsOf (value, name) {
  if (value === undefined || value === null) return [];
  if (isA(value, Date)) return [[name, value.toISOString()]];
  if (typeof value !== 'object') return [[name, String(value)]];
  const isFlat = isList(value) && value.every(item => Object(item) !== item);
  return Object.entries(value).flatMap(([key, item]) =>
    pairsOf(item, isFlat ? `${name}[]` : `${name}[${key}]`));
}

/** What follows the path of an address: its own query, and that of the parameters. */
function queryOf ({ search }, params) {
  if (!params) return search;
  if (typeof params !== 'object') {
    throw Object.assign(new TypeError('target must be an object'), { code: 'ERR_BAD_REQUEST' });
  }
  const query = Object.entries(params).flatMap(([name, value]) => pairsOf(value, name))
    .map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&');
  if (query === '') return search;
  return `${search}${search === '' ? '?' : '&'}${query}`;
}

/** An id as one segment of a path. What is encoded already stays as it is. */
const segment = id => `${id}`.toWellFormed().split(/(%[0-9A-Fa-f]{2})/)
  .map((part, i) => (i % 2 === 1 ? part : encodeURIComponent(part)
    .replace(/%(?:24|26|2B|2C|3A|3B|3D|40)/g, decodeURIComponent))).join('');

/** The value of a body: of JSON, or else its text. */
function dataOf (text) {
  const plain = text.replace(/^\uFEFF/, '');
  return parseJson(plain) ?? (plain.trim() === 'null' ? null : plain);
}

const isSuccess = status => status >= 200 && status < 300;

/** Answers of failures, and failures of answers that are an error under HTTP 200. */
const answers = new WeakMap();
const failures = new WeakMap();

function answerOf (failure) {
  for (let error = failure; isA(error, Error); error = read(error, 'cause')) {
    if (answers.has(error)) return answers.get(error);
  }
  if (read(failure, 'code') !== 'ERR_MIDTRANS_CONFLICT') return undefined;
  // Found by looking it up: the order is another transaction's.
  const data = {
    ...read(failure, 'response'), status_code: '406', status_message: messageOf(failure)
  };
  return { status: 200, headers: {}, data };
}

/** What a call has done and may do, from its first request to its last. */
class Exchange {
  runs = new Set();
  #connections;
  #breaker;
  #request;
  #redact;
  #timeoutMs;

  constructor (connections, breaker, request, { redact, timeoutMs }) {
    this.#connections = connections;
    this.#breaker = breaker;
    this.#request = request;
    this.#redact = redact;
    this.#timeoutMs = timeoutMs;
  }

  onRetry () {}

  onUnknown () {}

  isClosed = () => this.#connections.closed;

  /** One request through the breaker. Errors that are the caller's fault count as successes. */
  async send (request, call) {
    const { answer, error } = await callThrough(this.#breaker,
      ({ signal }) => this.#ask(request, call, signal));
    if (error !== undefined) throw error;
    return answer;
  }

  /** The transaction as GET status shows it; undefined if there is none. Past the breaker. */
  async look () {
    const { orderId, lookAt, headers } = this.#request;
    const { answer, error } = await this.#ask({
      ...lookAt, method: 'GET', operation: 'status', orderId, mutating: false, core: true,
      headers: headers.filter((name, i) => !/^(content-type|idempotency-key)$/
        .test(headers[i - i % 2])),
    });
    if (read(error, 'code') === 'ERR_MIDTRANS_NOT_FOUND') return undefined;
    if (error !== undefined) throw error;
    return answer.data;
  }

  async #ask (request, call, signal) {
    const { origin, path, method, headers, body } = request;
    let found;
    try {
      found = await this.#connections.request({ origin, method, path, headers, body }, {
        timeoutMs: this.#timeoutMs, signal, onSent: call && (() => call.onSent()),
      });
    } catch (cause) {
      const error = errorOfTransport(cause, request, call?.sent ?? false);
      if (read(cause, 'code') === 'UND_ERR_INVALID_ARG') error.retryable = false;
      throw restrain(error, request);
    }
    const { status, headers: theirs, text } = found;
    const answer = { status, headers: theirs, data: dataOf(this.#redact(text)) };
    const error = errorOfAnswer(
      { httpStatus: status, headers: theirs, body: answer.data }, request, this.#redact);
    if (error === undefined || isAccepted(error, answer, request, call)) return { answer };
    answers.set(error, answer);
    if (!blamesUpstream(error)) return { error };
    throw restrain(error, request);
  }
}

/** A call that cannot be looked up is not sent again if it may have been executed. */
function restrain (failure, { repeatable }) {
  if (!repeatable && failure.ambiguous) failure.retryable = false;
  return failure;
}

/** The official client takes answers of any form. */
function isAccepted ({ code }, { status, data }, { judge }, call) {
  if (!isSuccess(status)) return false;
  if (code === 'ERR_MIDTRANS_IN_FLIGHT') return call.attempt === 1;
  return code === 'ERR_MIDTRANS_RESPONSE' && (judge === undefined || isObject(data));
}

// ---- What stands for axios ---------------------------------------------------------------------

class Interceptors {
  handlers = [];

  use (fulfilled, rejected) { return this.handlers.push({ fulfilled, rejected }) - 1; }

  eject (id) { if (this.handlers[id]) this.handlers[id] = null; }

  clear () { this.handlers = []; }
}

const throughAll = (promise, { handlers }, from) =>
  handlers.filter(Boolean)[from]((before, { fulfilled, rejected }) =>
    before.then(fulfilled, rejected), promise);

/** The function `http_client` of a client: as in axios, it has `defaults` and `interceptors`. */
function createHttp (timeout, ask) {
  const request = config => {
    const own = { ...config };
    const method = own.method.toLowerCase();
    const { headers, timeout: limit } = http.defaults;
    own.headers = mergeHeaders(headers.common, headers[method], headers, config.headers);
    own.timeout ??= limit;
    // Those who spread or log it shall not show the key.
    hide(own, 'auth', config.auth);
    const before = throughAll(Promise.resolve(own), interceptors.request, 'reduceRight');
    const during = before.then(given => ask(given, config.auth));
    return throughAll(during, interceptors.response, 'reduce');
  };
  const interceptors = { request: new Interceptors(), response: new Interceptors() };
  const http = Object.assign(config => request(config), {
    request, interceptors,
    defaults: {
      timeout: timeout === false ? 0 : timeout,
      headers: Object.fromEntries(METHODS.map(name => [name, {}])),
    },
  });
  return http;
}

class HttpClient {
  #connections;
  #breaker;
  #plan;

  constructor (parent = {}, protection) {
    const { timeout, retry, breaker, dispatcher } = PROTECTION.read(protection);
    this.parent = parent;
    this.#plan = planOf(retry);
    this.#connections = dispatcher === undefined ? sharedConnections()
      : new Connections(FEATURE, { dispatcher });
    if (breaker !== undefined) {
      this.#breaker = readBreaker(breaker, { ...BREAKER, name: 'midtrans' });
    }
    this.http_client = createHttp(timeout, (config, auth) => this.#send(config, auth));
  }

  /** The breaker of the calls to an address. */
  breakerOf (address) { return this.#breaker ?? sharedBreaker(address); }

  request (httpMethod, serverKey, requestUrl, firstParam = {}, secondParam = {}) {
    const isGet = httpMethod.toLowerCase() === 'get';
    return this.#request(httpMethod, serverKey, requestUrl,
      isGet ? secondParam : firstParam, isGet ? firstParam : secondParam);
  }

  async #request (method, username, url, body, query) {
    const data = parameters('body', body);
    const params = parameters('query', query);
    const headers = {
      'content-type': 'application/json', accept: 'application/json', 'user-agent': 'sekering',
    };
    let response;
    let isRefused;
    try {
      response = await this.http_client({
        method, headers, url, data, params, auth: { username, password: '' }
      });
      isRefused = isRefusal(response.data);
    } catch (error) {
      throw errorOf(error);
    }
    if (isRefused) {
      throw withDetails(apiError(response.data.status_code, response),
        failures.get(response) ?? { code: 'ERR_MIDTRANS_REFUSED' });
    }
    return response.data;
  }

  /** One call, with its retries: as axios, it answers, or throws what it has instead. */
  async #send (config, given) {
    const method = config.method.toUpperCase();
    const auth = config.auth ?? given;
    const url = new URL(config.url);
    const body = config.data === undefined ? undefined : JSON.stringify(config.data);
    const credentials = auth &&
      Buffer.from(`${auth.username || ''}:${auth.password || ''}`).toString('base64');
    const headers = headerList(mergeHeaders(config.headers,
      auth && { authorization: `Basic ${credentials}` }));
    const request = this.#lookable({
      ...describe(method, url, body), method, origin: url.origin,
      path: url.pathname + queryOf(url, config.params), headers, body,
    });
    if (request.repeatable && request.mutating && !headers.includes('idempotency-key')) {
      headers.push('idempotency-key', randomUUID());
    }
    const limit = Number(config.timeout);
    const timeoutMs = limit > 0 ? limit : Infinity;
    const exchange = new Exchange(this.#connections, this.breakerOf(url), request, {
      timeoutMs, redact: redactor(String(auth?.username ?? ''), credentials),
    });
    let failure;
    let result;
    try {
      result = await new MidtransCall(exchange, request, false).run(this.#plan);
    } catch (error) {
      failure = error;
      result = answerOf(error);
    }
    if (result === undefined) {
      throw remember(errorOfSilence(failure, config, timeoutMs), failure);
    }
    // Looked up, it is the body alone.
    const { status, headers: theirs, data } = result.status === undefined
      ? { status: 200, headers: {}, data: result } : result;
    const response = {
      status, statusText: http.STATUS_CODES[status] ?? '', headers: mergeHeaders(theirs), data,
    };
    hide(response, 'config', config);
    if (failure !== undefined) remember(response, failure);
    if (isSuccess(status)) return response;
    throw remember(new RequestError(`Request failed with status code ${status}`,
      status < 500 ? 'ERR_BAD_REQUEST' : 'ERR_BAD_RESPONSE', config, response), failure);
  }

  /** A request with where to look for what became of it. */
  #lookable (request) {
    const { orderId, prefix, core } = request;
    if (orderId === undefined) return request;
    const base = core ? prefix : this.parent.apiConfig.getCoreApiBaseUrl();
    const { origin, pathname } = new URL(`${base}/v2/${segment(orderId)}/status`);
    return { ...request, lookAt: { origin, path: pathname } };
  }
}

function remember (thing, failure) {
  failures.set(thing, failure);
  return thing;
}

/** Parameters may be JSON. */
function parameters (kind, value) {
  if (typeof value !== 'string' && !isA(value, String)) return value;
  try {
    return JSON.parse(value);
  } catch (error) {
    throw new MidtransError(`fail to parse '${kind} parameters' string as JSON. Use JSON string ` +
      `or Object as '${kind} parameters'. with message: ${textOf(error)}`);
  }
}

/** Whether a body says that the call was refused. 407 is the state of an expired transaction. */
const isRefusal = data => {
  // What this says of null is what the official client says.
  const has = data.hasOwnProperty('status_code');
  return has && data.status_code >= 400 && Number(data.status_code) !== 407;
};

function errorOf (error) {
  const response = read(error, 'response');
  const failure = isA(error, Error) ? failures.get(error) : undefined;
  return withDetails(response === undefined ? networkError(error)
    : apiError(response.status, response), failure);
}

module.exports = { HttpClient, MidtransError, segment };
