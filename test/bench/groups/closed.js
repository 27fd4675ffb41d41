'use strict';

const { compare, loopOf } = require('../measure');
const { CircuitBreaker, Opossum, cockatielPolicy } = require('../subjects');

async function run (options) {
  const bareAction = async x => x;
  const bare = loopOf(bareAction);
  const ours = new CircuitBreaker(async x => x, { timeout: false });
  const oursLoop = loopOf(i => ours.fire(i));
  const results = { 'closed.bare': await compare(oursLoop, bare, options) };

  const policy = cockatielPolicy();
  const action = async x => x;
  results['closed.cockatiel'] =
    await compare(loopOf(i => policy.execute(() => action(i))), oursLoop, options);

  // Last, for the latencies that it keeps fill the heap.
  const opossum = new Opossum(async x => x, { timeout: false });
  results['closed.opossum'] = await compare(loopOf(i => opossum.fire(i)), oursLoop, options);
  opossum.shutdown();
  ours.shutdown();
  return results;
}

module.exports = { processes: 3, run };
