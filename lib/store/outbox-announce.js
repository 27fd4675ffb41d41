'use strict';

// Tells sleeping workers, here and elsewhere, that there is something for them. NOTIFY takes a lock
// of the whole server until its transaction has ended, so it is sent by itself, after the commit,
// and at most once in a while for however many messages.

const clock = require('../base/clock');

const INTERVAL_MS = 5;

class Announcer {
  #database;
  #topic;
  #local = new Set();
  #pending = new Set();
  /** By connection of the user's: channels of the transaction under way. */
  #uncommitted = new WeakMap();
  #timer;
  #sending = false;

  constructor (database) {
    this.#database = database;
    this.#topic = `${database.prefix}outbox`;
  }

  /**
   * @param {(channel?: string) => void} wake without a channel: something may have been missed
   * @returns {Promise<() => Promise<void>>} what ends it
   */
  async listen (wake) {
    this.#local.add(wake);
    const stop = await this.#database.listen(this.#topic, wake, () => wake());
    return async () => {
      this.#local.delete(wake);
      await stop();
    };
  }

  /** There are new messages of these channels, and they are committed. */
  announce (channels) {
    for (const channel of channels) {
      if (this.#pending.has(channel)) continue;
      this.#pending.add(channel);
      for (const wake of this.#local) wake(channel);
    }
    if (this.#timer === undefined && !this.#sending) this.#send();
  }

  /**
   * As `announce`, once the transaction of this client has been committed.
   * @param {object} client as the user gave it
   * @param {object} wrapped by the database
   */
  announceAfter (client, wrapped, channels) {
    if (wrapped.onCommit(() => this.announce(channels))) return;
    // What pg's own client hears with every answer: I is outside of a transaction.
    const { connection } = client;
    const pending = this.#uncommitted.get(connection);
    if (pending !== undefined || typeof connection?.on !== 'function') {
      channels.forEach(channel => pending?.add(channel));
      return;
    }
    this.#uncommitted.set(connection, new Set(channels));
    const onReady = ({ status }) => {
      if (status !== 'I') return;
      connection.off('readyForQuery', onReady);
      this.announce(this.#uncommitted.get(connection));
      this.#uncommitted.delete(connection);
    };
    connection.on('readyForQuery', onReady);
  }

  async #send () {
    this.#sending = true;
    const channels = [...this.#pending];
    this.#pending.clear();
    try {
      await this.#database.query({
        name: 'outbox_notify', text: NOTIFY, values: [this.#topic, channels],
      });
    } catch {
      // Workers look by themselves, too.
    }
    this.#sending = false;
    this.#timer = clock.setTimer(() => {
      this.#timer = undefined;
      if (this.#pending.size > 0) this.#send();
    }, INTERVAL_MS, false);
  }
}

const NOTIFY = 'SELECT pg_notify($1, channel) FROM unnest($2::text[]) AS channel';

module.exports = { Announcer };
