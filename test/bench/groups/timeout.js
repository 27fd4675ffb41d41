'use strict';

const { compare, loopOf } = require('../measure');
const { CircuitBreaker, Opossum, cockatielPolicy } = require('../subjects');

const TIMEOUT_MS = 10_000;

/** The least that a call with a time limit can do: a promise of its own, settled by either end. */
const floorOf = action => i => new Promise((resolve, reject) => {
  action(i).then(resolve, reject);
});

async function run (options) {
  const bareAction = async x => x;
  const bare = loopOf(bareAction);
  const ours = new CircuitBreaker(async x => x, { timeout: TIMEOUT_MS });
  const oursLoop = loopOf(i => ours.fire(i));
  const results = { 'timeout.bare': await compare(oursLoop, bare, options) };
  results['timeout.floor'] =
    await compare(oursLoop, loopOf(floorOf(async x => x)), options);

  const policy = cockatielPolicy(TIMEOUT_MS);
  const action = async x => x;
  results['timeout.cockatiel'] =
    await compare(loopOf(i => policy.execute(() => action(i))), oursLoop, options);

  const opossum = new Opossum(async x => x, { timeout: TIMEOUT_MS });
  results['timeout.opossum'] = await compare(loopOf(i => opossum.fire(i)), oursLoop, options);
  opossum.shutdown();
  ours.shutdown();
  return results;
}

module.exports = { processes: 3, run };
