'use strict';

const { compare, loopOf } = require('../measure');
const { CircuitBreaker, Opossum } = require('../subjects');

const LATENCIES_MS = 50;

/** A breaker whose window holds `calls` calls of 0 to 50 ms, in the order of a simple generator. */
function filled (Breaker, calls) {
  const breaker = new Breaker(async x => x, { timeout: false, rollingCountTimeout: 600_000 });
  let random = 1;
  for (let i = 0; i < calls; i++) {
    random = random * 48271 % 0x7fffffff;
    breaker.status.increment('fires');
    breaker.status.increment('successes', random % LATENCIES_MS);
  }
  if (breaker.stats.fires !== calls) throw new Error('The window does not hold every call');
  return breaker;
}

// Neither keeps anything from one read to the next: each counts the window anew.
function readerOf (breaker) {
  return loopOf(() => {
    const { fires, percentiles, latencyMean } = breaker.stats;
    return fires + percentiles[0.99] + latencyMean;
  }, 'sync');
}

async function run (options) {
  const few = { ...options, rounds: Math.min(30, options.rounds), sliceMs: 60 };
  const ours = filled(CircuitBreaker, 10_000);
  const opossum = filled(Opossum, 10_000);
  const results = {
    'stats.opossum': await compare(readerOf(opossum), readerOf(ours), few)
  };
  opossum.shutdown();
  ours.shutdown();

  const calls = options.quick ? 100_000 : 1_000_000;
  const small = filled(CircuitBreaker, 1_000);
  const large = filled(CircuitBreaker, calls);
  results['stats.flat'] = {
    ...await compare(readerOf(large), readerOf(small), few),
    note: options.quick ? `${calls} calls instead of 1,000,000` : undefined
  };
  small.shutdown();
  large.shutdown();
  return results;
}

module.exports = { processes: 3, run };
