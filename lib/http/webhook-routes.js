'use strict';

// The webhooks of Midtrans and WhatsApp. Bodies are read as they came, since they are signed. If a
// parser of the application has already read one, we use what it left, where that is enough.

const { SekeringError } = require('../base/errors');
const { bag, func, number } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { problem, problemHandler } = require('./problem');

const BODY_MAX = 65_536;
const WHATSAPP_BODY_MAX = 1_048_576;

const CURE = 'put app.use(router) before express.json(), or keep the bytes: ' +
  'express.json({ verify: (req, res, buf) => { req.rawBody = buf } })';

const isRaw = value => typeof value === 'string' || value instanceof Uint8Array;

const hasBody = ({ headers }) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

const lost = () => new SekeringError('ERR_WEBHOOK_BODY',
  `Something has read the body of this webhook before its signature could be checked: ${CURE}`);

/**
 * The body of a webhook: its bytes, or what a parser has made of them.
 * @throws {SekeringError} ERR_WEBHOOK_BODY when a parser has read it and left nothing
 */
function bodyOf ({ rawBody, body, headers }) {
  if (isRaw(rawBody)) return rawBody;
  if (body === undefined && hasBody({ headers })) throw lost();
  return body ?? Buffer.alloc(0);
}

/** The bytes of a body. @throws {SekeringError} ERR_WEBHOOK_BODY */
function bytesOf (req) {
  const body = bodyOf(req);
  if (!isRaw(body)) throw lost();
  return body;
}

function midtransRoute (router, payments, raw) {
  router.post('/webhooks/midtrans', raw, async (req, res) => {
    const body = bodyOf(req);
    // Midtrans signs fields and not bytes.
    const said = typeof body === 'object' ? body : String(body);
    const { status, body: answer } = await payments.handleNotification(said, req.headers);
    res.status(status).json(answer);
  });
}

function whatsappRoutes (router, client, raw, { deliveries, onNews }) {
  router.get('/webhooks/whatsapp', (req, res) => {
    const answer = client.handshake(req.query);
    if (answer === undefined) return problem(res, 403);
    // Whoever knows the token chooses the text, which must not become a page.
    res.type('text/plain').set('X-Content-Type-Options', 'nosniff').send(answer);
  });
  router.post('/webhooks/whatsapp', raw, async (req, res) => {
    const body = bytesOf(req);
    let news;
    try {
      news = client.handleWebhook(body, req.headers['x-hub-signature-256']);
    } catch (error) {
      if (error.code === 'ERR_WHATSAPP_SIGNATURE') return problem(res, 403, { code: error.code });
      throw error;
    }
    // What is not kept has to come again.
    await deliveries?.record(news.statuses);
    res.status(200).end();
    onNews(news);
  });
}

/** Options as the types describe them. */
function createWebhookRouter (options) {
  const {
    payments, whatsapp, deliveries, maxBody = BODY_MAX, onNews = () => {}, onError
  } = bag('options', options);
  number('maxBody', maxBody, { min: 1, max: 1 << 24, integer: true, unit: 'bytes' });
  func('onNews', onNews);
  const express = requirePeer('express', 'createWebhookRouter');
  const router = express.Router();
  const raw = limit => express.raw({ type: () => true, limit, inflate: false });
  if (payments !== undefined) midtransRoute(router, payments, raw(maxBody));
  if (typeof whatsapp?.handleWebhook === 'function') {
    whatsappRoutes(router, whatsapp, raw(WHATSAPP_BODY_MAX), { deliveries, onNews });
  }
  router.use('/webhooks', problemHandler({ ...onError && { onError } }));
  return router;
}

module.exports = { createWebhookRouter };
