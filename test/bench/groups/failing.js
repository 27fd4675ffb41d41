'use strict';

const { compare, loopOf } = require('../measure');
const { CircuitBreaker, Opossum } = require('../subjects');

const CALLS = 10_000;

/** A breaker whose window holds 10,000 successes, and which no failure opens. */
async function filled (Breaker) {
  const state = { fail: false };
  const error = new Error('upstream failed');
  const breaker = new Breaker(async x => {
    if (state.fail) throw error;
    return x;
  }, { errorThresholdPercentage: 100, rollingCountTimeout: 600_000 });
  for (let i = 0; i < CALLS; i++) await breaker.fire(i);
  state.fail = true;
  return breaker;
}

async function run (options) {
  const ours = await filled(CircuitBreaker);
  const opossum = await filled(Opossum);
  const result = await compare(loopOf(i => opossum.fire(i), 'catch'),
    loopOf(i => ours.fire(i), 'catch'), { ...options, rounds: Math.min(30, options.rounds) });
  if (!ours.closed || !opossum.closed) throw new Error('A breaker opened');
  ours.shutdown();
  opossum.shutdown();
  return { 'failing.opossum': result };
}

module.exports = { processes: 3, run };
