'use strict';

// The same table, by the plainest statements that do the work: what an INSERT of each row takes,
// and a claim and an UPDATE of each batch.

const { Pool } = require('pg');

const ours = require('./ours');

async function open (place) {
  const handle = await ours.open(place);
  if (place.url === undefined) return handle;
  const pool = new Pool({ connectionString: place.url, max: 12 });
  return { pool, close: async () => { await pool.end(); await handle.close(); } };
}

const fill = ours.fill;

const CLAIM = `UPDATE sekering.notification_outbox SET status = 'SENDING', lease_token = $1,
    lease_until = now() + interval '30 s'
  WHERE id IN (SELECT id FROM sekering.notification_outbox
    WHERE status IN ('PENDING', 'RETRYING') AND crash_count = 0 AND order_key IS NULL
      AND channel = 'JOB' AND urgency = 0 AND next_retry_at <= now()
    ORDER BY next_retry_at, id LIMIT $2 FOR UPDATE SKIP LOCKED)
  RETURNING id, recipient, body_data`;

const SETTLE = `UPDATE sekering.notification_outbox SET status = 'SENT', sent_at = now()
  WHERE id = ANY ($1) AND lease_token = $2`;

/** @returns {Promise<number>} how many ms it takes to claim and settle all, a batch at a time */
async function drain ({ database }, { batchSize }) {
  const began = performance.now();
  for (let token = 1; ; token++) {
    const { rows } = await database.query(
      { name: 'bare_claim', text: CLAIM, values: [token, batchSize] });
    if (rows.length === 0) return performance.now() - began;
    const ids = rows.map(({ id }) => id);
    await database.query({ name: 'bare_settle', text: SETTLE, values: [ids, token] });
  }
}

async function enqueue ({ pool }, { clients, ms }) {
  const ends = performance.now() + ms;
  let count = 0;
  await Promise.all(Array.from({ length: clients }, async () => {
    while (performance.now() < ends) {
      await pool.query({
        name: 'bare', values: ['JOB', `r${count}`, JSON.stringify({ n: count })],
        text: `INSERT INTO sekering.notification_outbox (channel, recipient, body_data)
          VALUES ($1, $2, $3) RETURNING id`,
      });
      count++;
    }
  }));
  return count;
}

module.exports = { open, fill, drain, enqueue };
