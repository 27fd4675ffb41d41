'use strict';

// The demonstration's story: orders come in at a steady rate, each brings an e-mail, Midtrans
// breaks and is mended, then the mail relay has a bad spell. Nothing here draws or prints.

const { EventEmitter } = require('node:events');

const clock = require('../base/clock');
const { CircuitBreaker, presets, retry, retryPresets } = require('../index');
const { Channel, Gate } = require('./demo-channel');
const {
  startUpstreams, isCallersFault, isAlreadyMade, SMTP_CONNECTIONS_MAX
} = require('./demo-upstreams');

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
  { at: 0.82, upstream: 'smtp', fault: null, label: 'well' }
];

// The figures of a preset that are times.
const TIMES = ['timeout', 'resetTimeout', 'rollingCountTimeout'];
const RETRY_TIMES = ['minTimeout', 'maxTimeout'];

/** A preset with its times divided; everything else stays as production has it. */
function scaled (preset, divisor, times = TIMES) {
  const figures = { ...preset };
  for (const time of times) {
    if (typeof figures[time] === 'number') figures[time] /= divisor;
  }
  return figures;
}

/** By how much times shrink: a long run can afford to come closer to the real ones. */
function divisorFor (seconds) {
  if (seconds >= 45) return 10;
  return seconds >= 15 ? 20 : 25;
}

class Demo extends EventEmitter {
  #upstreams;
  #acts = [...ACTS];
  #timer;
  #began = 0;
  #stopping = false;
  #lastMail = 0;
  // A mail that only waits for a connection must not run into the breaker's timeout: it would be
  // sent all the same, and then once more.
  #mailGate = new Gate(SMTP_CONNECTIONS_MAX);

  /** @param {number} seconds how long orders keep coming */
  constructor (seconds) {
    super();
    this.seconds = seconds;
    this.divisor = divisorFor(seconds);
    this.labels = { midtrans: 'well', smtp: 'well' };
    this.calls = {};
    this.breakers = {};
    this.channels = {};
    /** Tokens by order id and sent mails by Message-ID, to be compared with the servers'. */
    this.tokens = new Map();
    this.sent = new Set();
  }

  get elapsedMs () {
    return this.#began === 0 ? 0 : clock.now() - this.#began;
  }

  get upstreams () {
    return this.#upstreams;
  }

  /** Runs the whole story; resolves once nothing is in flight and the queues had their time. */
  async run () {
    this.#upstreams = await startUpstreams();
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

  async close () {
    clock.clearTimer(this.#timer);
    for (const breaker of Object.values(this.breakers)) breaker.shutdown();
    await this.#upstreams?.close();
  }

  #build () {
    const { snap, mailer } = this.#upstreams;
    const midtrans = this.#breaker('midtrans', order => {
      order.attempts += 1;
      // The signal of this very call: a timeout gives its connection up, and no other's.
      return snap.createTransaction(order, midtrans.getSignal());
    }, { errorFilter: isCallersFault, autoRenewAbortController: true });
    const smtp = this.#breaker('smtp', mail => {
      mail.attempts += 1;
      return mailer.send(mail);
    });
    const delayOf = failures => this.#backoff(failures);
    const orders = new Channel({
      breaker: midtrans, attempt: order => midtrans.fire(order), delayOf, isDone: isAlreadyMade
    });
    midtrans.fallback((order, error) => orders.hold(order, error));
    const emails = new Channel({ breaker: smtp, attempt: mail => this.#sendMail(mail), delayOf });
    this.channels = { orders, emails };
    this.#follow(orders, emails);
  }

  #breaker (name, action, options) {
    const breaker = new CircuitBreaker(action, {
      ...scaled(presets[name], this.divisor), ...options, name
    });
    const calls = { fires: 0, successes: 0, failures: 0, timeouts: 0, rejects: 0 };
    breaker.on('fire', () => { calls.fires += 1; });
    breaker.on('success', () => { calls.successes += 1; });
    breaker.on('failure', () => { calls.failures += 1; });
    breaker.on('timeout', () => { calls.timeouts += 1; });
    breaker.on('reject', () => { calls.rejects += 1; });
    this.breakers[name] = breaker;
    this.calls[name] = calls;
    this.#announce(name, breaker);
    return breaker;
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
  #follow (orders, emails) {
    orders.on('done', (order, answer, late) => {
      this.tokens.set(order.id, answer.token);
      this.#mail(order, late ? 'Your order can be paid now' : 'Pay for your order',
        answer.redirect_url);
    });
    orders.on('held', (order, error) => {
      if (order.attempts > 1 || order.told) return;
      order.told = true;
      order.heldFor = error;
      this.#mail(order, 'Your order is queued', 'We send the link as soon as we can.');
    });
    emails.on('done', mail => this.sent.add(mail.id));
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

  /** Sends with the e-mail preset's retries; an open breaker ends them, and the mail waits. */
  async #sendMail (mail) {
    try {
      return await retry(async bail => {
        try {
          return await this.#mailGate.run(() => this.breakers.smtp.fire(mail));
        } catch (error) {
          if (error.code === 'EOPENBREAKER') return bail(error);
          throw error;
        }
      }, scaled(retryPresets.email, this.divisor, RETRY_TIMES));
    } catch (error) {
      return this.channels.emails.hold(mail, error);
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
