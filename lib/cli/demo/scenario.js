'use strict';

// The story of the demo on a real gateway. Orders come in at a steady rate; each brings an e-mail
// and a WhatsApp message, and some are paid. Midtrans goes down and recovers, the mail server has a
// bad spell, and the quota of WhatsApp is used up for a while. In the end, sums show that nothing
// was lost. Nothing here draws or prints.

const { EventEmitter } = require('node:events');

const clock = require('../../base/clock');
const { createGateway } = require('../../gateway');
const { startServer } = require('../../http/app');
const { addShop } = require('./shop');
const { FAULTS, startUpstreams } = require('./upstreams');

const ORDERS_PER_SECOND = 10;
const TICK_MS = 50;
// After a busy moment it catches up in small steps, so that each act gets its orders.
const ORDERS_PER_TICK_MAX = 2;
const STATS_MS = 250;
// How long the queues may take to empty once the last order is in.
const SETTLE_MS_MAX = 30_000;
// One order in so many is paid.
const PAID_EVERY = 4;
const ORDERS_AT_ONCE = 1000;
// The length of the story if --seconds does not set it.
const STORY_S = 60;

// An act waits for a breaker until the story has taken this many times its length.
const PATIENCE = 4;

// What happens when. `at` is the share of the story's orders that have been taken.
const ACTS = [
  { at: 0.20, upstream: 'midtrans', fault: 'hang', label: 'no answers' },
  { at: 0.30, upstream: 'midtrans', fault: 'reset', label: 'cuts connections' },
  { at: 0.38, upstream: 'midtrans', fault: 'html', label: 'answers 502' },
  { at: 0.46, upstream: 'midtrans', fault: null, label: 'well', once: 'open' },
  { at: 0.58, upstream: 'smtp', fault: { stage: 'data', every: 3, once: true },
    label: '451 to every third' },
  { at: 0.60, upstream: 'whatsapp', fault: 131042, label: 'quota used up' },
  { at: 0.72, upstream: 'smtp', fault: null, label: 'well' },
  { at: 0.78, upstream: 'whatsapp', fault: null, label: 'well' }
];

// How often it deletes what has ended, and how long ago that must have been.
const FORGET_MS = 60_000;
// Orders are kept for so many times longer: customers may still be told about them.
const ORDERS_AGE = 10;
const FORGET = schema => `WITH gone AS (
    DELETE FROM ${schema}.notification_outbox
    WHERE status = 'SENT' AND sent_at < now() - $1 * interval '1 ms' RETURNING channel
  ), orders AS (
    DELETE FROM ${schema}.payment_orders WHERE state NOT IN ('queued', 'unknown')
      AND updated_at < now() - ${ORDERS_AGE} * $1 * interval '1 ms' RETURNING order_id
  ), transactions AS (
    DELETE FROM ${schema}.payment_transactions WHERE order_id IN (SELECT order_id FROM orders)
  )
  SELECT channel, count(*)::int AS count FROM gone GROUP BY channel`;

const ENDED = { sent: 0, deliveries: 0, foreignEvents: 0, audit: 0, idempotency: 0 };

const CHANNELS = { emails: 'EMAIL', messages: 'WHATSAPP', hooks: 'PAYMENT_HOOK' };
const WAITING = ['PENDING', 'SENDING', 'RETRYING'];

/** What times are divided by: a longer run can be closer to production. */
function divisorFor (seconds) {
  if (seconds >= 45) return 10;
  return seconds >= 15 ? 20 : 25;
}

/** Counts of a channel, in the words of the screen. */
function countsOf ({ channels }, channel) {
  const row = channels[channel] ?? {};
  const of = status => row[status] ?? 0;
  return {
    cancelled: of('CANCELLED'),
    sent: of('SENT'),
    dead: of('DLQ'),
    waiting: WAITING.reduce((sum, status) => sum + of(status), 0)
  };
}

/** The difference between two counts of a channel. */
function changeOf (now, then) {
  return Object.fromEntries(Object.keys(now).map(key => [key, now[key] - then[key]]));
}

/** All orders in a state. */
async function * ordersOf ({ payments }, state) {
  let before;
  do {
    const orders = await payments.list({ state, before, limit: ORDERS_AT_ONCE });
    yield * orders;
    before = orders.next;
  } while (before !== undefined);
}

class Demo extends EventEmitter {
  /** The fake servers, from open() on. */
  upstreams;
  stopped = false;
  /** Orders that are being made. */
  inFlight = 0;
  #options;
  #server;
  #acts = [...ACTS];
  #began = 0;
  #run = clock.wall().toString(36);
  #stats;
  #start;
  #statsAt = 0;
  /** Upstreams whose breakers have opened. */
  #opened = new Set();
  /** What was deleted of what this run has sent. */
  #gone = { emails: 0, messages: 0, hooks: 0 };
  #forgotAt = 0;
  #forgetMs;
  #delivered = { orders: 0, emails: 0, messages: 0, hooks: 0 };
  #timers = new Set();

  /**
   * @param {{ seconds?: number, port?: number, directory: string, forgetMs?: number }} options
   *   forgetMs: how often it deletes what has ended, and how long ago that must have been
   */
  constructor ({ seconds = Infinity, port = 0, directory, forgetMs = FORGET_MS }) {
    super();
    this.#forgetMs = forgetMs;
    this.seconds = seconds;
    this.storySeconds = Math.min(seconds, STORY_S);
    this.divisor = divisorFor(this.storySeconds);
    this.#options = { divisor: this.divisor, port, directory };
    /** Orders of this run, and those left by an earlier one (`before`). */
    this.orders = { in: 0, before: 0, atOnce: 0, queued: 0, refused: 0, later: 0 };
    this.waitingOrders = new Set();
    /** Tokens by order id, and Message-IDs and references of what was sent. */
    this.tokens = new Map();
    this.known = new Set();
    this.sent = { emails: new Set(), messages: new Set() };
    this.again = { emails: 0, messages: 0, hooks: 0 };
  }

  get elapsedMs () { return this.#began === 0 ? 0 : clock.now() - this.#began; }
  get gateway () { return this.#server?.gateway; }
  get url () { return this.#server?.url; }

  /** Whether WhatsApp is paused until an operator has fixed the account. */
  get paused () { return this.gateway.clients.whatsapp.paused !== null; }

  /** What the outbox has done since the start, by kind of message. */
  get work () {
    return Object.fromEntries(Object.entries(CHANNELS).map(([name, channel]) => {
      const now = countsOf(this.#stats, channel);
      const then = countsOf(this.#start, channel);
      now.sent += this.#gone[name];
      const change = changeOf(now, then);
      // The counts of many messages are estimates while the story runs.
      if (this.#stats.sampled) Object.assign(change, { sent: this.#delivered[name], cancelled: 0 });
      return [name, {
        before: then.waiting,
        in: Object.values(change).reduce((sum, count) => sum + count),
        sent: change.sent,
        again: this.again[name],
        waiting: now.waiting,
        dead: change.dead
      }];
    }));
  }

  async open () {
    this.upstreams = await startUpstreams(this.#options);
    const gateway = await createGateway(this.upstreams.config, {
      hooks: { onTransition: (order, transition) => this.#tellCustomer(gateway, order, transition) }
    });
    await this.#remember(gateway);
    this.#follow(gateway);
    const server = await startServer(gateway, { extend: app => addShop(app, this) });
    this.#server = { ...server, gateway };
  }

  /** Runs the story. Resolves when nothing is in flight, and the queues had time to empty. */
  async run () {
    this.#began = clock.now();
    await this.#takeOrders();
    await this.#settle();
    await this.gateway.worker.stop({ timeout: 3000 });
    await this.readStats({ exact: true });
  }

  /** Ends the story early: no more orders, and no waiting for the queues. */
  stop () { this.stopped = true; }

  /** Breaks or mends an upstream by hand. That ends the story's own acts. */
  switch (name, isBroken) {
    this.#acts = [];
    const { fault, label } = isBroken ? FAULTS[name] : { fault: null, label: 'well' };
    this.#set(name, fault, label);
  }

  async close () {
    for (const timer of this.#timers) clock.clearTimer(timer);
    await this.#server?.close();
    await this.upstreams?.close();
  }

  async readStats (options) {
    this.#statsAt = clock.now();
    this.#stats = await this.gateway.store.outbox.stats(options);
  }

  // ---- What happens ----------------------------------------------------------------------------

  /** Looks up what an earlier run has left, and deletes what has ended: the folder stays small. */
  async #remember ({ store }) {
    // Now, and not by the schedule: rows that it deletes during the story would spoil the sums.
    await store.cleanUp(ENDED);
    await this.#forget(store);
    this.#stats = this.#start = await store.outbox.stats({ exact: true });
    for (const state of ['queued', 'unknown']) {
      for await (const { orderId } of ordersOf(store, state)) this.waitingOrders.add(orderId);
    }
    this.orders.before = this.waitingOrders.size;
  }

  /** Deletes what has ended. What this run has sent still counts. */
  async #forget (store) {
    this.#forgotAt = clock.now();
    const { rows } = await store.query(FORGET(store.schema), [this.#forgetMs]);
    for (const { channel, count } of this.#began > 0 ? rows : []) {
      this.#gone[this.#kindOf(channel)] += count;
    }
    const events = ORDERS_AGE * this.#forgetMs;
    await store.cleanUp({ ...ENDED, sent: false, dead: false, events });
    // So that the space is used again: nothing else does this in an embedded database.
    await store.query('VACUUM');
  }

  #follow (gateway) {
    const { store, worker, clients, breakers } = gateway;
    store.payments.on('transition', (order, { to }) => {
      if (to !== 'created') return;
      this.tokens.set(order.orderId, order.token);
      if (this.waitingOrders.delete(order.orderId)) this.orders.later += 1;
    });
    worker.on('sent', message => this.#sent(message));
    worker.on('retry', ({ channel }) => { this.again[this.#kindOf(channel)] += 1; });
    clients.whatsapp.on('paused', ({ reason }) =>
      this.#tell('whatsapp', 'paused', `${reason}: messages wait`));
    clients.whatsapp.on('resumed', () =>
      this.#tell('whatsapp', 'resumed', 'the account is fixed'));
    for (const name of ['midtrans', 'smtp', 'whatsapp', 'films']) {
      this.#announce(name, breakers[name]);
    }
    gateway.on('level', ({ to, reason }) => this.#tell('gateway', 'level', `${to}: ${reason}`));
  }

  #kindOf (channel) {
    return Object.keys(CHANNELS).find(kind => CHANNELS[kind] === channel) ?? 'orders';
  }

  #sent ({ channel, providerMessageId, reference }) {
    this.#delivered[this.#kindOf(channel)] += 1;
    if (channel === 'EMAIL') this.sent.emails.add(providerMessageId);
    if (channel === 'WHATSAPP') this.sent.messages.add(reference);
  }

  #announce (name, breaker) {
    let probing = false;
    breaker.on('open', () => {
      this.#opened.add(name);
      const { failures, fires } = breaker.stats;
      this.#tell(name, 'open', probing ? 'the probe failed' : `${failures} of ${fires} failed`);
      probing = false;
    });
    breaker.on('halfOpen', () => {
      probing = true;
      this.#tell(name, 'halfOpen', 'the next call is the probe');
    });
    breaker.on('close', () => {
      probing = false;
      this.#tell(name, 'close', 'the probe succeeded');
    });
  }

  /** A hook: it runs through the outbox, so the customer is told even if this process dies. */
  async #tellCustomer (gateway, { orderId, redirectUrl }, { to }) {
    const email = (subject, body) =>
      ({ channel: 'EMAIL', recipient: `${orderId}@customers.example`, subject, body });
    if (to === 'created') {
      const phone = `+62812${String(parseInt(orderId.split('-').at(-1), 10)).padStart(8, '0')}`;
      await gateway.notify([
        email('Pay for your order', redirectUrl),
        { channel: 'WHATSAPP', recipient: phone, template: 'Pay: {{url}}',
          data: { url: redirectUrl } }
      ]);
    } else if (to === 'paid') await gateway.notify(email('Your tickets', 'Thank you.'));
  }

  /** What a shop does with an order. */
  async order (amount) {
    this.orders.in += 1;
    const id = `${this.#run}-${String(this.orders.in).padStart(5, '0')}`;
    this.known.add(id);
    this.inFlight += 1;
    // It counts as waiting until the opposite is known.
    this.waitingOrders.add(id);
    try {
      const answer = await this.gateway.payments.createOrder(
        { transaction_details: { order_id: id, gross_amount: amount } });
      if (answer.queued) this.orders.queued += 1;
      else this.#made(id, answer.token);
      return answer;
    } catch (error) {
      this.waitingOrders.delete(id);
      this.orders.refused += 1;
      throw error;
    } finally {
      this.inFlight -= 1;
    }
  }

  #made (id, token) {
    this.orders.atOnce += 1;
    // The transition may have been emitted first.
    if (!this.waitingOrders.delete(id)) this.orders.later -= 1;
    this.tokens.set(id, token);
    if (this.orders.in % PAID_EVERY === 0) this.#pay(id);
  }

  /** The customer pays, and Midtrans notifies us. */
  #pay (id) {
    const { midtrans } = this.upstreams;
    midtrans.choose(id);
    midtrans.settle(id);
    midtrans.notify(`${this.url}/webhooks/midtrans`, id).catch(() => {});
  }

  // ---- The story -------------------------------------------------------------------------------

  /** Orders come in for the requested time, and until every act has been played. */
  async #takeOrders () {
    const enough = this.seconds * ORDERS_PER_SECOND;
    for (let taken = 0; !this.stopped;) {
      const due = Math.floor(this.elapsedMs / 1000 * ORDERS_PER_SECOND);
      const last = this.#acts.length === 0 ? enough : Infinity;
      const next = Math.min(due, last, taken + ORDERS_PER_TICK_MAX);
      for (; taken < next; taken += 1) this.#orderOf(taken);
      this.#play(taken / (this.storySeconds * ORDERS_PER_SECOND));
      if (this.#acts.length === 0 && taken >= enough) return;
      if (clock.now() - this.#forgotAt >= this.#forgetMs) await this.#forget(this.gateway.store);
      if (clock.now() - this.#statsAt >= STATS_MS) await this.readStats();
      await this.#wait(TICK_MS);
    }
  }

  #orderOf (number) {
    this.order(25_000 + (number % 8) * 12_500).catch(error =>
      this.#tell('gateway', 'refused', String(error.code)));
  }

  /** Plays the acts that are due. `progress`: the share of the story's orders taken so far. */
  #play (progress) {
    const isLate = this.elapsedMs > PATIENCE * this.storySeconds * 1000;
    while (this.#acts.length > 0) {
      const { at, upstream, fault, label, once } = this.#acts[0];
      if (progress < at || (once === 'open' && !this.#opened.has(upstream) && !isLate)) return;
      this.#acts.shift();
      this.#set(upstream, fault, label);
    }
  }

  #set (name, fault, label) {
    this.upstreams.set(name, fault, label);
    this.#tell(name, fault === null ? 'mended' : 'fault', label);
    if (fault === null && name === 'whatsapp') this.gateway.clients.whatsapp.resume();
  }

  async #settle () {
    const deadline = clock.now() + SETTLE_MS_MAX;
    const isBusy = () => this.inFlight > 0 || (!this.stopped &&
      (this.waitingOrders.size > 0 || this.#stats.waiting > 0));
    while (isBusy() && clock.now() < deadline) {
      await this.#wait(TICK_MS);
      await this.readStats();
    }
  }

  #wait (ms) {
    return new Promise(resolve => {
      const timer = clock.setTimer(() => {
        this.#timers.delete(timer);
        resolve();
      }, ms);
      this.#timers.add(timer);
    });
  }

  #tell (upstream, type, detail) {
    this.emit('event', { ms: this.elapsedMs, upstream, type, detail });
  }
}

// ---- The closing sums --------------------------------------------------------------------------

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
 * The sums of a demo that has run: every order, e-mail and message is in exactly one place, and the
 * servers have counted the same.
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

module.exports = { Demo, sumsOf };
