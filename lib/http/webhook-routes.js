'use strict';

// The webhooks of Midtrans and WhatsApp, as one handler for Express, Connect, Fastify's middleware
// and plain node:http. Bodies are read as bytes, since they are signed. If a parser of the
// application has already read one, we use what it left, where that is enough.

const { Readable } = require('node:stream');
const { isUint8Array } = require('node:util/types');
const { promisify } = require('node:util');
const zlib = require('node:zlib');

const { SekeringError, invalidOption } = require('../base/errors');
const { isA, isList, messageOf, read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { warn } = require('../base/warn');
const { RateLimiter } = require('../primitives/limits');
const { problem, problemOf, sendJson } = require('./problem');
const refusals = require('./refusals');

const SIGNATURE_HEADERS = ['x-hub-signature-256', 'iris-signature'];
const WHATSAPP_BODY_MAX = 1_048_576;
const FORBIDDEN = 403;
const SERVER_ERROR = 500;
const isRefusal = status => status >= 400 && status < SERVER_ERROR;
// No webhook of a provider is shorter.
const WEBHOOK_BYTES_MIN = 64;
// What is read and forgotten of a refused body, so that its connection can be used again.
const DISCARDED_BYTES_MAX = 4_194_304;
// Memory for bodies that are still arriving, in this process: they are read before anybody knows
// who has sent them.
const ARRIVING_BYTES_MAX = 67_108_864;
// How often the application is told of a mistake of its own, which strangers can trigger: a parser
// has taken a body, or a client has no secret for webhooks.
const MISTAKES = { limit: 1, interval: 3_600_000 };

const OPTIONS = optionsOf({
  payments: is.having('takes the notifications of Midtrans', ['handleNotification'],
    { expected: 'store.payments' }),
  whatsapp: is.object('a client of the Cloud API or of Green API'),
  deliveries: is.having('stores the delivery statuses of WhatsApp', ['record'],
    { expected: 'store.deliveries' }),
  maxBody: is.integer('of a notification of Midtrans',
    { min: 1, max: 1 << 24, default: 65_536, unit: 'bytes' }),
  prefix: is.text('before /webhooks, if no router removes it',
    { pattern: /^(\/[\w.~-]+)*$/, expected: 'a path such as /api', default: '' }),
  onNews: is.func('gets what is new in a webhook of WhatsApp, once it is stored'),
  onError: is.func('gets what was answered with 500; mistakes of the application once an hour',
    { default: error => warn('A webhook failed', error) }),
});

// ---- Bodies ------------------------------------------------------------------------------------

const CURE = 'put app.use(router) before express.json(), or keep the bytes: ' +
  'express.json({ verify: (req, res, buf) => { req.rawBody = buf } })';

const lost = () => new SekeringError('ERR_WEBHOOK_BODY',
  `Something has read the body of this webhook before its signature could be checked: ${CURE}`);

/** A mistake of the client, as Express marks them. */
const refused = status => Object.assign(new Error('Refused'), { status, expose: true });

const isRaw = value => typeof value === 'string' || isUint8Array(value);

const isParsed = value => typeof value === 'object' && value !== null;

/** Whether nobody has read anything of the body yet. */
const isUnread = req => read(req, 'readable') === true && read(req, 'readableDidRead') !== true &&
  typeof read(req, 'iterator') === 'function';

const sizeOf = ({ headers }) => {
  if (headers['transfer-encoding'] !== undefined) return Infinity;
  return Number(headers['content-length'] ?? 0);
};

/**
 * Reads and forgets the rest of a body, up to a bound; beyond it the connection is cut off. Without
 * this, nothing else that comes over the connection would be read.
 */
function discard (req) {
  if (!(isA(req, Readable) && req.readable)) return;
  let size = 0;
  req.on('error', () => {}); // The client has gone away.
  req.on('data', chunk => {
    size += chunk.length;
    if (size > DISCARDED_BYTES_MAX) req.destroy();
  });
  req.resume();
}

/** Requests whose bodies are arriving, with the bytes that have come. The slowest is the first. */
class Arriving {
  #sizes = new Map();
  #total = 0;

  /** Cuts off the slowest ones if there is too much. */
  add (req, size) {
    this.#sizes.set(req, (this.#sizes.get(req) ?? 0) + size);
    this.#total += size;
    for (const [slowest] of this.#sizes) {
      if (this.#total <= ARRIVING_BYTES_MAX) return;
      this.delete(slowest);
      slowest.destroy();
    }
  }

  delete (req) {
    this.#total -= this.#sizes.get(req) ?? 0;
    this.#sizes.delete(req);
  }
}

const arriving = new Arriving();

/** Reads the body of a request. */
async function receive (req, limit) {
  if (Number(req.headers['content-length']) > limit) throw refused(413);
  const chunks = [];
  let size = 0;
  arriving.add(req, 0);
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false })) {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
      size += bytes.length;
      if (size > limit) break;
      arriving.add(req, bytes.length);
      chunks.push(bytes);
    }
  } catch {
    throw refused(400); // The client has gone away, or was too slow.
  } finally {
    arriving.delete(req);
  }
  if (size > limit) throw refused(413);
  return Buffer.concat(chunks, size);
}

const DECODERS = {
  gzip: promisify(zlib.gunzip), deflate: promisify(zlib.inflate),
  br: promisify(zlib.brotliDecompress),
};

/** The bytes before they were compressed, of which there may be no more than `limit` either. */
async function decode (bytes, encoding, limit) {
  if (encoding === undefined || encoding === 'identity') return bytes;
  if (!Object.hasOwn(DECODERS, encoding)) throw refused(415);
  try {
    return await DECODERS[encoding](bytes, { maxOutputLength: limit });
  } catch (error) {
    throw refused(read(error, 'code') === 'ERR_BUFFER_TOO_LARGE' ? 413 : 400);
  }
}

/** Whether a parser for another type, such as a form, has taken the body apart. */
function isMangled (body, size) {
  const [first] = Object.keys(body);
  if (first === undefined) return !isList(body) && size >= WEBHOOK_BYTES_MIN;
  return first.trimStart().startsWith('{');
}

/**
 * The body of a webhook: what the application has kept of it, or else its bytes, or else what a
 * parser has made of them.
 * @returns {Promise<Uint8Array | string | object>}
 * @throws {SekeringError} ERR_WEBHOOK_BODY
 */
async function bodyOf (req, limit) {
  const kept = read(req, 'rawBody');
  if (isRaw(kept) && kept.length > 0) return kept;
  // Some frameworks parse only when this is read, and throw.
  const body = read(req, 'body');
  if (isRaw(body)) return body;
  if (isUnread(req)) {
    const encoding = req.headers['content-encoding']?.toLowerCase();
    return decode(await receive(req, limit), encoding, limit);
  }
  const size = sizeOf(req);
  if (isParsed(body) ? isMangled(body, size) : body === undefined && size > 0) throw lost();
  return body ?? Buffer.alloc(0);
}

/** The bytes of a body. @throws {SekeringError} ERR_WEBHOOK_BODY */
async function bytesOf (req, limit) {
  const body = await bodyOf(req, limit);
  if (!isRaw(body)) throw lost();
  return body;
}

/** Whether a provider may have sent this. Others must not be able to alarm the application. */
const isPlausible = req => sizeOf(req) >= WEBHOOK_BYTES_MIN ||
  SIGNATURE_HEADERS.some(name => req.headers[name] !== undefined);

/** What is no request is a mistake in the application. */
function checkRequest (req) {
  for (const name of ['method', 'url']) {
    const value = read(req, name);
    if (typeof value !== 'string') throw invalidOption(`req.${name}`, 'a text', value);
  }
  const headers = read(req, 'headers');
  if (!isParsed(headers)) throw invalidOption('req.headers', 'an object', headers);
}

// ---- Routes ------------------------------------------------------------------------------------

const midtransRoute = (payments, limit) => async (req, res) => {
  const body = await bodyOf(req, limit);
  // Midtrans signs fields, so a parsed object is as good as the bytes.
  const given = isRaw(body) || isParsed(body) ? body : String(body);
  const { status, body: answer } = await payments.handleNotification(given, req.headers);
  const send = () => sendJson(res, status, answer);
  if (isRefusal(status)) refusals.answer(res, send);
  else send();
};

// Green API has no handshake.
const isCloud = client => typeof read(client, 'handshake') === 'function';

function handshakeRoute (client) {
  return (req, res) => {
    const { searchParams } = new URL(req.url, 'http://localhost');
    const answer = client.handshake(Object.fromEntries(searchParams));
    if (answer === undefined) {
      return refusals.answer(res,
        () => problem(res, FORBIDDEN, { code: 'ERR_WHATSAPP_SIGNATURE' }));
    }
    res.statusCode = 200; // Koa has set 404.
    // The text is chosen by whoever knows the token, so it must not become a page.
    res.setHeader('Content-Type', 'text/plain; charset=utf-8');
    res.setHeader('X-Content-Type-Options', 'nosniff');
    res.end(answer);
  };
}

const whatsappRoute = (client, options) => async (req, res) => {
  // Only the Cloud API signs the bytes.
  const body = await (isCloud(client) ? bytesOf : bodyOf)(req, WHATSAPP_BODY_MAX);
  try {
    // If this fails, the answer is an error, and WhatsApp sends the webhook again.
    await client.receiveWebhook(body, req.headers, options);
  } catch (error) {
    const code = read(error, 'code');
    if (code === 'ERR_WHATSAPP_SIGNATURE') {
      return refusals.answer(res, () => problem(res, FORBIDDEN, { code }));
    }
    if (code === 'ERR_WHATSAPP_WEBHOOK') {
      return refusals.answer(res,
        () => problem(res, 400, { code, detail: messageOf(error) }));
    }
    throw error;
  }
  res.statusCode = 200;
  res.end();
};

function routesOf ({ payments, whatsapp, maxBody, prefix, deliveries, onNews }) {
  const routes = {};
  const add = (path, methods) => { routes[`${prefix}/webhooks/${path}`.toLowerCase()] = methods; };
  if (payments !== undefined) add('midtrans', { POST: midtransRoute(payments, maxBody) });
  if (typeof read(whatsapp, 'receiveWebhook') === 'function') {
    const GET = handshakeRoute(whatsapp);
    add('whatsapp', {
      ...isCloud(whatsapp) && { GET, HEAD: GET },
      POST: whatsappRoute(whatsapp, { deliveries, onNews }),
    });
  }
  return routes;
}

/** The path that a request is for, below the place where the handler is mounted. */
const pathOf = ({ url }) => url.split('?', 1)[0].toLowerCase().replace(/\/$/, '');

function createWebhookRouter (options) {
  const given = OPTIONS.read(options);
  const { onError } = given;
  const routes = routesOf(given);
  const losses = new RateLimiter(MISTAKES);
  const settings = new RateLimiter(MISTAKES);

  /** Whether to tell the application. Its own mistakes are the same for every webhook. */
  function isNews (error, status, req) {
    const code = read(error, 'code');
    if (code === 'ERR_WEBHOOK_BODY') return isPlausible(req) && losses.tryTake();
    if (code === 'ERR_INVALID_OPTION') return settings.tryTake();
    return status === SERVER_ERROR;
  }

  function fail (error, req, res) {
    const { status, members } = problemOf(error);
    if (isNews(error, status, req)) onError(error, req);
    discard(req);
    // An answer that has already begun can only be cut off.
    if (res.headersSent) res.destroy();
    else if (isRefusal(status)) refusals.answer(res, () => problem(res, status, members));
    else problem(res, status, members);
  }

  async function webhooks (req, res, next) {
    checkRequest(req);
    const path = pathOf(req);
    const methods = Object.hasOwn(routes, path) ? routes[path] : undefined;
    const route = methods && Object.hasOwn(methods, req.method) ? methods[req.method] : undefined;
    if (route === undefined) {
      if (typeof next === 'function') return next();
      return refusals.answer(res, () => {
        if (methods !== undefined) res.setHeader('Allow', Object.keys(methods).join(', '));
        problem(res, ...methods === undefined ? [404, { code: 'ERR_NOT_FOUND' }]
          : [405, { code: 'ERR_METHOD_NOT_ALLOWED' }]);
      });
    }
    try {
      await route(req, res);
    } catch (error) {
      fail(error, req, res);
    }
  }
  const addresses = Object.entries(routes)
    .flatMap(([path, methods]) => Object.keys(methods).map(method => `${method} ${path}`));
  return Object.assign(webhooks, { routes: addresses });
}

module.exports = { createWebhookRouter };
