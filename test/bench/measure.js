'use strict';

// How things are measured: short slices of A and of B in turn, the ratio of each neighbouring pair,
// and the median of those. Whatever else the machine does strikes both alike.

const { PerformanceObserver } = require('node:perf_hooks');

const NOISE_SHARE = 0.15;

function quantile (sorted, q) {
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  const high = Math.ceil(at);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - low);
}

/** Median and quartiles; `noisy` when the middle half spreads over more than 15 % of the median. */
function summary (values) {
  const sorted = [...values].sort((a, b) => a - b);
  const value = quantile(sorted, 0.5);
  const low = quantile(sorted, 0.25);
  const high = quantile(sorted, 0.75);
  return { value, low, high, noisy: high - low > NOISE_SHARE * Math.abs(value) };
}

let loops = 0;

/**
 * A loop of n calls that shares no machine code with any other loop: the engine would otherwise
 * optimise for all subjects at once, and each would pay for its neighbours.
 * @param {(i: number) => unknown} call
 * @param {'await' | 'catch' | 'sync'} [kind] how each call is waited for
 * @returns {(n: number) => Promise<void>}
 */
function loopOf (call, kind = 'await') {
  const body = {
    await: 'await call(i);',
    catch: 'try { await call(i); } catch {}',
    sync: 'sink ^= call(i);'
  }[kind];
  loops += 1;
  const source = `"loop ${loops}"; let sink = 0;
    return async function loop${loops} (n) {
      for (let i = 0; i < n; i++) { ${body} }
      return sink;
    }`;
  return new Function('call', source)(call);
}

/**
 * Nanoseconds of CPU that n calls take, the engine's helper threads included: what collecting their
 * garbage costs counts, what other processes do meanwhile does not.
 */
async function timed (loop, n) {
  const began = process.cpuUsage();
  await loop(n);
  const { user, system } = process.cpuUsage(began);
  return Math.max(1, user + system) * 1000;
}

/** Runs a loop until it is compiled, and finds how many calls fill a slice. */
async function warmUp (loop, warmMs, sliceMs) {
  let n = 1;
  let spentNs = 0;
  let ns;
  do {
    ns = await timed(loop, n);
    spentNs += ns;
    if (ns < sliceMs * 1e6) n = Math.ceil(n * Math.min(4, sliceMs * 1e6 / Math.max(ns, 1)));
  } while (spentNs < warmMs * 1e6);
  return Math.max(1, Math.round(n * Math.min(1, sliceMs * 1e6 / ns)));
}

/**
 * How many times as long as `b` does `a` take per call?
 * @returns {Promise<{ value: number, low: number, high: number, noisy: boolean, aNs: number,
 *   bNs: number }>} the ratio, and both costs per call in nanoseconds
 */
async function compare (a, b, { rounds = 60, sliceMs = 10, warmMs = 400 } = {}) {
  const na = await warmUp(a, warmMs, sliceMs);
  const nb = await warmUp(b, warmMs, sliceMs);
  const ratios = [];
  const as = [];
  const bs = [];
  for (let round = 0; round < rounds; round++) {
    let ta;
    let tb;
    if (round % 2 === 0) {
      ta = await timed(a, na);
      tb = await timed(b, nb);
    } else {
      tb = await timed(b, nb);
      ta = await timed(a, na);
    }
    as.push(ta / na);
    bs.push(tb / nb);
    ratios.push(ta / na / (tb / nb));
  }
  return { ...summary(ratios), aNs: summary(as).value, bNs: summary(bs).value };
}

/** One result out of those of several processes: code is compiled a little differently in each. */
function merged (results) {
  const median = pick => summary(results.map(pick)).value;
  const [first] = results;
  const numbers = Object.keys(first).filter(key => typeof first[key] === 'number');
  return {
    ...first,
    ...Object.fromEntries(numbers.map(key => [key, median(result => result[key])])),
    noisy: results.filter(result => result.noisy).length * 2 > results.length
  };
}

const turn = () => new Promise(resolve => { setImmediate(resolve); });

/**
 * Bytes of heap that a call of `loop` allocates. Needs --expose-gc and a young generation large
 * enough to hold a whole round; rounds in which the collector ran all the same do not count.
 */
async function bytesPerCall (loop, { rounds = 15, calls = 20_000 } = {}) {
  const observer = new PerformanceObserver(() => {});
  observer.observe({ entryTypes: ['gc'] });
  for (let i = 0; i < 5; i++) await loop(calls);
  const values = [];
  for (let round = 0; round < rounds * 4 && values.length < rounds; round++) {
    global.gc();
    await turn();
    observer.takeRecords();
    const before = process.memoryUsage().heapUsed;
    await loop(calls);
    const after = process.memoryUsage().heapUsed;
    await turn();
    if (observer.takeRecords().length === 0) values.push((after - before) / calls);
  }
  observer.disconnect();
  if (values.length === 0) throw new Error('The collector ran in every round');
  return summary(values);
}

module.exports = { compare, loopOf, bytesPerCall, merged, summary };
