'use strict';

// Days of a busy service, in virtual time, in a process of its own. Prints what is in use at the
// end of each day, garbage aside, in bytes. Needs --expose-gc and the number of days.

const clock = require('../../lib/base/clock');
const { BreakerGroup, policy, retry } = require('../..');
const { useVirtualClock } = require('../../lib/testing');
const { Dice } = require('./random');

const MINUTE_MS = 60_000;
const MINUTES = 24 * 60;
const DAYS = Number(process.argv[2]);
const CALLS = 8;

const time = useVirtualClock();
const dice = new Dice(1);
let outage = 0;

/** Answers after a while; now and then it is down for some minutes. */
const upstream = value => new Promise((resolve, reject) => {
  const isDown = outage > 0 && dice.chance(0.9);
  clock.setTimer(() => (isDown ? reject(new Error('down')) : resolve(value)), dice.below(400));
});

const guarded = policy({
  fallback: () => null, cache: { ttl: 5000, staleTtl: 60_000, max: 100 },
  deadline: 20_000, retry: { retries: 2, minTimeout: 100 },
  hedge: { delay: 300, safeToRepeat: true },
  breaker: { timeout: 1000, resetTimeout: 30_000, volumeThreshold: 5 },
  rateLimit: { limit: 100, interval: 1000 }, bulkhead: { maxConcurrent: 20, maxQueue: 20 },
  adaptiveLimit: {}, timeout: 2000,
});
const customers = new BreakerGroup(upstream, { name: 'customers', max: 500, resetTimeout: 10_000 });

async function call () {
  // Customers come and go for ever.
  const key = `customer-${dice.below(10_000)}-${Math.floor(clock.now() / MINUTE_MS / MINUTES)}`;
  await Promise.allSettled([
    guarded.execute(() => upstream(key), { key }), customers.fire(key, key),
    retry(() => upstream(key), { retries: 1, minTimeout: 50 }),
  ]);
}

async function passMinute () {
  outage = outage > 0 ? outage - 1 : Number(dice.chance(0.01)) * dice.between(1, 20);
  const state = { ended: 0 };
  for (let i = 0; i < CALLS; i++) call().then(() => { state.ended += 1; });
  while (state.ended < CALLS) await time.advanceAsync(500);
  time.advance(MINUTE_MS);
}

function liveBytes () {
  global.gc();
  global.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function main () {
  const days = [];
  for (let day = 0; day < DAYS; day++) {
    for (let minute = 0; minute < MINUTES; minute++) await passMinute();
    days.push(liveBytes());
  }
  process.stdout.write(JSON.stringify(days));
  time.restore();
  process.exit();
}

main();
