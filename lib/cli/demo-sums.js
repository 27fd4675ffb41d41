'use strict';

// The closing sums of the demonstration: every order, e-mail and message is in exactly one place,
// and the servers counted the same.

const { POSTMASTER } = require('./demo-upstreams');

function checkOf (text, ok) {
  return { text, ok };
}

function orderChecks ({ channels, tokens, upstreams, stopped }) {
  const { tally, waiting, inFlight } = channels.orders;
  const made = upstreams.midtrans.orders;
  const done = tally.atOnce + tally.later + tally.foundDone;
  const strays = waiting.filter(order => made.has(order.id)).length;
  const agreed = [...tokens].filter(([id, token]) => made.get(id)?.token === token).length;
  const found = tally.foundDone > 0 ? ` + ${tally.foundDone} found made` : '';
  return [
    checkOf(`orders: ${tally.in} in = ${tally.atOnce} tokens at once + ${tally.queued} queued`,
      tally.refused === 0 && inFlight === 0 && tally.in === tally.atOnce + tally.queued),
    checkOf(`orders: ${tally.queued} queued = ${tally.later} made later${found}` +
      ` + ${waiting.length} still waiting`,
    tally.refusedLater === 0 &&
      tally.queued === tally.later + tally.foundDone + waiting.length),
    checkOf(`orders: Midtrans made ${made.size}, we know of ${done + strays}; ` +
      `${agreed} of ${tokens.size} tokens agree`,
    made.size === done + strays && agreed === tokens.size &&
      tokens.size === tally.atOnce + tally.later),
    ...emptyChecks('orders', waiting, stopped)
  ];
}

/** The sums of what is sent: `arrived` are the ids that the server took in, repeated ones too. */
function sendingChecks (name, server, { tally, waiting, inFlight }, sent, ids, stopped) {
  const arrived = new Set(ids);
  const repeated = ids.length - arrived.size;
  const strays = waiting.filter(job => arrived.has(job.id)).length;
  const done = tally.atOnce + tally.retried + tally.later;
  const agreed = [...sent].filter(id => arrived.has(id)).length;
  return [
    checkOf(`${name}: ${tally.in} in = ${tally.atOnce} sent at once + ${tally.retried} after a ` +
      `retry + ${tally.queued} queued`,
    inFlight === 0 && tally.in === tally.atOnce + tally.retried + tally.queued),
    checkOf(`${name}: ${tally.queued} queued = ${tally.later} sent later` +
      ` + ${waiting.length} still waiting`, tally.queued === tally.later + waiting.length),
    checkOf(`${name}: ${server} took ${arrived.size}` +
      `${repeated > 0 ? ` (${repeated} of them twice)` : ''}, we know of ${done + strays}`,
    arrived.size === done + strays && agreed === sent.size && sent.size === done),
    ...emptyChecks(name, waiting, stopped)
  ];
}

function emailChecks ({ channels, sent, upstreams, stopped }) {
  const ids = upstreams.smtp.messages
    .filter(message => !message.to.includes(POSTMASTER)).map(message => message.messageId);
  return sendingChecks('e-mails', 'the relay', channels.emails, sent, ids, stopped);
}

function messageChecks ({ channels, told, upstreams, stopped }) {
  const ids = upstreams.whatsapp.messages.map(message => message.reference);
  return sendingChecks('messages', 'WhatsApp', channels.messages, told, ids, stopped);
}

// A run that was cut short may leave a queue; one that ended by itself may not.
function emptyChecks (name, waiting, stopped) {
  if (stopped) return [];
  return [checkOf(`${name}: none left waiting`, waiting.length === 0)];
}

/**
 * @param {object} demo a demo that has run
 * @returns {{ ok: boolean, waiting: number, checks: { text: string, ok: boolean }[] }}
 */
function sumsOf (demo) {
  const checks = [...orderChecks(demo), ...emailChecks(demo), ...messageChecks(demo)];
  const waiting = Object.values(demo.channels).reduce((sum, c) => sum + c.waiting.length, 0);
  return { ok: checks.every(check => check.ok), waiting, checks };
}

module.exports = { sumsOf };
