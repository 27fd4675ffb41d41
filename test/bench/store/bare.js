'use strict';

// A row of the same table by a prepared INSERT alone: what enqueueing cannot go below without
// sharing statements.

const { Pool } = require('pg');

const ours = require('./ours');

async function open (place) {
  const handle = await ours.open(place);
  const pool = new Pool({ connectionString: place.url, max: 12 });
  return { pool, close: async () => { await pool.end(); await handle.close(); } };
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

module.exports = { open, enqueue };
