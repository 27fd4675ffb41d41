'use strict';

// What retention by deletes costs: messages come and are sent as fast as it goes, beside a history
// of which as many are deleted as come; and the same without deletes.

const { openStore } = require('../../../lib/store');
const { startPostgres } = require('../../support/postgres');
const { summary } = require('../measure');
const { ask, usageOf, walBytes } = require('../gateway/fleet');

const CHANNEL = 'JOB';
const TABLE = 'sekering.notification_outbox';
const AT_ONCE = 100;
const WAITING_MAX = 1000;
// A clean-up for each so many messages that were sent.
const CLEAN_EVERY = 5000;

/**
 * Vacuum comes once a second: a minute of a store with a sixtieth of this load. Each time is
 * written down.
 */
const SETTINGS = { autovacuum_naptime: '1s', log_autovacuum_min_duration: 0 };

const message = i => ({
  channel: CHANNEL, recipient: `customer-${i}@example.com`, subject: `Order ${i}`,
  body: 'Thank you',
});
const MESSAGES = Array.from({ length: AT_ONCE }, (_, i) => message(i));

/** A store with so many messages that were sent, one after the other, on a server of its own. */
class History {
  async open (size) {
    this.size = size;
    this.server = await startPostgres(SETTINGS);
    this.url = await this.server.createDatabase();
    this.store = await openStore({ url: this.url, channels: { [CHANNEL]: {} }, timeout: 600_000 });
    await this.store.query(`INSERT INTO ${TABLE} (channel, recipient, subject, body, status,
        attempt_count, created_at, sent_at)
      SELECT '${CHANNEL}', 'customer-' || i || '@example.com', 'Order ' || i, 'Thank you', 'SENT',
        1, at, at
      FROM (SELECT i, now() - (${size + 1} - i) * interval '1 ms' AS at
        FROM generate_series(1, ${size}) AS i) AS old`);
    await this.store.query('VACUUM ANALYZE');
    await this.store.query('CHECKPOINT');
    return this;
  }

  /** Deletes all but the last messages, as many as there were at first. @returns {number} */
  async clean (kept = this.size) {
    const { rows: [row] } = await this.store.query(`
      SELECT extract(epoch FROM clock_timestamp() - sent_at)::float8 * 1000 AS age FROM ${TABLE}
      WHERE id >= (SELECT max(id) FROM ${TABLE}) - $1::bigint AND status = 'SENT'
      ORDER BY id LIMIT 1`, [kept]);
    if (row === undefined) return 0;
    return (await this.store.cleanUp({ sent: Math.floor(row.age) })).sent;
  }

  /** CPU of the server in µs, WAL in bytes, and what vacuum has written down. */
  async used () {
    return {
      cpu: usageOf(this.server), wal: await walBytes(this.url), log: this.server.log().length,
    };
  }

  /** Bytes of the table and of its indexes, and its rows that are dead. */
  async sizes () {
    const [[table, indexes, dead]] = await ask(this.url, `SELECT pg_table_size('${TABLE}')::float8,
      pg_indexes_size('${TABLE}')::float8, n_dead_tup::float8
      FROM pg_stat_user_tables WHERE relid = '${TABLE}'::regclass`);
    return { table, indexes, dead };
  }

  async close () {
    await this.store?.close();
    await this.server?.close();
  }
}

async function withHistory (size, work) {
  const history = new History();
  try {
    return await work(await history.open(size));
  } finally {
    await history.close();
  }
}

/**
 * Takes so many messages in and sends them, both as fast as it goes.
 * @param {() => Promise<void>} [clean] called again and again while that lasts
 */
async function traffic ({ store: { outbox } }, count, clean, every = CLEAN_EVERY) {
  let sent = 0;
  let cleaning;
  let tell = () => {};
  const cleanUp = () => { cleaning = clean().finally(() => { cleaning = undefined; }); };
  const send = async () => {
    sent += 1;
    if (clean !== undefined && cleaning === undefined && sent % every === 0) cleanUp();
    tell();
  };
  const worker = outbox.createWorker({
    channels: { [CHANNEL]: { send, concurrency: 10 } }, concurrency: 10, unsettled: 500,
  });
  const until = async check => {
    while (!check()) await new Promise(resolve => { tell = resolve; });
  };
  const began = performance.now();
  await worker.start();
  for (let taken = 0; taken < count; taken += AT_ONCE) {
    await outbox.enqueue(MESSAGES);
    await until(() => taken + AT_ONCE - sent <= WAITING_MAX);
  }
  await until(() => sent >= count);
  await worker.stop();
  await cleaning;
  return performance.now() - began;
}

// ---- Vacuum -------------------------------------------------------------------------------------

const VACUUM = new RegExp('automatic vacuum of table "[^"]*notification_outbox"' +
  '[^]*?(\\d+) scanned[^]*?(\\d+) removed[^]*?WAL usage:[^]*?(\\d+) bytes' +
  '[^]*?user: ([\\d.]+) s, system: ([\\d.]+) s, elapsed: ([\\d.]+) s', 'g');

/** The sums of what vacuum has written down: pages, dead rows, bytes of WAL, seconds. */
function vacuumsOf (log) {
  const sums = { runs: 0, pages: 0, rows: 0, wal: 0, cpu: 0, seconds: 0 };
  for (const [, pages, rows, wal, user, system, seconds] of log.matchAll(VACUUM)) {
    sums.runs += 1;
    sums.pages += Number(pages);
    sums.rows += Number(rows);
    sums.wal += Number(wal);
    sums.cpu += Number(user) + Number(system);
    sums.seconds += Number(seconds);
  }
  return sums;
}

// ---- What is measured ---------------------------------------------------------------------------

const sumOf = (list, key) => list.reduce((sum, each) => sum + each[key], 0);

/** One slice: the rate, and what each message cost the server. */
async function slice (history, count, isCleaned, every) {
  const before = await history.used();
  let deleted = 0;
  const clean = isCleaned ? async () => { deleted += await history.clean(); } : undefined;
  const ms = await traffic(history, count, clean, every);
  const after = await history.used();
  return {
    count, deleted, rate: count * 1000 / ms, cpu: (after.cpu - before.cpu) / count,
    wal: (after.wal - before.wal) / count,
    vacuums: vacuumsOf(history.server.log().slice(before.log)),
  };
}

/**
 * With deletes and without, in turns, each on a server of its own.
 * @param {{ size: number, count: number, rounds: number, every?: number }} options messages of
 *   history and of a slice
 */
async function turns ({ size, count, rounds, every }) {
  return withHistory(size, cleaned => withHistory(size, async kept => {
    const found = { cleaned: [], kept: [] };
    // The first round warms up.
    for (let round = 0; round <= rounds; round++) {
      const slices = [['cleaned', cleaned], ['kept', kept]];
      for (const [name, history] of round % 2 === 0 ? slices : slices.reverse()) {
        const result = await slice(history, count, name === 'cleaned', every);
        if (round > 0) found[name].push(result);
      }
    }
    const side = list => ({
      ...Object.fromEntries(['rate', 'cpu', 'wal'].map(key =>
        [key, summary(list.map(each => each[key])).value])),
      vacuums: Object.fromEntries(Object.keys(list[0].vacuums).map(key =>
        [key, sumOf(list.map(({ vacuums }) => vacuums), key) / sumOf(list, 'count')])),
    });
    return {
      size, cleaned: side(found.cleaned), kept: side(found.kept),
      ratio: summary(found.cleaned.map(({ rate }, i) => rate / found.kept[i].rate)),
      deletedShare: sumOf(found.cleaned, 'deleted') / sumOf(found.cleaned, 'count'),
      alone: await alone(kept, count),
    };
  }));
}

/** What it takes to delete so many messages, and to vacuum after that, while nothing else is. */
async function alone (history, count) {
  await history.store.query('ALTER SYSTEM SET autovacuum = off');
  await history.server.reload();
  const measured = async work => {
    const [wal, began] = [await walBytes(history.url), performance.now()];
    await work();
    return { ms: performance.now() - began, wal: await walBytes(history.url) - wal };
  };
  const [[rows]] = await ask(history.url, `SELECT count(*)::int FROM ${TABLE}`);
  // What died before belongs to others.
  await history.store.query(`VACUUM ${TABLE}`);
  await history.store.query('CHECKPOINT');
  let deleted = 0;
  const deleting = await measured(async () => { deleted = await history.clean(rows - count); });
  const vacuuming = await measured(() =>
    history.store.query(`VACUUM (INDEX_CLEANUP ON) ${TABLE}`));
  const each = ({ ms, wal }) => ({ ms: ms * 1000 / deleted, wal: wal / deleted });
  return { deleted, deleting: each(deleting), vacuuming: each(vacuuming) };
}

/** The sizes after each retention period, while as much is deleted as comes. */
async function periods ({ size, count, every }) {
  return withHistory(size, async history => {
    const found = [{ period: 0, ...await history.sizes() }];
    for (let period = 1; period <= count; period++) {
      const { rate } = await slice(history, size, true, every);
      const [[rows]] = await ask(history.url, `SELECT count(*)::int FROM ${TABLE}`);
      found.push({ period, rate, rows, ...await history.sizes() });
      process.stderr.write(`period ${period}: ${JSON.stringify(found.at(-1))}\n`);
    }
    return { size, found };
  });
}

module.exports = { periods, turns, vacuumsOf };
