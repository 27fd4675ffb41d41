'use strict';

// What is measured of real shards: what an order costs, whether it stays within its shard, and what
// becomes of all orders while one shard is away.

const { until } = require('../../support/gateway-helpers');
const { countOf, prefix, quantile, sumsOf, usedBy } = require('../gateway/runs');
const { summary } = require('../measure');
const { shardOf } = require('./routes');

const AT_ONCE = 16;
// How long a shard may take until it takes orders again, and how often it is asked.
const BACK_MS = 300_000;
const ASK_MS = 250;

const isTaken = ([, status]) => status === 201 || status === 202;

// ---- What an order costs ------------------------------------------------------------------------

/** Of each order. */
async function costOf (shards, count, { concurrency, orders }) {
  const { used, done: { answers, times, ms } } = await usedBy(() => shards.used(count),
    () => shards.load.ask('closed', {
      urls: shards.urls(count), prefix: prefix(), concurrency, count: orders,
    }));
  const faults = answers.filter(answer => !isTaken(answer));
  if (faults.length > 0) throw new Error(`A shard answered ${faults[0].slice(1)}`);
  return { ...used, rate: orders * 1000 / ms, times };
}

/** So many orders, of all shards. */
async function warmUp (shards, orders) {
  await shards.load.ask('closed',
    { urls: shards.urls(), prefix: prefix(), concurrency: AT_ONCE, count: orders });
}

const KEYS = ['statements', 'wal', 'gateway', 'database', 'rate'];

/**
 * What an order costs on one shard and on several, which take turns.
 * @param {object} options `concurrency`: orders at a time, of all shards together or of each
 * @returns {Promise<object[]>} for each number of shards: the medians, and those of the ratios to
 *   one shard in the same round
 */
async function costs (shards, { counts, rounds, orders, concurrency }) {
  const found = counts.map(() => []);
  // The first round opens connections.
  for (let round = 0; round <= rounds; round++) {
    for (const [i, count] of counts.entries()) {
      const cost = await costOf(shards, count,
        { concurrency: concurrency(count), orders: orders(count) });
      if (round > 0) found[i].push(cost);
    }
  }
  return counts.map((count, i) => ({
    count,
    ...Object.fromEntries(KEYS.map(key => [key, summary(found[i].map(cost => cost[key])).value])),
    ratios: Object.fromEntries(KEYS.map(key => [key,
      summary(found[i].map((cost, round) => cost[key] / found[0][round][key]))])),
    times: found[i].flatMap(({ times }) => times),
  }));
}

// ---- One order, one shard -----------------------------------------------------------------------

/**
 * Orders with keys, while each server writes down what it is asked.
 * @returns {Promise<{ orders: number, named: number, strangers: number, elsewhere: number }>} how
 *   often a statement named one of the orders; how often one of another shard; and rows of orders
 *   in a database that is not theirs
 */
async function strangers (shards, orders) {
  const name = prefix();
  const ids = new RegExp(`${name}-\\d+`, 'g');
  const logs = await shards.logged(() => shards.load.ask('closed', {
    urls: shards.urls(), prefix: name, keyed: true, concurrency: AT_ONCE, count: orders,
  }));
  const named = logs.map(log => log.match(ids) ?? []);
  return {
    orders, named: named.flat().length, strangers: countStrangers(named, shards.count),
    elsewhere: await countElsewhere(shards, id => id.startsWith(`${name}-`)),
  };
}

const countStrangers = (idsByShard, count) => idsByShard.flatMap((ids, shard) =>
  ids.filter(id => shardOf(id, count) !== shard)).length;

/** Rows of these orders that are in the database of another shard. */
async function countElsewhere (shards, isMeant) {
  return countStrangers((await shards.ordersByShard()).map(orders =>
    orders.map(([id]) => id).filter(isMeant)), shards.count);
}

// ---- One shard away -----------------------------------------------------------------------------

/** How a shard goes away, and comes back. */
const WAYS = {
  stopped: { leave: (shards, i) => shards.stop(i), return: (shards, i) => shards.start(i) },
  frozen: { leave: (shards, i) => shards.freeze(i), return: (shards, i) => shards.thaw(i) },
};

/** Asks for what was not taken in once more, as a shop does, until all is. */
async function repeated (shards, ids) {
  const taken = [];
  let left = ids;
  await until(async () => {
    const { answers } = await shards.load.ask('again',
      { urls: shards.urls(), ids: left, concurrency: AT_ONCE });
    taken.push(...answers.filter(isTaken));
    left = answers.filter(answer => !isTaken(answer)).map(([id]) => id);
    return left.length === 0;
  }, BACK_MS, ASK_MS);
  return taken;
}

/** Answers with the page of an order that is not the one that Midtrans has of it. */
async function countWrong (shards, answers) {
  const pages = new Map(await shards.fake.ask('pages'));
  return answers.filter(([id, status, , token]) => status === 201 && pages.get(id) !== token)
    .length;
}

/** What was answered, of the orders of one shard or of all others. */
function answersOf ({ answers, times }, which) {
  const places = [...answers.keys()].filter(i => which(answers[i][0]));
  const some = places.map(i => times[i]);
  return {
    orders: places.length, taken: places.filter(i => isTaken(answers[i])).length,
    p50: quantile(some, 0.5), p99: quantile(some, 0.99),
    statuses: countOf(places.map(i => answers[i])),
  };
}

/**
 * Orders at a fixed rate while a shard is away, and what has become of them when it is back.
 * @param {{ way: keyof WAYS, shard: number, load: (name: string) => Promise<object> }} options
 *   `load` makes orders whose ids begin with this
 */
async function absence (shards, { way, shard, load }) {
  await shards.fake.ask('forget');
  const before = await load(prefix());
  await WAYS[way].leave(shards, shard);
  const during = await load(prefix());
  await WAYS[way].return(shards, shard);
  const answers = [...before.answers, ...during.answers];
  const refused = answers.filter(answer => !isTaken(answer)).map(([id]) => id);
  const taken = [...answers.filter(isTaken), ...await repeated(shards, refused)];
  const ids = new Set(answers.map(([id]) => id));
  const isIts = id => shardOf(id, shards.count) === shard;
  const sums = await sumsOf(shards, undefined, taken.map(([id]) => id));
  return {
    way, shards: shards.count, offered: during.answers.length,
    its: answersOf(during, isIts), others: answersOf(during, id => !isIts(id)),
    othersBefore: answersOf(before, id => !isIts(id)),
    missing: answers.length - taken.length, wrong: await countWrong(shards, taken),
    elsewhere: await countElsewhere(shards, id => ids.has(id)), sums,
  };
}

module.exports = { absence, costs, strangers, warmUp };
