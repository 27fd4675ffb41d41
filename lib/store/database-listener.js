'use strict';

// LISTEN on one connection for all channels of a database. A connection that is lost comes back by
// itself; what was notified meanwhile is lost, so whoever listens is told to look once more.

const { clearTimer, setTimer } = require('../base/clock');
const { guarded } = require('../base/warn');
const { quote } = require('./sql-text');
const { storeError } = require('./store-errors');

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 2000;

class Listener {
  #options;
  /** channel → the set of those who listen. */
  #channels = new Map();
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
   * Resolves once the channel is listened to, or a first attempt has failed; others follow.
   * @param {(payload: string) => void} onPayload
   * @param {() => void} [onReconnect] something may have been missed
   * @returns {Promise<() => Promise<void>>} what stops it
   */
  async listen (channel, onPayload, onReconnect) {
    const entry = { onPayload, onReconnect };
    const others = this.#channels.get(channel);
    if (others === undefined) this.#channels.set(channel, new Set([entry]));
    else others.add(entry);
    await this.#opening;
    if (this.#client === undefined) await this.#open();
    else if (others === undefined) await this.#try(this.#client, `LISTEN ${quote(channel)}`);
    return () => this.#stop(channel, entry);
  }

  async close () {
    this.#isClosed = true;
    this.#channels.clear();
    await this.#opening;
    this.#drop();
  }

  async #stop (channel, entry) {
    const entries = this.#channels.get(channel);
    if (!entries?.delete(entry) || entries.size > 0) return;
    this.#channels.delete(channel);
    await this.#opening;
    if (this.#channels.size === 0) this.#drop();
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
    // Somebody may have come before it was time for the next attempt.
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
    // Nobody is kept waiting for news when there is nothing else to do.
    client.unref();
    for (const channel of this.#channels.keys()) {
      if (!await this.#try(client, `LISTEN ${quote(channel)}`)) return;
    }
    if (this.#failures > 0) this.#tellAll();
    this.#failures = 0;
    this.#ping(client);
  }

  /** Whether the connection could do this; if not it is lost. */
  async #try (client, text) {
    try {
      await client.query({ text, query_timeout: this.#options.timeout });
      return client === this.#client;
    } catch (error) {
      if (client === this.#client) this.#lose(storeError(error));
      return false;
    }
  }

  /** A connection whose other end has vanished is found out by using it only. */
  #ping (client) {
    this.#timer = setTimer(async () => {
      if (await this.#try(client, 'SELECT 1')) this.#ping(client);
    }, this.#options.timeout, false);
  }

  #lose (error) {
    this.#drop();
    if (this.#isClosed || this.#channels.size === 0) return;
    this.#options.onWarning(error);
    const delay = Math.min(RETRY_MS_MIN * 2 ** this.#failures, RETRY_MS_MAX);
    this.#failures++;
    this.#timer = setTimer(() => this.#open(), delay, false);
  }

  #onEnd = () => this.#lose(storeError(new Error('Connection terminated unexpectedly')));

  #onNotification = ({ channel, payload }) => {
    for (const { onPayload } of this.#channels.get(channel) ?? []) {
      guarded('A listener of the database failed', () => onPayload(payload ?? ''));
    }
  };

  #tellAll () {
    for (const { onReconnect } of [...this.#channels.values()].flatMap(set => [...set])) {
      if (onReconnect) guarded('A listener of the database failed', onReconnect);
    }
  }
}

module.exports = { Listener };
