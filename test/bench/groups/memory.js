'use strict';

const fs = require('node:fs');
const v8 = require('node:v8');

const { summary } = require('../measure');

const COUNT = 10_000;
const CALLS_EACH = 50;
const PAGE_BYTES = 4096;

async function run ({ quick, fork }) {
  const rounds = quick ? 1 : 3;
  const results = {};
  for (const [traffic, heap, native] of [
    [false, 'memory.heap', 'memory.native'], [true, 'memory.heapUsed', 'memory.nativeUsed']
  ]) {
    const ours = [];
    for (let i = 0; i < rounds; i++) ours.push(await fork('memory', { name: 'ours', traffic }));
    const opossum = await fork('memory', { name: 'opossum', traffic });
    results[heap] = {
      ...summary(ours.map(m => m.heap)), note: `opossum ${Math.round(opossum.heap)} B`
    };
    results[native] = {
      ...summary(ours.map(m => m.native)), note: `opossum ${Math.round(opossum.native)} B`
    };
  }
  return results;
}

function settled () {
  for (let i = 0; i < 4; i++) global.gc();
}

/** Resident bytes outside the engine's heap; null where there is no /proc. */
function nativeBytes () {
  const resident = fs.existsSync('/proc/self/statm')
    ? Number(fs.readFileSync('/proc/self/statm', 'latin1').split(' ')[1]) * PAGE_BYTES
    : process.memoryUsage().rss;
  return resident - v8.getHeapStatistics().total_physical_size;
}

/** In a process of its own: what 10,000 breakers of one kind hold. */
async function part ({ name, traffic }) {
  const { CircuitBreaker, Opossum } = require('../subjects');
  const Breaker = name === 'ours' ? CircuitBreaker : Opossum;
  const action = async x => x;
  const breakers = new Array(COUNT);
  const make = () => new Breaker(action, { name: 'upstream' });
  // What is allocated once, by the first breaker and the first calls, is no breaker's own.
  const first = make();
  for (let i = 0; i < 2000; i++) await first.fire(i);
  settled();
  const heapBefore = process.memoryUsage().heapUsed;
  const nativeBefore = nativeBytes();
  for (let i = 0; i < COUNT; i++) breakers[i] = make();
  if (traffic) {
    for (let call = 0; call < CALLS_EACH; call++) {
      for (let i = 0; i < COUNT; i++) await breakers[i].fire(i);
    }
  }
  settled();
  const heap = (process.memoryUsage().heapUsed - heapBefore) / COUNT;
  const native = (nativeBytes() - nativeBefore) / COUNT;
  for (const breaker of breakers) breaker.shutdown();
  first.shutdown();
  return { heap, native };
}

module.exports = {
  // A young generation of one size, so that its growth is not taken for the breakers'.
  flags: ['--expose-gc', '--min-semi-space-size=16', '--max-semi-space-size=16'],
  nativeBytes,
  run,
  part
};
