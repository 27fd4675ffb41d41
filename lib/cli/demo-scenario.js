'use strict';

// The demonstration's story: orders come in at a steady rate, each brings an e-mail and, when it
// can be paid, a WhatsApp message. Midtrans breaks and is mended, the mail relay has a bad spell,
// and the quota of WhatsApp is used up for a while. Nothing here draws or prints.

const { EventEmitter } = require('node:events');

const clock = require('../base/clock');
const { retryPresets } = require('../index');
const { Channel } = require('./demo-channel');
const { startUpstreams } = require('./demo-upstreams');

const ORDERS_PER_SECOND = 40;
const TICK_MS = 20;
// How long the queues may take to empty once the last order is in.
const SETTLE_MS_MAX = 20_000;

// What happens when, as parts of the running time.
const ACTS = [
  { at: 0.20, upstream: 'midtrans', fault: 'hang', label: 'answers nothing' },
  { at: 0.32, upstream: 'midtrans', fault: 'reset', label: 'cuts connections' },
  { at: 0.44, upstream: 'midtrans', fault: 'html', label: 'answers 502' },
  { at: 0.54, upstream: 'midtrans', fault: null, label: 'well' },
  { at: 0.66, upstream: 'smtp', fault: { stage: 'data', every: 3, once: true },
    label: '451 to each third' },
  { at: 0.70, upstream: 'whatsapp', fault: 131042, label: 'quota used up' },
  { at: 0.82, upstream: 'smtp', fault: null, label: 'well' },
  { at: 0.86, upstream: 'whatsapp', fault: null, label: 'well' }
];

const TIMEOUTS = new Set(['ETIMEDOUT', 'ERR_MIDTRANS_TIMEOUT', 'ERR_WHATSAPP_TIMEOUT']);

/** By how much times shrink: a long run can afford to come closer to the real ones. */
function divisorFor (seconds) {
  if (seconds >= 45) return 10;
  return seconds >= 15 ? 20 : 25;
}

/** Whether an order may be made later: Midtrans, not the order, is to blame. */
const canWait = error => error.code === 'EOPENBREAKER' || error.retryable === true;

/** Whether an order was made by an earlier attempt, whose answer was lost. */
const isAlreadyMade = error => error.tokenLost === true || error.code === 'ERR_MIDTRANS_CONFLICT';

class Demo extends EventEmitter {
  #upstreams;
  #acts = [...ACTS];
  #timer;
  #began = 0;
  #stopping = false;
  #lastMail = 0;

  /** @param {number} seconds how long orders keep coming */
  constructor (seconds) {
    super();
    this.seconds = seconds;
    this.divisor = divisorFor(seconds);
    this.labels = { midtrans: 'well', smtp: 'well', whatsapp: 'well' };
    this.calls = {};
    this.breakers = {};
    this.channels = {};
    /** Tokens by order id, and Message-IDs and references of what was sent, to be compared. */
    this.tokens = new Map();
    this.sent = new Set();
    this.told = new Set();
  }

  get elapsedMs () {
    return this.#began === 0 ? 0 : clock.now() - this.#began;
  }

  get upstreams () {
    return this.#upstreams;
  }

  /** Runs the whole story; resolves once nothing is in flight and the queues had their time. */
  async run () {
    this.#upstreams = await startUpstreams(this.divisor);
    this.#build();
    this.#began = clock.now();
    await this.#takeOrders();
    await this.#settle();
  }

  /** Ends the story early: no more orders, and no waiting for the queues. */
  stop () {
    this.#stopping = true;
  }

  get stopped () {
    return this.#stopping;
  }

  /** Whether the messages of WhatsApp wait for somebody to see to the channel. */
  get paused () {
    return this.#upstreams?.clients.whatsapp.paused !== null;
  }

  /** How long an attempt may take, ms. */
  timeoutOf (name) {
    return this.#upstreams.timeouts[name];
  }

  async close () {
    clock.clearTimer(this.#timer);
    for (const breaker of Object.values(this.breakers)) breaker.shutdown();
    await this.#upstreams?.close();
  }

  #build () {
    const { midtrans, smtp, whatsapp } = this.#upstreams.clients;
    for (const [name, { breaker }] of Object.entries({ midtrans, smtp, whatsapp })) {
      this.#watch(name, breaker);
    }
    const delayOf = failures => this.#backoff(failures);
    const orders = new Channel({
      breaker: midtrans.breaker, attempt: order => this.#make(order), delayOf, isDone: isAlreadyMade
    });
    const emails = new Channel({
      breaker: smtp.breaker, delayOf, attempt: mail => this.#send(mail, emails, () => smtp.send({
        messageId: mail.id, to: mail.to, subject: mail.subject, text: mail.text
      }))
    });
    const messages = new Channel({
      breaker: whatsapp.breaker, delayOf,
      attempt: message => this.#send(message, messages, () => whatsapp.send({
        to: message.to, type: 'text', text: { body: message.text },
        biz_opaque_callback_data: message.id
      }))
    });
    this.channels = { orders, emails, messages };
    this.#follow(orders, emails, messages);
    whatsapp.on('paused', ({ reason }) => this.#tell('whatsapp', 'paused', `${reason}: all wait`));
    whatsapp.on('resumed', () => {
      this.#tell('whatsapp', 'resumed', 'somebody has seen to it');
      messages.wake();
    });
  }

  #watch (name, breaker) {
    const calls = { fires: 0, successes: 0, failures: 0, timeouts: 0, rejects: 0 };
    breaker.on('fire', () => { calls.fires += 1; });
    breaker.on('success', () => { calls.successes += 1; });
    breaker.on('failure', error => {
      calls.failures += 1;
      if (TIMEOUTS.has(error?.code)) calls.timeouts += 1;
    });
    breaker.on('reject', () => { calls.rejects += 1; });
    this.breakers[name] = breaker;
    this.calls[name] = calls;
    this.#announce(name, breaker);
  }

  #announce (name, breaker) {
    let probing = false;
    breaker.on('open', () => {
      this.#tell(name, 'open', probing ? 'the probe failed' : whyOpen(breaker.stats));
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

  /** Each order brings an e-mail: the link to pay by, or that it will follow, then the link. */
  #follow (orders, emails, messages) {
    orders.on('done', (order, answer, late) => {
      this.tokens.set(order.id, answer.token);
      this.#mail(order, late ? 'Your order can be paid now' : 'Pay for your order',
        answer.redirect_url);
      messages.submit({
        id: `pay.${order.id}`, to: order.phone, text: `Pay: ${answer.redirect_url}`, attempts: 0
      });
    });
    orders.on('held', (order, error) => {
      if (order.attempts > 1 || order.told) return;
      order.told = true;
      order.heldFor = error;
      this.#mail(order, 'Your order is queued', 'We send the link as soon as we can.');
    });
    emails.on('done', mail => this.sent.add(mail.id));
    messages.on('done', message => this.told.add(message.id));
    orders.on('drain', waiting => this.#tell('midtrans', 'drain', `${waiting} orders wait`));
    orders.on('drained', ms => {
      this.#tell('midtrans', 'drained', `the queue was empty after ${Math.round(ms)} ms`);
    });
  }

  #mail (order, subject, text) {
    this.#lastMail += 1;
    this.channels.emails.submit({
      id: `<${this.#lastMail}.${order.id}@shop.example>`,
      to: `${order.id}@customers.example`,
      subject,
      text,
      attempts: 0
    });
  }

  /** Has Midtrans make an order; one that cannot be made now is queued. */
  async #make (order) {
    order.attempts += 1;
    try {
      return await this.#upstreams.clients.midtrans.createTransaction(
        { transaction_details: { order_id: order.id, gross_amount: order.amount } },
        { resume: order.attempts > 1 });
    } catch (error) {
      if (!canWait(error)) throw error;
      return this.channels.orders.hold(order, error);
    }
  }

  /** Sends with the retries of the client; what cannot be sent now waits. */
  async #send (job, channel, send) {
    try {
      const result = await send();
      job.attempts += result.attempts;
      return result;
    } catch (error) {
      job.attempts += error.attempts ?? 0;
      if (!error.retryable) throw error;
      return channel.hold(job, error);
    }
  }

  #backoff (failures) {
    const { minTimeout, maxTimeout, factor } = retryPresets.payment;
    return Math.min(minTimeout * factor ** (failures - 1), maxTimeout) / this.divisor;
  }

  #takeOrders () {
    return new Promise(resolve => {
      const step = () => {
        const elapsed = this.elapsedMs;
        const over = this.#stopping || elapsed >= this.seconds * 1000;
        const due = Math.floor(Math.min(elapsed / 1000, this.seconds) * ORDERS_PER_SECOND);
        while (!this.#stopping && this.channels.orders.tally.in < due) this.#order();
        this.#play(elapsed);
        for (const channel of Object.values(this.channels)) channel.drain();
        if (over) resolve();
        else this.#timer = clock.setTimer(step, TICK_MS);
      };
      step();
    });
  }

  #order () {
    const number = this.channels.orders.tally.in + 1;
    this.channels.orders.submit({
      id: `order-${String(number).padStart(5, '0')}`,
      phone: `+62812${String(number).padStart(8, '0')}`,
      amount: 25_000 + (number % 8) * 12_500,
      attempts: 0
    });
  }

  /** The acts whose time has come. */
  #play (elapsed) {
    while (this.#acts.length > 0 && elapsed >= this.#acts[0].at * this.seconds * 1000) {
      const { upstream, fault, label } = this.#acts.shift();
      this.#upstreams[upstream].set(fault);
      this.labels[upstream] = label;
      this.#tell(upstream, fault === null ? 'mended' : 'fault', label);
      if (fault === null && upstream === 'whatsapp') this.#upstreams.clients.whatsapp.resume();
    }
  }

  async #settle () {
    const deadline = clock.now() + SETTLE_MS_MAX;
    const channels = Object.values(this.channels);
    const busy = channel => channel.inFlight > 0 ||
      (channel.waiting.length > 0 && !this.#stopping);
    while (channels.some(busy) && clock.now() < deadline) {
      if (!this.#stopping) for (const channel of channels) channel.drain();
      await new Promise(resolve => { this.#timer = clock.setTimer(resolve, TICK_MS); });
    }
  }

  #tell (upstream, type, detail) {
    this.emit('event', { ms: this.elapsedMs, upstream, type, detail });
  }
}

function whyOpen ({ failures, fires }) {
  return `${failures} of ${fires} calls failed`;
}

module.exports = { Demo };
