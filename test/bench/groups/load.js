'use strict';

const { monitorEventLoopDelay } = require('node:perf_hooks');

const { summary } = require('../measure');

const CALLS_PER_SECOND = 10_000;
const NAMES = ['bare', 'ours', 'opossum'];

async function run ({ quick, fork }) {
  const seconds = quick ? 2 : 6;
  const rounds = quick ? 1 : 3;
  const runs = [];
  for (let round = 0; round < rounds; round++) {
    const one = {};
    for (const name of round % 2 === 0 ? NAMES : [...NAMES].reverse()) {
      // The slow peer is there to compare with; once is enough, but its window must be full.
      const isPeer = name === 'opossum';
      if (isPeer && round > 0) continue;
      one[name] = await fork('load', { name, seconds: isPeer ? 2 * seconds : seconds });
    }
    runs.push(one);
  }
  const { opossum, bare } = runs[0];
  const of = pick => summary(runs.map(pick));
  return {
    'load.throughput': {
      ...of(r => r.ours.rate / r.bare.rate),
      note: `opossum ${(opossum.rate / bare.rate).toFixed(3)} ×`
    },
    'load.delay': {
      ...of(r => r.ours.delayMs / r.bare.delayMs),
      note: `bare ${bare.delayMs.toFixed(1)} ms, opossum ${opossum.delayMs.toFixed(0)} ms`
    },
    'load.cpu': {
      ...of(r => r.ours.cpu - r.bare.cpu), noisy: false,
      note: `of a core; bare ${bare.cpu.toFixed(1)} %, opossum ${opossum.cpu.toFixed(0)} %`
    }
  };
}

function callerOf (name) {
  const { CircuitBreaker, Opossum } = require('../subjects');
  const error = new Error('upstream failed');
  const action = async i => {
    if (i % 100 === 0) throw error;
    return i;
  };
  if (name === 'bare') return { call: action, end () {} };
  const breaker = new (name === 'ours' ? CircuitBreaker : Opossum)(action);
  return { call: i => breaker.fire(i), end: () => breaker.shutdown() };
}

/** In a process of its own: calls at a steady rate, those that fell due late are made up for. */
async function part ({ name, seconds }) {
  const { call, end } = callerOf(name);
  let settled = 0;
  const done = () => { settled += 1; };
  // The first second fills the window and compiles the code; the rest is measured.
  await paced(1, i => { call(i).then(done, done); });
  settled = 0;
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const before = process.cpuUsage();
  const began = performance.now();
  delay.enable();
  await paced(seconds, i => { call(i).then(done, done); });
  delay.disable();
  const ms = performance.now() - began;
  const { user, system } = process.cpuUsage(before);
  end();
  return {
    rate: settled / ms * 1000,
    delayMs: delay.percentile(99) / 1e6,
    cpu: (user + system) / 1000 / ms * 100
  };
}

function paced (seconds, call) {
  return new Promise(resolve => {
    const began = performance.now();
    let made = 0;
    const step = () => {
      const elapsed = performance.now() - began;
      const due = Math.min(elapsed / 1000, seconds) * CALLS_PER_SECOND;
      while (made < due) call(made++);
      if (elapsed < seconds * 1000) setTimeout(step, 1);
      else resolve();
    };
    step();
  });
}

module.exports = { run, part };
