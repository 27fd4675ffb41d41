'use strict';

// The tables of orders, transactions and events. When an order moves, its hooks go into the outbox
// within the same transaction. `client` is a transaction, or also the database itself if the
// comment says so.

const { Conditions, readPage } = require('./pages');
const { STATES, decides, enter, hooksOf } = require('./payment-states');
const { arraysOf, rowOf, rowsOf, sortedBy } = require('./rows');

const ORDER_CHANNEL = 'MIDTRANS_ORDER';
const HOOK_CHANNEL = 'PAYMENT_HOOK';

// Without the first entry, which is not stored.
const HISTORY_MAX = 99;
const EVENTS_MAX = 1000;
const TIMES_MAX = 2 ** 31 - 1;
const PAGE = /^(.+)~([2-9])$/;

// After one of these outcomes, the same event is a repetition.
const FINAL_OUTCOMES = ['applied', 'stale', 'held', 'dismissed'];

const OUTCOMES = [...FINAL_OUTCOMES, 'released', 'unknown_order', 'forged', 'invalid',
  'unavailable'];

// What is listed by an index of its own: whatever is not frequent.
const RARE_OUTCOMES = OUTCOMES.filter(outcome => !['applied', 'stale'].includes(outcome));
const RARE_STATES = STATES.filter(state =>
  !['queued', 'created', 'pending', 'paid', 'expired'].includes(state));

const ORDER_COLUMNS = `order_id, state, held, amount_minor, refunded_minor, charged_back_minor,
  currency, body, token, redirect_url, transaction_id, pages, asked_at, version, history,
  created_at, updated_at`;

const ORDER_COLUMNS_OF_O = ORDER_COLUMNS.replace(/\w+/g, 'o.$&');

/** Makes a foreign text storable: one bad text would fail the whole group of orders. */
const holdable = text => text?.toWellFormed().replaceAll('\0', '\ufffd') ?? null;

/** The columns of an order that is recorded. */
const INSERTED = {
  order_id: ['text', ({ orderId }) => orderId],
  state: ['text', ({ state }) => state],
  amount_minor: ['bigint', ({ amountMinor }) => amountMinor],
  currency: ['text', ({ currency }) => currency],
  body: ['text', ({ body }) => body],
  token: ['text', ({ token }) => holdable(token)],
  redirect_url: ['text', ({ redirectUrl }) => holdable(redirectUrl)],
};

/** The columns of an order of which some have a key. */
const KEYED = { ...INSERTED, key: ['text', ({ claim }) => claim?.key ?? ''] };

/**
 * All keys are claimed before the first order is inserted: so all statements take their locks in
 * the same sequence. '' stands for no key.
 */
const HAS_KEY = "WHERE given.key = ANY ((SELECT array_agg(key) || ''::text FROM claimed)::text[])";

/** Of several orders with the same key the first one. */
function oneOfEachKey (given) {
  const keys = new Set();
  return given.filter(({ claim }) => {
    const isTaken = keys.has(claim?.key);
    if (claim !== undefined) keys.add(claim.key);
    return !isTaken;
  });
}

/** The columns of a move. */
const MOVED = {
  order_id: ['text', ({ order }) => order.orderId],
  version: ['integer', ({ order }) => order.version],
  state: ['text', ({ change }) => change.to],
  source: ['text', ({ change }) => change.by],
  reason: ['text', ({ change }) => holdable(change.reason)],
  transaction_id: ['text', ({ change }) => holdable(change.transactionId)],
  refunded_minor: ['bigint', ({ change }) => change.refundedMinor],
  charged_back_minor: ['bigint', ({ change }) => change.chargedBackMinor],
  token: ['text', ({ change }) => holdable(change.token)],
  redirect_url: ['text', ({ change }) => holdable(change.redirectUrl)],
  unask: ['boolean', ({ change }) => change.unask],
};

/** What ties the result of a key to a move: the order with the page that the result tells of. */
const TIED = {
  order_id: ['text', ({ orderId }) => orderId],
  page: ['text', ({ page }) => page],
};

/** The first values of the other columns. */
const FIRST = {
  held: false, refunded_minor: 0, charged_back_minor: 0, transaction_id: null, pages: 1,
  version: 0, history: [],
};

/** The first entry of a history, unless later entries have displaced it. */
function beginning ({ history, version, state, created_at: createdAt }) {
  if (history.length < version) return [];
  const at = createdAt.toISOString();
  return [{ at, from: null, to: history[0]?.from ?? state, by: 'order' }];
}

/** A row as an order. Users do not see what only we need. */
function toOrder (row) {
  const order = {
    orderId: row.order_id, state: row.state, held: row.held,
    amountMinor: BigInt(row.amount_minor), refundedMinor: BigInt(row.refunded_minor),
    chargedBackMinor: BigInt(row.charged_back_minor),
    currency: row.currency, token: row.token, redirectUrl: row.redirect_url,
    transactionId: row.transaction_id, createdAt: row.created_at, updatedAt: row.updated_at,
    history: [...beginning(row), ...row.history],
  };
  const { body, pages, version } = row;
  const hidden = { body, pages, version, askedAt: row.asked_at };
  for (const name of Object.keys(hidden)) {
    Object.defineProperty(order, name, { value: hidden[name], enumerable: false });
  }
  return order;
}

const toTransaction = row => ({
  transactionId: row.transaction_id, orderId: row.order_id, state: row.state,
  fraud: row.fraud_status, statusCode: row.status_code, grossAmount: row.gross_amount,
  refundedMinor: BigInt(row.refunded_minor),
  chargedBackMinor: row.charged_back_minor === null ? undefined : BigInt(row.charged_back_minor),
  refunds: row.refunds.map(([id, amount]) => ({ id, amountMinor: BigInt(amount), key: null })),
  paymentType: row.payment_type, madeAt: row.made_at, createdAt: row.created_at,
});

const toEvent = row => ({
  id: row.id, orderId: row.order_id, transactionId: row.transaction_id,
  transactionStatus: row.transaction_status, outcome: row.outcome, reason: row.reason,
  source: row.source, times: row.times, receivedAt: row.received_at,
  lastReceivedAt: row.last_received_at, body: row.body.toString(),
});

/** Frequent statements are planned once for each connection. */
const prepared = (client, name, text, values) =>
  client.query({ name: `payment_${name}`, text, values });

class PaymentLedger {
  #database;
  #outbox;
  #idempotency;
  #hooks;
  #emit;
  #orders;
  #transactions;
  #events;

  /** @param {object} context of Payments */
  constructor ({ database, outbox, idempotency, hooks, emit }) {
    this.#database = database;
    this.#outbox = outbox;
    this.#idempotency = idempotency;
    this.#hooks = hooks;
    this.#emit = emit;
    this.#orders = `${database.schema}.payment_orders`;
    this.#transactions = `${database.schema}.payment_transactions`;
    this.#events = `${database.schema}.payment_events`;
  }

  // ---- Changes of an order ---------------------------------------------------------------------

  /**
   * Changes an order in a transaction that holds its lock, and emits the move after the commit.
   * @template {{ move?: object }} T
   * @param {string} orderId
   * @param {(client: object, order: object | undefined) => Promise<T>} work move: of `move`
   * @returns {Promise<T>}
   */
  async change (orderId, work) {
    const result = await this.#database.transaction(async client =>
      work(client, await this.findOrder(client, orderId, { lock: true })));
    this.announce(result.move);
    return result;
  }

  /** Emits a move that has been committed. */
  announce (move) {
    if (move !== undefined) this.#emit('transition', move.order, move.transition);
  }

  /**
   * Stores the true state of a transaction, and moves its order if that changes it.
   * @param {object} client a transaction that has locked the order
   * @param {object} order
   * @param {object} incoming of readTransaction
   * @param {{ by: string, reason?: string, confirmed: boolean, force?: boolean }} options of judge
   *   and of the move
   * @returns {Promise<object>} as `enter` of payment-states, and `move`
   */
  async enter (client, order, incoming, { by, reason, confirmed, force }) {
    const known = await this.#transactionsOf(client, order.orderId, incoming.transactionId);
    const entered = enter(order, known, incoming, { confirmed, force });
    if (!entered.changed) return entered;
    const { transaction, change, news, hadMoney } = entered;
    await this.#putTransaction(client, transaction);
    const move = change && await this.move(client, order,
      { ...change, by, reason: reason ?? change.reason, news, hadMoney });
    return { ...entered, move };
  }

  /**
   * Ends the hold of an order, or that of some of its events, if Midtrans's answer has decided.
   * @param {object} client a transaction that has locked the order
   * @param {object} order as it was locked
   * @param {object} incoming of readTransaction
   * @param {object} entered of `enter`
   * @param {string} by
   * @returns {Promise<boolean>} whether nothing of the order is held any more
   */
  async release (client, order, incoming, entered, by) {
    return this.releaseEvents(client, order, by, event => decides(event, incoming, entered));
  }

  /** Releases those events of a held order that `isDecided` says; see `release`. */
  async releaseEvents (client, order, by, isDecided) {
    if (!order.held) return false;
    const { orderId } = order;
    const held = await this.eventsWith(client, orderId, ['held']);
    const decided = held.filter(isDecided);
    for (const { id, reason } of decided) {
      await this.closeEvent(client, id,
        { outcome: 'released', reason: `${reason}; decided by ${by}`, orderId });
    }
    if (decided.length === 0 || decided.length < held.length) return false;
    await this.setHeld(client, orderId, false);
    return true;
  }

  /** Whether a hook hears of a move. */
  hasHooks (from, to) { return this.#hooksOf(from, to).length > 0; }

  #hooksOf (...move) {
    return hooksOf(...move).filter(({ hook }) => this.#hooks[hook] !== undefined);
  }

  /**
   * Moves an order, and puts its hooks into the outbox.
   * @param {object} client a transaction that has locked the order
   * @param {object} order
   * @param {object} change { to, by, reason, transactionId, refundedMinor,
   *   chargedBackMinor, token, redirectUrl, news, hadMoney }
   * @returns {Promise<{ order: object, transition: object } | undefined>} undefined if the order
   *   was moved in the meantime
   */
  async move (client, order, change) {
    const [move] = await this.#move(client, [{ order, change }]);
    if (move === undefined) return undefined;
    const { order: { orderId, state }, transition } = move;
    const hooks = this.#hooksOf(order.state, state, change.news, change.hadMoney);
    const messages = hooks.map(({ hook, ...more }, i) => ({
      channel: HOOK_CHANNEL,
      recipient: orderId,
      data: { hook, orderId, transition: storable({ ...transition, ...more }) },
      dedupeKey: `payment-hook:${transition.id}:${hook}:${i}`,
      orderKey: `payment:${orderId}`,
    }));
    if (messages.length > 0) await this.#outbox.enqueue(messages, { client });
    return move;
  }

  /**
   * Moves many orders with one statement, each to a state without hooks.
   * @param {Array<{ order: object, change: object, settlement?: object }>} moves as for `move`.
   *   settlement: of Joint, a result that is stored if the order is moved
   * @returns {Promise<Array<object | undefined>>} for each as `move`; undefined also if another
   *   transaction has the order locked
   */
  async moveAll (moves) { return this.#move(this.#database, moves); }

  /** An order after a move, as far as answers tell of it. */
  moved (order, { to, token, redirectUrl }) {
    return {
      ...order, state: to, token: holdable(token) ?? order.token,
      redirectUrl: holdable(redirectUrl) ?? order.redirectUrl,
    };
  }

  async #move (client, moves) {
    const results = moves.filter(({ settlement }) => settlement !== undefined)
      .map(({ order: { orderId }, change: { token }, settlement }) =>
        ({ ...settlement, orderId, page: holdable(token) }));
    const update = `UPDATE ${this.#orders} o SET
        state = g.state, version = o.version + 1, updated_at = clock_timestamp(),
        silent_since = ${silentSince('o', 'g.state')},
        transaction_id = coalesce(g.transaction_id, o.transaction_id),
        refunded_minor = coalesce(g.refunded_minor, o.refunded_minor),
        charged_back_minor = coalesce(g.charged_back_minor, o.charged_back_minor),
        token = coalesce(g.token, o.token), redirect_url = coalesce(g.redirect_url, o.redirect_url),
        asked_at = CASE WHEN g.unask THEN NULL WHEN g.token IS NULL THEN o.asked_at
          ELSE clock_timestamp() END,
        history = CASE WHEN jsonb_array_length(o.history) < ${HISTORY_MAX} THEN o.history
          ELSE o.history - 0 END || ${ENTRY}
      FROM (SELECT given.*, free.place FROM ${rowsOf(MOVED, 'given')},
        LATERAL (SELECT ctid AS place FROM ${this.#orders}
          WHERE order_id = given.order_id AND version = given.version
          FOR UPDATE SKIP LOCKED) free) g
      WHERE o.ctid = g.place
      RETURNING ${ORDER_COLUMNS_OF_O}`;
    const values = arraysOf(MOVED, moves);
    const { rows } = results.length === 0 ? await prepared(client, 'move', update, values)
      : await this.#moveAndSettle(client, update, values, results);
    const moved = new Map(rows.map(row => [row.order_id, row]));
    return moves.map(({ order: before }) => {
      const row = moved.get(before.orderId);
      moved.delete(before.orderId);
      if (row === undefined) return undefined;
      const order = toOrder(row);
      return { order, transition: transitionOf(before, order) };
    });
  }

  async #moveAndSettle (client, update, values, results) {
    const settle = this.#idempotency.settling(results, {
      columns: TIED, first: values.length + 1, returning: 'g.order_id, held.token AS key_token',
      where: '(g.order_id, g.page) IN (SELECT order_id, token FROM moved)',
    });
    const text = `WITH moved AS (${update}), settled AS (${settle.text})
      SELECT moved.*, key_token FROM moved
        LEFT JOIN settled ON settled.order_id = moved.order_id`;
    const answer = await prepared(client, `move_and_settle_${settle.size}`, text,
      [...values, ...settle.values]);
    const settled = new Set(answer.rows.map(row => row.key_token));
    for (const result of results) if (settled.has(result.token)) result.settled();
    return answer;
  }

  // ---- Orders ----------------------------------------------------------------------------------

  /**
   * Records orders that are not there yet. An order with a claim is recorded if that gets its key.
   * @param {object} client a transaction or the database
   * @param {object[]} given as PaymentOrders takes them; claim: of Joint
   * @param {object} [messages] of the outbox's `along`: the new orders' are stored with them
   * @returns {Promise<Array<object | undefined>>} each order; undefined if it was there before
   */
  async insertOrders (client, given, messages) {
    // Every statement inserts in the same sequence, so that no two wait for each other.
    const items = sortedBy(({ orderId }) => orderId, oneOfEachKey(given));
    const claims = items.flatMap(({ claim }) => claim ?? []);
    const { rows } = await prepared(client, ...this.#insertion(items, claims, messages));
    const tokens = new Map(rows.map(row => [row.key, row.key_token]));
    for (const { key, hold } of claims) if (tokens.has(key)) hold(tokens.get(key));
    const made = new Map(rows.map(row => [row.order_id, row]));
    // If two have the same id, the second one was there before.
    return given.map(order => {
      const row = made.get(order.orderId);
      made.delete(order.orderId);
      return row && toOrder({ ...FIRST, ...rowOf(INSERTED, order), ...row });
    });
  }

  /** @returns {[string, string, unknown[]]} a statement: its name, text and values */
  #insertion (items, claims, messages) {
    const now = "CASE WHEN given.state <> 'queued' THEN clock_timestamp() END";
    const columns = claims.length === 0 ? INSERTED : KEYED;
    const values = arraysOf(columns, items);
    const insert = `INSERT INTO ${this.#orders} (${Object.keys(INSERTED)}, asked_at, silent_since)
      SELECT ${Object.keys(INSERTED).map(name => `given.${name}`)}, ${now}, ${now}
      FROM ${rowsOf(columns, 'given')} ${claims.length === 0 ? '' : HAS_KEY}
      ON CONFLICT (order_id) DO NOTHING RETURNING order_id, asked_at, created_at, updated_at`;
    if (claims.length === 0 && messages === undefined) return ['insert', insert, values];
    const parts = [`made AS (${insert})`];
    let name = 'insert';
    let select = 'SELECT * FROM made';
    if (claims.length > 0) {
      const claim = this.#idempotency.claiming(claims, values.length + 1);
      parts.unshift(`claimed AS (${claim.text})`);
      values.push(...claim.values);
      name += '_and_claim';
      select = `SELECT made.*, NULL AS key, NULL::bigint AS key_token FROM made
        UNION ALL SELECT NULL, NULL, NULL, NULL, key, token FROM claimed`;
    }
    if (messages !== undefined) {
      const told = messages.insert(values.length + 1, 'recipient IN (SELECT order_id FROM made)');
      parts.push(`told AS (${told})`);
      values.push(messages.json);
      name += '_and_leave';
    }
    return [name, `WITH ${parts.join(', ')} ${select}`, values];
  }

  /** Records orders, and leaves the new ones to the worker. */
  async insertAndLeave (orders) {
    const messages = this.#outbox.along(orders.map(({ orderId }) => pageMessage(orderId)));
    const made = await this.insertOrders(this.#database, orders, messages);
    if (made.some(Boolean)) messages.announce();
    return made;
  }

  /** Leaves orders to the worker, which makes their pages. Leaving one twice has no effect. */
  async leave (client, orderIds) {
    await this.#outbox.enqueue(orderIds.map(pageMessage), { client });
  }

  /** The order as it is now. */
  async get (orderId) { return this.findOrder(this.#database, orderId); }

  /**
   * The order of an id at Midtrans, which may be that of a later page.
   * @param {object} client a transaction or the database
   */
  async findOrder (client, midtransId, { lock = false } = {}) {
    const select = `SELECT ${ORDER_COLUMNS} FROM ${this.#orders}`;
    const end = lock ? 'FOR UPDATE' : '';
    let { rows } = await prepared(client, lock ? 'lock' : 'find',
      `${select} WHERE order_id = $1 ${end}`, [midtransId]);
    const page = PAGE.exec(midtransId);
    if (rows.length === 0 && page !== null) {
      ({ rows } = await client.query(
        `${select} WHERE order_id = $1 AND pages >= $2::smallint ${end}`, page.slice(1)));
    }
    return rows.length === 0 ? undefined : toOrder(rows[0]);
  }

  /** @returns {Promise<Map<string, object>>} orders by their ids */
  async findOrders (client, orderIds) {
    const { rows } = await prepared(client, 'find_all',
      `SELECT ${ORDER_COLUMNS} FROM ${this.#orders} WHERE order_id = ANY ($1::text[])`, [orderIds]);
    return new Map(rows.map(row => [row.order_id, toOrder(row)]));
  }

  async setPage (client, orderId, { token, redirectUrl }) {
    await client.query(`UPDATE ${this.#orders}
      SET token = $2, redirect_url = $3, asked_at = clock_timestamp() WHERE order_id = $1`,
    [orderId, token, redirectUrl]);
  }

  async setBody (client, orderId, body) {
    await client.query(`UPDATE ${this.#orders} SET body = $2 WHERE order_id = $1`, [orderId, body]);
  }

  /** As long as an order is held, Midtrans is asked about it again and again. */
  async setHeld (client, orderId, held) {
    await client.query(`UPDATE ${this.#orders} SET held = $2::boolean,
        silent_since = CASE WHEN $2::boolean OR ${isOpen('state')}
          THEN coalesce(silent_since, clock_timestamp()) END
      WHERE order_id = $1`, [orderId, held]);
  }

  /**
   * Notes that Midtrans is about to be asked for a page.
   * @returns {Promise<{ resume: boolean, askedAt: Date }>} resume: whether it was asked before
   */
  async setAsked (orderId, page) {
    const { rows: [{ resume, asked_at: askedAt }] } = await this.#database.query(`UPDATE
        ${this.#orders} o
      SET asked_at = clock_timestamp(), pages = greatest(o.pages, $2::smallint)
      FROM (SELECT order_id, pages >= $2::smallint AND
          (asked_at IS NOT NULL OR state = 'unknown') AS resume
        FROM ${this.#orders} WHERE order_id = $1 FOR UPDATE) before
      WHERE o.order_id = before.order_id
      RETURNING before.resume, o.asked_at`, [orderId, page]);
    return { resume, askedAt };
  }

  /** Notes that Midtrans was not asked after all. */
  async unsetAsked (orderId) {
    await this.#database.query(`UPDATE ${this.#orders} SET asked_at = NULL WHERE order_id = $1`,
      [orderId]);
  }

  /** A page of orders, newest first. */
  async listOrders ({ state, held, search, since, until, before, limit }) {
    const where = new Conditions().contains(search, 'o.order_id', 'o.transaction_id');
    // As part of the text, so that partial indexes can serve.
    if (RARE_STATES.includes(state)) where.within(`o.state = '${state}'`);
    else if (state !== undefined) where.sought(`o.state = '${state}'`);
    if (held === true) where.within('o.held');
    else if (held === false) where.sought('NOT o.held');
    if (since !== undefined) where.within('o.created_at >= ?', new Date(since));
    if (until !== undefined) where.within('o.created_at < ?', new Date(until));
    if (before !== undefined) {
      where.within(`(o.created_at, o.order_id) <
        (SELECT created_at, order_id FROM ${this.#orders} WHERE order_id = ?)`, before);
    }
    return readPage(this.#database, {
      table: this.#orders, columns: ORDER_COLUMNS, key: ['created_at', 'order_id'], where, limit,
      bytes: 'coalesce(octet_length(o.body::text), 0) + octet_length(o.history::text)',
    }, toOrder);
  }

  /**
   * Orders about which Midtrans has said nothing for `olderThan` ms. No other caller gets them now.
   * @returns {Promise<Array<{ order: object, openMs: number }>>} openMs: the age of the page
   */
  async claimSilent ({ olderThan, limit }) {
    const { rows } = await this.#database.query(`UPDATE ${this.#orders}
      SET silent_since = clock_timestamp()
      WHERE order_id IN (SELECT order_id FROM ${this.#orders}
        WHERE silent_since <= clock_timestamp() - $1::float8 * interval '1 millisecond'
        ORDER BY silent_since LIMIT $2::int FOR UPDATE SKIP LOCKED)
      RETURNING ${ORDER_COLUMNS},
        extract(epoch FROM clock_timestamp() - coalesce(asked_at, created_at)) * 1000 AS open_ms`,
    [olderThan, limit]);
    return rows.map(row => ({ order: toOrder(row), openMs: Number(row.open_ms) }));
  }

  // ---- Transactions ----------------------------------------------------------------------------

  /** Those of an order, oldest first, and the one with this id, whosever it is. */
  async #transactionsOf (client, orderId, transactionId) {
    const { rows } = await prepared(client, 'transactions', `SELECT * FROM ${this.#transactions}
        WHERE order_id = $1
      UNION ALL SELECT * FROM ${this.#transactions}
        WHERE transaction_id = $2 AND order_id <> $1
      ORDER BY created_at, transaction_id`,
    [orderId, transactionId]);
    return rows.map(toTransaction);
  }

  async #putTransaction (client, transaction) {
    const { transactionId, orderId, state, fraud, statusCode, grossAmount, refundedMinor,
      chargedBackMinor, refunds, paymentType, madeAt } = transaction;
    await prepared(client, 'put', `INSERT INTO ${this.#transactions}
        (transaction_id, order_id, state, fraud_status, status_code, gross_amount, refunded_minor,
          charged_back_minor, refunds, payment_type, made_at)
      VALUES ($1, $2, $3, $4, $5, $6, $7::bigint, $8::bigint, $9::jsonb, $10, $11)
      ON CONFLICT (transaction_id) DO UPDATE SET
        state = EXCLUDED.state, fraud_status = EXCLUDED.fraud_status,
        status_code = EXCLUDED.status_code, gross_amount = EXCLUDED.gross_amount,
        refunded_minor = EXCLUDED.refunded_minor,
        charged_back_minor = EXCLUDED.charged_back_minor, refunds = EXCLUDED.refunds,
        payment_type = EXCLUDED.payment_type, made_at = EXCLUDED.made_at,
        updated_at = clock_timestamp()`,
    [transactionId, orderId, state, holdable(fraud), statusCode, grossAmount, refundedMinor,
      chargedBackMinor,
      JSON.stringify(refunds.map(({ id, amountMinor }) => [holdable(id), String(amountMinor)])),
      holdable(paymentType), madeAt]);
  }

  // ---- Events ----------------------------------------------------------------------------------

  /**
   * Notes that an event came. Only the first of its kind makes a row, with `outcome` and `reason`;
   * a repetition is counted. One whose hold has ended begins again: it may differ in what is not
   * part of its fingerprint. The row is locked until the transaction ends.
   * @param {object} client a transaction or the database
   * @returns {Promise<object>} the event as users see it
   */
  async noteEvent (client, event, outcome, reason) {
    const { rows } = await prepared(client, 'note', `INSERT INTO ${this.#events} AS known
        (fingerprint, source, order_id, transaction_id, transaction_status, outcome, reason, body)
      VALUES ($1, $2, $3, $4, $5, $6, $7, $8::bytea)
      ON CONFLICT (fingerprint) DO UPDATE SET
        times = known.times + 1, last_received_at = clock_timestamp(),
        ${['transaction_id', 'transaction_status', 'body'].map(column => `${column} = CASE
          WHEN known.outcome = 'released' THEN EXCLUDED.${column} ELSE known.${column} END`)}
      RETURNING *`,
    [event.fingerprint, event.source, event.orderId, event.transactionId, event.transactionStatus,
      outcome, reason, event.bytes]);
    return toEvent(rows[0]);
  }

  /**
   * Stores a sample of what anybody can send, and how many it stands for, in a row that is reused.
   * Nothing in it is trusted, so it belongs to no order.
   * @returns {Promise<object>} the event as users see it
   */
  async noteSample ({ source, outcome, reason, bytes, count }, row) {
    const { rows } = await prepared(this.#database, 'sample', `INSERT INTO ${this.#events} AS known
        (fingerprint, source, outcome, reason, times, body)
      VALUES ($1, $2, $3, $4, $5::integer, $6::bytea)
      ON CONFLICT (fingerprint) DO UPDATE SET
        reason = EXCLUDED.reason, body = EXCLUDED.body, last_received_at = clock_timestamp(),
        times = least(known.times::bigint + EXCLUDED.times, ${TIMES_MAX})::integer
      RETURNING *`,
    [`sample:${outcome}:${row}`, source, outcome, reason, count, bytes]);
    return toEvent(rows[0]);
  }

  /** Counts a repetition. @returns {Promise<boolean>} whether the event has a final outcome */
  async countAgain (fingerprint) {
    const { rowCount } = await prepared(this.#database, 'again', `UPDATE ${this.#events}
      SET times = times + 1, last_received_at = clock_timestamp()
      WHERE fingerprint = $1 AND outcome = ANY ($2::text[])`, [fingerprint, FINAL_OUTCOMES]);
    return rowCount === 1;
  }

  /** @returns {Promise<object>} the event as users see it */
  async closeEvent (client, id, { outcome, reason, orderId }) {
    const { rows } = await prepared(client, 'close', `UPDATE ${this.#events}
      SET outcome = $2, reason = $3, order_id = coalesce($4, order_id)
      WHERE id = $1::bigint RETURNING *`, [id, outcome, reason, orderId]);
    return toEvent(rows[0]);
  }

  /** Oldest first. Unsigned events belong to no order; in rows of older releases they name one. */
  async eventsOf (orderId) {
    const { rows } = await this.#database.query(`SELECT * FROM ${this.#events}
      WHERE order_id = $1 AND outcome NOT IN ('forged', 'invalid')
      ORDER BY id DESC LIMIT ${EVENTS_MAX}`, [orderId]);
    return rows.reverse().map(toEvent);
  }

  /** A page of events, newest first. */
  async listEvents ({ outcome, before, limit }) {
    const where = new Conditions();
    // As above.
    if (RARE_OUTCOMES.includes(outcome)) where.within(`o.outcome = '${outcome}'`);
    else if (outcome !== undefined) where.sought(`o.outcome = '${outcome}'`);
    if (before !== undefined) where.within('o.id < ?', before);
    return readPage(this.#database, {
      table: this.#events, columns: 'o.*', key: ['id'], where, limit,
      bytes: 'octet_length(o.body)',
    }, toEvent);
  }

  /** The events of an order with these outcomes, oldest first. */
  async eventsWith (client, orderId, outcomes) {
    const { rows } = await client.query(`SELECT * FROM ${this.#events}
      WHERE order_id = $1 AND outcome = ANY ($2::text[]) ORDER BY id`, [orderId, outcomes]);
    return rows.map(toEvent);
  }
}

/** The message that has the worker make an order's page. */
const pageMessage = orderId => ({
  channel: ORDER_CHANNEL, recipient: orderId, data: { orderId },
  dedupeKey: `midtrans-order:${orderId}`,
});

/** A move as users see it. */
function transitionOf (before, { orderId, version, state, transactionId }) {
  return { id: `${orderId}:${version}`, from: before.state, to: state, transactionId };
}

/** A move's entry in the history, with the database's time. */
const ENTRY = `(jsonb_build_object(
  'at', to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
  'from', o.state, 'to', g.state, 'by', g.source) ||
  CASE WHEN g.reason IS NULL THEN '{}' ELSE jsonb_build_object('reason', g.reason) END)`;

/** What is in the details of a hook, as JSON can hold it: amounts are texts. */
const storable = transition => JSON.parse(JSON.stringify(transition,
  (_, value) => (typeof value === 'bigint' ? String(value) : value)));

const isOpen = state => `${state} IN ('created', 'unknown', 'pending', 'authorize')`;

/**
 * Since when Midtrans has been silent about an order that moves. If its page is made at once, the
 * earlier time stays, so that no index must be updated.
 */
const silentSince = (order, to) => `CASE
  WHEN NOT ${order}.held AND NOT ${isOpen(to)} THEN NULL
  WHEN ${to} = 'created' AND ${order}.state = 'unknown' THEN ${order}.silent_since
  ELSE clock_timestamp() END`;

module.exports = {
  FINAL_OUTCOMES, HOOK_CHANNEL, ORDER_CHANNEL, OUTCOMES, PaymentLedger
};
