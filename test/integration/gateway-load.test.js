'use strict';

// The load bench in small: two workers, a PostgreSQL and a Midtrans that goes away, all of them
// processes. Times are the bench's to judge; here nothing may be lost, and nothing made twice.

const { openFleet } = require('../bench/gateway/fleet');
const { countOf, prefix, sumsOf } = require('../bench/gateway/runs');

let fleet;
afterAll(() => fleet?.close());

test('orders of two workers: none is lost in an outage, and each is made once', async () => {
  fleet = await openFleet();
  const gateway = await fleet.service('gateway', {
    breaker: { resetTimeout: 300, consecutiveFailures: 5 }, fallback: { maxWait: 1000 },
  });
  const post = async count => {
    const { answers } = await fleet.load.ask('closed', {
      url: gateway.url, prefix: prefix(), concurrency: 16, count,
    });
    return answers;
  };
  const healthy = await post(60);
  // On a machine that is slow enough, an order may have to wait.
  const { 201: made = 0, 202: queued = 0 } = countOf(healthy);
  expect(made).toBeGreaterThan(0);
  expect(made + queued).toBe(healthy.length);

  await fleet.fake.ask('set', 'hang');
  const hanging = await post(100);
  // Customers wait for maxWait at first; then the breaker knows, and nobody waits any longer.
  expect(countOf(hanging)).toEqual({ 202: hanging.length });
  expect(hanging.map(([, , error]) => error)).toContain('EOPENBREAKER');
  await fleet.fake.ask('set', 'error');
  const failing = await post(50);
  expect(countOf(failing)).toEqual({ 202: failing.length });
  await fleet.fake.ask('set', null);

  const accepted = [...healthy, ...hanging, ...failing].map(([id]) => id);
  expect(await sumsOf(fleet, gateway, accepted)).toMatchObject({
    accepted: accepted.length, open: 0, lost: 0, unmade: 0, others: 0, twice: 0,
  });
});
