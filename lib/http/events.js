'use strict';

// What happens, as it happens: breakers, the degradation level, dead letters and payments as
// server-sent events. The last of them are kept, so that a reader that was away misses none.

const { randomBytes } = require('node:crypto');

const clock = require('../base/clock');
const { bag, func, number } = require('../base/options');
const { problem } = require('../base/problem');

const TRANSITIONS = { open: 'open', halfOpen: 'half-open', close: 'closed' };
// Breakers come and go; the new ones are looked for this often.
const SCAN_MS = 1000;
const TEXT_MAX = 300;
const RETRY_AFTER_S = 5;

const DEFAULTS = { history: 256, maxClients: 64, maxBuffer: 262_144, heartbeat: 15_000 };
const BOUNDS = {
  history: { min: 1, max: 10_000, integer: true },
  maxClients: { min: 1, max: 10_000, integer: true },
  maxBuffer: { min: 1024, max: 2 ** 30, integer: true, unit: 'bytes' },
  heartbeat: { min: 10, max: 3_600_000, unit: 'ms' },
};

const cut = text => typeof text === 'string' ? text.slice(0, TEXT_MAX) : null;

/** Listeners that can all be taken off again. */
class Subscriptions {
  #undo = [];

  add (emitter, event, listener) {
    if (typeof emitter?.on !== 'function') return;
    emitter.on(event, listener);
    this.#undo.push(() => emitter.off(event, listener));
  }

  end () {
    for (const undo of this.#undo.splice(0)) undo();
  }
}

class EventStream {
  #options;
  #breakers;
  // By response, whose it is: the token's entry, where there is one. Oldest first.
  #clients = new Map();
  #events = [];
  #sequence = 0;
  // Tells the numbers of this process from those of another one, or of one before.
  #epoch = randomBytes(6).toString('hex');
  #subscriptions = new Subscriptions();
  // By breaker, its listeners.
  #followed = new WeakMap();
  #scanTimer;
  #heartbeatTimer;
  #closed = false;

  constructor (options) {
    this.#options = options;
    this.#breakers = options.breakers;
    this.#subscribe(options);
    this.#scan();
    this.#beat();
  }

  get clients () { return this.#clients.size; }

  #subscribe ({ degradation, store, sessions }) {
    const subscriptions = this.#subscriptions;
    subscriptions.add(degradation, 'level', ({ from, to, reason, by }) =>
      this.publish('degradation', { from, to, reason: cut(reason), by: cut(by) }));
    subscriptions.add(store?.deadLetters, 'arrival', letter => this.publish('dead-letter', {
      id: letter.id,
      channel: letter.channel,
      kind: letter.kind,
      recipient: cut(letter.recipient),
      reason: cut(letter.reason),
    }));
    subscriptions.add(store?.deliveries, 'failed', ({ id, channel, recipient, errorCode, error }) =>
      this.publish('delivery-failed', {
        id, channel, recipient: cut(recipient), code: cut(errorCode), reason: cut(error),
      }));
    subscriptions.add(store?.payments, 'transition', (order, { from, to }) =>
      this.publish('payment', { orderId: order.orderId, from, to }));
    // In words for the operator, such as what to do when WhatsApp does not answer.
    subscriptions.add(sessions, 'trouble', ({ id, message }) =>
      this.publish('session', { id: cut(id), message: cut(message) }));
    subscriptions.add(store?.payments, 'held', (event, reason) =>
      this.publish('payment-held', { orderId: event.orderId, reason: cut(reason) }));
  }

  // Nothing here holds a breaker: its listeners know its name only.
  #scan () {
    for (const breaker of this.#breakers()) {
      if (!this.#followed.has(breaker) && !breaker.isShutdown) this.#follow(breaker);
    }
    this.#scanTimer = clock.setTimer(() => this.#scan(), SCAN_MS, false);
  }

  #follow (breaker) {
    const { name, group } = breaker;
    const listeners = Object.entries(TRANSITIONS).map(([event, state]) =>
      [event, () => this.publish('breaker', { name, group, state })]);
    for (const [event, listener] of listeners) breaker.on(event, listener);
    this.#followed.set(breaker, listeners);
  }

  #unfollow () {
    for (const breaker of this.#breakers()) {
      const listeners = this.#followed.get(breaker) ?? [];
      for (const [event, listener] of listeners) breaker.off(event, listener);
    }
  }

  #beat () {
    for (const client of this.#clients.keys()) this.#write(client, ': alive\n\n');
    this.#heartbeatTimer = clock.setTimer(() => this.#beat(), this.#options.heartbeat, false);
  }

  /** Tells all readers, and those who come back. */
  publish (type, data) {
    const id = ++this.#sequence;
    const event = { id, text: this.#format(id, type, { at: clock.wall(), ...data }) };
    this.#events.push(event);
    if (this.#events.length > this.#options.history) this.#events.shift();
    for (const client of this.#clients.keys()) this.#write(client, event.text);
  }

  // JSON has no line breaks outside of strings and none inside, so no text can begin a field.
  #format (id, type, data) {
    return `id: ${this.#epoch}-${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  /** A reader that does not keep up is let go: it comes back and asks for what it has missed. */
  #write (client, text) {
    client.write(text);
    if (client.writableLength > this.#options.maxBuffer) client.destroy();
  }

  get #oldest () { return this.#events[0]?.id ?? this.#sequence + 1; }

  /** What a reader has missed; undefined when that is no longer known. */
  #since (lastId) {
    if (lastId === undefined) return this.#events;
    const [, epoch, digits] = /^([0-9a-f]{12})-(\d{1,15})$/.exec(lastId) ?? [];
    const last = Number(digits);
    const isKnown = epoch === this.#epoch && last >= this.#oldest - 1 && last <= this.#sequence;
    return isKnown ? this.#events.filter(({ id }) => id > last) : undefined;
  }

  /**
   * Whether there is room for one more reader of a caller. When all places are taken, the caller
   * who has the most gives one up to another who would still have fewer: nobody keeps others out.
   */
  #hasRoom (caller) {
    if (this.#closed) return false;
    if (this.#clients.size < this.#options.maxClients) return true;
    const counts = new Map([[caller, 0]]);
    for (const each of this.#clients.values()) counts.set(each, (counts.get(each) ?? 0) + 1);
    const [most, count] = [...counts].reduce((one, other) => (other[1] > one[1] ? other : one));
    if (counts.get(caller) + 1 >= count) return false;
    const [oldest] = [...this.#clients].find(([, each]) => each === most);
    this.#clients.delete(oldest);
    oldest.destroy();
    return true;
  }

  /** Answers a request of somebody who may read. */
  handle (req, res) {
    const caller = res.locals?.caller;
    if (req.method !== 'HEAD' && !this.#hasRoom(caller)) {
      problem(res, 503, {
        code: 'ERR_EVENTS_FULL',
        detail: 'There are as many readers as there may be.',
        retryAfter: RETRY_AFTER_S
      });
      return;
    }
    res.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-store, no-transform',
      'X-Accel-Buffering': 'no',
      'X-Content-Type-Options': 'nosniff',
    });
    if (req.method === 'HEAD') return res.end();
    const missed = this.#since(req.headers['last-event-id']);
    // Those who missed more than is known have to look at everything anew.
    const hello = missed === undefined ? this.#format(this.#oldest - 1, 'reset', {})
      : ': hello\n\n';
    res.write(hello + (missed ?? this.#events).map(({ text }) => text).join(''));
    this.#clients.set(res, caller);
    res.on('close', () => this.#clients.delete(res));
    res.on('error', () => {});
  }

  /** Ends all streams and stops listening. */
  close () {
    this.#closed = true;
    clock.clearTimer(this.#scanTimer);
    clock.clearTimer(this.#heartbeatTimer);
    this.#subscriptions.end();
    this.#unfollow();
    for (const client of this.#clients.keys()) client.end();
  }
}

/**
 * @param {object} [options]
 * @param {() => object[]} [options.breakers] default: all of this thread
 * @param {object} [options.degradation]
 * @param {object} [options.store]
 * @param {object} [options.sessions] a SessionPool
 * @param {number} [options.history=256] events kept for those who come back
 * @param {number} [options.maxClients=64]
 * @param {number} [options.maxBuffer=262144] bytes that a reader may be behind
 * @param {number} [options.heartbeat=15000] ms
 */
function createEventStream (options) {
  const given = bag('options', options);
  const { breakers = require('../primitives/breaker').breakers, degradation, store, sessions } =
    given;
  func('breakers', breakers);
  const numbers = Object.fromEntries(Object.entries(DEFAULTS).map(([name, fallback]) =>
    [name, number(name, given[name] ?? fallback, BOUNDS[name])]));
  return new EventStream({ breakers, degradation, store, sessions, ...numbers });
}

module.exports = { createEventStream };
