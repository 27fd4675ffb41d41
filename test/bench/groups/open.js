'use strict';

const { compare, loopOf } = require('../measure');
const { CircuitBreaker, Opossum } = require('../subjects');

// Long enough to stay open, short enough for a 32-bit timer.
const RESET_MS = 1_000_000_000;

function opened (Breaker, fallback) {
  const breaker = new Breaker(async x => x, { resetTimeout: RESET_MS });
  if (fallback) breaker.fallback(() => 'instead');
  breaker.open();
  return breaker;
}

async function pair (fallback, options) {
  const ours = opened(CircuitBreaker, fallback);
  const opossum = opened(Opossum, fallback);
  const kind = fallback ? 'await' : 'catch';
  const result = await compare(
    loopOf(i => opossum.fire(i), kind), loopOf(i => ours.fire(i), kind), options);
  if (!ours.opened || !opossum.opened) throw new Error('A breaker did not stay open');
  ours.shutdown();
  opossum.shutdown();
  return result;
}

async function run (options) {
  return {
    'open.opossum': await pair(false, options),
    'open.fallback': await pair(true, options)
  };
}

module.exports = { processes: 3, run };
