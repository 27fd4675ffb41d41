'use strict';

// Random calls of an upstream that cuts, drops, delays and lies: nothing is charged or paid twice,
// nothing is lost, and what a call reports is true. SEKERING_CHAOS_SECONDS runs the long form.

const { IrisClient } = require('../../lib/clients/midtrans');
const { charge, closeAll, keep, settle, start } = require('../support/midtrans-helpers');

afterEach(closeAll);

const IS_LONG = Number(process.env.SEKERING_CHAOS_SECONDS ?? 0) > 0;
const CALLS = IS_LONG ? 5000 : 300;
const SEED = Number(process.env.SEKERING_SEED ?? 20260728);

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function randomOf (seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

const LOOKS = ['status', 'getSubscription', 'getTransactionHistory', 'getPayoutDetails'];
const KINDS = ['reset', 'drop', 'late-error', 'error', 'html', 'slow'];

/** What goes wrong with one call: nothing, the call itself, or also its look-ups. */
function faultsOf (random, operation) {
  const pick = list => list[Math.floor(random() * list.length)];
  const faults = [];
  if (random() < 0.7) {
    const times = 1 + Math.floor(random() * 3);
    faults.push({ kind: pick(KINDS), on: operation, times, delayMs: 5 });
  }
  if (random() < 0.3) {
    faults.push({ kind: pick(['reset', 'error', 'html']), on: pick(LOOKS), times: 2 });
  }
  // A lie: Midtrans says that something does not exist although it has made it.
  if (random() < 0.2) faults.push({ kind: 'business', status: 404, on: 'status', times: 1 });
  return faults;
}

/** Each kind of call: what it asks for, and how often it was carried out. */
function storyOf (kind, i, { fake, client, iris }) {
  const id = `o-${i}`;
  switch (kind) {
    case 'charge': return {
      operation: 'charge', call: () => client.charge(charge(id)),
      done: () => fake.transactions.get(id)?.charges ?? 0,
    };
    case 'refund': return {
      operation: 'refund',
      async prepare () {
        await client.charge(charge(id));
        fake.settle(id);
      },
      call: () => client.refund(id, { amount: 1000 }),
      done: () => fake.transactions.get(id).refunds.length,
    };
    case 'payout': return {
      operation: 'createPayouts',
      call: () => iris.createPayouts({ payouts: [{
        beneficiary_name: 'a', beneficiary_account: String(i), beneficiary_bank: 'bca', amount: 10
      }] }),
      done: () => [...fake.payouts.values()]
        .filter(({ beneficiary_account: account }) => account === String(i)).length,
    };
    default: return {
      operation: 'createSubscription',
      call: () => client.createSubscription({ amount: 5, name: id }),
      done: () => [...fake.subscriptions.values()].filter(({ name }) => name === id).length,
    };
  }
}

const FAKES = [
  ['as Midtrans is', {}],
  ['without keys', { idempotency: false, listQueued: true }],
];

test.each(FAKES)('an upstream %s', async (_, options) => {
  const random = randomOf(SEED);
  const { fake, client } = await start({ fake: options, breaker: false });
  const iris = keep(new IrisClient({
    apiKey: 'IRIS-creator-fake', baseUrls: { iris: fake.url }, breaker: false,
    retry: { retries: 3, minTimeout: 1, randomize: false },
  }));
  const wrong = [];
  const outcomes = { done: 0, failed: 0, unknown: 0 };
  for (let i = 0; i < CALLS; i++) {
    const kind = ['charge', 'refund', 'payout', 'subscription'][Math.floor(random() * 4)];
    const story = storyOf(kind, i, { fake, client, iris });
    fake.set(null);
    await story.prepare?.();
    fake.set(faultsOf(random, story.operation));
    const { error } = await settle(story.call());
    const times = story.done();
    const said = error === undefined ? 'done' : error.ambiguous ? 'unknown' : 'failed';
    outcomes[said] += 1;
    const isTrue = said === 'unknown' ? times <= 1 : times === (said === 'done' ? 1 : 0);
    if (!isTrue) wrong.push({ i, kind, said, times, error });
  }
  expect(wrong).toEqual([]);
  // Most calls succeed; the outcome of some stays unknown.
  expect(outcomes.done).toBeGreaterThan(CALLS / 2);
  expect(outcomes.unknown).toBeGreaterThan(0);
}, IS_LONG ? 600_000 : 60_000);
