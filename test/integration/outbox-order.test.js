'use strict';

// Messages of one channel and key: never two of them are sent at once, whoever claims, commits or
// retries what, and when.

const { Client } = require('pg');

const { NonRetryableError } = require('../../lib/primitives/classify');
const { leaseStatements } = require('../../lib/store/outbox-leases');
const { OutboxTable } = require('../../lib/store/outbox-table');
const { events, gate, outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');

const job = (recipient, orderKey) => ({ channel: 'JOB', recipient, orderKey });

/** Notes what is sent, in which order, and which messages of a key were sent side by side. */
function recorder (work) {
  const it = { begun: [], overlaps: [], inFlight: new Map() };
  it.send = async (message, context) => {
    const { recipient, orderKey } = message;
    const others = it.inFlight.get(orderKey) ?? new Set();
    it.inFlight.set(orderKey, others);
    for (const other of others) it.overlaps.push([other, recipient]);
    others.add(recipient);
    it.begun.push(recipient);
    try {
      await work(message, context);
    } finally {
      others.delete(recipient);
    }
  };
  return it;
}

describeEngines('messages of one key', ({ name, place }) => {
  const it = outboxOf(place);
  const enqueue = (...args) => it.store.outbox.enqueue(...args);
  const sql = (...args) => it.store.query(...args);

  /** When this has been sent, a claim has looked at all keys behind it. */
  async function lookAtAll () {
    const { id } = await enqueue(job('marker', 'a'));
    await until(async () => (await it.store.outbox.get(id)).status === 'SENT');
  }

  test('wait for a later one that is sent when they come back from the dead letters', async () => {
    const hold = gate();
    let fails = true;
    const record = recorder(({ recipient }) => {
      if (recipient === 'B') return hold.promise;
      if (recipient === 'A' && fails) throw new NonRetryableError('never');
    });
    const first = await it.worker({ JOB: record.send });
    const died = events(first, 'dead');
    const { id } = await enqueue(job('A', 'k'));
    await died;
    await enqueue(job('B', 'k'));
    await until(() => record.begun.includes('B'));
    fails = false;
    await enqueue(job('C', 'k'));
    expect(await it.store.deadLetters.retry(id)).toBe(true);
    await it.worker({ JOB: record.send });
    await lookAtAll();
    expect((await it.store.outbox.get(id)).status).toBe('PENDING');
    hold.resolve();
    await until(async () => (await it.statuses()).every(status => status === 'SENT'));
    expect(record.overlaps).toEqual([]);
    // Then by their ids: A is older than C.
    expect(record.begun.filter(recipient => recipient !== 'marker')).toEqual(['A', 'B', 'A', 'C']);
  });

  test('wait for a later one that was committed before them', async () => {
    const hold = gate();
    const record = recorder(({ recipient }) => (recipient === 'D' ? hold.promise : undefined));
    await it.worker({ JOB: record.send });
    let commit;
    if (name === 'postgresql') {
      const open = gate();
      const taken = gate();
      const committed = it.store.transaction(async client => {
        await enqueue(job('C', 'k'), { client });
        taken.resolve();
        await open.promise;
      });
      await taken.promise;
      commit = async () => {
        open.resolve();
        await committed;
      };
    } else {
      // It has one session, so no transaction can be open beside another: as though there were one.
      const { rows: [{ id }] } = await sql(`SELECT nextval(pg_get_serial_sequence(
        'sekering.notification_outbox', 'id')) AS id`);
      commit = () => sql(`INSERT INTO sekering.notification_outbox
        (id, channel, recipient, order_key) VALUES ($1, 'JOB', 'C', 'k')`, [id]);
    }
    await enqueue(job('D', 'k'));
    await until(() => record.begun.includes('D'));
    await commit();
    await it.worker({ JOB: record.send });
    await lookAtAll();
    expect(record.begun).not.toContain('C');
    hold.resolve();
    await until(async () => (await it.statuses()).every(status => status === 'SENT'));
    expect(record.overlaps).toEqual([]);
    expect(record.begun.filter(recipient => recipient !== 'marker')).toEqual(['D', 'C']);
  });

  test('wait for one that is sent also when their worker has died of them', async () => {
    const hold = gate();
    const record = recorder(({ recipient }) => (recipient === 'B' ? hold.promise : undefined));
    await enqueue([job('A', 'k'), job('A2', 'l'), job('B', 'k'), job('B2', 'l')]);
    await sql("UPDATE sekering.notification_outbox SET status = 'DLQ' WHERE recipient LIKE 'A%'");
    const worker = await it.worker({ JOB: record.send });
    await until(() => record.begun.includes('B'));
    await until(async () => (await it.statuses())[3] === 'SENT');
    await sql(`UPDATE sekering.notification_outbox SET status = 'RETRYING', crash_count = 1
      WHERE recipient LIKE 'A%'`);
    await it.worker({ JOB: record.send });
    await until(() => record.begun.includes('A2'));
    expect(record.begun).not.toContain('A');
    hold.resolve();
    await until(async () => (await it.statuses()).every(status => status === 'SENT'));
    expect(worker.stats().fenced).toBe(0);
    expect(record.overlaps).toEqual([]);
  });

  if (name === 'postgresql') {
    test('wait also for one that another worker is just claiming', async () => {
      const other = new Client({ connectionString: it.place.url });
      await other.connect();
      try {
        const { rows: [{ id }] } = await sql(`SELECT nextval(pg_get_serial_sequence(
          'sekering.notification_outbox', 'id')) AS id`);
        await enqueue(job('D', 'k'));
        await other.query('BEGIN');
        const { claim } = leaseStatements(new OutboxTable('sekering'));
        const { text, values } = claim('JOB', 'other', 1, 60_000, 5, 1, 3, '', 2 ** 24);
        expect((await other.query(text, values)).rows[0].recipient).toBe('D');
        // Of what the other has claimed, and not committed, nobody sees anything.
        await sql(`INSERT INTO sekering.notification_outbox
          (id, channel, recipient, order_key) VALUES ($1, 'JOB', 'C', 'k')`, [id]);
        await enqueue(Array.from({ length: 4 }, (_, i) => job(`m${i}`, `m${i}`)));
        const record = recorder(() => {});
        const worker = await it.worker({ JOB: record.send });
        const isWaiting = `SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'`;
        await until(async () => (await other.query(isWaiting)).rowCount > 0);
        const sent = events(worker, 'sent', 4);
        await other.query('COMMIT');
        expect((await sent).map(([{ recipient }]) => recipient).toSorted())
          .toEqual(['m0', 'm1', 'm2', 'm3']);
        await lookAtAll();
        expect(record.begun).not.toContain('C');
        expect(it.warnings).toEqual([]);
        await sql("UPDATE sekering.notification_outbox SET status = 'SENT' WHERE recipient = 'D'");
        await until(() => record.begun.includes('C'));
        await until(() => worker.stats().sent === 6);
      } finally {
        await other.end();
      }
    });
  }
});
