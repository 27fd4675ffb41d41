'use strict';

// The gateway over HTTP: one Express application with all routers, and the server around it.

const { randomUUID } = require('node:crypto');
const http = require('node:http');

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { requirePeer } = require('../base/peer');
const { createAdminRouter } = require('./admin-routes');
const { createBreakerHistory } = require('./breaker-history');
const { createDashboardRouter } = require('./dashboard-routes');
const { createEventStream } = require('./events');
const { createHealthRouter } = require('./health-routes');
const { createMetrics } = require('./metrics');
const { createOrderRouter } = require('./order-routes');
const { notFound, problemHandler } = require('./problem');
const { createWebhookRouter } = require('./webhook-routes');

const REQUEST_ID = /^[\w.-]{1,64}$/;
const PATH_MAX = 300;
const QUIET = /^\/(health|metrics|api\/health)(\/|$)/;
const REQUEST_TIMEOUT_MS = 30_000;
// What an open connection may be idle before a proxy's own limit (60 s, mostly) is reached.
const KEEP_ALIVE_MS = 65_000;

/** One line for each request. A query may hold a secret, so it is left out. */
function accessLog (log) {
  return function logAccess (req, res, next) {
    const given = req.headers['x-request-id'];
    const id = given !== undefined && REQUEST_ID.test(given) ? given : randomUUID();
    const began = clock.now();
    const path = req.originalUrl.split('?', 1)[0].slice(0, PATH_MAX);
    res.setHeader('X-Request-Id', id);
    req.id = id;
    // What machines ask every few seconds is worth no line.
    const level = QUIET.test(path) ? 'debug' : 'info';
    res.on('close', () => {
      log[level]({
        request: id, method: req.method, path, status: res.statusCode,
        ms: Math.round(clock.now() - began), address: req.ip, finished: res.writableFinished,
      }, 'Request');
    });
    next();
  };
}

function makeParts (gateway) {
  const { config, store, degradation, health, worker, sessions, log } = gateway;
  const breakers = () => [
    ...Object.values(gateway.breakers),
    ...(sessions?.breakers.entries() ?? []).map(([, breaker]) => breaker),
  ];
  const onError = (error, req) => log.error({ err: error, request: req.id }, 'A request failed');
  const events = createEventStream({ breakers, degradation, store, sessions });
  const history = createBreakerHistory({ breakers });
  const metrics = createMetrics({
    breakers, degradation, health, worker, store, retries: gateway.retries, fallbacks: gateway,
  });
  const routers = [
    // First what is asked for most: the others' routes cost a little each.
    createOrderRouter(gateway),
    createWebhookRouter({
      ...gateway.clients.midtrans && { payments: store.payments },
      whatsapp: gateway.clients.whatsapp,
      deliveries: store.deliveries,
      onNews: news => gateway.emit('whatsapp', news),
      maxBody: config.server.bodyLimit,
      onError,
    }),
    createHealthRouter({
      health, degradation, breakers, deadLetters: store.deadLetters, sessions
    }),
    metrics.router(),
    createAdminRouter({
      tokens: config.admin.tokens, breakers, history, sessions, store, degradation, events, health,
      onError,
      report: options => gateway.report(options),
      log: entry => log.info({ audit: entry }, 'Admin'),
    }),
    createDashboardRouter(),
  ];
  const close = () => [events, history, metrics].forEach(part => part.close());
  return { routers, onError, close };
}

/**
 * An Express 5 application with everything that a gateway has to say.
 * @param {object} gateway of createGateway
 * @param {{ extend?: (app: object) => void }} [options] extend: adds routes of one's own
 * @returns {object} the application; `app.locals.close()` ends its streams
 */
function createApp (gateway, { extend } = {}) {
  const express = requirePeer('express', 'createApp');
  const app = express();
  app.disable('x-powered-by');
  app.set('trust proxy', gateway.config.server.trustProxy);
  app.set('query parser', 'simple');
  const { routers, onError, close } = makeParts(gateway);
  app.use(accessLog(gateway.log));
  for (const router of routers) app.use(router);
  extend?.(app);
  app.use(notFound);
  app.use(problemHandler({ onError }));
  app.locals.close = close;
  return app;
}

function listen (server, { port, host }) {
  return new Promise((resolve, reject) => {
    server.once('error', error => reject(new SekeringError('ERR_LISTEN',
      `Cannot listen on ${host}:${port} (${error.code})`, { cause: error })));
    server.listen(port, host, resolve);
  });
}

/**
 * Follows the answers of a server; the function that is returned says in those that are still to
 * come that nothing may follow on their connection: a request that does would be cut off unread.
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

/** Ends a server: idle connections at once, those in use when they are done, or by force. */
function closeServer (server, timeoutMs) {
  return new Promise(resolve => {
    const timer = clock.setTimer(() => server.closeAllConnections(), timeoutMs);
    server.close(() => {
      clock.clearTimer(timer);
      resolve();
    });
    server.closeIdleConnections();
    // Those that are in use now end with their answer.
    server.keepAliveTimeout = 1;
  });
}

/**
 * Starts a gateway and its HTTP server.
 * @param {object} gateway
 * @param {object} [options] of createApp
 * @returns {Promise<{ url: string, port: number, app: object, server: object,
 *   close: () => Promise<void> }>} close: takes no more, finishes what is in flight, and stops the
 *   gateway
 */
async function startServer (gateway, options) {
  const { host, port, shutdownTimeout } = gateway.config.server;
  const app = createApp(gateway, options);
  const server = http.createServer({
    requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS,
  }, app);
  const endAnswers = followAnswers(server);
  await listen(server, { port, host });
  await gateway.start();
  let closing;
  const close = async () => {
    gateway.health.drain();
    app.locals.close();
    endAnswers();
    await closeServer(server, shutdownTimeout);
    await gateway.stop();
  };
  const bound = server.address().port;
  const shown = host.includes(':') ? `[${host}]` : host;
  return {
    url: `http://${shown}:${bound}`, port: bound, app, server, close: () => (closing ??= close()),
  };
}

module.exports = { createApp, startServer };
