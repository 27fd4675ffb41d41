'use strict';

// How metrics are served: a page in parts, and its route.

const { pipeline } = require('node:stream');

const { optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { PAGE_OPTIONS, createPageAccess } = require('./admin-auth');
const { problem } = require('./problem');

const ROUTER = optionsOf(PAGE_OPTIONS);

/**
 * Answers a request, of Express or node:http.
 * @param {() => Promise<AsyncIterable<string>>} open rejects if there is no page
 * @param {() => string} typeOf
 */
async function answer (req, res, open, typeOf) {
  let page;
  try {
    page = await open();
  } catch {
    problem(res, 500, { code: 'ERR_INTERNAL' });
    return;
  }
  res.statusCode = 200;
  res.setHeader('Content-Type', typeOf());
  res.setHeader('Cache-Control', 'no-store');
  if (req.method === 'HEAD') res.end();
  // What fails from here on ends the answer before its end, which the client sees.
  else pipeline(page, res, () => {});
}

/** An Express router with GET /metrics. @param {string} what needs express */
function routerOf (handler, what, options) {
  const { guard } = createPageAccess(ROUTER.read(options));
  const router = requirePeer('express', what).Router();
  if (guard !== undefined) router.get('/metrics', guard, handler);
  return router;
}

module.exports = { answer, routerOf };
