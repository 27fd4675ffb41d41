'use strict';

// The outbox: messages that are durable once taken in, and wait there for a worker to send them.

const { EventEmitter } = require('node:events');

const { invalidOption } = require('../base/errors');
const { bag, boolean, func, number, oneOf } = require('../base/options');
const { createBackoff } = require('../primitives/backoff');
const { Batcher } = require('./batcher');
const { Announcer } = require('./outbox-announce');
const { conditions, isId } = require('./outbox-filter');
const { toRows } = require('./outbox-message');
const { COLUMNS, enqueueAlong, outboxSql } = require('./outbox-sql');
const { OutboxWorker } = require('./outbox-worker');
const { StoreError } = require('./store-errors');

const MESSAGES_MAX = 10_000;
// Of all the rows of one statement, in characters.
const WEIGHT_MAX = 64 * 1024 * 1024;
// Calls that come together share a statement up to this.
const GROUP = { count: 500, weight: 1024 * 1024, writers: 2 };

const CHANNEL = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$/;
const STATUSES = ['PENDING', 'SENDING', 'RETRYING', 'SENT', 'DLQ', 'CANCELLED'];
const ATTEMPTS = 5;
const BACKOFF = { minTimeout: 1000, maxTimeout: 60_000 };
// A key that was free, then taken, then free again, so often, is somebody's loop.
const DEDUPE_ROUNDS = 5;
const DEADLOCK = '40P01';

class Outbox {
  #database;
  #sql;
  #table;
  #channels = new Map();
  #announcer;
  #batcher;

  constructor (database, channels) {
    this.#database = database;
    this.#sql = outboxSql(database.schema);
    this.#table = `${database.schema}.notification_outbox`;
    this.#announcer = new Announcer(database);
    this.#batcher = new Batcher(calls => this.#writeCalls(calls), GROUP);
    /** 'dead'(letter) for dead-letters.js. */
    this.events = new EventEmitter();
    this.registerChannel('EMAIL');
    this.registerChannel('WHATSAPP');
    for (const [name, definition] of Object.entries(bag('channels', channels))) {
      this.registerChannel(name, definition);
    }
  }

  get channels () { return [...this.#channels.keys()]; }

  registerChannel (name, definition) {
    if (typeof name !== 'string' || !CHANNEL.test(name)) {
      throw invalidOption('channel', 'a name of 1 to 64 letters, digits, dots, colons, dashes ' +
        'and underscores', name);
    }
    const given = bag(`channels.${name}`, definition, ['maxAttempts', 'backoff', 'validate']);
    const { maxAttempts = ATTEMPTS, backoff = BACKOFF, validate } = given;
    number('maxAttempts', maxAttempts, { min: 1, max: 100, integer: true });
    if (validate !== undefined) func('validate', validate);
    this.#channels.set(name, { maxAttempts, delay: createBackoff(backoff), validate });
  }

  async enqueue (given, options) {
    const { client } = bag('options', options);
    const many = Array.isArray(given);
    const rows = this.#read(many ? given : [given], many);
    if (rows.length === 0) return [];
    const answers = client === undefined
      ? await this.#enqueueAlone(rows)
      : await this.#enqueueWith(client, rows);
    return many ? answers : answers[0];
  }

  #read (messages, isList) {
    if (messages.length > MESSAGES_MAX) {
      throw new StoreError('ERR_OUTBOX_TOO_LARGE',
        `Expected at most ${MESSAGES_MAX} messages at once but received ${messages.length}`);
    }
    const rows = toRows(messages, this.#channels, isList);
    if (weightOf(rows) > WEIGHT_MAX) {
      throw new StoreError('ERR_OUTBOX_TOO_LARGE',
        `Expected messages of at most ${WEIGHT_MAX} characters together`);
    }
    return rows;
  }

  /**
   * Messages for a statement that writes something else beside them, so that both cost one way to
   * the database. The caller calls `announce` when it has been committed.
   * @param {object[]} messages each with a dedupeKey
   * @returns {{ json: string, insert: (i: number, condition: string) => string,
   *   announce: () => void }} `insert`: an INSERT that takes `json` from $i, and of that the rows
   *   that a condition holds for
   */
  along (messages) {
    const rows = this.#read(messages);
    return {
      json: jsonOf(rows),
      insert: (i, condition) => enqueueAlong(this.#table, i, condition),
      announce: () => this.#announcer.announce(channelsOf(rows)),
    };
  }

  async #enqueueAlone (rows) {
    let answers;
    try {
      answers = await this.#batcher.add({ rows, weight: weightOf(rows) });
    } catch (error) {
      // What one call of a group did must not be held against the others.
      if (error.code !== 'ERR_STORE_QUERY' || !error.ofGroup) throw error;
      answers = await this.#write(this.#database, rows);
    }
    this.#announcer.announce(channelsOf(rows));
    return answers;
  }

  async #enqueueWith (client, rows) {
    const wrapped = this.#database.wrap(client);
    this.#announcer.announceAfter(client, wrapped, channelsOf(rows));
    return this.#write(wrapped, rows);
  }

  async #writeCalls (calls) {
    try {
      const answers = await this.#write(this.#database, calls.flatMap(({ rows }) => rows));
      return calls.map(({ rows }) => answers.splice(0, rows.length));
    } catch (error) {
      if (calls.length > 1) error.ofGroup = true;
      throw error;
    }
  }

  /** @returns {Promise<Array<{ id: string, duplicate: boolean }>>} in the order of the rows */
  async #write (target, rows) {
    const answers = new Array(rows.length);
    let open = rows.map((row, i) => i);
    for (let round = 0; open.length > 0; round++) {
      if (round === DEDUPE_ROUNDS) {
        throw new StoreError('ERR_STORE_QUERY', 'A dedupeKey was taken and freed again and again',
          { retryable: true });
      }
      const json = jsonOf(open.map(i => rows[i]));
      const made = await this.#insert(target, json);
      if (made.length > 0) this.#sql.grow(made[0].id);
      open = assign(made, rows, open, answers);
      if (open.length > 0) open = await this.#findWaiting(target, rows, open, answers);
    }
    return answers;
  }

  /** Of two that take the same keys in different orders the database refuses one: it goes again. */
  async #insert (target, json) {
    for (let round = 1; ; round++) {
      try {
        return (await target.query(this.#sql.enqueue(json))).rows;
      } catch (error) {
        const goesAgain = error.sqlState === DEADLOCK && target === this.#database;
        if (!goesAgain || round === DEDUPE_ROUNDS) throw error;
      }
    }
  }

  /** For those whose key was taken: by whom. Those whose key has become free are left. */
  async #findWaiting (target, rows, open, answers) {
    const keys = [...new Set(open.map(i => rows[i].dedupeKey))];
    const { rows: found } = await target.query(this.#sql.waitingFor(keys));
    const ids = new Map(found.map(({ id, dedupeKey }) => [dedupeKey, id]));
    return open.filter(i => {
      const id = ids.get(rows[i].dedupeKey);
      if (id !== undefined) answers[i] = { id, duplicate: true };
      return id === undefined;
    });
  }

  /** There is something for workers again. */
  announce (channels) { this.#announcer.announce(channels); }

  /** Takes a message in that is dead from the start: `values` are its kind and the reason. */
  async insertDead (target, message, values) {
    const [{ json }] = toRows([message], this.#channels);
    return target.query(this.#sql.bury(`[${json}]`, ...values));
  }

  async get (id) {
    if (!isId(id)) return undefined;
    const { rows: [row] } = await this.#database.query(
      `SELECT ${COLUMNS} FROM ${this.#table} o WHERE id = $1`, [id]);
    return row;
  }

  async list (filter) {
    const { status, channel, search, before, limit = 100 } = bag('filter', filter);
    if (status !== undefined) oneOf('status', status, STATUSES);
    number('limit', limit, { min: 1, max: 1000, integer: true });
    const where = conditions({ channel, search, before });
    if (status !== undefined) where.add(`status = '${status}'`);
    const { rows } = await this.#database.query(`SELECT ${COLUMNS} FROM ${this.#table} o
      WHERE ${where.text} ORDER BY id DESC LIMIT ${limit}`, where.values);
    return rows;
  }

  async cancel (id) {
    if (!isId(id)) return false;
    const { rowCount } = await this.#database.query(`UPDATE ${this.#table}
      SET status = 'CANCELLED' WHERE id = $1 AND status IN ('PENDING', 'RETRYING')`, [id]);
    return rowCount === 1;
  }

  async stats (options) {
    const { exact = false } = bag('options', options, ['exact']);
    boolean('exact', exact);
    const share = exact ? 100 : await this.#sampleShare();
    const { rows } = await this.#database.query(this.#sql.stats(share));
    const none = () => Object.fromEntries(STATUSES.map(status => [status, 0]));
    const channels = Object.fromEntries(this.channels.map(name => [name, none()]));
    let waiting = 0;
    let oldestMs = 0;
    for (const { channel, status, count, age } of rows) {
      (channels[channel] ??= none())[status] += count;
      if (['PENDING', 'SENDING', 'RETRYING'].includes(status)) waiting += count;
      oldestMs = Math.max(oldestMs, age ?? 0);
    }
    return { channels, waiting, oldestMs, sampled: Number(share) < 100 };
  }

  /** Percent of the table. */
  async #sampleShare () {
    const { rows: [{ share }] } = await this.#database.query(this.#sql.sampleShare());
    return share;
  }

  createWorker (options) {
    return new OutboxWorker({
      database: this.#database, sql: this.#sql, channels: this.#channels,
      announcer: this.#announcer, onDead: letter => this.events.emit('dead', letter),
    }, options);
  }
}

const weightOf = rows => rows.reduce((sum, { weight }) => sum + weight, 0);
const jsonOf = rows => `[${rows.map(({ json }) => json).join(',')}]`;
const channelsOf = rows => [...new Set(rows.map(({ channel }) => channel))];

/**
 * Gives the ids of new rows to those that asked for them. Rows with a key are known by it; the
 * others were given their ids in order.
 * @returns {number[]} who got none
 */
function assign (made, rows, open, answers) {
  const byKey = new Map();
  const plain = [];
  for (const { id, dedupeKey } of made) {
    if (dedupeKey === null) plain.push(id);
    else byKey.set(dedupeKey, id);
  }
  let next = 0;
  return open.filter(i => {
    const { dedupeKey } = rows[i];
    const id = dedupeKey === null ? plain[next++] : byKey.get(dedupeKey);
    byKey.delete(dedupeKey);
    if (id !== undefined) answers[i] = { id, duplicate: false };
    return id === undefined;
  });
}

/**
 * @param {{ database: object, options?: { channels?: Record<string, object> } }} parts
 * @returns {Outbox}
 */
function createOutbox ({ database, options }) {
  return new Outbox(database, bag('options', options).channels);
}

module.exports = { createOutbox };
