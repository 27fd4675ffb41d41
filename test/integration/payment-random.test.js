'use strict';

// Random operations on payments, and what disturbs them: Midtrans is away, slow or loses answers,
// notifications come late, repeatedly or forged, hooks fail, connections are cut, stores close,
// PostgreSQL restarts, and in the long form processes are killed. A model says what must become of
// each order; see support/payment-model.
//
// SEKERING_SEEDS: how many sequences, default 100; SEKERING_SEED: only this one;
// SEKERING_CHAOS_SECONDS: as many as there is time for. A sequence that fails is printed, and then
// made shorter for as long as it still fails.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setImmediate: turn } = require('node:timers/promises');

const { startTcpProxy } = require('../../lib/testing/tcp-proxy');
const { until } = require('../support/outbox-helpers');
const { faultsOf } = require('../support/payment-checks');
const { openKeyed } = require('../support/payment-helpers');
const { AMOUNT, Midtrans } = require('../support/payment-model');
const { RemoteStore, connect, openPayments, sweep } = require('../support/payment-process');
const { MidtransServer, signed } = require('../support/payment-server');
const { Dice, seedsOf } = require('../support/random');
const { Disturbed, describeRuns, operationsBy, server } = require('../support/random-runs');

const SEEDS = seedsOf(100);
const STEPS = 26;
const ORDERS_MAX = 3;
const LANES = { postgresql: 8, pglite: 2 };
const CONNECTIONS = 5;
// Living workers lose no lease, however slow the machine is.
const LEASE_MS = 300_000;
const ROUNDS_MAX = 50;
const LOOKS_MAX = 200;
const FAILS_MAX = 3;
const LOST_MAX = 5;
const PATIENCE_MS = 300_000;
// In the long form, one of so many lanes has a process that is killed.
const KILLED_EVERY = { postgresql: 4, pglite: 2 };
const KILLS = SEEDS.isLong ? { kill: 3 } : {};
const WHY = { by: 'test', reason: 'seen' };
if (SEEDS.isLong) jest.setTimeout(7 * 24 * 3_600_000);

/** What happens, and how often. */
const operationsOf = operationsBy({
  make: 12, another: 2, customer: 30, deliver: 40, foreign: 1, endPage: 3, review: 3, reconcile: 5,
  hooksFailOrNot: 3, midtransFailsOrNot: 8, cut: 3, startOrStop: 2, swap: 1, ...KILLS, wait: 4,
}, STEPS, 0.001);

/** What Midtrans does to requests. */
const FAULTS = [
  { kind: 'reset' }, { kind: 'drop' }, { kind: 'slow' }, { kind: 'error', status: 500 },
  { kind: 'error', status: 503 }, { kind: 'error', status: 409 }, { kind: 'error', status: 406 },
  { kind: 'late-error', status: 500 }, { kind: 'drop', on: 'page' }, { kind: 'reset', on: 'page' },
];

/** A place for one sequence after the other. */
class Lane {
  /** All that there were. */
  workers = [];

  static async open (place, name, i) {
    const lane = Object.assign(new Lane(), { name, midtrans: await MidtransServer.start() });
    const isKilled = SEEDS.isLong && (i + 1) % KILLED_EVERY[name] === 0;
    lane.place = { connections: CONNECTIONS, schema: `lane_${i}`, ...place };
    if (name === 'postgresql' || !isKilled) lane.direct = await lane.openStore();
    lane.schema = lane.direct?.schema ?? lane.place.schema;
    if (isKilled) {
      if (name === 'pglite') {
        lane.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-payments-'));
        lane.place = { schema: lane.schema, directory: path.join(lane.folder, 'data') };
      }
      await lane.fork();
    } else if (name === 'postgresql') {
      const { port } = new URL(place.url);
      lane.proxy = await startTcpProxy({ target: Number(port) });
      lane.proxied = { url: place.url.replace(`:${port}`, `:${lane.proxy.port}`) };
      lane.other = await lane.openStore();
    } else {
      lane.other = lane.direct;
    }
    return lane;
  }

  hear = (...args) => this.run.hear(...args);

  async openStore () {
    const midtrans = connect(this.midtrans.url);
    const store = await openPayments({ ...this.place, ...this.proxied }, midtrans, this.hear);
    return Object.assign(store, { midtrans });
  }

  /** The other store is in a process of its own; on PGlite it is the only one. */
  async fork () {
    this.remote = await RemoteStore.start(this.place, this.midtrans.url, this.hear);
    this.other = this.remote;
    if (this.name === 'pglite') this.direct = this.remote;
  }

  /** On the other store. */
  async startWorker () {
    const options = { leaseMs: LEASE_MS, pollInterval: 20 };
    if (this.remote !== undefined) {
      await this.remote.startWorker(options);
      return;
    }
    const { payments, outbox } = this.other;
    const worker = outbox.createWorker({ channels: payments.senders(), ...options });
    worker.on('warning', () => {});
    this.workers.push(worker);
    this.worker = worker;
    await worker.start();
  }

  async stopWorker (options) {
    await (this.remote === undefined ? this.worker?.stop(options)
      : this.remote.stopWorker(options));
  }

  async sweep () { await (this.direct === this.remote ? this.remote.sweep() : sweep(this.direct)); }

  async closeBreakers () {
    await this.remote?.closeBreaker();
    for (const { midtrans } of [this.direct, this.other]) midtrans?.breaker.close();
  }

  async close () {
    this.proxy?.set(null);
    // What one of them still had to record, it records now: its store lets it, though it is closed.
    for (const worker of this.workers) await worker.stop({ timeout: PATIENCE_MS });
    await this.remote?.kill();
    for (const store of new Set([this.direct, this.other])) {
      if (store === this.remote) continue;
      await store.close();
      await store.midtrans.close();
    }
    await this.proxy?.close();
    await this.midtrans.close();
    if (this.folder !== undefined) fs.rmSync(this.folder, { recursive: true });
  }
}

/** A sequence of operations. */
class Run extends Disturbed {
  static #count = 0;
  orders = [];
  told = [];
  found = [];
  foreignAcks = 0;
  #running = new Set();
  #fails = new Map();

  constructor (lane, seed) {
    super();
    this.lane = lane;
    this.seed = seed;
    this.dice = new Dice(seed);
    this.name = `s${seed}.${Run.#count++}`;
  }

  /** All of it. @returns {Promise<string[]>} what is wrong */
  async play (operations) {
    const { lane } = this;
    lane.run = this;
    lane.midtrans.orders.clear();
    lane.midtrans.pages.clear();
    await this.ask(`TRUNCATE ${['payment_orders', 'payment_transactions', 'payment_events',
      'notification_outbox', 'idempotency_store'].map(table => `${lane.schema}.${table}`)}`);
    await this.startWorker();
    await this.make(this.dice);
    try {
      for (const { kind, seed } of operations) await this[kind](new Dice(seed));
      await this.finish();
      return [...this.found, ...await faultsOf(this)];
    } finally {
      await this.stopWorker();
      lane.midtrans.set(null);
      lane.proxy?.set(null);
    }
  }

  // ---- Calls of the store ----------------------------------------------------------------------

  /** Either store: one of them loses connections. */
  anyStore (dice) { return dice.pick([this.lane.direct, this.lane.other]); }

  any (dice) { return this.anyStore(dice).payments; }

  /** @returns {Promise<{ value: unknown } | undefined>} undefined: it may have been done, or not */
  async try (work, ...codes) {
    try {
      return { value: await work() };
    } catch (error) {
      if (!this.isExpected(error) && !codes.includes(error.code)) this.found.push(error.stack);
      return undefined;
    }
  }

  isExpected ({ name, code, retryable }) {
    const isUpset = this.lane.isHurt || server.restarts > 0;
    if (name === 'Died') return true;
    if (name === 'StoreError') return retryable && isUpset;
    return this.isTroubled && (name === 'MidtransError' || code === 'EOPENBREAKER');
  }

  /** Until it succeeds. */
  async persist (work) { return until(() => work().then(value => ({ value }), () => false)); }

  async ask (text, values) {
    return (await this.persist(() => this.lane.direct.query(text, values))).value.rows;
  }

  /** An order as it is now. */
  async read ({ id }) {
    return (await this.persist(() => this.lane.direct.payments.get(id))).value;
  }

  // ---- The worker ------------------------------------------------------------------------------

  async startWorker () {
    this.hasWorker = true;
    await this.try(() => this.lane.startWorker());
  }

  async stopWorker () {
    if (!this.hasWorker) return;
    for (const timeout of [1000, 10_000]) await this.try(() => this.lane.stopWorker({ timeout }));
    this.hasWorker = false;
  }

  /** A hook of the store. */
  hear (hook, order, transition) {
    const { orderId } = order;
    if (this.#running.has(orderId)) this.found.push(`two hooks of ${orderId} at once`);
    this.told.push({ hook, orderId, transition });
    const key = `${hook} ${transition.id}`;
    const failed = this.#fails.get(key) ?? 0;
    const plan = this.areHooksFailing && failed < FAILS_MAX
      ? this.dice.pick(['throws', 'rejects', 'succeeds']) : 'succeeds';
    if (plan !== 'succeeds') this.#fails.set(key, failed + 1);
    if (plan === 'throws') throw new Error('no luck');
    this.#running.add(orderId);
    return new Promise((resolve, reject) => {
      setImmediate(() => {
        this.#running.delete(orderId);
        if (plan === 'rejects') reject(new Error('no luck'));
        else resolve();
      });
    });
  }

  // ---- Operations ------------------------------------------------------------------------------

  /** An order is made, or made again. */
  async make (dice) {
    const { orders, lane } = this;
    const isNew = orders.length === 0 || (orders.length < ORDERS_MAX && dice.chance(0.4));
    if (isNew) {
      const id = `${this.name}.${orders.length}`;
      const midtrans = new Midtrans(id, this.seed * ORDERS_MAX + orders.length);
      orders.push({ id, midtrans, acks: [], tokens: new Map(), answers: new Map() });
      lane.midtrans.orders.set(id, midtrans);
    }
    const order = isNew ? orders.at(-1) : dice.pick(orders);
    if (!isNew && (await this.read(order))?.state === 'expired') await this.reopen(order);
    else await this.record(order, dice);
  }

  async record (order, dice) {
    const { id, midtrans } = order;
    const body = { transaction_details: { order_id: id, gross_amount: AMOUNT } };
    if (!midtrans.hasPage) {
      const made = await this.try(() =>
        this.any(dice).createOrder({ orderId: id, amountMinor: AMOUNT * 100 }));
      order.isTold ||= made !== undefined;
    } else if (dice.chance(0.2)) {
      const made = await this.try(() => this.any(dice).defer(body));
      order.isTold ||= made !== undefined;
    } else {
      const times = dice.chance(0.2) ? 2 : 1;
      const open = () => (dice.chance(0.5) ? this.openKeyed(order, dice)
        : this.openOnce(order, this.any(dice)));
      await Promise.all(Array.from({ length: times }, open));
    }
  }

  /** Under a key: whoever gets an answer gets the same one. */
  async openKeyed (order, dice) {
    const { id, answers } = order;
    const key = `${id} ${dice.below(2)}`;
    const body = { transaction_details: { order_id: id, gross_amount: AMOUNT } };
    const store = this.anyStore(dice);
    const made = await this.try(() => (store === this.lane.remote ? store.openKeyed(key, body)
      : openKeyed(store, key, body)), 'ERR_IDEMPOTENCY_IN_PROGRESS');
    if (made === undefined) return;
    order.isTold = true;
    const { value } = made.value;
    const [text, before] = [JSON.stringify(value), answers.get(key)];
    if (before !== undefined && before !== text) this.found.push(`${key}: ${before}, then ${text}`);
    answers.set(key, text);
    this.hand(order, value);
  }

  async openOnce (order, payments) {
    const { id } = order;
    const body = { transaction_details: { order_id: id, gross_amount: AMOUNT } };
    const made = await this.try(() => payments.open(body), ...order.codes ?? []);
    if (made === undefined) return;
    order.isTold = true;
    this.hand(order, made.value.order);
  }

  /** A customer gets the page. */
  hand ({ tokens }, { token }) {
    if (typeof token !== 'string') return;
    tokens.set(token, this.lane.midtrans.pages.get(token));
  }

  /** The id of an expired order is used again, once. */
  async reopen (order) {
    const { midtrans } = order;
    if (midtrans.life > 0 || !midtrans.hasPage) return;
    midtrans.reopen();
    await until(async () => {
      await this.openOnce(order, this.lane.direct.payments);
      return (await this.read(order)).state !== 'expired';
    });
  }

  /** Another order of the same id. */
  async another (dice) {
    const order = dice.pick(this.orders.filter(({ isTold }) => isTold));
    if (order === undefined) return;
    const details = { order_id: order.id, gross_amount: AMOUNT + 1 };
    const made = await this.try(() => this.any(dice).open({ transaction_details: details }),
      'ERR_PAYMENT_ORDER');
    if (made !== undefined) this.found.push(`${order.id} has two amounts`);
  }

  /** The page of an order that its customer has. */
  async pageOf (order) {
    const { midtrans: { life }, tokens } = order;
    const found = await this.read(order);
    if (found !== undefined) this.hand(order, found);
    return this.dice.pick([...tokens.values()].filter(page => page.life === life))?.id;
  }

  async customer (dice) {
    const order = dice.pick(this.orders);
    const { midtrans } = order;
    for (let times = dice.between(1, 4); times > 0; times--) {
      if (!midtrans.isOpen || !dice.chance(0.4)) midtrans.act();
      else if (!midtrans.hasPage && order.isTold) midtrans.choose();
      else if (midtrans.hasPage) {
        const page = await this.pageOf(order);
        if (page !== undefined) midtrans.choose(page);
      }
    }
  }

  async deliver (dice) {
    const order = dice.pick(this.orders);
    const body = order.midtrans.notice();
    if (body === undefined) return;
    const other = dice.pick(this.orders).midtrans.transactions.at(-1);
    const isMixed = dice.chance(0.05) && other !== undefined;
    const sent = isMixed ? { ...body, transaction_id: other.id } : body;
    const times = dice.chance(0.2) ? dice.between(2, 4) : 1;
    await Promise.all(Array.from({ length: times }, () => this.notify(order, sent, dice)));
  }

  /** @returns {Promise<number | undefined>} the status of the answer, if there is one */
  async notify (order, body, dice) {
    const text = JSON.stringify(signed(body));
    const answered = await this.try(() => this.any(dice).handleNotification(text));
    if (answered === undefined) return undefined;
    const { status, outcome } = answered.value;
    if (status === 200) order.acks.push({ body, outcome });
    const isForged = !Midtrans.isSigned(body);
    const isRight = isForged ? status === 403 || (status === 503 && this.lane.isHurt)
      : [200, 503].includes(status) ||
        (status === 403 && !body.transaction_id.startsWith(`${order.id}-`));
    if (!isRight) this.found.push(`${status} ${outcome} to ${text}`);
    return status;
  }

  /** An order that is not ours. */
  async foreign (dice) {
    const other = new Midtrans(`other.${this.name}`, dice.below(1000));
    other.choose();
    const text = JSON.stringify(signed(other.notices[0]));
    const answered = await this.try(() => this.any(dice).handleNotification(text));
    if (answered === undefined) return;
    const { status, outcome } = answered.value;
    if (status === 200) this.foreignAcks++;
    if (status !== 503 && outcome !== 'unknown_order') this.found.push(`${outcome} of no order`);
  }

  /** The time of a page passes. */
  async endPage (dice) {
    const { id, midtrans, tokens, isTold } = dice.pick(this.orders);
    const hasBegun = midtrans.hasPage
      ? [...tokens.values()].some(({ life }) => life === midtrans.life) : isTold;
    if (midtrans.isPageOver || !hasBegun) return;
    midtrans.endPage();
    await this.age(id);
  }

  async age (id) {
    await this.ask(`UPDATE ${this.lane.schema}.payment_orders
      SET asked_at = clock_timestamp() - interval '30 hours' WHERE order_id = $1`, [id]);
  }

  async review (dice) {
    const { value: held } =
      await this.persist(() => this.lane.direct.payments.list({ held: true }));
    const { orderId } = dice.pick(held) ?? {};
    const order = this.orders.find(({ id }) => id === orderId);
    if (order === undefined) return;
    const { midtrans } = order;
    const isApplied = !midtrans.isWrong && dice.chance(0.7);
    order.isReviewed = true;
    if (!isApplied) order.isDismissed = true;
    midtrans.isLagging = false;
    await this.try(() => this.any(dice).review(orderId, isApplied ? 'apply' : 'dismiss', WHY),
      'ERR_PAYMENT_ORDER');
    midtrans.isLagging = true;
  }

  async reconcile (dice) { await this.try(() => this.any(dice).reconcile({ olderThan: 0 })); }

  async hooksFailOrNot () { this.areHooksFailing = !this.areHooksFailing; }

  async midtransFailsOrNot (dice) {
    const isAway = dice.chance(0.6);
    this.isTroubled ||= isAway;
    const often = { every: dice.between(1, 3), times: dice.pick([1, 2, 5, 1000]) };
    const fault = dice.chance(0.02) ? { kind: 'hang', times: 1 }
      : { ...dice.pick(FAULTS), ...often };
    // They lose pages that were made, of which an order has a limited number.
    if (['drop', 'late-error'].includes(fault.kind)) fault.times = Math.min(fault.times, LOST_MAX);
    this.lane.midtrans.set(isAway ? fault : null);
  }

  async startOrStop () {
    if (this.hasWorker) await this.stopWorker();
    else await this.startWorker();
  }

  /** A store closes, and another goes on. */
  async swap () {
    const { lane } = this;
    if (lane.proxy === undefined) return;
    await this.stopWorker();
    await lane.other.close();
    await lane.other.midtrans.close();
    lane.proxy.set(null);
    lane.other = (await this.persist(() => lane.openStore())).value;
    await this.startWorker();
  }

  /** The process of the other store is killed, perhaps while it does something. */
  async kill (dice) {
    const { lane } = this;
    if (lane.remote === undefined) return;
    const doing = dice.pick(['make', 'deliver', 'reconcile', 'wait']);
    const done = this[doing](dice);
    for (let i = dice.below(4); i > 0; i--) await Promise.race([done, turn()]);
    await lane.remote.kill();
    await Promise.all([done, lane.fork()]);
    if (dice.chance(0.5)) await this.lapse();
    if (this.hasWorker) await this.startWorker();
  }

  async wait (dice) { for (let i = dice.below(10); i > 0; i--) await this.ask('SELECT 1'); }

  // ---- The end ---------------------------------------------------------------------------------

  /** From now on all goes well: Midtrans tells the last of each transaction until it is taken. */
  async finish () {
    const { lane, orders } = this;
    lane.proxy?.set(null);
    lane.midtrans.set(null);
    this.areHooksFailing = false;
    await lane.closeBreakers();
    await this.stopWorker();
    for (const order of orders) await this.complete(order);
    // The worker may have asked for the page of an order while the time was moved.
    for (const { id } of orders.filter(each => each.midtrans.isPageOver)) await this.age(id);
    for (const order of orders) order.midtrans.isLagging = false;
    for (const order of orders) await this.deliverLast(order);
    for (let i = 0; i < 2; i++) {
      await until(async () => {
        const done = await this.try(() => lane.direct.payments.reconcile({ olderThan: 0 }));
        return done?.value.failed === 0;
      });
    }
    for (const order of orders) {
      const { midtrans, id } = order;
      const { held } = await this.read(order);
      if (!midtrans.needsReview || !held) continue;
      order.isReviewed = true;
      await this.persist(() => lane.direct.payments.review(id, 'apply', WHY));
    }
    await this.tellAll();
  }

  /** Each order is made, and has a page if it needs one. */
  async complete (order) {
    const { direct } = this.lane;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const { state, token } = await this.read(order) ?? {};
      const isUnmade = ['queued', 'unknown', 'failed'].includes(state) && token === null;
      if (state !== undefined && !(order.midtrans.hasPage && isUnmade)) return;
      if (order.midtrans.hasPage) await this.openOnce(order, direct.payments);
      else await this.record(order, this.dice);
    }
    this.found.push(`${order.id} gets no page`);
  }

  async deliverLast (order) {
    const { transactions } = order.midtrans;
    const left = transactions.map(({ snapshots }) => snapshots.at(-1));
    while (left.length > 0) {
      const body = this.dice.take(left);
      let looks = 0;
      await until(async () => await this.notify(order, body, this.dice) === 200 ||
        ++looks > LOOKS_MAX);
      if (looks > LOOKS_MAX) this.found.push(`503 to ${JSON.stringify(body)}`);
    }
  }

  /** What is being sent is held by nobody any more. */
  async lapse () {
    await this.ask(`UPDATE ${this.lane.schema}.notification_outbox
      SET lease_until = now() - interval '1 s' WHERE status = 'SENDING'`);
    await this.persist(() => this.lane.sweep());
  }

  /** All hooks are told. */
  async tellAll () {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      await this.stopWorker();
      // What is held now is held by nobody: a claim was made, and its answer lost.
      await this.lapse();
      await this.startWorker();
      let looks = 0;
      const isDone = await until(async () => {
        const left = await this.ask(`SELECT FROM ${this.lane.schema}.notification_outbox
          WHERE status NOT IN ('SENT', 'DLQ') AND channel = 'PAYMENT_HOOK'`);
        return left.length === 0 ? 'done' : ++looks > LOOKS_MAX && 'not yet';
      });
      if (isDone === 'done') return;
    }
    this.found.push('hooks that nobody hears');
  }
}

describeRuns('orders are what Midtrans says, and hooks hear of it', {
  seeds: SEEDS, lanes: LANES, operationsOf,
  open: (...lane) => Lane.open(...lane),
  async begin (lane, seed) {
    await server.restarting;
    return new Run(lane, seed);
  },
  tell: run => ({ orders: run.stories }),
});
