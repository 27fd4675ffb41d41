'use strict';

// The webhooks of Midtrans and WhatsApp. Bodies are read as bytes, since they are signed. If a
// parser of the application has already read one, we use what it left, where that is enough.

const { SekeringError } = require('../base/errors');
const { read } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { requirePeer } = require('../base/peer');
const { problem, problemHandler } = require('./problem');

const WHATSAPP_BODY_MAX = 1_048_576;

const OPTIONS = optionsOf({
  payments: is.having('takes the notifications of Midtrans', ['handleNotification'],
    { expected: 'store.payments' }),
  whatsapp: is.object('a client of the Cloud API or of Green API'),
  deliveries: is.having('stores the delivery statuses of WhatsApp', ['record'],
    { expected: 'store.deliveries' }),
  maxBody: is.integer('of a notification of Midtrans',
    { min: 1, max: 1 << 24, default: 65_536, unit: 'bytes' }),
  onNews: is.func('gets what is new in a webhook of WhatsApp, once it is stored'),
  onError: is.func('gets what was answered with 500'),
});

const CURE = 'put app.use(router) before express.json(), or keep the bytes: ' +
  'express.json({ verify: (req, res, buf) => { req.rawBody = buf } })';

const isRaw = value => typeof value === 'string' || value instanceof Uint8Array;

const hasBody = ({ headers }) =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

const lost = () => new SekeringError('ERR_WEBHOOK_BODY',
  `Something has read the body of this webhook before its signature could be checked: ${CURE}`);

/** The body of a webhook: its bytes, or what a parser has made of them. */
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
    // Midtrans signs fields, so a parsed object is as good as the bytes.
    const given = typeof body === 'object' ? body : String(body);
    const { status, body: answer } = await payments.handleNotification(given, req.headers);
    res.status(status).json(answer);
  });
}

function whatsappRoutes (router, client, raw, options) {
  router.get('/webhooks/whatsapp', (req, res) => {
    // Green API has no handshake.
    if (typeof client.handshake !== 'function') return problem(res, 404);
    const answer = client.handshake(req.query);
    if (answer === undefined) return problem(res, 403);
    // The text is chosen by whoever knows the token, so it must not become a page.
    res.type('text/plain').set('X-Content-Type-Options', 'nosniff').send(answer);
  });
  router.post('/webhooks/whatsapp', raw, async (req, res) => {
    // Only the Cloud API signs the bytes.
    const body = typeof client.handshake === 'function' ? bytesOf(req) : bodyOf(req);
    try {
      // If this fails, the answer is an error, and WhatsApp sends the webhook again.
      await client.receiveWebhook(body, req.headers, options);
    } catch (error) {
      const code = read(error, 'code');
      if (code === 'ERR_WHATSAPP_SIGNATURE') return problem(res, 403, { code });
      throw error;
    }
    res.status(200).end();
  });
}

function createWebhookRouter (options) {
  const { payments, whatsapp, deliveries, maxBody, onNews, onError } = OPTIONS.read(options);
  const express = requirePeer('express', 'createWebhookRouter');
  const router = express.Router();
  const raw = limit => express.raw({ type: () => true, limit, inflate: false });
  if (payments !== undefined) midtransRoute(router, payments, raw(maxBody));
  if (typeof read(whatsapp, 'receiveWebhook') === 'function') {
    whatsappRoutes(router, whatsapp, raw(WHATSAPP_BODY_MAX), { deliveries, onNews });
  }
  router.use('/webhooks', problemHandler({ ...onError && { onError } }));
  return router;
}

module.exports = { createWebhookRouter };
