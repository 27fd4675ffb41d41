'use strict';

// Live events of breakers, the degradation level, dead letters and payments, as server-sent events.
// The last ones of each kind are kept, so that readers that reconnect miss none, and so that many
// events of one kind do not push out the few of another.

const { randomBytes } = require('node:crypto');

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { read } = require('../base/foreign');
const { is, optionsOf, readable } = require('../base/options');
const { breakersOption } = require('./breaker-views');
const { problem } = require('./problem');

// New breakers are found within this time.
const SCAN_MS = 1000;
const TEXT_MAX = 300;
const RETRY_AFTER_S = 5;
// Further kinds, which only users publish, share the ring of the last one.
const KINDS_MAX = 32;

const OPTIONS = optionsOf({
  breakers: breakersOption,
  degradation: is.having('for changes of the level', ['on', 'off']),
  store: is.object('for dead letters, deliveries and payments'),
  sessions: is.having('a SessionPool, for its troubles', ['on', 'off']),
  history: is.integer('events of each kind kept for readers that reconnect',
    { min: 1, max: 10_000, default: 100 }),
  maxClients: is.integer('readers', { min: 1, max: 10_000, default: 64 }),
  maxBuffer: is.integer('that a reader may lag behind',
    { min: 1024, max: 2 ** 30, unit: 'bytes', default: 262_144 }),
  heartbeat: is.ms('between signs of life', { min: 10, max: 3_600_000, default: 15_000 }),
});

const cut = text => typeof text === 'string' ? text.slice(0, TEXT_MAX) : null;

class EventStream {
  #options;
  #breakers;
  // The caller of each response: the entry of the token, if there is one. Oldest first.
  #clients = new Map();
  // The last events by kind, oldest first.
  #rings = new Map();
  #sequence = 0;
  // The newest event that is no longer kept.
  #lost = 0;
  // Tells our sequence numbers from those of other processes, and of earlier runs.
  #epoch = randomBytes(6).toString('hex');
  #undo;
  // How to stop following each breaker.
  #followed = new WeakMap();
  #scanTimer;
  #heartbeatTimer;
  #closed = false;

  constructor (options) {
    this.#options = OPTIONS.read(options);
    this.#breakers = this.#options.breakers;
    this.#subscribe(this.#options);
    this.#scan();
    this.#beat();
  }

  get clients () { return this.#clients.size; }

  #subscribe ({ degradation, store, sessions }) {
    this.#undo = [
      Emitter.follow(degradation, {
        level: ({ from, to, reason, by }) =>
          this.publish('degradation', { from, to, reason: cut(reason), by: cut(by) }),
      }),
      Emitter.follow(read(store, 'deadLetters'), {
        arrival: ({ id, channel, kind, recipient, reason, lastError }) =>
          this.publish('dead-letter', {
            id, channel, kind, recipient: cut(recipient), reason: cut(reason),
            lastError: cut(lastError),
          }),
      }),
      Emitter.follow(read(store, 'deliveries'), {
        failed: ({ id, channel, recipient, errorCode, error }) => this.publish('delivery-failed', {
          id, channel, recipient: cut(recipient), code: cut(errorCode), reason: cut(error),
        }),
      }),
      Emitter.follow(read(store, 'payments'), {
        transition: ({ orderId }, { from, to }) => this.publish('payment', { orderId, from, to }),
        held: ({ orderId }, reason) =>
          this.publish('payment-held', { orderId, reason: cut(reason) }),
        released: ({ orderId }) => this.publish('payment-released', { orderId }),
      }),
      // The message tells the operator what to do, for example when WhatsApp does not answer.
      Emitter.follow(sessions, {
        trouble: ({ id, message }) =>
          this.publish('session', { id: cut(id), message: cut(message) }),
      }),
    ];
  }

  // The listeners know only the name of a breaker, so that they do not keep it alive.
  #scan () {
    for (const breaker of this.#breakers()) {
      if (!this.#followed.has(breaker) && !breaker.isShutdown) this.#follow(breaker);
    }
    this.#scanTimer = clock.setTimer(() => this.#scan(), SCAN_MS, false);
  }

  #follow (breaker) {
    const { name, group } = breaker;
    const tell = state => () => this.publish('breaker', { name, group, state });
    this.#followed.set(breaker, Emitter.follow(breaker,
      { open: tell('open'), halfOpen: tell('half-open'), close: tell('closed') }));
  }

  #beat () {
    for (const client of this.#clients.keys()) this.#write(client, ': alive\n\n');
    this.#heartbeatTimer = clock.setTimer(() => this.#beat(), this.#options.heartbeat, false);
  }

  /** Sends an event to all readers, and to those that reconnect. */
  publish (type, data) {
    const id = this.#sequence + 1;
    const text = readable('data', 'what can be written as JSON', data,
      () => this.#format(id, type, { at: clock.wall(), ...data }));
    const event = { id, text };
    this.#sequence = id;
    this.#keep(type, event);
    for (const client of this.#clients.keys()) this.#write(client, event.text);
  }

  #keep (type, event) {
    let ring = this.#rings.get(type) ?? this.#rings.get(undefined);
    if (ring === undefined) {
      ring = [];
      this.#rings.set(this.#rings.size < KINDS_MAX - 1 ? type : undefined, ring);
    }
    ring.push(event);
    if (ring.length > this.#options.history) this.#lost = Math.max(this.#lost, ring.shift().id);
  }

  // JSON on one line has no line breaks, so no text can forge a field.
  #format (id, type, data) {
    return `id: ${this.#epoch}-${id}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;
  }

  /** A reader that lags too far behind is disconnected. It reconnects and asks for the rest. */
  #write (client, text) {
    client.write(text);
    if (client.writableLength > this.#options.maxBuffer) client.destroy();
  }

  get #events () { return [...this.#rings.values()].flat().sort((a, b) => a.id - b.id); }

  /** The events that a reader has missed; undefined if some are no longer kept. */
  #since (lastId) {
    if (lastId === undefined) return this.#events;
    const [, epoch, digits] = /^([0-9a-f]{12})-(\d{1,15})$/.exec(lastId) ?? [];
    const last = Number(digits);
    const isKnown = epoch === this.#epoch && last >= this.#lost && last <= this.#sequence;
    return isKnown ? this.#events.filter(({ id }) => id > last) : undefined;
  }

  /**
   * Whether there is room for one more reader of this caller. When all places are taken, the
   * caller with the most readers loses one to a caller who would still have fewer.
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

  /** Answers a request. Whether the client may read must have been checked. */
  handle (req, res) {
    const caller = res.locals?.caller;
    if (req.method !== 'HEAD' && !this.#hasRoom(caller)) {
      problem(res, 503, {
        code: 'ERR_EVENTS_FULL',
        detail: 'There are too many readers. Try again later.',
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
    // A reader that has missed more than is kept must load everything again.
    const hello = missed === undefined ? this.#format(this.#lost, 'reset', {})
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
    for (const breaker of this.#breakers()) this.#followed.get(breaker)?.();
    for (const undo of this.#undo) undo();
    for (const client of this.#clients.keys()) client.end();
  }
}

const createEventStream = options => new EventStream(options);

module.exports = { createEventStream };
