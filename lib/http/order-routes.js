'use strict';

// What a shop's own server asks of the gateway: orders and messages, by bearer token.

const { requirePeer } = require('../base/peer');
const { FIELDS, readInput } = require('./admin');
const { createAdminAccess } = require('./admin-auth');
const { idempotent } = require('./idempotency');
const { problem, sendJson } = require('./problem');

// Refusals of Midtrans that are the order's fault.
const REFUSED = new Set(['ERR_MIDTRANS_REFUSED', 'ERR_MIDTRANS_CONFLICT',
  'ERR_MIDTRANS_CANNOT_MODIFY']);
const RETRY_AFTER_S = 60;

/** Says what is wrong with an order that Midtrans refuses, in Midtrans's words. */
function refused (res, error) {
  if (!REFUSED.has(error?.code)) throw error;
  problem(res, error.code === 'ERR_MIDTRANS_REFUSED' ? 422 : 409, {
    code: error.code, detail: 'Midtrans has refused the order.',
    ...error.validationMessages?.length > 0 && { faults: error.validationMessages },
  });
}

async function createOrder (gateway, req, res) {
  let answer;
  try {
    answer = await gateway.payments.createOrder(req.body);
  } catch (error) {
    return refused(res, error);
  }
  const { queued, orderId, state, token, redirectUrl, error } = answer;
  const place = `/orders/${encodeURIComponent(orderId)}`;
  res.set('Location', place);
  if (!queued) return sendJson(res, 201, { queued, orderId, state, token, redirectUrl });
  const code = error?.code ?? 'ERR_UNAVAILABLE';
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

async function sendMessage (gateway, req, res) {
  const enqueued = await gateway.notify(req.body);
  sendJson(res, 202, enqueued);
}

/**
 * Express router of POST /orders, GET /orders/:id and POST /notifications.
 * @param {object} gateway
 */
function createOrderRouter (gateway) {
  const express = requirePeer('express', 'createOrderRouter');
  const { config, degradation, store } = gateway;
  const tokens = config.server.tokens.map(entry => ({ ...entry, role: 'operate' }));
  // A shop sends as much as it sells.
  const access = createAdminAccess({ tokens, rateLimit: { requests: Infinity } });
  const allowed = [access.enter, access.need('operate')];
  // Read-only while the database is away: what cannot be kept is not taken in.
  const writable = degradation.guard(
    () => degradation.conditionOf('database') !== 'down', { methods: ['POST'] });
  const change = [
    allowed, writable, express.json({ limit: config.server.bodyLimit, inflate: false }),
    idempotent({ idempotency: store.idempotency }),
  ];
  const router = express.Router();
  router.post('/orders', change, (req, res) => createOrder(gateway, req, res));
  router.get('/orders/:id', allowed, (req, res) => showOrder(gateway, req, res));
  router.post('/notifications', change, (req, res) => sendMessage(gateway, req, res));
  return router;
}

module.exports = { createOrderRouter };
