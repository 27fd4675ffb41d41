'use strict';

// The gateway over HTTP: one Express application with the routes of orders and all other routers,
// and its server.

const { randomUUID } = require('node:crypto');
const http = require('node:http');

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { SERVER, checkPeers, requirePeer } = require('../base/peer');
const { asked } = require('../base/warn');
const { RateLimiter } = require('../primitives/limits');
const { policy } = require('../primitives/policy');
const { FIELDS, createAdminRouter, readInput } = require('./admin');
const { addressOf, createAdminAccess, knowsOf } = require('./admin-auth');
const { createBreakerHistory } = require('./breaker-views');
const { createDashboardRouter } = require('./dashboard-routes');
const { createEventStream } = require('./events');
const { createHealthRouter } = require('./health-routes');
const { idempotent, idempotentJointly, jointly } = require('./idempotency');
const { createMetrics } = require('./metrics');
const { createOpenApiRouter } = require('./openapi');
const { jsonBody, notFound, problem, problemHandler, sendJson } = require('./problem');
const refusals = require('./refusals');
const { createServiceHistory } = require('./service-history');
const { createWebhookRouter } = require('./webhook-routes');

const OPTIONS = optionsOf({ extend: is.func('adds routes to the application') });

const REQUEST_ID = /^[\w.-]{1,64}$/;
const PATH_MAX = 300;
const QUIET = /^\/(health|metrics|api\/health)(\/|$)/;
const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
// How often Node.js looks for requests that are too slow.
const SLOW_CHECK_MS = 5000;
// Longer than the idle timeout of most proxies (60 s): the proxy should close first.
const KEEP_ALIVE_MS = 65_000;

// Log lines about requests of strangers: they must not fill a disk.
const STRANGERS_LINES = { limit: 120, interval: 60_000 };

/** Whether anybody could have sent this request: it had no valid token, and changed nothing. */
function isStrangers ({ method }, { statusCode, locals }) {
  if (locals.caller !== undefined) return false;
  return statusCode >= 400 || method === 'GET' || method === 'HEAD';
}

/**
 * Logs requests. The query is left out: it may hold a secret. Of strangers' requests, only some are
 * logged, with the number of those that were left out before.
 */
function accessLog (log) {
  const strangers = new RateLimiter(STRANGERS_LINES);
  let skipped = 0;
  return function logAccess (req, res, next) {
    const sent = req.headers['x-request-id'];
    const id = sent !== undefined && REQUEST_ID.test(sent) ? sent : randomUUID();
    const began = clock.now();
    const path = req.originalUrl.split('?', 1)[0].slice(0, PATH_MAX);
    res.setHeader('X-Request-Id', id);
    req.id = id;
    // Monitors ask every few seconds.
    const level = QUIET.test(path) ? 'debug' : 'info';
    res.on('close', () => {
      if (level === 'info' && isStrangers(req, res) && !strangers.tryTake()) {
        skipped += 1;
        return;
      }
      log[level]({
        request: id, method: req.method, path, status: res.statusCode,
        ms: Math.round(clock.now() - began), address: addressOf(req),
        finished: res.writableFinished,
        ...skipped > 0 && { skipped },
      }, 'Request');
      skipped = 0;
    });
    next();
  };
}

// ---- Orders and messages -----------------------------------------------------------------------

// Refusals of Midtrans that are the order's fault.
const REFUSED = new Set(['ERR_MIDTRANS_REFUSED', 'ERR_MIDTRANS_CONFLICT',
  'ERR_MIDTRANS_CANNOT_MODIFY']);
const RETRY_AFTER_S = 60;

/** Says what is wrong with an order that Midtrans refuses, in Midtrans's words. */
function refused (res, error) {
  const [code, faults] = [read(error, 'code'), read(error, 'validationMessages')];
  if (!REFUSED.has(code)) throw error;
  problem(res, code === 'ERR_MIDTRANS_REFUSED' ? 422 : 409, {
    code, detail: 'Midtrans has refused the order.', ...faults?.length > 0 && { faults },
  });
}

async function createOrder (gateway, req, res) {
  const { joint, answer } = jointly(req, outcome => answerOrder(res, outcome));
  let outcome;
  try {
    outcome = await gateway.payments.createOrder(req.body, undefined, joint);
  } catch (error) {
    return refused(res, error);
  }
  answer(outcome);
}

function answerOrder (res, { queued, orderId, state, token, redirectUrl, error }) {
  const place = `/orders/${encodeURIComponent(orderId)}`;
  res.set('Location', place);
  if (!queued) return sendJson(res, 201, { queued, orderId, state, token, redirectUrl });
  const code = read(error, 'code') ?? 'ERR_UNAVAILABLE';
  sendJson(res.set('Retry-After', String(RETRY_AFTER_S)), 202,
    { queued, orderId, state, error: code, status: place });
}

async function showOrder (gateway, req, res) {
  const order = await gateway.store.payments.get(readInput(FIELDS.orderId, req.params.id));
  if (order === undefined) return problem(res, 404, { code: 'ERR_NOT_FOUND' });
  const { orderId, state, token, redirectUrl, currency, amountMinor, createdAt, updatedAt } = order;
  sendJson(res, 200,
    { orderId, state, token, redirectUrl, currency, amountMinor, createdAt, updatedAt });
}

const shopTokensOf = ({ server }) => server.tokens.map(entry => ({ ...entry, role: 'operate' }));

// What an overloaded process refuses, the lowest first. Nothing else is ever refused: webhooks say
// what was paid, and the other pages help to find out what is wrong.
const PRIORITY = { message: 0, question: 4, order: 8 };
// Requests that are refused within this time belong to one episode, which is logged once.
const EPISODE_MS = 60_000;

/**
 * Makes middleware that refuses requests of a priority while the event loop is late. It comes
 * before the body is parsed, so that a refusal is cheap, and leaves nothing behind.
 */
function makeShedding ({ shedder, log }) {
  if (shedder === undefined) return () => [];
  let refusedAt = -Infinity;

  function note () {
    const now = clock.now();
    const isNew = now - refusedAt > EPISODE_MS;
    refusedAt = now;
    if (!isNew) return;
    const { delay, pressure } = shedder;
    log.warn({ delayMs: Math.round(delay), pressure },
      'The event loop is late: requests of low priority are refused');
  }

  return priority => function shed (req, res, next) {
    return shedder.execute(() => next(), { priority }).catch(error => {
      note();
      throw error;
    });
  };
}

/** What a shop's own server asks for, with its token: orders and messages. */
function makeOrderRouter (gateway, express) {
  const { config, degradation, store } = gateway;
  // A shop sends as much as it sells.
  const access = createAdminAccess(
    { tokens: shopTokensOf(config), rateLimit: { requests: Infinity } });
  const allowed = [access.enter, access.need('operate')];
  // Read-only while the database is away: what cannot be kept is not taken in.
  const writable = degradation.guard(
    () => degradation.conditionOf('database') !== 'down', { methods: ['POST'] });
  const shed = makeShedding(gateway);
  const readBody = jsonBody(express, config.server.bodyLimit);
  const change = priority => [allowed, writable, shed(priority), readBody];
  const { idempotency } = store;
  const router = express.Router();
  router.post('/orders', change(PRIORITY.order), idempotentJointly({ idempotency }),
    (req, res) => createOrder(gateway, req, res));
  router.get('/orders/:id', allowed, shed(PRIORITY.question),
    (req, res) => showOrder(gateway, req, res));
  const takeMessages = [change(PRIORITY.message), idempotent({ idempotency })];
  router.post('/notifications', takeMessages, async (req, res) => {
    // After a stall, another process may have enqueued them. The same order is never made twice.
    await req.idempotency?.confirm();
    sendJson(res, 202, await gateway.notify(req.body));
  });
  return router;
}

// ---- The application ---------------------------------------------------------------------------

function makeParts (gateway, express) {
  const { config, store, degradation, health, worker, sessions, shedder, log } = gateway;
  const breakers = () => [
    ...Object.values(gateway.breakers),
    ...(sessions?.breakers.entries() ?? []).map(([, breaker]) => breaker),
  ];
  const onError = (error, req) => log.error({ err: error, request: req.id }, 'A request failed');
  const events = createEventStream({ breakers, degradation, store, sessions });
  const history = createBreakerHistory({ breakers });
  const service = createServiceHistory({ store, worker, breakers });
  const { tokens } = config.admin;
  const metrics = config.metrics.access === 'off' ? undefined : createMetrics({
    breakers, degradation, health, worker, store, retries: gateway.retries, fallbacks: gateway,
    ...shedder !== undefined && { policies: { gateway: policy({ shed: shedder }) } },
  });
  const webhooks = createWebhookRouter({
    ...gateway.clients.midtrans && { payments: store.payments },
    whatsapp: gateway.clients.whatsapp,
    deliveries: store.deliveries,
    onNews: news => gateway.emit('whatsapp', news),
    maxBody: config.server.bodyLimit,
    onError,
  });
  const admin = createAdminRouter({
    tokens, breakers, history, service, sessions, store, degradation, events, health,
    onError,
    report: options => gateway.report(options),
    log: entry => log.info({ audit: entry }, 'Admin'),
  });
  const access = { health: config.health.access, metrics: config.metrics.access };
  const routers = [
    // The busiest routes first: each router costs a little.
    makeOrderRouter(gateway, express),
    webhooks,
    createHealthRouter({
      health, degradation, breakers, deadLetters: store.deadLetters, sessions, tokens,
      access: access.health,
    }),
    ...metrics === undefined ? [] : [metrics.router({ tokens, access: access.metrics })],
    admin,
    createOpenApiRouter(express, { webhooks, admin, access }),
    createDashboardRouter(),
  ];
  const close = () => [events, history, service, metrics].forEach(part => part?.close());
  return { routers, onError, close };
}

/**
 * Middleware for what no router has answered: 404, and errors. Anybody can cause them, so to
 * callers without a token they are refusals.
 */
function makeEnd ({ config }, onError) {
  const knows = knowsOf([...shopTokensOf(config), ...config.admin.tokens]);
  const handle = problemHandler({ onError });
  function answer (req, res, send) {
    if (res.locals.caller !== undefined || knows(req)) send();
    else refusals.answer(res, send);
  }
  return [
    function noSuchAddress (req, res) {
      answer(req, res, () => notFound(req, res));
    },
    function handleError (error, req, res, next) {
      answer(req, res, () => handle(error, req, res, next));
    },
  ];
}

/** An Express 5 application with all routes of a gateway; `app.locals.close()` ends its streams. */
function createApp (gateway, options) {
  const { extend } = OPTIONS.read(options);
  checkPeers(SERVER, 'createApp');
  const express = requirePeer('express', 'createApp');
  const app = express();
  app.disable('x-powered-by');
  app.set('trust proxy', gateway.config.server.trustProxy);
  app.set('query parser', 'simple');
  const { routers, onError, close } = makeParts(gateway, express);
  app.use(accessLog(gateway.log));
  for (const router of routers) app.use(router);
  if (extend !== undefined) asked('extend failed', () => extend(app));
  app.get('/', (req, res) => res.redirect('/dashboard/'));
  app.use(makeEnd(gateway, onError));
  app.locals.close = close;
  return app;
}

// ---- The server --------------------------------------------------------------------------------

function listen (server, { port, host }) {
  return new Promise((resolve, reject) => {
    server.once('error', error => reject(new SekeringError('ERR_LISTEN',
      `Cannot listen on ${host}:${port} (${read(error, 'code')})`, { cause: error })));
    server.listen(port, host, resolve);
  });
}

/**
 * Follows the answers of a server. The returned function adds `Connection: close` to those that
 * have not begun yet: another request on such a connection would be cut off unread.
 */
function followAnswers (server) {
  const answers = new Set();
  const last = res => {
    if (!res.headersSent) res.setHeader('Connection', 'close');
  };
  server.prependListener('request', (req, res) => {
    if (!server.listening) return last(res);
    answers.add(res);
    res.on('close', () => answers.delete(res));
  });
  return () => answers.forEach(last);
}

const hasBody = ({ headers }) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/**
 * Limits the connections of a server. One more takes the place of the one that has waited longest
 * for its client: idle, or with a request that has not arrived completely, or with an answer that
 * is not read or is a refusal. If none waits, the new one is refused. So clients that only hold
 * connections cannot keep others out.
 */
function limitConnections (server, max) {
  // The answer of each connection, if there is one.
  const connections = new Map();
  const waiting = new Set();

  function forget (socket) {
    connections.delete(socket);
    waiting.delete(socket);
  }

  function findWaiting () {
    for (const socket of waiting) return socket;
    for (const [socket, res] of connections) {
      if (res?.writableEnded || refusals.has(res)) return socket;
    }
    return undefined;
  }

  server.on('connection', socket => {
    socket.on('close', () => forget(socket));
    if (connections.size >= max) {
      const loser = findWaiting();
      (loser ?? socket).destroy();
      if (loser === undefined) return;
      forget(loser);
    }
    connections.set(socket, undefined);
    waiting.add(socket);
  });
  server.prependListener('request', (req, res) => {
    const { socket } = req;
    if (!connections.has(socket)) return;
    connections.set(socket, res);
    if (hasBody(req)) req.on('end', () => waiting.delete(socket));
    else waiting.delete(socket);
    res.on('close', () => { if (connections.has(socket)) waiting.add(socket); });
  });
}

/** Closes a server: idle connections at once, others when they are done or the time is over. */
function closeServer (server, timeoutMs) {
  return new Promise(resolve => {
    const timer = clock.setTimer(() => server.closeAllConnections(), timeoutMs);
    server.close(() => {
      clock.clearTimer(timer);
      resolve();
    });
    server.closeIdleConnections();
    // Connections in use end with their answer.
    server.keepAliveTimeout = 1;
  });
}

/** Starts a gateway and its HTTP server. */
async function startServer (gateway, options) {
  const { host, port, shutdownTimeout, connections } = gateway.config.server;
  const app = createApp(gateway, options);
  const server = http.createServer({
    headersTimeout: HEADERS_TIMEOUT_MS, requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: SLOW_CHECK_MS, keepAliveTimeout: KEEP_ALIVE_MS,
  }, app);
  limitConnections(server, connections);
  const endAnswers = followAnswers(server);
  const end = async () => {
    app.locals.close();
    endAnswers();
    if (server.listening) await closeServer(server, shutdownTimeout);
  };
  try {
    await listen(server, { port, host });
    await gateway.start();
  } catch (error) {
    await end();
    throw error;
  }
  let closing;
  const close = async () => {
    gateway.health.drain();
    await end();
    await gateway.stop();
  };
  const bound = server.address().port;
  const shown = host.includes(':') ? `[${host}]` : host;
  return {
    url: `http://${shown}:${bound}`, port: bound, app, server, close: () => (closing ??= close()),
  };
}

module.exports = { createApp, startServer };
