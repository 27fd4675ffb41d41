'use strict';

// A BreakerGroup with many keys, which are called in turn, so that each call comes to a breaker
// that was not used for as long as possible.

const { compare, loopOf } = require('../measure');
const { Opossum } = require('../subjects');

const FEW = 1000;
const MANY = 100_000;

/** `fire(i)` of a group with so many keys, and what ends it. */
function ours (count) {
  const { BreakerGroup } = require('../../../lib');
  const keys = Array.from({ length: count }, (_, i) => `tenant-${i}`);
  const group = new BreakerGroup(async x => x, { max: count, timeout: false });
  return { fire: i => group.fire(keys[i % count], i), end: () => group.shutdown() };
}

/** As users of opossum do it. */
function opossum (count) {
  const keys = Array.from({ length: count }, (_, i) => `tenant-${i}`);
  const action = async x => x;
  const breakers = new Map(keys.map(key => [key, new Opossum(action, { timeout: false })]));
  return {
    fire: i => breakers.get(keys[i % count]).fire(i),
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
