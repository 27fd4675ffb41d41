'use strict';

// More shards than this machine has room for, in virtual time. Orders come one by one, at random
// moments; each shard takes its own in turn, one at a time. The same seed gives the same figures.

const { Dice } = require('../../support/random');
const { rendezvousOf, shardOf } = require('./routes');

/** Of those that come first, this share only fills the shards. */
const WARM_SHARE = 0.1;

const at = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

/** A time with this mean, such as that between two orders which know nothing of each other. */
const exponential = (dice, mean) => -Math.log(1 - dice.next()) * mean;

/**
 * @param {object} options
 * @param {number} options.shards
 * @param {number} options.perSecond orders, of all shards together
 * @param {number} options.count how many orders come
 * @param {(n: number, dice: Dice) => number} options.route the shard of the n-th order
 * @param {(dice: Dice) => number} options.service ms for which an order keeps its shard busy
 * @param {number} options.seed
 * @returns {{ waits: Float64Array, p50: number, p99: number, load: number, share: number }} ms
 *   until an order's turn, in the sequence of orders, and two quantiles of it; of the busiest
 *   shard, the work that came for it in each second of its time, and its share of all orders
 */
function simulate ({ shards, perSecond, count, route, service, seed }) {
  const dice = new Dice(seed);
  const freeAt = new Float64Array(shards);
  const work = new Float64Array(shards);
  const orders = new Float64Array(shards);
  const waits = new Float64Array(count);
  let now = 0;
  for (let n = 0; n < count; n++) {
    now += exponential(dice, 1000 / perSecond);
    const shard = route(n, dice);
    const begins = Math.max(now, freeAt[shard]);
    const ms = service(dice);
    freeAt[shard] = begins + ms;
    work[shard] += ms;
    orders[shard] += 1;
    waits[n] = begins - now;
  }
  const kept = waits.subarray(Math.floor(count * WARM_SHARE));
  const sorted = kept.toSorted();
  return {
    waits: kept, p50: at(sorted, 0.5), p99: at(sorted, 0.99),
    load: Math.max(...work) / now, share: Math.max(...orders) / count,
  };
}

/** Which tenant an order is of; the i-th of them has a share in proportion to 1 / i^exponent. */
function tenants (count, exponent) {
  const ends = [];
  let sum = 0;
  for (let i = 1; i <= count; i++) ends.push(sum += i ** -exponent);
  return dice => {
    const sought = dice.next() * sum;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (ends[middle] > sought) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

const byOrder = shards => n => shardOf(`order-${n}`, shards);

/** @param {string} naming other names fall on other shards */
function byTenant (shards, { count, exponent, naming }) {
  const places = Array.from({ length: count }, (_, i) => shardOf(`${naming}-${i}`, shards));
  const tenantOf = tenants(count, exponent);
  return (n, dice) => places[tenantOf(dice)];
}

/** One of the measured times, each as likely as any other. */
const sampled = samples => dice => dice.pick(samples);

/** The share of ids that belong to another shard once there is one more. */
function movedShare (shardFor, shards, count) {
  let moved = 0;
  for (let n = 0; n < count; n++) {
    const id = `order-${n}`;
    if (shardFor(id, shards) !== shardFor(id, shards + 1)) moved += 1;
  }
  return moved / count;
}

const byRendezvous = (shards, count) => movedShare(rendezvousOf, shards, count);
const byModulo = (shards, count) => movedShare(shardOf, shards, count);

module.exports = { byModulo, byOrder, byRendezvous, byTenant, exponential, sampled, simulate };
