'use strict';

// The closing sums of the demo: every order, e-mail and message is in exactly one place, and the
// servers have counted the same.

const checkOf = (text, ok) => ({ text, ok });

const before = count => (count > 0 ? ` + ${count} from an earlier run` : '');

function orderChecks ({ orders, waitingOrders, tokens, known, inFlight, upstreams, stopped }) {
  const pages = [...upstreams.midtrans.orders.values()];
  // After a lost answer the page is made again, under the id of the order and a number.
  const strays = pages.filter(({ orderId }) => {
    const id = orderId.split('~')[0];
    return !known.has(id) && !tokens.has(id);
  }).length;
  const made = new Set(pages.map(({ token }) => token));
  const agreed = [...tokens.values()].filter(token => made.has(token)).length;
  const waiting = waitingOrders.size;
  return [
    checkOf(`orders: ${orders.in} in = ${orders.atOnce} with a page at once + ` +
      `${orders.queued} queued`,
    inFlight === 0 && orders.refused === 0 && orders.in === orders.atOnce + orders.queued),
    checkOf(`orders: ${orders.queued} queued${before(orders.before)} = ${orders.later} made ` +
      `later + ${waiting} still waiting`,
    orders.queued + orders.before === orders.later + waiting),
    checkOf(`orders: Midtrans made ${made.size} pages; ${agreed} of our ${tokens.size} tokens ` +
      'match', strays === 0 && agreed === tokens.size &&
      tokens.size === orders.atOnce + orders.later),
    ...emptyChecks('orders', waiting, stopped)
  ];
}

/** The sums of sent messages. `arrived`: the ids that the server received, with repetitions. */
function sendingChecks (name, server, work, sent, arrived, stopped) {
  const distinct = new Set(arrived);
  const repeated = arrived.length - distinct.size;
  const known = [...sent].filter(id => distinct.has(id)).length;
  // Received by the server, but not yet confirmed to us when the run ended.
  const unconfirmed = distinct.size - known;
  return [
    checkOf(`${name}: ${work.in} in${before(work.before)} = ${work.sent} sent + ` +
      `${work.waiting} still waiting + ${work.dead} dead`,
    work.in + work.before === work.sent + work.waiting + work.dead && work.dead === 0),
    checkOf(`${name}: ${server} received ${distinct.size}` +
      `${repeated > 0 ? ` (and ${repeated} duplicates)` : ''}, confirmed to us: ${known}`,
    known === sent.size && sent.size === work.sent && unconfirmed <= work.waiting),
    ...emptyChecks(name, work.waiting, stopped)
  ];
}

// Only a run that was cut short may leave messages in the queue.
function emptyChecks (name, waiting, stopped) {
  if (stopped) return [];
  return [checkOf(`${name}: none left waiting`, waiting === 0)];
}

/**
 * @param {object} demo a demo that has run
 * @returns {{ ok: boolean, waiting: number, checks: { text: string, ok: boolean }[] }}
 */
function sumsOf (demo) {
  const { upstreams, work, sent, stopped } = demo;
  const { emails, messages } = work;
  const checks = [
    ...orderChecks(demo),
    ...sendingChecks('e-mails', 'the mail server', emails, sent.emails,
      upstreams.smtp.messages.map(({ messageId }) => messageId), stopped),
    ...sendingChecks('messages', 'WhatsApp', messages, sent.messages,
      upstreams.whatsapp.messages.map(({ reference }) => reference), stopped)
  ];
  const waiting = demo.waitingOrders.size + emails.waiting + messages.waiting;
  return { ok: checks.every(check => check.ok), waiting, checks };
}

module.exports = { sumsOf };
