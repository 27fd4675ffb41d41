'use strict';

const { bytesPerCall, loopOf } = require('../measure');
const { CircuitBreaker, Opossum } = require('../subjects');

const flags = ['--expose-gc', '--min-semi-space-size=128', '--max-semi-space-size=256'];

async function above (bare, Breaker, action, timeout) {
  const breaker = new Breaker(action, { timeout });
  const base = await bytesPerCall(bare);
  const used = await bytesPerCall(loopOf(i => breaker.fire(i)));
  breaker.shutdown();
  return {
    value: used.value - base.value, low: used.low - base.value, high: used.high - base.value,
    noisy: used.noisy || base.noisy
  };
}

async function row (makeBare, makeAction, timeout) {
  const ours = await above(makeBare(), CircuitBreaker, makeAction(), timeout);
  const opossum = await above(makeBare(), Opossum, makeAction(), timeout);
  return { ...ours, note: `opossum ${Math.round(opossum.value)} B` };
}

async function run () {
  const bareAsync = () => loopOf(async x => x);
  const work = x => x;
  return {
    'bytes.async': await row(bareAsync, () => async x => x, false),
    'bytes.timeout': await row(bareAsync, () => async x => x, 10_000),
    'bytes.sync': await row(() => loopOf(async x => work(x)), () => x => x, false)
  };
}

module.exports = { flags, run };
