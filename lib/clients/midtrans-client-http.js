'use strict';

// The HTTP client of `sekering/midtrans-client`: the requests, results and errors of the official
// client, with a breaker, a time limit and retries that never take or pay out money twice.

const { randomUUID } = require('node:crypto');
const http = require('node:http');
const { isAnyArrayBuffer } = require('node:util/types');

const { isA, isList, messageOf, read, textOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { presets, retryPresets } = require('../primitives/presets');
const { circuitBreakers, getCircuitBreaker } = require('../primitives/registry');
const { isObject, redactor } = require('./client-error');
const { HttpClient: Connections, httpOptions, parseJson } = require('./http');
const { MidtransCall } = require('./midtrans-call');
const {
  MidtransError: Failure, answerOf, blamesUpstream, errorOfAnswer, errorOfTransport
} = require('./midtrans-errors');
const { ENDPOINTS, requestOf } = require('./midtrans-requests');
const { planOf } = require('./midtrans-transport');
const { callThrough, readBreaker } = require('./protection');

const FEATURE = 'sekering/midtrans-client';
const CONNECTIONS = 64;
// The callers of a drop-in expect an answer soon, whatever Retry-After says.
const RETRY_AFTER_MS_MAX = 60_000;
const RETRY = { ...retryPresets.payment, retries: 2, maxRetryAfter: 2000 };

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
    // What axios.isAxiosError looks at.
    this.isAxiosError = true;
    if (code !== undefined) this.code = code;
    if (response !== undefined) this.response = response;
    hide(this, 'config', config);
  }
}

/** A property that util.inspect and JSON do not show, because it may hold personal data. */
const hide = (object, name, value) =>
  Reflect.defineProperty(object, name, { value, enumerable: false, configurable: true });

// Messages and codes of Node.js, where those of undici differ.
const TRANSPORT = new Map([
  ['ETIMEDOUT', ms => [`timeout of ${ms}ms exceeded`, 'ECONNABORTED']],
  ['UND_ERR_SOCKET', () => ['socket hang up', 'ECONNRESET']],
  ['UND_ERR_CONNECT_TIMEOUT', () => ['connect ETIMEDOUT', 'ETIMEDOUT']],
]);

/** The error of a request that got no answer. */
function errorOfSilence (failure, config, timeoutMs) {
  let cause = failure;
  while (isA(cause, Failure) && read(cause, 'cause') !== undefined) cause = read(cause, 'cause');
  const code = read(cause, 'code');
  const known = TRANSPORT.get(code)?.(timeoutMs);
  return new RequestError(...known ?? [messageOf(cause), code], config);
}

/** Adds to an error the details that the official client does not have. */
function withDetails (made, failure) {
  if (failure === undefined) return made;
  made.code = read(failure, 'code');
  for (const name of ['retryable', 'ambiguous', 'orderId', 'tokenLost', 'retryAfter',
    'idempotencyKey']) {
    const value = read(failure, name);
    if (value !== undefined) made[name] = value;
  }
  // What retry() looks at: true ends it.
  hide(made, 'bail', made.retryable === false);
  hide(made, 'cause', failure);
  return made;
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

// The request itself has the time limit, because it knows whether anything was sent.
const BREAKER = { ...presets.midtrans, timeout: false };

// One set of connections for all clients: many programs make a client for each request.
let connections;

/** Like the official client, it uses the proxy that the environment names. */
function sharedConnections () {
  if (connections === undefined) {
    const { EnvHttpProxyAgent } = requirePeer('undici', FEATURE);
    const dispatcher = process.env.https_proxy || process.env.HTTPS_PROXY
      ? new EnvHttpProxyAgent({ headersTimeout: 0, bodyTimeout: 0 }) : undefined;
    connections = new Connections(FEATURE, { connections: CONNECTIONS, dispatcher });
  }
  return connections;
}

const sharedBreakers = new Map();

/**
 * The breaker that all clients share for the host of a URL. A program that wants other options for
 * it can create a breaker with this name first.
 */
function sharedBreaker (address) {
  const { host } = new URL(address);
  const known = sharedBreakers.get(host);
  if (known?.isShutdown === false) return known;
  const name = `midtrans ${host}`;
  const breaker = circuitBreakers().find(each => each.name === name) ??
    getCircuitBreaker(name, { volumeThreshold: 5, ...BREAKER });
  sharedBreakers.set(host, breaker);
  return breaker;
}

// ---- What may be sent again --------------------------------------------------------------------

/** The path of an endpoint below the address of its API. */
const below = path => path.replace(/^\/(?:snap|iris\/api)\/v1/, '');

const ROUTES = Object.entries(ENDPOINTS).filter(([, { method }]) => method !== 'GET')
  .map(([name, { method, path }]) =>
    ({ name, method, pattern: new RegExp(`${below(path).replace(':id', '([^/]+)')}$`) }));

function decoded (text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/**
 * What MidtransCall needs to know about a request (see midtrans-transport.js): whether and how it
 * may be sent again. `base` is the URL of its API.
 */
function describe (method, { origin, pathname }, json) {
  const unknown = { operation: `${method} ${pathname}`, api: 'core', isAnswer: () => true };
  if (method === 'GET') return { ...unknown, again: 'read' };
  const route = ROUTES.find(each => each.method === method && each.pattern.test(pathname));
  if (route === undefined) return { ...unknown, again: 'never' };
  const [match, encoded = ''] = route.pattern.exec(pathname);
  const id = decoded(encoded);
  if (id === undefined) return { ...unknown, again: 'never' };
  const body = json === undefined ? undefined : parseJson(json);
  const request = requestOf(route.name, { id, body: isObject(body) ? body : {} });
  // Two refunds without a key are two refunds.
  const isBlind = 'refundKey' in request && typeof request.refundKey !== 'string';
  return {
    ...request, base: origin + pathname.slice(0, -match.length),
    again: isBlind ? 'never' : request.again,
    // The official client accepts answers of any form. Here, if a page comes in place of an answer
    // that shows whether money has moved, the outcome is looked up.
    isAnswer: answer => request.again !== 'lookUp' || typeof answer === 'object',
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
// Headers that belong to the connection.
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

/** Headers as a flat list: name, value, name, value. */
const headerList = headers => Object.entries(headers)
  .filter(([name, value]) => !NOT_OURS.has(name.toLowerCase()) && value !== undefined &&
    value !== null && value !== false)
  .flatMap(([name, value]) =>
    [name.toLowerCase(), String(value).replace(/[\u0000-\u0008\u000a-\u001f\u007f]/g, '')]);

const encode = text => encodeURIComponent(text).replace(/%3A/g, ':').replace(/%24/g, '$')
  .replace(/%2C/g, ',').replace(/%20/g, '+');

/** Pairs of a query; a value inside an object has its path as its name: `a[b]`. */
function pairsOf (value, name) {
  if (value === undefined || value === null) return [];
  if (isA(value, Date)) return [[name, value.toISOString()]];
  if (typeof value !== 'object') return [[name, String(value)]];
  const isFlat = isList(value) && value.every(item => Object(item) !== item);
  return Object.entries(value).flatMap(([key, item]) =>
    pairsOf(item, isFlat ? `${name}[]` : `${name}[${key}]`));
}

/** The query of a URL: its own, and that of the parameters. */
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

const FORM = 'application/x-www-form-urlencoded';

/** A class of which no object can be sent, by its name; undefined if `data` can be sent. */
const unsupportedClass = data => (typeof read(data, 'pipe') === 'function' ? 'stream'
  : UNSUPPORTED.find(({ constructor }) => isA(data, constructor))?.name);

const UNSUPPORTED = [['FormData', FormData], ['Blob', Blob], ['ReadableStream', ReadableStream]]
  .map(([name, constructor]) => ({ name, constructor }));

/**
 * The body of a request as axios sends it: bytes as they are; a form and other objects as text,
 * whose type is put into `headers` if they have none. Where the type is JSON, a text that is JSON
 * already stays as it is, and any other is quoted.
 */
function bodyOf (data, headers) {
  if (data === undefined) return undefined;
  const bytes = bytesOf(data);
  if (bytes !== undefined) {
    setType(headers, FORM);
    return bytes;
  }
  if (isA(data, URLSearchParams)) {
    setType(headers, `${FORM};charset=utf-8`);
    return data.toString();
  }
  if (Object(data) === data) setType(headers, 'application/json');
  else if (!/application\/json/.test(headers.get('content-type'))) {
    setType(headers, FORM);
    return data === null ? undefined : String(data);
  }
  const isJson = typeof data === 'string' && parseJson(data) !== undefined;
  return isJson ? data.trim() : JSON.stringify(data);
}

function setType (headers, type) {
  if (!headers.has('content-type')) headers.set('content-type', type);
}

/** The bytes of a buffer or of a view; undefined for anything else. */
function bytesOf (data) {
  if (Buffer.isBuffer(data)) return data;
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer);
  return isAnyArrayBuffer(data) ? Buffer.from(data) : undefined;
}

/** The value of a body: of JSON, or else its text. */
const dataOf = ({ body, text }) => (body === undefined ? text : body);

const isSuccess = status => status >= 200 && status < 300;

/** The failures behind errors and responses of a call. */
const failures = new WeakMap();

function remember (thing, failure) {
  failures.set(thing, failure);
  return thing;
}

/** The rejection of a call whose look-up showed that the order belongs to another transaction. */
function refusalOf (failure) {
  const isFound = read(failure, 'code') === 'ERR_MIDTRANS_CONFLICT' &&
    read(failure, 'httpStatus') === undefined;
  if (!isFound) return undefined;
  const body = {
    ...read(failure, 'response'), status_code: '406', status_message: messageOf(failure)
  };
  return answerOf(read(failure, 'cause')) ?? { httpStatus: 200, headers: {}, body };
}

const KEY_HEADERS = { iris: 'x-idempotency-key', core: 'idempotency-key', snap: 'idempotency-key' };

/** The answer to the call itself, which MidtransCall passes on as a body. */
class Received {
  constructor (answer) { this.answer = answer; }
}

/** One call, as the transport that MidtransCall needs. */
class Exchange {
  /** How the last attempt failed. The answer to a look-up is not an answer to the call. */
  failure = undefined;
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

  get closed () { return this.#connections.closed; }

  tell () {}

  async run (plan) {
    const { again, api, headers } = this.#request;
    const call = new MidtransCall(this, this.#request, {});
    if (again !== 'read' && again !== 'never') {
      const name = KEY_HEADERS[api];
      const at = headers.indexOf(name);
      call.key = at === -1 ? randomUUID() : headers[at + 1];
      if (at === -1) headers.push(name, call.key);
    }
    const result = await call.run(plan, new Set());
    // What was found by looking is the body alone.
    return isA(result, Received) ? result.answer : { httpStatus: 200, headers: {}, body: result };
  }

  /** One request through the breaker. Errors that are the caller's fault count as successes. */
  async send (request, call) {
    this.failure = undefined;
    const { answer, error } = await callThrough(this.#breaker,
      ({ signal }) => this.#ask(request, call, signal));
    if (error !== undefined) throw error;
    return { body: new Received(answer) };
  }

  /** The result of a request that only looks something up; undefined if it does not exist. */
  async look (request) {
    const { base, core, headers } = this.#request;
    // Snap's orders are looked up at Core.
    const { origin, pathname, search } = new URL(
      (request.api === this.#request.api ? base : core) + below(request.path));
    const { answer, error } = await this.#ask({
      ...request, origin, path: pathname + search, body: undefined,
      headers: headers.filter((name, i) => !/^(?:content-type|(?:x-)?idempotency-key)$/
        .test(headers[i - i % 2])),
    });
    if (read(error, 'code') === 'ERR_MIDTRANS_NOT_FOUND') return undefined;
    if (error !== undefined) throw error;
    return answer;
  }

  async #ask (request, call, signal) {
    const { origin, path, method, headers, body } = request;
    let found;
    try {
      found = await this.#connections.request({ origin, method, path, headers, body }, {
        timeoutMs: this.#timeoutMs, signal, onSent: call && (() => call.onSent()),
      });
    } catch (cause) {
      const failure = errorOfTransport(cause, request, call?.sent ?? false);
      if (read(cause, 'code') === 'UND_ERR_INVALID_ARG') failure.retryable = false;
      if (call) this.failure = failure;
      throw failure;
    }
    const text = this.#redact(found.text.replace(/^\uFEFF/, ''));
    const answer = {
      httpStatus: found.status, headers: found.headers, body: parseJson(text), text
    };
    const error = errorOfAnswer(answer, request, this.#redact);
    // The official client accepts this as an answer. After a retry, it is about an earlier attempt.
    const isAnswer = read(error, 'code') === 'ERR_MIDTRANS_IN_FLIGHT' && call?.attempt === 1;
    if (error === undefined || isAnswer) return { answer };
    if (call) {
      this.failure = error;
      this.#restrain(error);
    }
    // All keys share the breaker, but "too many requests" concerns only one key.
    if (!blamesUpstream(error) || error.code === 'ERR_MIDTRANS_RATE_LIMITED') return { error };
    throw error;
  }

  /** Limits what an answer to the call itself, not to a look-up, can cause. */
  #restrain (error) {
    const [httpStatus, code, retryAfter] =
      ['httpStatus', 'code', 'retryAfter'].map(name => read(error, name));
    // A 4xx answers a GET, even if it is not Midtrans that says so.
    const isFinal = code === 'ERR_MIDTRANS_RESPONSE' && httpStatus >= 400 && httpStatus < 500;
    if (isFinal && this.#request.again === 'read') error.retryable = false;
    // What retries and the breaker look at.
    if (retryAfter > RETRY_AFTER_MS_MAX) hide(error, 'retryAfterMs', RETRY_AFTER_MS_MAX);
  }
}

// ---- In place of axios -------------------------------------------------------------------------

class Interceptors {
  handlers = [];

  use (fulfilled, rejected) { return this.handlers.push({ fulfilled, rejected }) - 1; }

  eject (id) { if (this.handlers[id]) this.handlers[id] = null; }

  clear () { this.handlers = []; }
}

const throughAll = (promise, { handlers }, from) =>
  handlers.filter(Boolean)[from]((before, { fulfilled, rejected }) =>
    before.then(fulfilled, rejected), promise);

/** `http_client.get(url, config)`, `http_client.post(url, data, config)` and so on. */
const shortcuts = request => Object.fromEntries([
  ...['get', 'delete', 'head', 'options'].map(method =>
    [method, (url, config) => request({ ...config, method, url })]),
  ...['post', 'put', 'patch'].map(method =>
    [method, (url, data, config) => request({ ...config, method, url, data })]),
]);

/** The function `http_client` of a client: as in axios, it has `defaults` and `interceptors`. */
function createHttp (defaults, ask) {
  const request = (first, second) => {
    const config = typeof first === 'string' ? { ...second, url: first } : { ...first };
    const { headers, url, method, data, ...others } = http.defaults;
    const own = { ...others };
    for (const [name, value] of Object.entries(config)) {
      if (value !== undefined) own[name] = value;
    }
    own.method = (config.method ?? method ?? 'get').toLowerCase();
    own.headers =
      mergeHeaders(headers.common, headers[own.method], headers, config.headers);
    // Code that spreads or logs it must not reveal the key.
    const { auth } = own;
    hide(own, 'auth', auth);
    const before = throughAll(Promise.resolve(own), interceptors.request, 'reduceRight');
    const during = before.then(given => ask(given, auth));
    return throughAll(during, interceptors.response, 'reduce');
  };
  const interceptors = { request: new Interceptors(), response: new Interceptors() };
  const http = Object.assign((...args) => request(...args), {
    request, interceptors, defaults, ...shortcuts(request),
    // Like that of axios, it has no interceptors, and copies of the defaults.
    create: config => createHttp({
      ...http.defaults, ...config, headers: mergeGroups(http.defaults.headers, config?.headers),
    }, ask),
  });
  return http;
}

/** Default headers, those of each method in a group. */
function mergeGroups (first, second) {
  const merged = { ...first, ...second };
  for (const name of METHODS) merged[name] = { ...first[name], ...second?.[name] };
  return merged;
}

/** As axios puts a path behind its `baseURL`. */
const addressOf = ({ url, baseURL }) => (baseURL && !/^([a-z][a-z\d+\-.]*:)?\/\//i.test(url)
  ? `${String(baseURL).replace(/\/?\/$/, '')}/${String(url ?? '').replace(/^\/+/, '')}` : url);

class HttpClient {
  #connections;
  #breaker;
  #plan;

  constructor (parent = {}, protection) {
    const { timeout, retry, breaker, dispatcher } = PROTECTION.read(protection);
    this.parent = parent;
    this.#plan = planOf(retry, RETRY);
    this.#connections = dispatcher === undefined ? sharedConnections()
      : new Connections(FEATURE, { dispatcher });
    if (breaker !== undefined) {
      this.#breaker = readBreaker(breaker, { ...BREAKER, name: 'midtrans' });
    }
    this.http_client = createHttp({
      timeout: timeout === false ? 0 : timeout,
      headers: Object.fromEntries(METHODS.map(name => [name, {}])),
    }, (config, auth) => this.#send(config, auth));
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
      // Errors end in logs.
      if (isObject(response.config)) hide(response, 'config', response.config);
      throw withDetails(apiError(response.data.status_code, response),
        failures.get(response) ?? { code: 'ERR_MIDTRANS_REFUSED' });
    }
    return response.data;
  }

  /** One call with its retries. Like axios, it resolves with the answer, or throws an error. */
  async #send (config, given) {
    const method = config.method.toUpperCase();
    const auth = config.auth ?? given;
    const url = new URL(addressOf(config));
    const unsupported = unsupportedClass(config.data);
    if (unsupported !== undefined) {
      throw new RequestError(`A ${unsupported} cannot be sent as a body: use an object, a text, ` +
        'bytes or URLSearchParams', 'ERR_NOT_SUPPORT', config);
    }
    const sent = mergeHeaders(config.headers);
    const body = bodyOf(config.data, sent);
    const credentials = auth &&
      Buffer.from(`${auth.username || ''}:${auth.password || ''}`).toString('base64');
    const headers = headerList(mergeHeaders(sent,
      auth && { authorization: `Basic ${credentials}` }));
    const request = {
      ...describe(method, url, body?.toString()), method, origin: url.origin,
      path: url.pathname + queryOf(url, config.params), headers, body,
      core: this.parent.apiConfig?.getCoreApiBaseUrl(),
    };
    const limit = Number(config.timeout);
    const timeoutMs = limit > 0 ? limit : Infinity;
    const exchange = new Exchange(this.#connections, this.breakerOf(url), request, {
      timeoutMs, redact: redactor(String(auth?.username ?? ''), credentials),
    });
    let failure;
    let answer;
    try {
      answer = await exchange.run(this.#plan);
    } catch (error) {
      failure = error;
      answer = refusalOf(error) ?? answerOf(exchange.failure);
    }
    if (answer === undefined) {
      throw remember(errorOfSilence(exchange.failure ?? failure, config, timeoutMs), failure);
    }
    const status = answer.httpStatus;
    const response = {
      status, statusText: http.STATUS_CODES[status] ?? '', headers: mergeHeaders(answer.headers),
      data: dataOf(answer),
    };
    // As it was sent: programs that log requests parse it.
    response.config = { ...config, headers: sent, data: body ?? config.data };
    hide(response.config, 'auth', auth);
    if (failure !== undefined) remember(response, failure);
    if (isSuccess(status)) return response;
    hide(response, 'config', response.config);
    throw remember(new RequestError(`Request failed with status code ${status}`,
      status < 500 ? 'ERR_BAD_REQUEST' : 'ERR_BAD_RESPONSE', config, response), failure);
  }
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

/** Whether a body says that the call was rejected. 407 is the state of an expired transaction. */
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
