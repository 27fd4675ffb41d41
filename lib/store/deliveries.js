'use strict';

// What became of messages that a provider has accepted: the latest status of each. Webhooks report
// it, in any order, and more than once.

const { randomUUID } = require('node:crypto');

const clock = require('../base/clock');
const { sayingOf } = require('../clients/whatsapp-errors');
const { laterStatus } = require('../clients/whatsapp-webhook');
const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const foreign = require('../base/foreign');
const { func, is, optionsOf, readable } = require('../base/options');
const { Batcher } = require('./batcher');
const { referenceOf } = require('./outbox-leases');
const { clean } = require('./outbox-verdict');
const { withNext } = require('./pages');
const { StoreError } = require('./store-errors');

const FAILURES = optionsOf({
  before: is.any('a providerMessageId: earlier failures than that'),
  limit: is.integer('failures', { min: 1, max: 1000, default: 100 }),
});

// Webhooks that come together share a statement.
const GROUP = { count: 500 };
const ID_MAX = 512;
const RECIPIENT_MAX = 64;
const CODE_MAX = 100;
const TIME_MS_MAX = 8.64e15;

// As laterStatus() has it: a status does not replace one that comes later in this list.
const STATUSES = ['accepted', 'sent', 'failed', 'delivered', 'read'];

const rankOf = column => `array_position(ARRAY['${STATUSES.join("', '")}'], ${column})`;

const COLUMNS = `n.provider_message_id AS "providerMessageId", n.reference, n.status, n.at,
  n.recipient, n.error_code AS "errorCode", n.error, n.heard_at AS "heardAt"`;

/** Deliveries `n`. Those that failed have the message that their reference may name. */
const withOwner = (table, outbox) => `
  SELECT ${COLUMNS}, o.id, o.channel, o.created_at AS "createdAt"
  FROM ${table} n LEFT JOIN ${outbox} o ON o.id = CASE WHEN n.status = 'failed'
    THEN substring(n.reference FROM '^([0-9]{1,18})[.]')::bigint END`;

/** $1 rows as JSON, no two of one message. Returns those that changed something. */
const NOTE = (table, outbox) => `
  WITH news AS (
    INSERT INTO ${table} AS d
      (provider_message_id, reference, status, at, recipient, error_code, error)
    SELECT id, reference, status, to_timestamp(at / 1000), recipient, code, error
    FROM json_to_recordset($1) AS given (id text, reference text, status text, at float8,
      recipient text, code text, error text)
    ON CONFLICT (provider_message_id) DO UPDATE SET status = excluded.status, at = excluded.at,
      reference = coalesce(excluded.reference, d.reference), recipient = excluded.recipient,
      error_code = excluded.error_code, error = excluded.error, heard_at = now()
    WHERE ${rankOf('excluded.status')} > ${rankOf('d.status')}
    RETURNING *
  )
  ${withOwner('news', outbox)}`;

const textOf = (value, max) =>
  (typeof value === 'string' && value !== '' ? clean(value, max) : undefined);

/** The row for a webhook's status; undefined if it is of no use. */
function toRow ({ messageId, status, at, recipient, reference, errors }) {
  const id = textOf(messageId, ID_MAX);
  if (id === undefined || id.length !== messageId.length || !STATUSES.includes(status)) {
    return undefined;
  }
  const [fault] = status === 'failed' ? errors ?? [] : [];
  return {
    id, status, reference: textOf(reference, ID_MAX), recipient: textOf(recipient, RECIPIENT_MAX),
    at: at >= 0 && at <= TIME_MS_MAX ? at : undefined,
    code: fault?.code === undefined ? undefined : clean(fault.code, CODE_MAX),
    error: fault === undefined ? undefined : textOf(sayingOf(fault)),
  };
}

// ---- What is handled once ----------------------------------------------------------------------

// Providers repeat a webhook for up to 7 days.
const KNOWN_MS = 8 * 24 * 3_600_000;
// If a process dies during its work, another one may take it over after this time.
const LOCK_MS = 60_000;
// How long to wait for another process that does the same work, and how often to check.
const WAIT_MS = 5000;
const LOOK_MS = 100;

const interval = ms => `interval '${ms} ms'`;

/** $1 keys, $2 a name for this work. Returns the keys that are free, and takes them. */
const TAKE = table => `
  INSERT INTO ${table} AS held
    (key, fingerprint, status, created_at, expires_at, locked_until)
  SELECT key, $2, 'in_progress', now(), now() + ${interval(KNOWN_MS)}, now() + ${interval(LOCK_MS)}
  FROM unnest($1::text[]) AS key ORDER BY key
  ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
    created_at = excluded.created_at, expires_at = excluded.expires_at,
    locked_until = excluded.locked_until
  WHERE CASE held.status WHEN 'done' THEN held.expires_at ELSE held.locked_until END <= now()
  RETURNING key`;

const IN_PROGRESS = table => `
  SELECT FROM ${table} WHERE key = ANY ($1::text[]) AND status = 'in_progress' LIMIT 1`;
const DONE = table => `
  UPDATE ${table} SET status = 'done' WHERE key = ANY ($1::text[]) AND fingerprint = $2`;
const FREE = table => `
  DELETE FROM ${table} WHERE key = ANY ($1::text[]) AND fingerprint = $2
    AND status = 'in_progress'`;

/** One row for each message, in the order of their ids, so that statements cannot deadlock. */
function folded (rows) {
  const latest = new Map();
  for (const row of rows) {
    const known = latest.get(row.id);
    if (laterStatus(known?.status, row.status) !== known?.status) latest.set(row.id, row);
  }
  return [...latest.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** A failure, with the id and channel of the message that it is about. */
function failureOf ({ id, channel, createdAt, ...delivery }) {
  const isOurs = id !== null && referenceOf({ id, createdAt }) === delivery.reference;
  return { ...delivery, id: isOurs ? id : null, channel: isOurs ? channel : null };
}

class Deliveries extends Emitter {
  #database;
  #table;
  #outbox;
  #known;
  #batcher;

  constructor (database) {
    super();
    this.#database = database;
    this.#table = `${database.schema}.message_deliveries`;
    this.#outbox = `${database.schema}.notification_outbox`;
    this.#known = `${database.schema}.idempotency_store`;
    this.#batcher = new Batcher(items => this.#write(items), GROUP);
  }

  async record (statuses) {
    if (!foreign.isList(statuses)) throw invalidOption('statuses', 'an array', statuses);
    const rows = readable('statuses', 'statuses that can be read', statuses, () =>
      Array.from(statuses, status => toRow(Object(status))).filter(row => row !== undefined));
    if (rows.length === 0) return 0;
    return this.#batcher.add({ rows });
  }

  /** @returns {Promise<number[]>} how many statuses of each webhook were new */
  async #write (items) {
    const { rows: news } = await this.#database.query(NOTE(this.#table, this.#outbox),
      [JSON.stringify(folded(items.flatMap(({ rows }) => rows)))]);
    const fresh = new Map(news.map(row => [row.providerMessageId, row.status]));
    for (const row of news) if (row.status === 'failed') this.emit('failed', failureOf(row));
    return items.map(({ rows }) => rows.filter(row => {
      const isNews = fresh.get(row.id) === row.status;
      if (isNews) fresh.delete(row.id);
      return isNews;
    }).length);
  }

  /**
   * Calls work(items) with the items that no process has handled before, and remembers them if it
   * succeeds. keyOf(item) is the key of an item; an item without a key is always new.
   */
  async handleOnce (items, keyOf, work) {
    if (!foreign.isList(items)) throw invalidOption('items', 'an array', items);
    func('keyOf', keyOf);
    func('work', work);
    const [named, others] = readable('items', 'items that can be named', items, () => {
      const pairs = Array.from(items, item => [keyOf(item), item]);
      const isNamed = ([key]) => typeof key === 'string';
      return [
        new Map(pairs.filter(isNamed).map(([key, item]) => [`webhook ${clean(key)}`, item])),
        pairs.filter(pair => !isNamed(pair)).map(([, item]) => item),
      ];
    });
    const keys = [...named.keys()];
    const name = randomUUID();
    const taken = keys.length === 0 ? [] : await this.#take(keys, name);
    const fresh = [...taken.map(key => named.get(key)), ...others];
    try {
      if (fresh.length > 0) await foreign.promiseOf(work(fresh));
    } catch (error) {
      await this.#end(FREE, taken, name).catch(() => {});
      throw error;
    }
    await this.#end(DONE, taken, name);
  }

  async #take (keys, name) {
    for (const until = clock.now() + WAIT_MS; ;) {
      const { rows } = await this.#database.query(TAKE(this.#known), [keys, name]);
      const taken = rows.map(({ key }) => key);
      const others = keys.filter(key => !taken.includes(key));
      if (others.length === 0) return taken;
      const { rowCount } = await this.#database.query(IN_PROGRESS(this.#known), [others]);
      if (rowCount === 0) return taken;
      // Another process is doing the work. If it fails, we do it.
      await this.#end(FREE, taken, name);
      if (clock.now() >= until) throw new StoreError('ERR_IDEMPOTENCY_IN_PROGRESS');
      await new Promise(resolve => { clock.setTimer(resolve, LOOK_MS); });
    }
  }

  async #end (statement, taken, name) {
    if (taken.length > 0) await this.#database.query(statement(this.#known), [taken, name]);
  }

  async failures (options) {
    const { before, limit } = FAILURES.read(options);
    // All statuses of one webhook have the same time.
    const older = before === undefined ? '' : `AND (n.heard_at, n.provider_message_id) <
      (SELECT heard_at, provider_message_id FROM ${this.#table} WHERE provider_message_id = $1)`;
    const { rows } = await this.#database.query(`${withOwner(this.#table, this.#outbox)}
      WHERE n.status = 'failed' ${older}
      ORDER BY n.heard_at DESC, n.provider_message_id DESC LIMIT ${limit}`,
    before === undefined ? [] : [foreign.textOf(before)]);
    const next = rows.length === limit ? rows.at(-1).providerMessageId : undefined;
    return withNext(rows.map(failureOf), next);
  }

  async of (messages) {
    const [references, providers] = readable('messages', 'messages of the outbox', messages, () => [
      new Map(messages.map(message => [referenceOf(message), message.id])),
      new Map(messages.filter(({ providerMessageId }) => providerMessageId !== null)
        .map(({ id, providerMessageId }) => [providerMessageId, id])),
    ]);
    const found = new Map();
    if (messages.length === 0) return found;
    const { rows } = await this.#database.query(`SELECT ${COLUMNS} FROM ${this.#table} n
      WHERE n.provider_message_id = ANY ($1::text[]) OR n.reference = ANY ($2::text[])
      ORDER BY n.heard_at`, [[...providers.keys()], [...references.keys()]]);
    for (const row of rows) {
      // If a message was sent twice, the better status counts.
      const id = providers.get(row.providerMessageId) ?? references.get(row.reference);
      const known = found.get(id)?.status;
      if (laterStatus(known, row.status) !== known) found.set(id, row);
    }
    return found;
  }
}

/** @param {{ database: object }} parts */
const createDeliveries = ({ database }) => new Deliveries(database);

module.exports = { createDeliveries };
