'use strict';

// All that happened to one order, in one list: its states, what Midtrans told, its messages with
// every attempt and what became of them, and what operators wrote.

const MESSAGES_MAX = 50;

/** The messages of an order: those whose orderKey is its id, and those that payments makes. */
async function messagesOf (store, orderId) {
  const table = `${store.schema}.notification_outbox`;
  const { rows } = await store.query(`SELECT id::text FROM (
      SELECT id FROM ${table} WHERE order_key = ANY ($1::text[])
      UNION SELECT id FROM ${table} WHERE dedupe_key = $2
        AND status IN ('PENDING', 'SENDING', 'RETRYING')
    ) AS of_order ORDER BY of_order.id DESC LIMIT ${MESSAGES_MAX}`,
  [[orderId, `payment:${orderId}`], `midtrans-order:${orderId}`]);
  // A dead letter also has when and why it died.
  const found = await Promise.all(rows.map(async ({ id }) =>
    await store.deadLetters.get(id) ?? store.outbox.get(id)));
  const messages = found.filter(message => message !== undefined);
  const deliveries = await store.deliveries.of(messages);
  return messages.map(message => ({ ...message, delivery: deliveries.get(message.id) ?? null }));
}

function entriesOfMessage (message) {
  const { id, channel, recipient, subject, status, createdAt, sentAt, diedAt, delivery } = message;
  const about = { kind: 'message', id, channel, recipient };
  const entries = [{ ...about, at: createdAt, event: 'stored', text: subject }];
  for (const { at, attempt, code, name, message: text } of message.errorHistory ?? []) {
    entries.push({ ...about, at, event: 'failed', attempt, code: code ?? name ?? null, text });
  }
  if (sentAt) entries.push({ ...about, at: sentAt, event: 'sent', text: null });
  if (diedAt) entries.push({ ...about, at: diedAt, event: 'dead', text: message.reason });
  if (status === 'CANCELLED') entries.push({ ...about, at: null, event: 'cancelled', text: null });
  if (delivery !== null) {
    entries.push({
      ...about, at: delivery.at ?? delivery.heardAt, event: `delivery ${delivery.status}`,
      code: delivery.errorCode, text: delivery.error,
    });
  }
  return entries;
}

const timeOf = ({ at }) => (at === null || at === undefined ? Infinity : new Date(at).getTime());

/** @returns {Promise<object[] | undefined>} oldest first; undefined if there is no such order */
async function timelineOf (store, notes, orderId) {
  const order = await store.payments.get(orderId);
  if (order === undefined) return undefined;
  const [events, messages, written] = await Promise.all([
    store.payments.events(orderId), messagesOf(store, orderId),
    notes.list({ about: 'order', target: orderId }),
  ]);
  return [
    ...order.history.map(({ at, from, to, by }) => ({ kind: 'payment', at, from, to, by })),
    ...events.map(({ id, receivedAt, source, transactionStatus, outcome, reason, times }) => ({
      kind: 'webhook', at: receivedAt, id, source, transactionStatus, outcome, reason, times,
    })),
    ...messages.flatMap(entriesOfMessage),
    ...written.map(({ id, at, actor, note }) => ({ kind: 'note', at, id, by: actor, text: note })),
  ].sort((a, b) => timeOf(a) - timeOf(b));
}

module.exports = { timelineOf };
