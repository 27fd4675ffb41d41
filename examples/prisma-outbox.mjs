// An order and its mail in one transaction of Prisma: both are committed, or neither.
//   npx prisma generate --schema prisma-outbox.prisma
//   DATABASE_URL=postgres://… node prisma-outbox.mjs
import { AsyncLocalStorage } from 'node:async_hooks';
import { PrismaPg } from '@prisma/adapter-pg';
import pg from 'pg';
import { openStore } from 'sekering/store';
import { PrismaClient } from './prisma-client/index.js';

// Prisma hides the connection of a transaction, but takes it from this pool.
const current = new AsyncLocalStorage();
class Pool extends pg.Pool {
  async connect (...args) {
    const client = await super.connect(...args);
    const transaction = current.getStore();
    if (transaction !== undefined) transaction.client ??= client;
    return client;
  }
}

const connectionString = process.env.DATABASE_URL;
const store = await openStore({ url: connectionString });
const pool = new Pool({ connectionString });
const prisma = new PrismaClient({ adapter: new PrismaPg(pool) });
await pool.query('CREATE TABLE public.prisma_orders (id text PRIMARY KEY, total integer NOT NULL)');

async function buy (id, total) {
  await current.run({}, () => prisma.$transaction(async tx => {
    await tx.order.create({ data: { id, total } });
    await store.outbox.enqueue({
      channel: 'EMAIL', recipient: 'ani@example.com', subject: `Order ${id}`, body: 'Thank you.',
    }, { client: current.getStore().client });
    if (total < 0) throw new Error('The total is negative');
  }));
}

await buy('order-1', 100);
await buy('order-2', -1).catch(error => console.log(error.message));
console.log((await prisma.order.findMany()).map(({ id }) => id));
console.log((await store.outbox.list()).map(({ subject }) => subject));
await prisma.$disconnect();
await pool.end();
await store.close();
