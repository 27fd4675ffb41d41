'use strict';

// Random histories of orders: whatever Midtrans does and says, in whatever sequence, the order
// becomes what Midtrans's own records say, and each hook runs once. Most histories drive only the
// decisions; others the whole store. Each has a seed, which a failure prints.
// SEKERING_CHAOS_SECONDS says for how long new ones are tried; SEKERING_SEED runs one history.

const { createOutbox } = require('../../lib/store/outbox');
const { createPayments } = require('../../lib/store/payments');
const states = require('../../lib/store/payment-states');
const { keep } = require('../support/midtrans-helpers');
const { AMOUNT, Midtrans } = require('../support/payment-model');
const { endTest, openShared } = require('../support/payment-helpers');
const { describeEngines } = require('../support/postgres');
const { seedsOf } = require('../support/random');

const ONE_SEED = process.env.SEKERING_SEED;
const PURE_SEEDS = seedsOf(1000);
const FULL_SEEDS = seedsOf(150);
const PHASES = 3;
const PARALLEL = 8;
const BATCH = 150;
if (PURE_SEEDS.isLong) jest.setTimeout(7 * 24 * 3_600_000);

const NAMES = ['onPaid', 'onDenied', 'onFailed', 'onRefund', 'onRefunded', 'onChargeback',
  'onTransition'];
const TABLES = ['payment_orders', 'payment_transactions', 'payment_events', 'notification_outbox'];
const FINAL = ['applied', 'stale', 'held', 'dismissed'];

/** The same for all copies of one event. */
const keyOf = body => JSON.stringify([body.transaction_id, body.transaction_status,
  body.fraud_status, body.status_code, body.gross_amount, body.refunds, body.refund_amount,
  body.chargeback_amount]);

function* inBatches (items) {
  let batch = [];
  for (const item of items) {
    batch.push(item);
    if (batch.length < BATCH) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function inParallel (items, work) {
  const queue = [...items];
  await Promise.all(Array.from({ length: PARALLEL }, async () => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await work(next);
  }));
}

/** An order in the store. */
class Stored {
  #payments;
  #database;
  #midtrans;

  constructor (midtrans, { payments, database }) {
    this.#midtrans = midtrans;
    this.#payments = payments;
    this.#database = database;
  }

  async create () {
    const { orderId, hasPage } = this.#midtrans;
    const body = { transaction_details: { order_id: orderId, gross_amount: AMOUNT } };
    if (hasPage) await this.#payments.open(body);
    else await this.#payments.createOrder({ orderId, amountMinor: AMOUNT * 100 });
  }

  async reopen () { await this.create(); }

  async deliver (body) {
    return (await this.#payments.handleNotification(JSON.stringify(body))).status;
  }

  async read () { return this.#payments.get(this.#midtrans.orderId); }

  /** Lets the time of the page pass. */
  async age () {
    await this.#database.query(`UPDATE ${this.#database.schema}.payment_orders
      SET asked_at = asked_at - interval '30 hours' WHERE order_id = $1`,
    [this.#midtrans.orderId]);
  }

  async review () {
    await this.#payments.review(this.#midtrans.orderId, 'apply', { by: 'test', reason: 'true' });
  }

  async hooks () {
    const { rows } = await this.#database.query(`SELECT body_data AS data
      FROM ${this.#database.schema}.notification_outbox
      WHERE channel = 'PAYMENT_HOOK' AND recipient = $1 ORDER BY id`, [this.#midtrans.orderId]);
    return rows.map(({ data }) => data);
  }
}

/**
 * An order that exists only in memory, driven by the decisions of the store.
 * It does what the store does around them.
 */
class Decided {
  #midtrans;
  #order;
  #transactions = [];
  #events = new Map();
  #hooks = [];

  constructor (midtrans) {
    this.#midtrans = midtrans;
    this.#order = {
      orderId: midtrans.orderId, state: 'created', amountMinor: BigInt(AMOUNT * 100), held: false,
      refundedMinor: 0n, chargedBackMinor: 0n, currency: 'IDR', token: null, redirectUrl: null,
      body: midtrans.hasPage ? '{}' : null, history: [], transactionId: null,
    };
  }

  read () { return this.#order; }
  hooks () { return this.#hooks; }
  // The model says when the page has ended.
  age () {}

  deliver (body) {
    if (!Midtrans.isSigned(body)) return 403;
    const claim = states.readTransaction(body);
    const key = keyOf(body);
    if (FINAL.includes(this.#events.get(key)?.outcome)) return 200;
    const answer = body.transaction_id === '..' ? undefined
      : this.#midtrans.status(body.transaction_id);
    const truth = answer && states.readTransaction(answer);
    const coarse = truth === undefined
      ? `not_found ${body.status_code} ${body.gross_amount}` : key;
    if (FINAL.includes(this.#events.get(coarse)?.outcome)) return 200;
    const entered = truth === undefined ? { changed: false, fault: 'not_found' }
      : this.#enter(truth, { confirmed: true });
    const { outcome, reason } =
      states.conclude({
        changed: entered.changed, fault: entered.fault, claim, truth: entered.truth ?? truth,
      });
    if (truth !== undefined) this.#release(truth, entered);
    if (outcome === 'unavailable' && entered.fault !== undefined) {
      this.#noteAnswer(answer, entered);
    }
    this.#note(coarse, { outcome, reason, transactionId: body.transaction_id, body });
    return outcome === 'unavailable' ? 503 : 200;
  }

  #note (key, { body, ...event }) {
    this.#events.set(key, { ...event, body: JSON.stringify(body) });
    if (event.outcome === 'held') this.#order.held = true;
  }

  #enter (truth, options) {
    const entered = states.enter(this.#order, this.#transactions, truth, options);
    const { transaction, change, news, hadMoney } = entered;
    if (!entered.changed) return entered;
    const at = this.#transactions.findIndex(({ transactionId }) =>
      transactionId === truth.transactionId);
    const stored = { createdAt: new Date(), ...transaction };
    stored.createdAt ??= new Date();
    if (at < 0) this.#transactions.push(stored); else this.#transactions[at] = stored;
    if (change !== undefined) this.#move(change, { news, hadMoney });
    return entered;
  }

  #move (change, { news, hadMoney, by = 'notification' }) {
    const { to, transactionId, refundedMinor, chargedBackMinor } = change;
    const order = this.#order;
    const { state: from } = order;
    this.#order = {
      ...order, state: to, transactionId: transactionId ?? order.transactionId,
      refundedMinor: refundedMinor ?? order.refundedMinor,
      chargedBackMinor: chargedBackMinor ?? order.chargedBackMinor,
      history: [...order.history, { from, to, by, at: new Date().toISOString() }],
    };
    for (const { hook, ...more } of states.hooksOf(from, to, news, hadMoney)) {
      const transition = { from, to, transactionId: this.#order.transactionId, ...more };
      this.#hooks.push({ hook, transition, told: new Set(this.#midtrans.told) });
    }
  }

  #release (truth, entered) {
    this.#releaseThose(event => states.decides(event, truth, entered));
  }

  #releaseThose (isDecided) {
    if (!this.#order.held) return;
    const held = [...this.#events.values()].filter(({ outcome }) => outcome === 'held');
    const decided = held.filter(isDecided);
    for (const event of decided) event.outcome = 'released';
    if (decided.length > 0 && decided.length === held.length) this.#order.held = false;
  }

  #learn (body) {
    const truth = states.readTransaction(body);
    const entered = this.#enter(truth, { confirmed: true });
    this.#release(truth, entered);
    this.#noteAnswer(body, entered);
  }

  #noteAnswer (body, { changed, fault: reason }) {
    if (!changed && reason === undefined) return;
    const key = keyOf(body);
    const known = this.#events.get(key);
    if (known?.outcome === 'dismissed' && !changed) return;
    const isTwice = known?.outcome === 'held' && states.isLasting(known.reason);
    this.#note(key, {
      outcome: reason === undefined && !isTwice ? 'applied' : 'held',
      reason: isTwice ? known.reason : reason,
      transactionId: body.transaction_id, body,
    });
  }

  reconcile () {
    const { state, held } = this.#order;
    if (!held && !['created', 'pending', 'authorize'].includes(state)) return;
    if (held) this.#askAgain();
    const body = this.#midtrans.status(this.#midtrans.orderId);
    if (body !== undefined) this.#learn(body);
    if (this.#midtrans.isPageOver && states.canExpire({ state })) {
      if (states.canExpire(this.#order)) this.#move({ to: 'expired' }, { by: 'reconcile' });
    }
  }

  #askAgain () {
    const held = [...this.#events.values()].filter(({ outcome }) => outcome === 'held');
    const missing = new Set();
    for (const id of new Set(held.map(({ transactionId }) => transactionId))) {
      const body = id === '..' ? undefined : this.#midtrans.status(id);
      if (body === undefined) missing.add(id); else this.#learn(body);
    }
    this.#releaseThose(({ reason, transactionId }) =>
      reason === 'not_found' && missing.has(transactionId));
  }

  reopen () { this.#move({ to: 'created' }, { by: 'order' }); }

  review () {
    const held = [...this.#events.values()].filter(({ outcome }) => outcome === 'held');
    for (const id of new Set(held.map(({ transactionId }) => transactionId))) {
      this.#enter(states.readTransaction(this.#midtrans.status(id)),
        { confirmed: true, force: true });
    }
    for (const event of held) event.outcome = 'applied';
    this.#order.held = false;
  }
}

/** One step of a history; the same for both kinds. @returns a notification to deliver */
function stepOf (midtrans) {
  const { random } = midtrans;
  if (random.chance(0.25) && midtrans.isOpen) midtrans.choose();
  else if (random.chance(0.5)) midtrans.act();
  return random.chance(0.7) ? midtrans.notice() : undefined;
}

/** The latest notifications of all transactions, in any sequence. Midtrans sends them until 200. */
function lastNotices ({ transactions, random }) {
  const left = transactions.map(({ snapshots }) => snapshots.at(-1));
  const sequence = [];
  while (left.length > 0) sequence.push(...left.splice(random.below(left.length), 1));
  return sequence;
}

/**
 * Runs histories side by side; `reconcile` concerns all of them.
 * @param {Array<{ midtrans: Midtrans, order: object }>} histories
 * @param {(work: (history: object) => Promise<void>) => Promise<void>} each
 * @param {() => Promise<void>} reconcile
 */
async function live (each, reconcile) {
  for (let phase = 0; phase < PHASES; phase += 1) {
    await each(async ({ midtrans, order }) => {
      for (let steps = 1 + midtrans.random.below(6); steps > 0; steps -= 1) {
        const body = stepOf(midtrans);
        if (body !== undefined) await order.deliver(body);
      }
      if (!midtrans.isPageOver && midtrans.random.chance(0.15)) {
        midtrans.endPage();
        await order.age();
      }
    });
    await reconcile();
    await each(async ({ midtrans, order }) => {
      const { state } = await order.read();
      const isReused = midtrans.random.chance(0.5) && midtrans.life === 0;
      if (!isReused || state !== 'expired' || !midtrans.hasPage) return;
      midtrans.reopen();
      await order.reopen();
    });
  }
  await each(async history => {
    const { midtrans, order, faults } = history;
    midtrans.isLagging = false;
    for (const body of lastNotices(midtrans)) {
      const status = await order.deliver(body);
      if (status !== 200) faults.push(`${status} to ${body.transaction_status}`);
    }
  });
  for (let i = 0; i < 2; i += 1) await reconcile();
  await each(async ({ midtrans, order, faults }) => {
    const isReviewed = midtrans.needsReview && (await order.read()).held;
    if (isReviewed) await order.review();
    faults.push(...midtrans.faultsOf(await order.read(), await order.hooks(), { isReviewed }));
  });
}

/** What a failure shows. All of a history if it runs alone. */
async function reportOf ({ seed, midtrans, order, faults }) {
  if (ONE_SEED === undefined) return { seed, faults };
  const said = midtrans.transactions.map(({ id, life, snapshots }) => `${life} ${id}: ${
    snapshots.map(each => [each.transaction_status, each.fraud_status, each.refund_amount,
      each.chargeback_amount].filter(Boolean).join(' ')).join(', ')}`);
  const { state, held, history } = await order.read();
  return {
    seed, faults, said, state, held, hasPage: midtrans.hasPage, isPageOver: midtrans.isPageOver,
    history: history.map(({ from, to, by }) => `${from} > ${to} by ${by}`),
    hooks: (await order.hooks()).map(({ hook, transition }) =>
      `${hook} ${transition.from} > ${transition.to} ${transition.transactionId}`),
  };
}

/** Runs batches of histories, and shows the first that are wrong. */
async function expectRight (allSeeds, run) {
  const shown = [];
  let wrongCount = 0;
  for (const seeds of inBatches(allSeeds)) {
    const wrong = (await run(seeds)).filter(({ faults }) => faults.length > 0);
    wrongCount += wrong.length;
    for (const history of wrong.slice(0, 10 - shown.length)) shown.push(await reportOf(history));
  }
  expect({ wrongCount, shown }).toEqual({ wrongCount: 0, shown: [] });
}

/** The orders that ended in each state. */
async function endsOf (histories) {
  const ends = {};
  for (const { midtrans, order } of histories) {
    const { state } = await order.read();
    (ends[state] ??= []).push(midtrans.orderId);
  }
  return ends;
}

/** Runs histories in memory. @returns {Promise<object[]>} */
async function decide (seeds) {
  const histories = seeds.map(seed => {
    const midtrans = new Midtrans(`h${seed}`, seed);
    return { seed, midtrans, order: new Decided(midtrans), faults: [] };
  });
  const each = async work => { for (const history of histories) await work(history); };
  await live(each, () => each(async ({ order }) => order.reconcile()));
  return histories;
}

describe('the decisions alone', () => {
  test('histories', async () => {
    const ends = new Set();
    await expectRight(PURE_SEEDS, async seeds => {
      const histories = await decide(seeds);
      for (const state of Object.keys(await endsOf(histories))) ends.add(state);
      return histories;
    });
    if (ONE_SEED === undefined) expect(ends.size).toBe(12);
  });
});

describeEngines('the whole store', ({ place }) => {
  let database;

  beforeAll(async () => { database = await openShared(await place()); });
  afterEach(() => endTest(database));
  afterAll(() => database.close());

  test('histories, which end as the decisions alone say', async () => {
    const providers = new Map();
    const provider = {
      verifyNotification: body => Midtrans.isSigned(body),
      createTransaction: async () => ({ token: 'token', redirect_url: 'https://page' }),
      async status (id) {
        const found = providers.get(id.replace(/^none-/, '').replace(/-t\d+$/, ''));
        const body = found?.status(id);
        if (body !== undefined) return body;
        throw Object.assign(new Error('Not found'), { code: 'ERR_MIDTRANS_NOT_FOUND' });
      },
    };
    const hooks = Object.fromEntries(NAMES.map(name => [name, () => {}]));
    const outbox = createOutbox({ database, options: {} });
    const payments =
      keep(createPayments({ database, outbox, options: { midtrans: provider, hooks } }));
    await expectRight(FULL_SEEDS, async seeds => {
      providers.clear();
      await database.query(`TRUNCATE ${TABLES.map(table => `${database.schema}.${table}`)}`);
      const histories = seeds.map(seed => {
        const midtrans = new Midtrans(`h${seed}`, seed);
        providers.set(midtrans.orderId, midtrans);
        return { seed, midtrans, order: new Stored(midtrans, { payments, database }), faults: [] };
      });
      const each = work => inParallel(histories, work);
      await each(({ order }) => order.create());
      await live(each, () => payments.reconcile({ olderThan: 0, limit: 10_000 }));
      expect(await endsOf(histories)).toEqual(await endsOf(await decide(seeds)));
      return histories;
    });
  });
});
