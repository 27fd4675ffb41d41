'use strict';

// What Midtrans and WhatsApp tell us. Bodies are read as they came, since they are signed.

const { bag, func, number } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { problem, problemHandler } = require('./problem');

const BODY_MAX = 65_536;
const WHATSAPP_BODY_MAX = 1_048_576;

function midtransRoute (router, payments, raw) {
  router.post('/webhooks/midtrans', raw, async (req, res) => {
    const body = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0);
    const { status, body: answer } = await payments.handleNotification(body, req.headers);
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
    const body = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0);
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
