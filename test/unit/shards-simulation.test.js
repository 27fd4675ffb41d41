'use strict';

// The simulation of the bench of shards, against what queueing theory says. Its seeds make each run
// the same, so nothing here depends on chance.

const {
  byModulo, byOrder, byRendezvous, byTenant, exponential, sampled, simulate,
} = require('../bench/shards/simulation');

const COUNT = 200_000;
const MS = 2;
const BATCHES = 50;

const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean and its standard error. Waits depend on those before, but hardly do means of long runs. */
function estimate (values) {
  const size = Math.floor(values.length / BATCHES);
  const means = Array.from({ length: BATCHES }, (_, i) =>
    mean(values.subarray(i * size, (i + 1) * size)));
  const middle = mean(means);
  const variance = mean(means.map(value => (value - middle) ** 2)) * BATCHES / (BATCHES - 1);
  return { mean: middle, error: Math.sqrt(variance / BATCHES) };
}

const run = options => simulate({
  shards: 1, count: COUNT, route: () => 0, service: () => MS, seed: 1, ...options,
});

/** Orders a second that keep each shard busy for that share of its time. */
const rateAt = (load, shards = 1, ms = MS) => load * shards * 1000 / ms;

/** The mean wait by Pollaczek and Khinchine; the times have this mean and mean square. */
const waitOf = (load, meanMs, meanSquare) =>
  load / meanMs * meanSquare / (2 * (1 - load));

describe.each([0.3, 0.6, 0.8])('the mean wait at a load of %d is that of theory', load => {
  const SAMPLES = [1, 1, 1, 5];
  test.each([
    ['M/D/1', () => MS, MS ** 2],
    ['M/M/1', dice => exponential(dice, MS), 2 * MS ** 2],
    ['M/G/1, measured times', sampled(SAMPLES), mean(SAMPLES.map(ms => ms ** 2))],
  ])('%s', (name, service, meanSquare) => {
    const { waits, load: found } = run({ perSecond: rateAt(load), service });
    const { mean: wait, error } = estimate(waits);
    expect(error).toBeLessThan(0.1 * wait);
    expect(Math.abs(wait - waitOf(load, MS, meanSquare))).toBeLessThan(3 * error);
    expect(found).toBeCloseTo(load, 1);
  });
});

test('of M/M/1 the share that does not wait at all, and the quantiles', () => {
  const load = 0.6;
  const { waits, p50, p99 } =
    run({ perSecond: rateAt(load), service: dice => exponential(dice, MS) });
  expect(waits.filter(ms => ms === 0).length / waits.length).toBeCloseTo(1 - load, 1);
  // P(wait > t) = load * exp(-(1 - load) t / MS)
  const quantile = q => Math.log(load / (1 - q)) * MS / (1 - load);
  expect(Math.abs(p50 / quantile(0.5) - 1)).toBeLessThan(0.1);
  expect(Math.abs(p99 / quantile(0.99) - 1)).toBeLessThan(0.1);
});

test('shards that share orders evenly wait as one does with its share', () => {
  const { waits, load, share } =
    run({ shards: 8, perSecond: rateAt(0.6, 8), route: byOrder(8) });
  const { mean: wait, error } = estimate(waits);
  expect(Math.abs(wait - waitOf(0.6, MS, MS ** 2))).toBeLessThan(4 * error);
  expect(load).toBeGreaterThan(0.6);
  expect(load).toBeLessThan(0.63);
  expect(share).toBeCloseTo(1 / 8, 2);
});

test('the busiest shard has at least the largest tenant', () => {
  const tenants = { count: 1000, exponent: 1, naming: 'tenant' };
  const largest = 1 / Array.from({ length: 1000 }, (_, i) => 1 / (i + 1)).reduce((a, b) => a + b);
  const { share } = run({ shards: 64, perSecond: rateAt(0.6, 64), route: byTenant(64, tenants) });
  expect(share).toBeGreaterThan(largest - 0.005);
  expect(share).toBeLessThan(largest + 0.05);
  const even = { ...tenants, exponent: 0 };
  expect(run({ shards: 4, perSecond: rateAt(0.6, 4), route: byTenant(4, even) }).share)
    .toBeLessThan(0.3);
});

test('the same seed gives the same waits, another one others', () => {
  const options = { perSecond: rateAt(0.6), count: 1000 };
  const waits = seed => [...run({ ...options, seed }).waits];
  expect(waits(7)).toEqual(waits(7));
  expect(waits(7)).not.toEqual(waits(8));
});

test.each([1, 4, 16])('one shard more than %d: rendezvous hashing moves its share, modulo most',
  shards => {
    expect(Math.abs(byRendezvous(shards, 5000) - 1 / (shards + 1))).toBeLessThan(0.02);
    expect(Math.abs(byModulo(shards, 5000) - shards / (shards + 1))).toBeLessThan(0.02);
  });
