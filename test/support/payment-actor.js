'use strict';

// A process that deals with payments, and kills itself where it is told to:
//   node payment-actor.js '{ "url", "midtrans", "crash": STEP, "notification"?, "keyed"? }'
// It takes the notification, opens the order `keyed` under its id as the key, or works off the
// outbox. Steps: asked, made (a page of
// Midtrans's), status (GET status was answered), hook (in the middle of one), settled (all is
// done).

const { MidtransClient } = require('../../lib/clients/midtrans');
const { openDatabase } = require('../../lib/store/database');
const { createIdempotency } = require('../../lib/store/idempotency');
const { createOutbox } = require('../../lib/store/outbox');
const { createPayments } = require('../../lib/store/payments');
const { KEY } = require('./midtrans-helpers');
const { openKeyed } = require('./payment-helpers');

const { url, midtrans: address, crash, notification, keyed } = JSON.parse(process.argv[2]);
const die = step => { if (crash === step) process.kill(process.pid, 'SIGKILL'); };

const client = new MidtransClient({ serverKey: KEY, baseUrls: { snap: address, core: address } });

const midtrans = {
  verifyNotification: body => client.verifyNotification(body),
  async createTransaction (...args) {
    die('asked');
    const page = await client.createTransaction(...args);
    die('made');
    return page;
  },
  async status (...args) {
    const body = await client.status(...args);
    die('status');
    return body;
  },
};

async function main () {
  const database = await openDatabase({ url });
  const outbox = createOutbox({ database, options: {} });
  const onPaid = async ({ orderId }) => {
    await database.query('INSERT INTO effects (order_id) VALUES ($1)', [orderId]);
    die('hook');
  };
  const idempotency = createIdempotency({ database });
  const payments = createPayments({
    database, outbox, idempotency, options: { midtrans, hooks: { onPaid } },
  });
  if (keyed) {
    await openKeyed({ payments, idempotency }, keyed.transaction_details.order_id, keyed);
    die('settled');
  }
  if (notification) {
    await payments.handleNotification(JSON.stringify(notification));
    die('settled');
  }
  const worker = outbox.createWorker({
    channels: payments.senders(), leaseMs: 1000, pollInterval: 20
  });
  worker.on('sent', () => die('settled'));
  await worker.start();
}

main();
