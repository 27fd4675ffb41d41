'use strict';

// Jobs and their leases, as several processes see them.

const { Schedule } = require('../../lib/gateway/schedule');
const { openStore } = require('../../lib/store');
const { until } = require('../support/gateway-helpers');

let store;
let schedules;
let release;
const held = () => new Promise(resolve => { release = resolve; });

beforeAll(async () => { store = await openStore({ store: 'memory' }); });
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

test('a minute is what a lease is', async () => {
  scheduleOf(held).run('report');
  await until(row);
  const { rows: [{ seconds }] } = await store.query(`SELECT
    extract(epoch FROM busy_until - started_at)::float8 AS seconds FROM sekering.schedule_jobs`);
  expect(seconds).toBe(60);
});
