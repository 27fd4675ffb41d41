'use strict';

// A small shop on the server of the demo: a list of films that may be stale, a checkout that waits
// for its payment page, and a switch for each upstream.

const fs = require('node:fs');
const path = require('node:path');

const { requirePeer } = require('../../base/peer');
const { ownSiteOnly } = require('../../http/admin-auth');
const { jsonBody, problem } = require('../../http/problem');
const { stateOf: stateOfBreaker } = require('../../primitives/stats');
const { FAULTS, FILMS } = require('./upstreams');

const FOLDER = path.join(__dirname, 'page');
const BROWSER = path.join(__dirname, '..', '..', 'browser', 'auto-retry.js');
const FILES = {
  '': ['index.html', 'text/html; charset=utf-8'],
  'shop.js': ['shop.js', 'text/javascript; charset=utf-8'],
  'shop.css': ['shop.css', 'text/css; charset=utf-8']
};
const HEADERS = {
  'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Cache-Control': 'no-store'
};

/** Rejects other host names, whose owners could read the token (DNS rebinding). */
function localOnly (req, res, next) {
  if (/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(req.headers.host)) return next();
  problem(res, 403);
}

function addPages (app) {
  app.use('/shop', localOnly);
  app.get('/', (req, res) => res.redirect('/shop/'));
  app.get(['/shop/', '/shop/:file'], (req, res, next) => {
    const { file = '' } = req.params;
    if (file === 'auto-retry.js') return serve(res, BROWSER, FILES['shop.js'][1]);
    if (!Object.hasOwn(FILES, file)) return next();
    const [name, type] = FILES[file];
    serve(res, path.join(FOLDER, name), type);
  });
}

function serve (res, file, type) {
  res.set({ ...HEADERS, 'Content-Type': type }).send(fs.readFileSync(file));
}

function stateOf (demo) {
  const { upstreams, gateway, orders, work, waitingOrders } = demo;
  return {
    token: upstreams.token,
    level: gateway.degradation.level.name,
    upstreams: Object.entries(upstreams.labels).map(([name, label]) => ({
      name, label, isWell: label === 'well',
      breaker: stateOfBreaker(gateway.breakers[name])
    })),
    orders: { ...orders, waiting: waitingOrders.size },
    work
  };
}

async function showFilms (films, res) {
  const { value, source, error } = await films.answer();
  const isCopy = source !== 'call';
  res.json({
    films: value.films, stale: isCopy, ageMs: Date.now() - value.at,
    ...isCopy && { why: error?.code }
  });
}

async function order (demo, req, res) {
  const film = FILMS.find(({ id }) => id === req.body?.film);
  if (film === undefined) return problem(res, 400, { detail: 'Unknown film.' });
  const { queued, orderId, redirectUrl } = await demo.order(film.price);
  res.status(queued ? 202 : 201).json({ queued, orderId, redirectUrl });
}

/** 503 while there is no payment page, so that the browser tries again. */
async function showOrder (demo, req, res) {
  const found = await demo.gateway.store.payments.get(req.params.id);
  if (found === undefined) return problem(res, 404);
  const { orderId, state, redirectUrl } = found;
  if (redirectUrl === null) {
    return problem(res, 503, { retryAfter: 2, detail: 'The order is queued.' });
  }
  res.json({ orderId, state, redirectUrl });
}

function addShop (app, demo) {
  const express = requirePeer('express', 'sekering demo');
  const change = [ownSiteOnly, jsonBody(express, 1024)];
  let films;
  addPages(app);
  app.get('/shop/api/state', (req, res) => res.json(stateOf(demo)));
  app.get('/shop/api/films', (req, res) => {
    films ??= demo.gateway.upstream('films', () => demo.upstreams.films.load(),
      { key: () => 'all' });
    return showFilms(films, res);
  });
  app.post('/shop/api/orders', change, (req, res) => order(demo, req, res));
  app.get('/shop/api/orders/:id', (req, res) => showOrder(demo, req, res));
  app.post('/shop/api/upstreams/:name', change, (req, res) => {
    const { name } = req.params;
    if (!Object.hasOwn(FAULTS, name) || typeof req.body?.broken !== 'boolean') {
      return problem(res, 400);
    }
    demo.switch(name, req.body.broken);
    res.json(stateOf(demo));
  });
}

module.exports = { addShop };
