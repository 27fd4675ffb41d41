'use strict';

// What must hold of the orders of a random run besides what payment-model says of each.

// Arrays of JSON may be of another realm.
const isSame = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** What is signed of a notification, and what it claims. */
const claimOf = body => [body.transaction_id, body.transaction_status, body.fraud_status ?? null,
  String(body.status_code), String(body.gross_amount), body.refunds ?? null,
  body.refund_amount ?? null, body.chargeback_amount ?? null];
const signedOf = body => [String(body.status_code), String(body.gross_amount)];

const keyOf = ({ hook, transition: { id, from, to, transactionId, refund, chargeback } }) =>
  JSON.stringify([hook, id, from, to, transactionId, refund?.key ?? null,
    String((refund ?? chargeback)?.amountMinor)]);
const versionOf = ({ id }) => Number(id.split(':').at(-1));

/** Each transition is told to each hook, in sequence and under one id. */
function faultsOfHooks ({ id }, { history }, messages, told) {
  const faults = [];
  const ids = messages.filter(({ hook }) => hook === 'onTransition')
    .map(({ transition }) => transition.id);
  const expected = history.slice(1).map((_, i) => `${id}:${i + 1}`);
  if (!isSame(ids, expected)) faults.push(`versions: ${ids}`);
  history.forEach(({ from }, i) => {
    if (i > 0 && from !== history[i - 1].to) faults.push(`history: ${JSON.stringify(history)}`);
  });
  const keys = messages.map(keyOf);
  const heard = [...new Set(told.map(keyOf))];
  if (!isSame(heard.toSorted(), [...new Set(keys)].toSorted())) {
    faults.push(`told: ${heard}; not ${keys}`);
  }
  const versions = told.map(({ transition }) => versionOf(transition));
  const firsts = versions.filter((version, i) => versions.indexOf(version) === i);
  if (!isSame(firsts, firsts.toSorted((a, b) => a - b))) {
    faults.push(`told out of order: ${firsts}`);
  }
  for (const { hook, status } of messages) {
    if (status !== 'SENT') faults.push(`${hook} is ${status}`);
  }
  return faults;
}

/** Whatever was acknowledged is recorded. */
function faultsOfAcks ({ id, acks }, events) {
  const faults = [];
  const records = events.map(event => ({ ...event, read: JSON.parse(event.body) }));
  const isRecorded = body => records.some(({ read, reason }) =>
    isSame(claimOf(read), claimOf(body)) ||
    (/not_found|other_transaction/.test(reason) &&
      isSame(signedOf(read), signedOf(body))));
  for (const { body, outcome } of acks) {
    if (!isRecorded(body)) faults.push(`${id}: not recorded: ${outcome} ${JSON.stringify(body)}`);
  }
  const times = events.reduce((sum, event) => sum + event.times, 0);
  if (times < acks.length) faults.push(`${id}: ${times} events, ${acks.length} acknowledged`);
  return faults;
}

/** What is paid after it had ended moves the order only when a person says so. */
function faultsOfHold ({ midtrans }, { history }, messages, events) {
  const late = midtrans.transactions.filter(({ id, isLate }) => isLate && events.some(event =>
    event.transactionId === id && event.transactionStatus === 'settlement' &&
    event.reason?.startsWith('edge')));
  return messages.filter(({ hook, transition }) => hook === 'onPaid' &&
    late.some(({ id }) => id === transition.transactionId) &&
    !history[versionOf(transition)].by.startsWith('review:'))
    .map(({ transition }) => `moved while held: ${JSON.stringify(transition)}`);
}

/** One page for each life of an order: two could both be paid. */
function faultsOfPages ({ id, tokens }) {
  const lives = [...tokens.values()].map(page => page?.life);
  return new Set(lives).size === lives.length ? []
    : [`${id}: pages ${JSON.stringify([...tokens])}`];
}

/** What is wrong with one order, and what a failure shows of it. */
async function checkOrder (run, order) {
  const { lane: { direct, schema } } = run;
  const { id, midtrans, isReviewed = false, isDismissed } = order;
  const found = await run.read(order);
  const rows = await run.ask(`SELECT body_data AS data, status FROM ${schema}.notification_outbox
    WHERE channel = 'PAYMENT_HOOK' AND recipient = $1 ORDER BY id`, [id]);
  const messages = rows.map(({ data, status }) => ({ ...data, status }));
  const told = run.told.filter(({ orderId }) => orderId === id);
  const { value: events } = await run.persist(() => direct.payments.events(id));
  const mustDecide = midtrans.needsReview || midtrans.isWrong;
  // What a person has dismissed is no longer what Midtrans says.
  const modelled = isDismissed && mustDecide ? []
    : midtrans.faultsOf(found, messages, { isReviewed })
      .filter(fault => !(isReviewed && fault.startsWith('held')));
  const faults = [...modelled, ...faultsOfHooks(order, found, messages, told),
    ...faultsOfAcks(order, events), ...faultsOfHold(order, found, messages, events),
    ...faultsOfPages(order)];
  const story = {
    id, state: found.state, held: found.held, hasPage: midtrans.hasPage, life: midtrans.life,
    isPageOver: midtrans.isPageOver,
    history: found.history.map(({ from, to, by, reason = '' }) =>
      `${from} > ${to} by ${by} ${reason}`),
    said: midtrans.transactions.map(({ id: name, page, life, snapshots }) =>
      `${life} ${name} on ${page}: ${snapshots.map(each => [each.transaction_status,
        each.fraud_status, each.refund_amount, each.chargeback_amount].filter(Boolean).join(' '))
        .join(', ')}`),
    events: events.map(each => [each.source, each.transactionId, each.transactionStatus,
      each.outcome, each.reason, each.times].join(' ')),
    hooks: messages.map(({ hook, transition }) => `${hook} ${transition.id}`),
  };
  return { faults: faults.map(fault => `${id}: ${fault}`), story };
}

/** All that is wrong with a run. */
async function faultsOf (run) {
  const checked = [];
  for (const order of run.orders) checked.push(await checkOrder(run, order));
  run.stories = checked.map(({ story }) => story);
  const foreign = await run.persist(() =>
    run.lane.direct.payments.listEvents({ outcome: 'unknown_order' }));
  const isKept = run.foreignAcks === 0 || foreign.value.length > 0;
  return [...checked.flatMap(({ faults }) => faults), ...isKept ? [] : ['unknown orders are lost']];
}

module.exports = { faultsOf };
