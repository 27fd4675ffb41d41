'use strict';

// What the tests of payments share: a store whose payments ask a Midtrans fake, and a server that
// takes the fake's notifications.

const { once } = require('node:events');
const http = require('node:http');

const { openDatabase } = require('../../lib/store/database');
const { createIdempotency } = require('../../lib/store/idempotency');
const { migrate } = require('../../lib/store/migrate');
const { createOutbox } = require('../../lib/store/outbox');
const { createPayments } = require('../../lib/store/payments');
const { closeAll, keep, order, start } = require('./midtrans-helpers');

/** An open database that several tests share. */
async function openShared (place) {
  const database = await openDatabase(place);
  await migrate(database);
  return database;
}

/** What a test opened is closed. The workers of the next one get no message that it left. */
async function endTest (database) {
  await closeAll();
  await database.query(`DELETE FROM ${database.schema}.notification_outbox`);
}

/**
 * Payments on a database, with a fake and a client of it.
 * @param {object} database
 * @param {{ hooks?: object, payments?: object, midtrans?: object }} [options]
 */
async function pay (database, { hooks, payments: more, midtrans: clientOptions } = {}) {
  const { fake, client: midtrans } = await start(clientOptions);
  const outbox = createOutbox({ database, options: {} });
  const idempotency = createIdempotency({ database });
  const payments = keep(createPayments({
    database, outbox, idempotency, options: { midtrans, hooks, ...more },
  }));
  const seen = { transition: [], held: [], released: [], forged: [], warning: [] };
  payments.on('transition', (made, { from, to }) =>
    seen.transition.push(`${made.orderId}: ${from} > ${to}`));
  payments.on('released', ({ orderId }) => seen.released.push(orderId));
  for (const event of ['held', 'forged', 'warning']) {
    payments.on(event, (first, second) => seen[event].push(second ?? first));
  }
  const deliver = async notification => payments.handleNotification(JSON.stringify(notification));
  return { fake, midtrans, outbox, idempotency, payments, seen, deliver };
}

/**
 * Opens an order under an idempotency key, as POST /orders does.
 * @returns {Promise<{ value: object, replayed: boolean }>} as `run` of Idempotency
 */
async function openKeyed ({ payments, idempotency }, key, body, options) {
  const answerOf = ({ queued, order: { orderId, state, token } }) =>
    ({ queued, orderId, state, token });
  return idempotency.runJointly(key, async ({ joint }) => {
    let shown;
    const resultOf = opened => {
      shown = answerOf(opened);
      return shown;
    };
    const opened = await payments.open(body, undefined, joint.after(resultOf));
    return joint.isSettled ? shown : answerOf(opened);
  }, { payload: body, ...options });
}

/** Takes an order in and makes it at the fake; the customer has chosen how to pay. */
async function placed ({ payments, fake }, orderId, amount = 10_000) {
  await payments.open(order(orderId, amount));
  fake.choose(orderId);
}

/** Starts a worker for payments. */
async function work ({ outbox, payments }, options) {
  const worker = outbox.createWorker({
    channels: payments.senders(), pollInterval: 20, leaseMs: 1000, ...options
  });
  keep({ close: () => worker.stop() });
  await worker.start();
  return worker;
}

/** Takes notifications over HTTP. @returns {Promise<string>} its address */
async function listen (payments) {
  const server = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', chunk => chunks.push(chunk));
    request.on('end', async () => {
      const { status, body } =
        await payments.handleNotification(Buffer.concat(chunks), request.headers);
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    });
  }).listen(0, '127.0.0.1');
  keep({ close: () => { server.close(); server.closeAllConnections(); } });
  await once(server, 'listening');
  return `http://127.0.0.1:${server.address().port}/`;
}

/** Waits until `check` gives something, looking again and again. */
async function until (check, ms = 30_000) {
  const end = Date.now() + ms;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > end) throw new Error(`Waited ${ms} ms in vain for ${check}`);
    await new Promise(resolve => { setTimeout(resolve, 10); });
  }
}

/** Waits until an order's page has been made. */
const createdBy = ({ payments }, orderId) => until(async () => {
  const found = await payments.get(orderId);
  return found.state === 'created' ? found : undefined;
});

/** The messages of the outbox about an order, oldest first. */
const messagesOf = async (database, orderId) => (await database.query(`SELECT channel, status,
  attempt_count::int AS attempts FROM ${database.schema}.notification_outbox
  WHERE recipient = $1 ORDER BY id`, [orderId])).rows;

module.exports = {
  createdBy, endTest, listen, messagesOf, openKeyed, openShared, pay, placed, until, work,
};
