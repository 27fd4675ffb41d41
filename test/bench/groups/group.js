'use strict';

// A BreakerGroup with many keys. They are called in turn, so that each call comes to a breaker that
// was not used for as long as possible, and in another order than they were made in, as neighbours
// in memory would be fetched together.

const { compare, loopOf } = require('../measure');
const { Opossum } = require('../subjects');

const FEW = 1000;
const MANY = 100_000;

const keysOf = count => Array.from({ length: count }, (_, i) => `tenant-${i}`);
// A number that has no divisor in common with FEW and MANY, and takes steps over the whole of both.
const STEP = 61_803;

/** @returns `fire(n)`, which calls the next key, and `end()` */
function ours (count) {
  const { BreakerGroup } = require('../../../lib');
  const keys = keysOf(count);
  const group = new BreakerGroup(async x => x, { max: count, timeout: false });
  for (const key of keys) group.get(key);
  return { fire: n => group.fire(keys[n * STEP % count], n), end: () => group.shutdown() };
}

/** As users of opossum do it. */
function opossum (count) {
  const keys = keysOf(count);
  const action = async x => x;
  const breakers = new Map(keys.map(key => [key, new Opossum(action, { timeout: false })]));
  return {
    fire: n => breakers.get(keys[n * STEP % count]).fire(n),
    end: () => { for (const breaker of breakers.values()) breaker.shutdown(); }
  };
}

/** A loop that goes on with the next key where the slice before it ended, once all are there. */
async function loopOver ({ fire }, count) {
  let next = 0;
  const loop = loopOf(() => fire(next++));
  await loop(count);
  return loop;
}

async function run (options) {
  const few = ours(FEW);
  const fewLoop = await loopOver(few, FEW);
  const theirs = opossum(FEW);
  const results = { 'group.opossum': await compare(await loopOver(theirs, FEW), fewLoop, options) };
  theirs.end();
  const many = ours(MANY);
  // A slice has all keys, so that none is still in the cache from the one before.
  results['group.many'] =
    await compare(await loopOver(many, MANY), fewLoop, { ...options, sliceMs: 100 });
  few.end();
  many.end();
  return results;
}

module.exports = { processes: 3, run };
