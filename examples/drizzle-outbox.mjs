// An order and its mail in one transaction of Drizzle: both are committed, or neither.
//   DATABASE_URL=postgres://… node drizzle-outbox.mjs
import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, pgTable, text } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { openStore } from 'sekering/store';

const url = process.env.DATABASE_URL;
const store = await openStore({ url });
const pool = new pg.Pool({ connectionString: url });
const orders = pgTable('drizzle_orders', { id: text('id').primaryKey(), total: integer('total') });
await drizzle(pool).execute(sql`CREATE TABLE drizzle_orders (id text PRIMARY KEY, total integer)`);

async function buy (id, total) {
  // Drizzle and the outbox use the same connection, and so the same transaction.
  const client = await pool.connect();
  try {
    await drizzle(client).transaction(async tx => {
      await tx.insert(orders).values({ id, total });
      await store.outbox.enqueue({
        channel: 'EMAIL', recipient: 'ani@example.com', subject: `Order ${id}`, body: 'Thank you.',
      }, { client });
      if (total < 0) throw new Error('The total is negative');
    });
  } finally {
    client.release();
  }
}

await buy('order-1', 100);
await buy('order-2', -1).catch(error => console.log(error.message));
console.log((await drizzle(pool).select().from(orders)).map(({ id }) => id));
console.log((await store.outbox.list()).map(({ subject }) => subject));
await pool.end();
await store.close();
