'use strict';

const { compare, loopOf } = require('../measure');
const { CircuitBreaker, Opossum } = require('../subjects');

async function run (options) {
  // Bare is the promise that the caller would have had: an async function around the same work.
  const work = x => x;
  const bare = loopOf(async x => work(x));
  const ours = new CircuitBreaker(x => x, { timeout: false });
  const oursLoop = loopOf(i => ours.fire(i));
  const results = { 'sync.bare': await compare(oursLoop, bare, options) };

  const opossum = new Opossum(x => x, { timeout: false });
  results['sync.opossum'] = await compare(loopOf(i => opossum.fire(i)), oursLoop, options);
  opossum.shutdown();
  ours.shutdown();
  return results;
}

module.exports = { processes: 3, run };
