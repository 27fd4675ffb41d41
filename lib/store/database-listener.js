'use strict';

// LISTEN: who listens to which channel, and the one connection to PostgreSQL that hears for them
// all. A lost connection comes back by itself. What was notified meanwhile is lost, so listeners
// are told that they may have missed something.

const { clearTimer, setTimer } = require('../base/clock');
const { guarded } = require('../base/warn');
const { quote } = require('./sql-client');
const { storeError } = require('./store-errors');

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 2000;
const POLL_MS = 2000;

const FAILED = 'A listener of the database failed';

/** The listeners by channel. */
class Channels {
  /** @type {Map<string, Set<{ onPayload: Function, onReconnect?: Function }>>} */
  #listeners = new Map();

  /** Of the channels; what is added while one goes through them is among them. */
  get names () { return this.#listeners.keys(); }

  get isEmpty () { return this.#listeners.size === 0; }

  has (channel) { return this.#listeners.has(channel); }

  /** @returns {boolean} whether it is the channel's first */
  add (channel, listener) {
    const others = this.#listeners.get(channel);
    if (others === undefined) this.#listeners.set(channel, new Set([listener]));
    else others.add(listener);
    return others === undefined;
  }

  /** @returns {boolean} whether it was the channel's last */
  remove (channel, listener) {
    const listeners = this.#listeners.get(channel);
    if (!listeners?.delete(listener) || listeners.size > 0) return false;
    return this.#listeners.delete(channel);
  }

  clear () { this.#listeners.clear(); }

  notify ({ channel, payload }) {
    for (const { onPayload } of this.#listeners.get(channel) ?? []) {
      guarded(FAILED, () => onPayload(payload ?? ''));
    }
  }

  /** Tells the listeners that they may have missed something. */
  reconnected (names = [...this.names]) {
    const listeners = names.flatMap(name => [...this.#listeners.get(name) ?? []]);
    for (const { onReconnect } of listeners) if (onReconnect) guarded(FAILED, onReconnect);
  }
}

/** The connection that listens. */
class Listener {
  #options;
  #channels = new Channels();
  #client;
  #opening;
  #isClosed = false;
  #failures = 0;
  #timer;

  /**
   * @param {{ connect: () => Promise<object>, disconnect: (client: object) => void,
   *   timeout: number, onWarning: (error: Error) => void }} options
   */
  constructor (options) {
    this.#options = options;
  }

  /**
   * Resolves once the channel is listened to, or the first attempt has failed; others follow.
   * @param {(payload: string) => void} onPayload
   * @param {() => void} [onReconnect] something may have been missed
   * @returns {Promise<() => Promise<void>>} stops it
   */
  async listen (channel, onPayload, onReconnect) {
    const listener = { onPayload, onReconnect };
    const isFirst = this.#channels.add(channel, listener);
    await this.#opening;
    if (this.#client === undefined) await this.#open();
    else if (isFirst) await this.#try(this.#client, `LISTEN ${quote(channel)}`);
    return () => this.#stop(channel, listener);
  }

  async close () {
    this.#isClosed = true;
    this.#channels.clear();
    await this.#opening;
    this.#drop();
  }

  async #stop (channel, listener) {
    if (!this.#channels.remove(channel, listener)) return;
    await this.#opening;
    if (this.#channels.isEmpty) this.#drop();
    else if (this.#client !== undefined && !this.#channels.has(channel)) {
      await this.#try(this.#client, `UNLISTEN ${quote(channel)}`);
    }
  }

  /** Gives the connection up. */
  #drop () {
    clearTimer(this.#timer);
    const client = this.#client;
    this.#client = undefined;
    if (client === undefined) return;
    client.off('notification', this.#onNotification);
    client.off('end', this.#onEnd);
    this.#options.disconnect(client);
  }

  async #open () {
    this.#opening ??= this.#connect().finally(() => { this.#opening = undefined; });
    return this.#opening;
  }

  async #connect () {
    const { connect } = this.#options;
    // A new listener need not wait for the next attempt.
    clearTimer(this.#timer);
    let client;
    try {
      client = await connect();
    } catch (error) {
      this.#lose(error);
      return;
    }
    this.#client = client;
    client.on('notification', this.#onNotification);
    client.on('end', this.#onEnd);
    // Listening alone keeps no process alive.
    client.unref();
    for (const channel of this.#channels.names) {
      if (!await this.#try(client, `LISTEN ${quote(channel)}`)) return;
    }
    if (this.#failures > 0) this.#channels.reconnected();
    this.#failures = 0;
    this.#ping(client);
  }

  /** @returns {Promise<boolean>} whether it worked; if not, the connection is lost */
  async #try (client, text) {
    try {
      await client.query({ text, query_timeout: this.#options.timeout });
      return client === this.#client;
    } catch (error) {
      if (client === this.#client) this.#lose(storeError(error));
      return false;
    }
  }

  /** Only using a connection shows that its other end has vanished. */
  #ping (client) {
    this.#timer = setTimer(async () => {
      if (await this.#try(client, 'SELECT 1')) this.#ping(client);
    }, this.#options.timeout, false);
  }

  #lose (error) {
    this.#drop();
    if (this.#isClosed || this.#channels.isEmpty) return;
    this.#options.onWarning(error);
    const delay = Math.min(RETRY_MS_MIN * 2 ** this.#failures, RETRY_MS_MAX);
    this.#failures++;
    this.#timer = setTimer(() => this.#open(), delay, false);
  }

  #onEnd = () => this.#lose(storeError(new Error('Connection terminated unexpectedly')));

  #onNotification = message => this.#channels.notify(message);
}

/**
 * Replaces a Listener where LISTEN does not work. It regularly tells its users that they may have
 * missed something.
 */
class Poller {
  #channels = new Channels();
  #onFirst;
  #timer;

  /** @param {() => void} onFirst called once, at the first call of listen() */
  constructor (onFirst) {
    this.#onFirst = onFirst;
  }

  /** As Listener.listen. */
  async listen (channel, onPayload, onReconnect) {
    const listener = { onPayload, onReconnect };
    this.#channels.add(channel, listener);
    this.#onFirst?.();
    this.#onFirst = undefined;
    if (this.#timer === undefined) this.#wait();
    return async () => { this.#channels.remove(channel, listener); };
  }

  async close () {
    this.#channels.clear();
    clearTimer(this.#timer);
  }

  #wait () {
    this.#timer = setTimer(() => {
      this.#timer = undefined;
      if (this.#channels.isEmpty) return;
      this.#channels.reconnected();
      this.#wait();
    }, POLL_MS, false);
  }
}

module.exports = { Channels, Listener, Poller };
