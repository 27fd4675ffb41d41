'use strict';

// Lists, where there are many rows: none reads all of them, and its pages together miss none.

const { Pool } = require('pg');

const { openStore } = require('../../lib/store');
const { LOOK } = require('../../lib/store/pages');
const { closeShared, sharedPostgres } = require('../support/postgres');

const ROWS = 50_000;
const READ_MAX = 200;
// A page looks at these rows, and then where they end.
const LOOKED_MAX = 2 * LOOK + READ_MAX;

let pool;
let store;
/** The last statement that a connection of the pool got. */
let last;
/** The characters of each answer that has rows. */
let answers;

beforeAll(async () => {
  pool = new Pool({ connectionString: await (await sharedPostgres()).createDatabase() });
  pool.on('connect', client => {
    const query = client.query;
    client.query = function (given, ...rest) {
      if (/^\s*WITH page/.test(given.text)) last = given;
      const answer = query.call(this, given, ...rest);
      answer?.then?.(({ rows }) => rows?.length > 0 && answers?.push(JSON.stringify(rows).length),
        () => {});
      return answer;
    };
  });
  store = await openStore({ pool });
  await store.query(`INSERT INTO sekering.notification_outbox
      (channel, recipient, status, order_key, crash_count)
    SELECT CASE i % 10000 WHEN 7 THEN 'RARE' ELSE 'EMAIL' END, 'r' || i,
      CASE i % 1000 WHEN 0 THEN 'PENDING' WHEN 1 THEN 'RETRYING'
      WHEN 2 THEN 'SENDING' WHEN 3 THEN 'DLQ' WHEN 4 THEN 'CANCELLED' ELSE 'SENT' END,
      CASE WHEN i % 3000 < 1000 THEN 'k' || i END, CASE WHEN i % 3000 < 2000 THEN 0 ELSE 1 END
    FROM generate_series(1, ${ROWS}) AS i`);
  await store.query(`INSERT INTO sekering.payment_orders
      (order_id, amount_minor, currency, state, held)
    SELECT 'o' || i, 100, 'IDR', CASE i % 1000 WHEN 0 THEN 'failed' WHEN 1 THEN 'unknown'
      WHEN 2 THEN 'denied' WHEN 3 THEN 'charged_back' WHEN 5 THEN 'queued' ELSE 'paid' END,
      i % 1000 = 4
    FROM generate_series(1, ${ROWS}) AS i`);
  await store.query(`INSERT INTO sekering.payment_events (fingerprint, source, outcome, body)
    SELECT 'f' || i, 'status', CASE i % 1000 WHEN 0 THEN 'stale' WHEN 1 THEN 'held'
      WHEN 2 THEN 'forged' ELSE 'applied' END, ''
    FROM generate_series(1, ${ROWS}) AS i`);
  await store.query('ANALYZE sekering.notification_outbox');
  await store.query('ANALYZE sekering.payment_orders');
  await store.query('ANALYZE sekering.payment_events');
});
afterAll(async () => {
  await store?.close();
  await pool?.end();
  await closeShared();
});

/** How many rows of tables a statement looked at. */
function rowsOf ({ Plans: parts = [], ...plan }) {
  const removed = plan['Rows Removed by Filter'] ?? 0;
  const own = plan['Relation Name'] === undefined ? 0
    : (plan['Actual Rows'] + removed) * plan['Actual Loops'];
  return parts.reduce((sum, part) => sum + rowsOf(part), own);
}

async function readBy (call) {
  last = undefined;
  const found = await call();
  const { text, values } = last;
  const { rows: [row] } = await pool.query(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values);
  return { found: found.length, read: rowsOf(row['QUERY PLAN'][0].Plan) };
}

test.each(['PENDING', 'RETRYING', 'SENDING', 'DLQ', 'CANCELLED', 'SENT'])(
  'messages that are %s', async status => {
    const { found, read } = await readBy(() => store.outbox.list({ status, limit: 20 }));
    expect(found).toBe(20);
    expect(read).toBeLessThan(READ_MAX);
  });

test.each([
  [{ state: 'failed' }, 20], [{ state: 'unknown' }, 20], [{ state: 'denied' }, 20],
  [{ state: 'charged_back' }, 20], [{ state: 'refunded' }, 0], [{ held: true }, 20],
  [{ state: 'paid' }, 20],
])('orders: %j', async (filter, count) => {
  const { found, read } = await readBy(() => store.payments.list({ ...filter, limit: 20 }));
  expect(found).toBe(count);
  expect(read).toBeLessThan(READ_MAX);
});

test.each(['held', 'forged', 'applied'])('events that are %s', async outcome => {
  const { found, read } = await readBy(() => store.payments.listEvents({ outcome, limit: 20 }));
  expect(found).toBe(20);
  expect(read).toBeLessThan(READ_MAX);
});

const LISTS = {
  messages: filter => store.outbox.list(filter),
  letters: filter => store.deadLetters.list(filter),
  orders: filter => store.payments.list(filter),
  events: filter => store.payments.listEvents(filter),
};
const idOf = ({ orderId, id }) => id ?? orderId;

describe.each([
  ['messages', { channel: 'RARE' }, "channel = 'RARE'"],
  ['messages', { channel: 'RARE', status: 'SENT' }, "channel = 'RARE' AND status = 'SENT'"],
  ['messages', { channel: 'NONE' }, 'false'],
  ['messages', { status: 'PENDING', search: '5' }, "status = 'PENDING' AND recipient LIKE '%5%'"],
  ['messages', { status: 'RETRYING', channel: 'NONE' }, 'false'],
  ['messages', { search: 'R12_' }, 'false'],
  ['messages', { search: '33' }, "recipient LIKE '%33%'"],
  ['messages', { content: false, limit: 1000 }, 'true'],
  ['letters', { search: 'R7003' }, "status = 'DLQ' AND recipient = 'r7003'"],
  ['letters', { kind: 'NONE' }, 'false'],
  ['letters', { content: false }, "status = 'DLQ'"],
  ['orders', { state: 'queued' }, "state = 'queued'"],
  ['orders', { state: 'expired' }, 'false'],
  ['orders', { state: 'failed', limit: 3 }, "state = 'failed'"],
  ['orders', { search: 'O77', limit: 1000 }, "order_id LIKE 'o77%'"],
  ['orders', { held: false, search: 'nobody' }, 'false'],
  ['events', { outcome: 'stale', limit: 10 }, "outcome = 'stale'"],
  ['events', { outcome: 'dismissed' }, 'false'],
])('%s: %j', (name, filter, condition) => {
  test('no page looks at more rows than it may', async () => {
    expect((await readBy(() => LISTS[name](filter))).read).toBeLessThanOrEqual(LOOKED_MAX);
  });

  test('all pages together have each of them once', async () => {
    const found = [];
    for (let page = await LISTS[name](filter); ; page = await LISTS[name]({
      ...filter, before: page.next })) {
      found.push(...page.map(idOf));
      expect(page.length).toBeLessThanOrEqual(filter.limit ?? 100);
      if (page.next === undefined) break;
    }
    const [table, key] = {
      orders: ['payment_orders', 'created_at, order_id'], events: ['payment_events', 'id'],
    }[name] ?? ['notification_outbox', 'id'];
    const { rows } = await store.query(
      `SELECT * FROM sekering.${table} WHERE ${condition} ORDER BY ${key}`);
    expect(found).toEqual(rows.map(row => row.order_id ?? row.id).toReversed());
  });
});

test('a time is not looked for among the rows', async () => {
  const { rows: [{ id, at }] } = await store.query(`SELECT m.id,
      extract(epoch FROM o.created_at)::float8 * 1000 AS at
    FROM sekering.notification_outbox m JOIN sekering.payment_orders o ON o.order_id = 'o' || m.id
    WHERE m.id = 100`);
  await store.query(`UPDATE sekering.notification_outbox
    SET created_at = created_at - interval '1 h' WHERE id < ${id}`);
  await store.query(`UPDATE sekering.payment_orders SET created_at = created_at - interval '1 h'
    WHERE substr(order_id, 2)::int < ${id}`);
  const until = Math.floor(at) - 60_000;
  for (const name of ['messages', 'orders']) {
    const { found, read } = await readBy(() => LISTS[name]({ until }));
    expect([name, found]).toEqual([name, 99]);
    expect(read).toBeLessThan(READ_MAX * 2);
    expect((await LISTS[name]({ since: until, until })).length).toBe(0);
  }
  expect((await LISTS.orders({ since: until })).map(idOf)).not.toContain('o99');
});

describe('large messages', () => {
  const PART = 262_144;
  const COUNT = 60;
  const PAGE_MAX = 16 * 1024 * 1024 + 4 * PART;
  let ids;

  beforeAll(async () => {
    ({ rows: ids } = await store.query(`INSERT INTO sekering.notification_outbox
        (channel, recipient, status, dead_kind, dead_reason, died_at, body, html, body_data)
      SELECT 'LARGE', 'r', 'DLQ', 'A', 'why', now(), t, t, to_jsonb(t)
      FROM generate_series(1, ${COUNT}), repeat('x', ${PART - 2}) AS t RETURNING id`));
    ids = ids.map(({ id }) => id);
  });
  beforeEach(() => { answers = []; });

  test.each(['outbox', 'deadLetters'])('%s.list: pages are bounded by bytes, and miss nothing',
    async part => {
      const found = [];
      let before;
      do {
        const page = await store[part].list({ channel: 'LARGE', limit: 1000, before });
        found.push(...page.map(({ id }) => id));
        before = page.next;
      } while (before !== undefined);
      expect(found).toEqual(ids.toReversed());
      expect(answers.length).toBeGreaterThan(1);
      expect(Math.max(...answers)).toBeLessThan(PAGE_MAX);
    });

  test.each(['outbox', 'deadLetters'])('%s.list: without content they are small', async part => {
    const page = await store[part].list({ channel: 'LARGE', content: false });
    expect(page.map(({ id }) => id)).toEqual(ids.toReversed());
    expect(Math.max(...answers)).toBeLessThan(PART);
    const { body, html, template, data, errorHistory, ...rest } = await store[part].get(ids.at(-1));
    expect(page[0]).toEqual({ ...rest, errors: 0 });
  });

  test('are recovered a few at a time', async () => {
    const seen = [];
    const counts = await store.deadLetters.recover({
      A: ({ id, body }) => {
        seen.push(id);
        expect(body).toHaveLength(PART - 2);
        return 'keep';
      },
    });
    expect(seen).toEqual(ids);
    expect(counts).toMatchObject({ kept: COUNT + ROWS / 1000, failed: 0 });
    expect(Math.max(...answers)).toBeLessThan(PAGE_MAX);
  });

  test('the largest one is a page, whatever else is there', async () => {
    const [newest] = await store.outbox.list({ channel: 'LARGE', limit: 1 });
    expect(newest.id).toBe(ids.at(-1));
  });
});

describe('where most messages wait', () => {
  beforeAll(async () => {
    await store.query(
      "UPDATE sekering.notification_outbox SET status = 'PENDING' WHERE status = 'SENT'");
    await store.query('ANALYZE sekering.notification_outbox');
  });

  test.each(['PENDING', 'RETRYING'])('a list of those that are %s looks at these only',
    async status => {
      const { found, read } = await readBy(() => store.outbox.list({ status, limit: 20 }));
      expect(found).toBe(20);
      expect(read).toBeLessThan(READ_MAX);
    });

  test('what is sought among them is not sought among all', async () => {
    const { found, read } = await readBy(
      () => store.outbox.list({ status: 'PENDING', search: 'nobody' }));
    expect(found).toBe(0);
    expect(read).toBeLessThanOrEqual(LOOKED_MAX);
  });
});
