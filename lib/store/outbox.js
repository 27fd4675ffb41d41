'use strict';

// The outbox. A message is durable once it is enqueued, and waits in a table for a worker.

const { EventEmitter } = require('node:events');

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { isList, read } = require('../base/foreign');
const { is, optionsOf, readable } = require('../base/options');
const { createBackoff } = require('../primitives/backoff');
const { retryPresets } = require('../primitives/presets');
const { Batcher } = require('./batcher');
const { OutboxCounts, STATUSES } = require('./outbox-counts');
const { toRows } = require('./outbox-message');
const {
  BYTES, CLAIMABLE, COLUMNS, FILTER, LETTER_COLUMNS, OutboxTable, SUMMARY_COLUMNS, WAITING,
  conditions, hasStatus, isId, withinSpan,
} = require('./outbox-table');
const { OutboxWorker } = require('./outbox-worker');
const { readPage } = require('./pages');
const { StoreError } = require('./store-errors');

const CHANNEL_NAMES = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$/,
  expected: 'a name of 1 to 64 letters, digits, dots, colons, dashes and underscores',
};

const { factor, minTimeout, maxTimeout, randomize } = retryPresets.outbox;
const CHANNEL = optionsOf({
  maxAttempts: is.integer('of a message', { min: 1, max: 100, default: 5 }),
  backoff: {
    doc: 'delays between attempts', expected: 'an object as createBackoff() takes it',
    check: readBackoff, default: { factor, minTimeout, maxTimeout, randomize },
  },
  normalize: is.func('gives the form in which a recipient is stored'),
  identify: is.func('gives what all forms of one recipient have in common'),
  validate: is.func('throws for a message that cannot be sent'),
});
const OUTBOX_OPTIONS = optionsOf({
  channels: is.record('beside EMAIL and WHATSAPP, or instead of them',
    is.table('of a channel', CHANNEL), { names: CHANNEL_NAMES, default: {} }),
});
const ENQUEUE = optionsOf({ client: is.object('whose transaction the messages are part of') });
const LIST = optionsOf({ status: is.oneOf('of the messages', STATUSES), ...FILTER });
const STATS = optionsOf({ exact: is.boolean('counts all of the table', { default: false }) });

function readBackoff (option, value) {
  createBackoff(value);
  return value;
}

// Calls that come together share a statement up to this.
const GROUP = { count: 500, weight: 1024 * 1024, writers: 2 };
// If a key is taken and freed more often than this, some program does it in a loop.
const DEDUPE_ROUNDS = 5;
const DEADLOCK = '40P01';
// Each deadlock ends one of two calls. The other needs time to go on, or it would meet that one
// again at its next key.
const DEADLOCKS_MAX = 20;
const DEADLOCK_MS_MIN = 5;
const DEADLOCK_MS_MAX = 1000;
// Announcements that come together within this time share a statement.
const ANNOUNCE_MS = 5;

// ---- SQL ----------------------------------------------------------------------------------------

const GIVEN = `channel, recipient, subject, body, html, body_template, body_data, dedupe_key,
    order_key, urgency, max_attempts`;
const givenRows = i => `json_to_recordset($${i}) AS given (channel text, recipient text,
    subject text, body text, html text, body_template text, body_data jsonb, dedupe_key text,
    order_key text, urgency smallint, delay bigint, max_attempts smallint)`;

/**
 * Inserts rows. The time is in whole ms, because JavaScript has nothing finer, and a claim begins
 * where the last one ended.
 */
const insertRows = (table, rows) => `
  INSERT INTO ${table} (${GIVEN}, next_retry_at)
  SELECT ${GIVEN}, date_trunc('milliseconds', now()) + delay * interval '1 ms' FROM ${rows}
  ON CONFLICT (dedupe_key) WHERE dedupe_key IS NOT NULL AND status IN ${WAITING}
  DO NOTHING`;

/** $1 rows as JSON. Ids are given in the order of the rows. */
const enqueue = table =>
  `${insertRows(table, givenRows(1))} RETURNING id, dedupe_key AS "dedupeKey"`;

/** As part of another statement: $i rows as JSON, inserted where a condition on them holds. */
const insertAlong = (table, i, condition) =>
  insertRows(table, `${givenRows(i)} WHERE ${condition}`);

/** $1 rows as JSON, $2 kind, $3 reason. Messages that are dead from the start. */
const insertDead = table => `
  INSERT INTO ${table} AS o (${GIVEN}, status, died_at, dead_kind, dead_reason)
  SELECT ${GIVEN}, 'DLQ', now(), $2, $3 FROM ${givenRows(1)}
  RETURNING ${LETTER_COLUMNS}`;

/** $1 keys. Their messages that are not over. */
const waitingFor = table => `
  SELECT id, dedupe_key AS "dedupeKey" FROM ${table}
  WHERE dedupe_key = ANY ($1::text[]) AND status IN ${WAITING}`;

const NOTIFY = 'SELECT pg_notify($1, channel) FROM unnest($2::text[]) AS channel';

const STATEMENTS = { enqueue, insertDead, waitingFor };

// ---- The outbox ---------------------------------------------------------------------------------

class Outbox {
  #database;
  #table;
  #sql;
  #counts;
  #channels = new Map();
  #announcer;
  #batcher;
  /** Workers that run or still hold messages. */
  #active = new Set();

  constructor (database, { channels }) {
    this.#database = database;
    this.#table = new OutboxTable(database.schema);
    this.#sql = this.#table.statements(STATEMENTS);
    this.#counts = new OutboxCounts(database, this.#table);
    this.#announcer = new Announcer(database);
    this.#batcher = new Batcher(calls => this.#writeCalls(calls), GROUP);
    /** 'dead'(letter): for DeadLetters. */
    this.events = new EventEmitter();
    this.registerChannel('EMAIL');
    this.registerChannel('WHATSAPP');
    for (const [name, definition] of Object.entries(channels)) {
      this.registerChannel(name, definition);
    }
  }

  get channels () { return [...this.#channels.keys()]; }

  registerChannel (name, definition) {
    if (typeof name !== 'string' || !CHANNEL_NAMES.pattern.test(name)) {
      throw invalidOption('channel', CHANNEL_NAMES.expected, name);
    }
    const { backoff, ...rest } = CHANNEL.read(definition, `channels.${name}`);
    this.#channels.set(name, { ...rest, delay: createBackoff(backoff) });
  }

  /** @param {string[]} [names] the channels that are allowed, instead of all */
  async enqueue (messages, options, names) {
    const { client } = ENQUEUE.read(options);
    const isMany = isList(messages);
    const list = isMany ? readable('messages', 'messages that can be read', messages,
      () => Array.from(messages)) : [messages];
    const channels = names === undefined
      ? this.#channels : new Map(names.map(name => [name, this.#channels.get(name)]));
    const rows = toRows(list, channels, isMany);
    if (rows.length === 0) return [];
    const answers = client === undefined
      ? await this.#enqueueAlone(rows)
      : await this.#enqueueWith(client, rows);
    return isMany || !rows[0].isOne ? answers : answers[0];
  }

  /**
   * Messages for a statement that also writes something else, to save a round trip. The caller
   * calls `announce` when it has been committed.
   * @param {object[]} messages each with a dedupeKey
   * @returns {{ json: string, insert: (i: number, condition: string) => string,
   *   announce: () => void }} `insert`: an INSERT of those rows in $i, which is `json`, for which a
   *   condition holds
   */
  along (messages) {
    const rows = toRows(messages, this.#channels);
    return {
      json: jsonOf(rows),
      insert: (i, condition) => insertAlong(this.#table.name, i, condition),
      announce: () => this.#announcer.announce(channelsOf(rows)),
    };
  }

  async #enqueueAlone (rows) {
    const answers = await this.#writeAlone(rows);
    this.#announcer.announce(channelsOf(rows));
    return answers;
  }

  async #writeAlone (rows) {
    // A key that is freed meanwhile needs another statement, but all are stored or none.
    if (rows.length > 1 && rows.some(({ dedupeKey }) => dedupeKey !== null)) {
      return this.#again(() => this.#database.transaction(client => this.#write(client, rows)));
    }
    return this.#batcher.add({ rows, weight: weightOf(rows) });
  }

  async #enqueueWith (client, rows) {
    const wrapped = this.#database.wrap(client);
    this.#announcer.announceAfter(client, wrapped, channelsOf(rows));
    return this.#write(wrapped, rows);
  }

  /**
   * Writes several calls with one statement. Only calls of a single row may have a key here. If the
   * key is taken, that call continues alone, and the others are stored whatever happens to it.
   */
  async #writeCalls (calls) {
    const rows = calls.flatMap(call => call.rows);
    const made = await this.#insert(this.#database, rows);
    const answers = new Array(rows.length);
    const open = assign(made, rows, rows.map((row, i) => i), answers);
    if (open.length > 0) {
      const found = this.#findWaiting(this.#database, open.map(i => rows[i]));
      for (const i of open) answers[i] = this.#findOrWrite(rows[i], found);
    }
    return calls.map(call => {
      const own = answers.splice(0, call.rows.length);
      return open.length > 0 ? Promise.all(own) : own;
    });
  }

  async #findOrWrite (row, found) {
    const id = (await found).get(row.dedupeKey);
    if (id !== undefined) return { id, duplicate: true };
    const [answer] = await this.#write(this.#database, [row]);
    return answer;
  }

  /** @returns {Promise<Array<{ id: string, duplicate: boolean }>>} in the order of the rows */
  async #write (target, rows) {
    const answers = new Array(rows.length);
    let open = rows.map((row, i) => i);
    for (let round = 0; open.length > 0; round++) {
      if (round === DEDUPE_ROUNDS) await this.#giveUp(target, answers);
      const made = await this.#insert(target, open.map(i => rows[i]));
      open = assign(made, rows, open, answers);
      if (open.length === 0) break;
      const found = await this.#findWaiting(target, open.map(i => rows[i]));
      open = open.filter(i => {
        const id = found.get(rows[i].dedupeKey);
        if (id !== undefined) answers[i] = { id, duplicate: true };
        return id === undefined;
      });
    }
    return answers;
  }

  /** Deletes what has been stored, because the user may commit in spite of the error. */
  async #giveUp (target, answers) {
    const ids = answers.filter(({ duplicate }) => !duplicate).map(({ id }) => id);
    if (ids.length > 0) {
      await target.query(`DELETE FROM ${this.#table.name} WHERE id = ANY ($1::bigint[])`, [ids]);
    }
    throw new StoreError('ERR_STORE_QUERY', 'A dedupeKey was taken and freed repeatedly',
      { retryable: true });
  }

  /** Inserts the rows that do not exist yet, and returns them with their ids. */
  async #insert (target, rows) {
    const insert = async () => (await target.query(this.#sql.enqueue(jsonOf(rows)))).rows;
    const made = await (target === this.#database ? this.#again(insert) : insert());
    if (made.length > 0) this.#table.grow(made[0].id);
    return made;
  }

  /** Tried again if another call takes the same keys in another order (deadlock). */
  async #again (work) {
    for (let round = 1, ms = DEADLOCK_MS_MIN; ; round++) {
      try {
        return await work();
      } catch (error) {
        if (read(error, 'sqlState') !== DEADLOCK || round === DEADLOCKS_MAX) throw error;
      }
      await new Promise(resolve => { clock.setTimer(resolve, ms); });
      ms = Math.min(2 * ms, DEADLOCK_MS_MAX);
    }
  }

  /** Finds the messages that have the keys of these rows: ids by key. */
  async #findWaiting (target, rows) {
    const keys = [...new Set(rows.map(({ dedupeKey }) => dedupeKey))];
    const { rows: found } = await target.query(this.#sql.waitingFor(keys));
    return new Map(found.map(({ id, dedupeKey }) => [dedupeKey, id]));
  }

  /** Wakes workers: there are messages of these channels. */
  announce (channels) { this.#announcer.announce(channels); }

  /** Inserts a message that is dead from the start: `values` are its kind and the reason. */
  async insertDead (target, message, values) {
    const rows = toRows([message], this.#channels);
    if (!rows[0].isOne) throw new StoreError('ERR_OUTBOX_MESSAGE', 'Expected one recipient');
    return target.query(this.#sql.insertDead(jsonOf(rows), ...values));
  }

  async get (id) {
    if (!isId(id)) return undefined;
    const { rows: [row] } = await this.#database.query(
      `SELECT ${COLUMNS} FROM ${this.#table.name} o WHERE id = $1`, [id]);
    return row;
  }

  async list (filter) {
    const { status, limit, content, ...rest } = LIST.read(filter);
    const where = conditions(rest);
    if (status !== undefined) hasStatus(where, status);
    return readPage(this.#database, {
      table: this.#table.name, key: ['id'], limit, ...content ? { columns: COLUMNS, bytes: BYTES }
        : { columns: SUMMARY_COLUMNS },
      where: await withinSpan(where, this.#database, this.#table.name, rest),
    });
  }

  async cancel (id) {
    if (!isId(id)) return false;
    const { rowCount } = await this.#database.query(`UPDATE ${this.#table.name}
      SET status = 'CANCELLED' WHERE id = $1 AND status IN ${CLAIMABLE}`, [id]);
    return rowCount === 1;
  }

  async stats (options) {
    const { exact } = STATS.read(options);
    return this.#counts.stats(this.channels, exact);
  }

  /** For DeadLetters. */
  deadSummary () { return this.#counts.summary(); }

  createWorker (options) {
    return new OutboxWorker({
      database: this.#database, table: this.#table, channels: this.#channels,
      announcer: this.#announcer, active: this.#active,
      onDead: letter => this.events.emit('dead', letter),
    }, options);
  }

  /** Called when the store closes: stops running workers at once. */
  async _close () { await Promise.all([...this.#active].map(worker => worker._close())); }
}

const weightOf = rows => rows.reduce((sum, { weight }) => sum + weight, 0);
const jsonOf = rows => `[${rows.map(({ json }) => json).join(',')}]`;
const channelsOf = rows => [...new Set(rows.map(({ channel }) => channel))];

/**
 * Finds out which new id belongs to which row: rows with a key are known by it, the others have
 * their ids in order.
 * @returns {number[]} the rows that were not inserted
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

// ---- Announcements ------------------------------------------------------------------------------

/**
 * Tells sleeping workers, in this process and in others, that there are messages for them. NOTIFY
 * locks the whole server until its transaction ends. So it is sent by itself, after the commit, and
 * once for all messages of a short while.
 */
class Announcer {
  #database;
  #topic;
  #local = new Set();
  #pending = new Set();
  /** By the user's connection: the channels of its transaction under way. */
  #uncommitted = new WeakMap();
  #timer;
  #sending = false;

  constructor (database) {
    this.#database = database;
    this.#topic = `${database.prefix}outbox`;
  }

  /**
   * @param {(channel?: string) => void} wake without a channel: announcements may have been missed
   * @returns {Promise<() => Promise<void>>} ends it
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
    // PostgreSQL tells it with every answer: I is outside of a transaction.
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
      // Workers also poll.
    }
    this.#sending = false;
    this.#timer = clock.setTimer(() => {
      this.#timer = undefined;
      if (this.#pending.size > 0) this.#send();
    }, ANNOUNCE_MS, false);
  }
}

/**
 * @param {{ database: object, options?: { channels?: Record<string, object> } }} parts
 * @returns {Outbox}
 */
function createOutbox ({ database, options }) {
  return new Outbox(database, OUTBOX_OPTIONS.read(options));
}

module.exports = { OUTBOX_OPTIONS, STATUSES, createOutbox };
