'use strict';

// The services that are compared. All give the same answer to POST /orders: `gateway` is
// sekering's, `shop` is what one would write without it, `bare` is that without a database.

const { createHash, randomUUID, timingSafeEqual } = require('node:crypto');
const { once } = require('node:events');

const SERVER_KEY = 'SB-Mid-server-fake';
const TOKEN = 'token-of-the-shop-under-load';

/** @param {{ midtrans: string, database: string, namespace: string, config?: object }} options */
async function gateway ({ midtrans, database, namespace, config = {} }) {
  const { createGateway } = require('../../../lib/gateway');
  const { startServer } = require('../../../lib/http/app');
  const { breaker, fallback, server, ...more } = config;
  const { url, close } = await startServer(await createGateway({
    server: { port: 0, tokens: [{ name: 'shop', token: TOKEN }], ...server },
    store: { url: database },
    midtrans: {
      serverKey: SERVER_KEY, snapUrl: midtrans, coreUrl: midtrans, circuitBreaker: breaker
    },
    retry: { circuitBreaker: { namespace }, fallback },
    ...more,
  }));
  return { url, close };
}

const hashOf = text => createHash('sha256').update(text).digest();

/** A bearer token, compared in constant time. */
function bearer () {
  const expected = hashOf(`Bearer ${TOKEN}`);
  return (req, res, next) => {
    if (timingSafeEqual(hashOf(req.headers.authorization ?? ''), expected)) next();
    else res.status(401).end();
  };
}

function accessLog () {
  const pino = require('pino');
  const log = pino({ base: { pid: process.pid } }, pino.destination({ dest: 1, sync: true }));
  return (req, res, next) => {
    const began = performance.now();
    const id = randomUUID();
    res.setHeader('X-Request-Id', id);
    res.on('close', () => log.info({
      request: id, method: req.method, path: req.originalUrl, status: res.statusCode,
      ms: Math.round(performance.now() - began), address: req.ip,
    }, 'Request'));
    next();
  };
}

/** Asks as MidtransClient does: pooled connections, one request at a time on each, 10 s. */
function asker (midtrans) {
  const { Pool } = require('undici');
  const pool = new Pool(midtrans, { connections: 64, pipelining: 1 });
  const headers = {
    accept: 'application/json',
    authorization: `Basic ${Buffer.from(`${SERVER_KEY}:`).toString('base64')}`,
    'content-type': 'application/json',
  };
  return async order => {
    const { statusCode, body } = await pool.request({
      path: '/snap/v1/transactions', method: 'POST', headers, body: JSON.stringify(order),
      headersTimeout: 10_000, bodyTimeout: 10_000,
    });
    const answer = await body.json();
    if (statusCode !== 201) throw new Error(`Midtrans answered ${statusCode}`);
    return answer;
  };
}

/** Orders are kept as in most shops: by one statement, once Midtrans has answered. */
async function keeper (database) {
  const { Pool } = require('pg');
  const pool = new Pool({ connectionString: database, max: 10 });
  await pool.query('SELECT pg_advisory_lock(1)');
  await pool.query(`CREATE TABLE IF NOT EXISTS orders (order_id text PRIMARY KEY,
    state text NOT NULL, amount bigint NOT NULL, body jsonb NOT NULL, token text NOT NULL,
    redirect_url text NOT NULL, created_at timestamptz NOT NULL DEFAULT now())`);
  await pool.query('SELECT pg_advisory_unlock_all()');
  return (order, { token, redirect_url: url }) => pool.query({
    name: 'keep',
    text: `INSERT INTO orders (order_id, state, amount, body, token, redirect_url)
      VALUES ($1, 'created', $2, $3, $4, $5)`,
    values: [order.transaction_details.order_id, order.transaction_details.gross_amount,
      JSON.stringify(order), token, url],
  });
}

async function serveShop (midtrans, keep) {
  const express = require('express');
  const app = express();
  const ask = asker(midtrans);
  app.disable('x-powered-by');
  app.use(accessLog());
  app.post('/orders', bearer(), express.json({ limit: 65_536 }), async (req, res) => {
    const page = await ask(req.body);
    await keep(req.body, page);
    const orderId = req.body.transaction_details.order_id;
    res.status(201).set('Location', `/orders/${orderId}`).set('Cache-Control', 'no-store').json({
      queued: false, orderId, state: 'created', token: page.token, redirectUrl: page.redirect_url,
    });
  });
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => new Promise(resolve => {
    server.close(resolve);
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, close };
}

const shop = async ({ midtrans, database }) => serveShop(midtrans, await keeper(database));
const bare = async ({ midtrans }) => serveShop(midtrans, () => {});

module.exports = { TOKEN, bare, gateway, shop };
