'use strict';

// Jobs and their leases, as several processes see them.

const { Schedule } = require('../../lib/gateway/schedule');
const { openStore } = require('../../lib/store');
const { useVirtualClock } = require('../../lib/testing');
const { until } = require('../support/gateway-helpers');
const { ERRORS } = require('../support/hostile');
const { passTime } = require('../support/passing-time');

let store;
let schedules;
let release;
const held = () => new Promise(resolve => { release = resolve; });

beforeAll(async () => { store = await openStore({ memory: true }); });
beforeEach(async () => {
  schedules = [];
  await store.query('TRUNCATE sekering.schedule_jobs');
});
afterEach(async () => {
  release?.();
  for (const schedule of schedules) await schedule.stop();
});
afterAll(() => store?.close());

function scheduleOf (run, lease) {
  const done = [];
  const schedule = new Schedule({
    store, timezone: 'UTC', jobs: { report: { pattern: '0 0 1 1 *', run } },
    onDone: event => done.push(event), ...lease,
  });
  schedules.push(schedule);
  return Object.assign(schedule, { done });
}

const row = async () => (await store.query(
  'SELECT slot, busy_until AS until, now() < busy_until AS busy FROM sekering.schedule_jobs'
)).rows[0];

test('whoever runs a job keeps it, however long that takes, and gives it back', async () => {
  const one = scheduleOf(held, { renewMs: 10 });
  const two = scheduleOf(() => 'done');
  const running = one.run('report');
  const taken = await until(row);
  for (let renewed = taken, times = 0; times < 3; times++) {
    const { until: before } = renewed;
    renewed = await until(async () => {
      const now = await row();
      return now.until > before && now;
    });
    expect(renewed.slot).toEqual(taken.slot);
    expect(await two.run('report')).toBe(false);
  }
  release();
  expect(await running).toBe(true);
  expect((await row()).busy).toBe(false);
  expect(await two.run('report')).toBe(true);
  expect(two.done).toMatchObject([{ job: 'report', result: 'done' }]);
});

test('whoever died in a job keeps it for a minute at most; late signs of life take nothing back',
  async () => {
    // Nobody renews for the dead.
    const dead = scheduleOf(held, { leaseMs: 50, renewMs: 1e8 });
    const running = dead.run('report');
    await until(row);
    const heir = scheduleOf(() => {});
    await until(() => heir.run('report'));
    const { slot } = await row();
    release();
    await running;
    expect((await row()).slot).toEqual(slot);
    expect(heir.done).toHaveLength(1);
  });

test('a job that never ends does not keep its process from stopping', async () => {
  const clock = useVirtualClock();
  try {
    const schedule = scheduleOf(() => new Promise(() => {}), { renewMs: 1e8 });
    schedule.run('report');
    await until(row);
    const stopped = schedule.stop(10_000);
    await passTime(clock, stopped);
    expect(schedule.done).toMatchObject([{ job: 'report', error: { code: 'ETIMEDOUT' } }]);
    await schedule.stop();
    expect(schedule.done).toHaveLength(1);
  } finally {
    clock.restore();
  }
});

test('a minute is what a lease is', async () => {
  scheduleOf(held).run('report');
  await until(row);
  const { rows: [{ seconds }] } = await store.query(`SELECT
    extract(epoch FROM busy_until - started_at)::float8 AS seconds FROM sekering.schedule_jobs`);
  expect(seconds).toBe(60);
});

test.each([...ERRORS, ['undefined', () => undefined], ['a code that no text can be', () =>
  ({ code: '\0\ud800' })]])('a job that throws %s has failed', async (name, make) => {
  for (const run of [() => { throw make(); }, async () => { throw make(); }]) {
    const schedule = scheduleOf(run);
    await schedule.run('report');
    expect(schedule.done).toHaveLength(1);
    expect('error' in schedule.done[0] && schedule.done[0].error !== undefined).toBe(true);
    expect((await schedule.last())[0].error).toEqual(expect.any(String));
    expect((await row()).busy).toBe(false);
  }
});

test('a job that throws undefined is told with a code', async () => {
  const schedule = scheduleOf(() => Promise.reject());
  await schedule.run('report');
  expect(schedule.done).toMatchObject([{ job: 'report', error: { code: 'ERR_GATEWAY_JOB' } }]);
  expect(await schedule.last()).toMatchObject([{ error: 'ERR_GATEWAY_JOB' }]);
});

test('whoever was left behind in a job no longer keeps it', async () => {
  const clock = useVirtualClock();
  try {
    let renewals = 0;
    const counting = {
      schema: store.schema,
      query: (text, values) => {
        if (text.startsWith('UPDATE')) renewals++;
        return store.query(text, values);
      },
    };
    const schedule = scheduleOf(held, { store: counting, renewMs: 1000 });
    schedule.run('report');
    await until(row);
    await passTime(clock, schedule.stop(0));
    await clock.advance(5000);
    expect(renewals).toBe(0);
  } finally {
    clock.restore();
  }
});

describe('the database tells the time', () => {
  let clock;
  beforeEach(() => { clock = useVirtualClock(); });
  afterEach(() => clock.restore());

  /** A schedule by a clock that the test sets, and the slots that it takes. */
  async function watch (pattern, timezone, start) {
    const it = { isDown: false, looks: 0, slots: [] };
    const began = clock.now;
    const told = {
      schema: store.schema,
      query: async (text, values) => {
        if (text !== 'SELECT now() AS time') return store.query(text, values);
        it.looks++;
        if (it.isDown) throw new Error('down');
        return { rows: [{ time: new Date(Date.parse(start) + clock.now - began) }] };
      },
    };
    it.schedule = new Schedule({
      store: told, timezone, onDone: () => {},
      jobs: { report: { pattern, run: async () => {
        it.slots.push((await row()).slot.toISOString().slice(11, 16));
      } } },
    });
    schedules.push(it.schedule);
    it.schedule.start();
    await until(() => it.looks > 0);
    return it;
  }

  test('a job runs when it is due; after an outage once, for the last time that was missed',
    async () => {
      const it = await watch('*/5 * * * *', 'UTC', '2026-01-01T12:01:00Z');
      await clock.advanceAsync(239_999);
      expect(it.slots).toEqual([]);
      await clock.advanceAsync(1);
      await until(() => it.slots.length > 0);
      expect(it.slots).toEqual(['12:05']);
      await until(async () => !(await row()).busy);
      expect(it.schedule.next().report).toEqual(new Date('2026-01-01T12:10:00Z'));
      it.isDown = true;
      await clock.advanceAsync(720_000);
      expect(it.slots).toHaveLength(1);
      it.isDown = false;
      await clock.advanceAsync(5000);
      await until(() => it.slots.length > 1);
      expect(it.slots).toEqual(['12:05', '12:15']);
    });

  test('the hour that comes twice a year does not make it ask all the time', async () => {
    const it = await watch('*/5 * * * *', 'Europe/Berlin', '2026-10-25T01:02:30Z');
    await clock.advanceAsync(3_450_000);
    expect(it.looks).toBeLessThan(100);
    await until(() => it.slots.length > 0);
    expect(it.slots).toEqual(['02:00']);
  });

  test('a time far in the future, which a wrong clock has left behind, blocks no job', async () => {
    await store.query(`INSERT INTO sekering.schedule_jobs (job, slot, busy_until, started_at)
      VALUES ('report', '2099-01-01', now(), now())`);
    const it = await watch('*/5 * * * *', 'UTC', '2026-01-01T12:04:59Z');
    await clock.advanceAsync(1000);
    await until(() => it.slots.length > 0);
    expect(it.slots).toEqual(['12:05']);
  });
});
