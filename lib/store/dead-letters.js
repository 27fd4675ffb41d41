'use strict';

// Dead letters: messages that could not be sent. They stay until they are retried or purged.

const clock = require('../base/clock');
const { withDeadline } = require('../base/deadline');
const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const { read, textOf } = require('../base/foreign');
const { bag, func, is, optionsOf, readable } = require('../base/options');
const {
  BYTES, FILTER: LISTED, LETTER_COLUMNS, LETTER_SUMMARY_COLUMNS, WAITING, conditions, isId,
  withinSpan,
} = require('./outbox-table');
const { clean } = require('./outbox-verdict');
const { readPage } = require('./pages');
const { StoreError } = require('./store-errors');

const BATCH = 1000;
const LIMIT_MAX = 1_000_000;
const PAGE = 100;
// A strategy that never answers must not hold up the other letters.
const STRATEGY_MS = 30_000;

const FILTER = optionsOf({
  channel: is.any('of the letters'),
  kind: is.any('of failure'),
  search: is.any('part of a recipient, a subject or the last error'),
  since: LISTED.since,
  until: LISTED.until,
  ids: is.where('of the letters', 'a list of ids', Array.isArray),
});
const ADD = optionsOf({
  kind: is.any('of failure', { default: 'ERR_OUTBOX_GIVEN_UP' }),
  client: is.object('whose transaction the letter is part of'),
});
const LIST = FILTER.with(LISTED);
const RETRY = FILTER.with({
  limit: is.integer('letters', { min: 1, max: LIMIT_MAX, default: LIMIT_MAX }),
  rate: is.number('messages per second', { min: 0.001, default: Infinity }),
});
const RECOVER = optionsOf({
  limit: is.integer('letters', { min: 1, max: LIMIT_MAX, default: BATCH }),
});
const PURGE = FILTER.with({ olderThan: is.ms('since the letter died') });

// A key may be taken between the look at it and the retry.
const RETRY_ROUNDS = 3;
const UNIQUE_VIOLATION = '23505';

// As it was when it was enqueued, except for its last error and its history, which says where it
// began anew.
const REVIVED = `status = 'PENDING', attempt_count = 0, crash_count = 0, died_at = NULL,
  dead_kind = NULL, dead_reason = NULL, error_history = CASE WHEN error_history = '[]' THEN '[]'
    ELSE jsonb_set(error_history, '{-1,retried}', 'true') END`;

const isFree = (table, key) => `(${key} IS NULL OR NOT EXISTS (
  SELECT FROM ${table} w WHERE w.dedupe_key = ${key} AND w.status IN ${WAITING}))`;

class DeadLetters extends Emitter {
  #database;
  #outbox;
  #table;

  constructor (database, outbox) {
    super();
    this.#database = database;
    this.#outbox = outbox;
    this.#table = `${database.schema}.notification_outbox`;
    outbox.events.on('dead', letter => this.emit('arrival', letter));
  }

  async add (message, reason, options) {
    const { kind, client } = ADD.read(options);
    if (reason === undefined || reason === null || reason === '') {
      throw invalidOption('reason', 'why the message is dead', reason);
    }
    const values = [clean(kind, 100), clean(reason)];
    const target = client === undefined ? this.#database : this.#database.wrap(client);
    const { rows: [letter] } = typeof message === 'string'
      ? await this.#bury(target, message, values)
      : await this.#outbox.insertDead(target, message, values);
    if (letter === undefined) {
      throw new StoreError('ERR_OUTBOX_MESSAGE', 'There is no waiting message with this id');
    }
    const arrive = () => this.emit('arrival', letter);
    if (target.onCommit === undefined || !target.onCommit(arrive)) arrive();
    return letter;
  }

  #bury (target, id, values) {
    return target.query(`UPDATE ${this.#table} o SET status = 'DLQ', died_at = now(),
        dead_kind = $2, dead_reason = $3
      WHERE id = $1 AND status IN ('PENDING', 'RETRYING') RETURNING ${LETTER_COLUMNS}`,
    [isId(id) ? id : '0', ...values]);
  }

  async list (filter) {
    const { limit, content, ...rest } = LIST.read(filter);
    const where = await withinSpan(this.#where(rest), this.#database, this.#table, rest);
    return this.#page(where, { limit, content });
  }

  #page (where, { content = true, ...page }) {
    return readPage(this.#database, {
      table: this.#table, key: ['id'], where, ...page, ...content
        ? { columns: LETTER_COLUMNS, bytes: BYTES } : { columns: LETTER_SUMMARY_COLUMNS },
    });
  }

  async get (id) {
    const [letter] = isId(id) ? await this.#page(this.#where({ ids: [id] }), { limit: 1 }) : [];
    return letter;
  }

  async count (filter) {
    const where = this.#where(FILTER.read(filter));
    const { rows: [{ count }] } = await this.#database.query(
      `SELECT count(*)::float8 AS count FROM ${this.#table} o WHERE ${where.text}`, where.values);
    return count;
  }

  summary () { return this.#outbox.deadSummary(); }

  async retry (id) {
    if (!isId(id)) return false;
    const { retried } = await this.#retryMany({ ids: [id] });
    return retried === 1;
  }

  retryMany (filter) { return this.#batch(() => this.#retryMany(filter)); }

  recover (strategies, options) {
    return this.#batch(() => this.#recover(strategies, options));
  }

  async #batch (work) {
    const started = clock.now();
    const result = await work();
    this.emit('processed', { durationMs: clock.now() - started, ...result });
    return result;
  }

  async #retryMany (filter) {
    const { limit, rate, ...rest } = RETRY.read(filter);
    let retried = 0;
    for (let last = '0'; retried < limit;) {
      const size = Math.min(BATCH, limit - retried);
      const batch = await this.#retryBatch(rest, { last, size, rate, before: retried });
      retried += batch.retried;
      if (batch.channels !== null) this.#outbox.announce(batch.channels);
      if (batch.seen < size) break;
      last = batch.last;
    }
    return { retried };
  }

  async #retryBatch (filter, batch) {
    for (let round = 1; ; round++) {
      try {
        return await this.#tryRetryBatch(filter, batch);
      } catch (error) {
        if (read(error, 'sqlState') !== UNIQUE_VIOLATION || round === RETRY_ROUNDS) throw error;
      }
    }
  }

  /** Letters whose dedupeKey is waiting, or is that of another letter here, stay dead. */
  async #tryRetryBatch (filter, { last, size, rate, before }) {
    const where = this.#where(filter);
    where.within('o.id > ?', last);
    where.values.push(size, before, rate === Infinity ? 0 : 1000 / rate);
    const [limit, offset, gap] = [-2, -1, 0].map(i => `$${where.values.length + i}`);
    const { rows: [answer] } = await this.#database.query(`
      WITH chosen AS MATERIALIZED (
        SELECT id, dedupe_key FROM ${this.#table} o WHERE ${where.text}
        ORDER BY id LIMIT ${limit} FOR UPDATE SKIP LOCKED
      ), numbered AS (
        SELECT id, row_number() OVER (ORDER BY id) - 1 + ${offset} AS place FROM (
          SELECT *, row_number() OVER (PARTITION BY dedupe_key ORDER BY id) AS copy FROM chosen
        ) c WHERE (copy = 1 OR dedupe_key IS NULL) AND ${isFree(this.#table, 'c.dedupe_key')}
      ), moved AS (
        UPDATE ${this.#table} o SET ${REVIVED},
          next_retry_at = now() + place * ${gap}::float8 * interval '1 ms'
        FROM numbered WHERE o.id = numbered.id RETURNING o.channel
      )
      SELECT (SELECT max(id) FROM chosen) AS last, (SELECT count(*)::int FROM chosen) AS seen,
        (SELECT count(*)::int FROM moved) AS retried,
        (SELECT json_agg(DISTINCT channel) FROM moved) AS channels`, where.values);
    return answer;
  }

  async #recover (strategies, options) {
    const { limit } = RECOVER.read(options);
    for (const [kind, strategy] of Object.entries(bag('strategies', strategies))) {
      func(`strategies.${kind}`, strategy);
    }
    const counts = { retried: 0, dropped: 0, replaced: 0, kept: 0, failed: 0 };
    let last = '0';
    for (let left = limit; left > 0 && last !== undefined;) {
      const page = await this.#page(this.#where({}).within('o.id > ?', last),
        { direction: 'ASC', limit: Math.min(left, PAGE) });
      for (const letter of page) {
        const strategy = Object.hasOwn(strategies, letter.kind) ? strategies[letter.kind]
          : strategies['*'];
        counts[strategy === undefined ? 'kept' : await this.#recoverOne(letter, strategy)]++;
      }
      left -= page.length;
      last = page.next;
    }
    return counts;
  }

  /** @returns {Promise<string>} what was done, as recover() counts it */
  async #recoverOne (letter, strategy) {
    try {
      const decision = await withDeadline(undefined, STRATEGY_MS, () => strategy(letter),
        { ref: false });
      if (decision === 'keep') return 'kept';
      if (decision === 'retry') return await this.retry(letter.id) ? 'retried' : 'kept';
      if (decision === 'drop') {
        return await this.#drop(this.#database, letter.id) ? 'dropped' : 'kept';
      }
      if (decision === null || typeof decision !== 'object') {
        throw invalidOption('a strategy', "'retry', 'drop', 'keep' or a message", decision);
      }
      return await this.#replace(letter, decision) ? 'replaced' : 'kept';
    } catch (error) {
      this.emit('warning', error);
      return 'failed';
    }
  }

  #replace (letter, message) {
    return this.#database.transaction(async client => {
      if (!await this.#drop(client, letter.id)) return false;
      await this.#outbox.enqueue(message, { client });
      return true;
    });
  }

  async #drop (target, id) {
    const { rowCount } = await target.query(
      `UPDATE ${this.#table} SET status = 'CANCELLED' WHERE id = $1 AND status = 'DLQ'`, [id]);
    return rowCount === 1;
  }

  async purge (filter) {
    const { olderThan, ...rest } = PURGE.read(filter);
    const where = this.#where(rest);
    if (olderThan !== undefined) where.sought("o.died_at < now() - ? * interval '1 ms'", olderThan);
    let purged = 0;
    for (;;) {
      const { rowCount } = await this.#database.query(`DELETE FROM ${this.#table}
        WHERE id = ANY (ARRAY(SELECT id FROM ${this.#table} o WHERE ${where.text}
          ORDER BY id LIMIT ${BATCH} FOR UPDATE SKIP LOCKED))`, where.values);
      purged += rowCount;
      if (rowCount < BATCH) return purged;
    }
  }

  #where ({ kind, ids, since, until, ...filter }) {
    const where = conditions(filter);
    where.within("o.status = 'DLQ'");
    if (kind !== undefined) where.sought('o.dead_kind = ?', textOf(kind));
    if (since !== undefined) where.sought('o.created_at >= ?', new Date(since));
    if (until !== undefined) where.sought('o.created_at < ?', new Date(until));
    if (ids !== undefined) {
      const known = () => Array.from(ids).filter(isId);
      where.within('o.id = ANY (?::bigint[])', readable('ids', 'an array of ids', ids, known));
    }
    return where;
  }
}

/**
 * @param {{ database: object, outbox: object }} parts
 * @returns {DeadLetters}
 */
function createDeadLetters ({ database, outbox }) {
  return new DeadLetters(database, outbox);
}

module.exports = { createDeadLetters };
