'use strict';

// Deletes old rows: few at a time, and none that are locked.

const { is, optionsOf } = require('../base/options');

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const AGE_MS_MAX = 100 * 365 * DAY_MS;
// Outcomes of notifications that belong to none of our orders.
const FOREIGN = ['unknown_order', 'forged', 'invalid'];

/** How long something is kept; false: for ever. */
const age = (doc, ms) => is.ms(doc, { max: AGE_MS_MAX, or: [false], default: ms });

const OPTIONS = optionsOf({
  sent: age('since a message was sent or cancelled', 7 * DAY_MS),
  dead: age('since a message died', 30 * DAY_MS),
  idempotency: age('since a key was taken, if its result has expired', DAY_MS),
  deliveries: age('since the last status of a delivery', 30 * DAY_MS),
  audit: age('since an act of an administrator', 365 * DAY_MS),
  foreignEvents: age('since a notification that belongs to no order', 30 * DAY_MS),
  events: age('since any notification of a payment', false),
  minutes: age('since a minute of the chart of the service', 7 * DAY_MS),
  notes: age('since an operator wrote a note', 365 * DAY_MS),
  fleet: age('since the last transition of a breaker of the fleet', 90 * DAY_MS),
  batchSize: is.integer('rows of a statement', { min: 1, max: 100_000, default: 1000 }),
});

/** Ids grow with time, so one walk along them finds all old rows, and needs no other index. */
const walkMessages = table => `
  WITH seen AS MATERIALIZED (
    SELECT id, created_at, status, coalesce(sent_at, died_at, created_at) AS ended
    FROM ${table} WHERE id > $1 ORDER BY id LIMIT $2
  ), old AS MATERIALIZED (
    SELECT o.id, o.status FROM seen JOIN ${table} o USING (id)
    WHERE (o.status IN ('SENT', 'CANCELLED') AND seen.ended < now() - $3 * interval '1 ms')
      OR (o.status = 'DLQ' AND seen.ended < now() - $4 * interval '1 ms')
    FOR UPDATE OF o SKIP LOCKED
  ), gone AS (
    DELETE FROM ${table} WHERE id = ANY (ARRAY(SELECT id FROM old)) RETURNING status
  )
  SELECT max(id) AS last, count(*)::int AS seen,
    coalesce(bool_and(created_at > now() - least($3, $4) * interval '1 ms'), true) AS "isYoung",
    (SELECT count(*)::int FROM gone WHERE status <> 'DLQ') AS sent,
    (SELECT count(*)::int FROM gone WHERE status = 'DLQ') AS dead
  FROM seen`;

const deleteOlder = (table, time) => `
  DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ${table} WHERE ${time} < now() - $1 * interval '1 ms'
    ORDER BY ${time} LIMIT $2 FOR UPDATE SKIP LOCKED))`;

/** Does not delete a result that can still be replayed, nor a key whose work is under way. */
const deleteKeys = table => `
  DELETE FROM ${table} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM ${table} WHERE expires_at < now() AND created_at < now() - $1 * interval '1 ms'
      AND (status = 'done' OR locked_until < now())
    ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`;

/** Not what holds a circuit open. The table is small: a row for each breaker that ever tripped. */
const deleteFleet = table => `
  DELETE FROM ${table} WHERE name = ANY (ARRAY(
    SELECT name FROM ${table} WHERE changed_at < now() - $1 * interval '1 ms'
      AND (state = 'closed' OR open_until < now())
    ORDER BY name LIMIT $2 FOR UPDATE SKIP LOCKED))`;

/** In the order of their ids, by the index of these outcomes. */
const deleteForeign = (table, outcome) => `
  DELETE FROM ${table} WHERE id = ANY (ARRAY(
    SELECT id FROM ${table} WHERE outcome = '${outcome}'
      AND last_received_at < now() - $1 * interval '1 ms'
    ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED))`;

async function cleanMessages (database, ages, batchSize) {
  const [sent, dead] = [ages.sent, ages.dead].map(age => (age === false ? AGE_MS_MAX : age));
  const text = walkMessages(`${database.schema}.notification_outbox`);
  const deleted = { sent: 0, dead: 0 };
  if (ages.sent === false && ages.dead === false) return deleted;
  for (let last = '0'; ;) {
    const { rows: [batch] } = await database.query(text, [last, batchSize, sent, dead]);
    deleted.sent += batch.sent;
    deleted.dead += batch.dead;
    // All further messages are younger.
    if (batch.seen < batchSize || batch.isYoung) return deleted;
    last = batch.last;
  }
}

async function cleanTable (database, table, time, age, batchSize) {
  return cleanBatches(database, deleteOlder(`${database.schema}.${table}`, time), age, batchSize);
}

async function cleanForeign (database, age, batchSize) {
  let deleted = 0;
  for (const outcome of FOREIGN) {
    const text = deleteForeign(`${database.schema}.payment_events`, outcome);
    deleted += await cleanBatches(database, text, age, batchSize);
  }
  return deleted;
}

async function cleanBatches (database, text, age, batchSize) {
  if (age === false) return 0;
  let deleted = 0;
  for (;;) {
    const { rowCount } = await database.query(text, [age, batchSize]);
    deleted += rowCount;
    if (rowCount < batchSize) return deleted;
  }
}

/**
 * @param {object} database of openDatabase
 * @param {object} [options] as RetentionOptions
 * @returns {Promise<{ sent: number, dead: number, idempotency: number, deliveries: number,
 *   audit: number, foreignEvents: number, events: number, minutes: number,
 *   notes: number, fleet: number }>} rows that were deleted
 */
async function cleanUp (database, options) {
  const { batchSize, ...ages } = OPTIONS.read(options);
  return {
    ...await cleanMessages(database, ages, batchSize),
    idempotency: await cleanBatches(database,
      deleteKeys(`${database.schema}.idempotency_store`), ages.idempotency, batchSize),
    deliveries: await cleanTable(
      database, 'message_deliveries', 'heard_at', ages.deliveries, batchSize),
    audit: await cleanTable(database, 'admin_audit', 'at', ages.audit, batchSize),
    foreignEvents: await cleanForeign(database, ages.foreignEvents, batchSize),
    events: await cleanTable(database, 'payment_events', 'received_at', ages.events, batchSize),
    minutes: await cleanTable(database, 'service_minutes', 'minute', ages.minutes, batchSize),
    notes: await cleanTable(database, 'operator_notes', 'at', ages.notes, batchSize),
    fleet: await cleanBatches(database, deleteFleet(`${database.schema}.fleet_breakers`),
      ages.fleet, batchSize),
  };
}

module.exports = { cleanUp };
