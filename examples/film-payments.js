'use strict';

// The payments of a film service, in Express: orders, Midtrans's webhook, and mails. Midtrans goes
// down and comes back. The fakes of sekering/testing stand in for Midtrans and the mail relay.

const express = require('express');

const { getCircuitBreaker, presets, resetCircuitBreaker } = require('sekering');
const { createDegradation } = require('sekering/gateway');
const { createWebhookRouter, problemHandler } = require('sekering/http');
const { MidtransClient } = require('sekering/midtrans');
const { SmtpClient } = require('sekering/smtp');
const { openStore } = require('sekering/store');
const { startMidtransFake, startSmtpFake } = require('sekering/testing');

/** The service. Everything that it needs is passed in. */
async function startService ({ midtransUrl, serverKey, smtp }) {
  const breakers = {
    midtrans: getCircuitBreaker('midtrans', presets.midtrans),
    smtp: getCircuitBreaker('smtp', presets.smtp),
  };
  for (const event of ['open', 'close']) {
    breakers.midtrans.on(event, () => console.log(`alert: midtrans ${event}`));
  }

  const midtrans = new MidtransClient({
    serverKey, baseUrls: { snap: midtransUrl, core: midtransUrl }, retry: false,
    breaker: breakers.midtrans,
  });
  const mails = new SmtpClient({
    smtp, from: 'Films <films@example.com>', retry: false, breaker: breakers.smtp,
  });
  const store = await openStore({
    memory: true, // In production: { url } of a PostgreSQL
    payments: {
      midtrans,
      hooks: {
        onPaid: ({ orderId }) => store.outbox.enqueue({
          channel: 'EMAIL', recipient: 'ani@example.com', subject: 'Your film',
          template: 'Order {{orderId}} is paid. Enjoy your film!', data: { orderId },
          dedupeKey: `paid-${orderId}`,
        }),
      },
    },
  });
  const worker = store.outbox.createWorker({
    channels: {
      ...store.payments.senders(), // Creates the queued orders, and runs onPaid.
      EMAIL: {
        breaker: breakers.smtp,
        send: ({ recipient, subject, body, reference }) => mails.send({
          to: recipient, subject, text: body, messageId: `<${reference}@films.example.com>`,
        }),
      },
    },
  });
  await worker.start();
  const degradation = createDegradation({
    services: { ...breakers, database: async () => (await store.health()).ok },
  });
  await degradation.start();

  const app = express();
  app.use(createWebhookRouter({ payments: store.payments }));
  app.use(express.json());
  app.post('/orders', async (req, res) => {
    degradation.requireService('database');
    // While Midtrans is down, the order is queued, and its payment page is created later.
    const { order, queued, error } = await store.payments.open(req.body);
    if (queued) res.status(202).json({ queued, error: error.code });
    else res.status(201).json({ token: order.token });
  });
  const guard = degradation.guard(() => degradation.canAcceptOrders());
  app.post('/refunds', guard, async (req, res) => {
    res.json(await midtrans.refund(req.body.order_id, { amount: req.body.amount }));
  });
  app.use(problemHandler());
  const server = await new Promise(resolve => {
    const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
  });

  return {
    url: `http://127.0.0.1:${server.address().port}`,
    payments: store.payments,
    worker,
    async stop () {
      server.close();
      degradation.stop();
      await worker.stop();
      await midtrans.close();
      mails.close();
      await store.close();
    },
  };
}

// ---- A day in its life -------------------------------------------------------------------------

const post = (url, body) => fetch(url, {
  method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body),
});
const orderOf = id => ({ transaction_details: { order_id: id, gross_amount: 50_000 } });

async function main () {
  const midtrans = await startMidtransFake();
  const relay = await startSmtpFake();
  const service = await startService({
    midtransUrl: midtrans.url, serverKey: 'SB-Mid-server-fake',
    smtp: { host: relay.host, port: relay.port },
  });
  const order = async id => {
    const response = await post(`${service.url}/orders`, orderOf(id));
    return [id, response.status, Object.keys(await response.json())];
  };
  /** Resolves when the order reaches that state. */
  const becomes = (id, state) => new Promise(resolve => {
    service.payments.on('transition', ({ orderId }, { to }) => {
      if (orderId === id && to === state) resolve();
    });
  });

  midtrans.set({ kind: 'error', status: 503 });
  const early = ['order-1', 'order-2', 'order-3', 'order-4', 'order-5'];
  // The fifth failure opens the circuit.
  for (const answer of await Promise.all(early.map(order))) console.log(...answer);
  const refund = await post(`${service.url}/refunds`, { order_id: 'order-0', amount: 50_000 });
  const { code, retryAfter } = await refund.json();
  console.log('refund', refund.status, code, retryAfter);

  midtrans.set(null);
  const made = Promise.all(early.map(id => becomes(id, 'created')));
  resetCircuitBreaker('midtrans'); // An operator need not wait for resetTimeout.
  await made;
  console.log('the queued orders have their pages');
  console.log(...await order('order-6'));

  midtrans.choose('order-1', 'qris');
  midtrans.settle('order-1');
  const mailed = new Promise(resolve => {
    service.worker.on('sent', ({ channel }) => { if (channel === 'EMAIL') resolve(); });
  });
  // Midtrans often sends a notification more than once.
  await midtrans.notify(`${service.url}/webhooks/midtrans`, 'order-1', { repeat: 3 });
  await mailed;
  for (const { to, subject } of relay.messages) console.log(`mail to ${to}: ${subject}`);

  await service.stop();
  await Promise.all([midtrans.close(), relay.close()]);
}

main();
