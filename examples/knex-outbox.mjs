// An order and its mail in one transaction of Knex: both are committed, or neither.
//   DATABASE_URL=postgres://… node knex-outbox.mjs
import createKnex from 'knex';
import { openStore } from 'sekering/store';

const connection = process.env.DATABASE_URL;
const store = await openStore({ url: connection });
const knex = createKnex({ client: 'pg', connection });
await knex.schema.createTable('knex_orders', table => {
  table.text('id').primary();
  table.integer('total');
});

async function buy (id, total) {
  await knex.transaction(async trx => {
    await trx('knex_orders').insert({ id, total });
    // The connection of the transaction, which has a method query(text, values)
    const client = await trx.client.acquireConnection();
    await store.outbox.enqueue({
      channel: 'EMAIL', recipient: 'ani@example.com', subject: `Order ${id}`, body: 'Thank you.',
    }, { client });
    if (total < 0) throw new Error('The total is negative');
  });
}

await buy('order-1', 100);
await buy('order-2', -1).catch(error => console.log(error.message));
console.log((await knex('knex_orders')).map(({ id }) => id));
console.log((await store.outbox.list()).map(({ subject }) => subject));
await knex.destroy();
await store.close();
