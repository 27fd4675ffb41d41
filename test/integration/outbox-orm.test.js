'use strict';

// Messages in the transactions of others: the examples for Knex and Drizzle, on PostgreSQL.

const path = require('node:path');

const { closeShared, sharedPostgres } = require('../support/postgres');
const { run } = require('../support/sandbox');
const { ROOT } = require('../support/setup');

afterAll(closeShared);

test.each(['knex', 'drizzle'])('%s: an order and its message are committed, or neither',
  async name => {
    const postgres = await sharedPostgres();
    const { code, stdout, stderr } = await run(process.execPath,
      [path.join(ROOT, 'examples', `${name}-outbox.mjs`)],
      { env: { ...process.env, DATABASE_URL: await postgres.createDatabase() } });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.trimEnd().split('\n'))
      .toEqual(['The total is negative', "[ 'order-1' ]", "[ 'Order order-1' ]"]);
  });
