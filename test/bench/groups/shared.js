'use strict';

// Breakers that processes share. Each figure is taken in processes of its own.

const { fork: forkProcess } = require('node:child_process');

const { summary } = require('../measure');

const WORKER = require.resolve('../shared-worker');
const COUNT = 2000;
const CALLS_EACH = 50;

const pause = ms => new Promise(resolve => { setTimeout(resolve, ms); });
const nowNs = () => Number(process.hrtime.bigint());
const namespaceOf = what => `bench-${process.pid}-${what}`;

function lib () {
  const { CircuitBreaker } = require('../subjects');
  return { CircuitBreaker, regions: require('../../../lib').regions };
}

async function startWorker (options) {
  const worker = forkProcess(WORKER, [JSON.stringify(options)]);
  await nextOf(worker);
  return worker;
}

const nextOf = worker => new Promise(resolve => { worker.once('message', resolve); });

/** Its lists of times; a message that is late may come before. */
async function reportOf (worker) {
  worker.send('report');
  for (;;) {
    const message = await nextOf(worker);
    if (typeof message === 'object') return message;
  }
}

/**
 * From a trip in one worker until the listener of another, against a message from the one to the
 * other (which goes through their parent, as the workers of a cluster have no other way), and
 * against one from the parent to a worker.
 */
async function events (trials) {
  const { regions } = lib();
  const options = { scope: 'host', namespace: namespaceOf('events'), name: 'upstream' };
  const [one, other] = [await startWorker(options), await startWorker(options)];
  const passOn = () => other.send('receive');
  one.on('message', passOn);
  const direct = [];
  for (let i = 0; i < trials; i++) {
    one.send('send');
    await pause(5);
    direct.push(nowNs());
    other.send('receive');
    await pause(5);
    one.send('open');
    await pause(5);
    one.send('close');
    await pause(3);
  }
  one.off('message', passOn);
  const [told, heard] = await Promise.all([one, other].map(reportOf));
  one.kill();
  other.kill();
  regions.remove(options.namespace);
  const took = (began, ended) => began.map((at, i) => ended[i] - at);
  const received = rest => heard.received.filter((_, i) => i % 2 === rest);
  const event = took(told.opened, heard.heard);
  const against = message => ({
    ...summary(message.map((ns, i) => ns / event[i])),
    aNs: summary(message).value,
    bNs: summary(event).value
  });
  return {
    'shared.event': against(took(told.sent, received(0))),
    'shared.direct': against(took(direct, received(1)))
  };
}

/** CPU per call of two processes that fire at the same time: one breaker, against one each. */
async function twoProcesses (fork, rounds) {
  const namespace = namespaceOf('two');
  const both = async scope => {
    const given = { what: 'fire', scope, namespace };
    const costs = await Promise.all([fork('shared', given), fork('shared', given)]);
    return (costs[0] + costs[1]) / 2;
  };
  const [one, each] = [[], []];
  for (let i = 0; i < rounds; i++) {
    one.push(await both('host'));
    each.push(await both('instance'));
  }
  lib().regions.remove(namespace);
  return {
    ...summary(one.map((ns, i) => ns / each[i])), aNs: summary(one).value, bNs: summary(each).value
  };
}

async function run ({ quick, fork }) {
  const rounds = quick ? 1 : 3;
  const repeated = async what => {
    const results = [];
    for (let i = 0; i < rounds; i++) results.push(await fork('shared', { what }));
    return pick => summary(results.map(pick));
  };
  const memory = await repeated('memory');
  const attach = await repeated('attach');
  return {
    ...await events(quick ? 100 : 400),
    'shared.processes': await twoProcesses(fork, rounds),
    'shared.join': attach(({ join }) => join),
    'shared.attach': attach(({ further }) => further),
    'shared.region': { ...memory(({ region }) => region), note: 'of calls that take no time' },
    'shared.native': memory(({ native }) => native),
    'shared.heap': memory(({ heap }) => heap),
    'shared.idle': { ...memory(({ idle }) => idle), noisy: false }
  };
}

/** Nanoseconds of CPU per call. */
async function fire ({ scope, namespace }) {
  const { CircuitBreaker } = lib();
  const breaker = new CircuitBreaker(async x => x, { scope, namespace, name: 'upstream' });
  const loop = async n => { for (let i = 0; i < n; i++) await breaker.fire(i); };
  await loop(200_000);
  // Both are warm when either measures.
  await pause(300);
  const before = process.cpuUsage();
  const calls = 1_000_000;
  await loop(calls);
  const { user, system } = process.cpuUsage(before);
  return (user + system) * 1000 / calls;
}

async function attach () {
  const { CircuitBreaker, regions } = lib();
  const namespace = namespaceOf('attach');
  const make = name => new CircuitBreaker(async () => {}, { scope: 'host', namespace, name });
  // The code that all breakers need is loaded.
  new CircuitBreaker(async () => {}, { name: 'first' });
  const began = nowNs();
  const kept = [make('0')];
  const join = (nowNs() - began) / 1000;
  const times = [];
  for (let i = 1; i < COUNT; i++) {
    const start = nowNs();
    kept.push(make(String(i)));
    times.push((nowNs() - start) / 1000);
  }
  regions.remove(namespace);
  return { join, further: summary(times).value };
}

const settled = () => { for (let i = 0; i < 4; i++) global.gc(); };

/** Of a breaker that has served calls: in the region, in the process; and the CPU of all idle. */
async function memory () {
  const { nativeBytes } = require('./memory');
  const { CircuitBreaker, regions } = lib();
  const namespace = namespaceOf('memory');
  const action = async x => x;
  const make = i => new CircuitBreaker(action, { scope: 'host', namespace, name: `upstream-${i}` });
  const breakers = [make('first')];
  for (let i = 0; i < 2000; i++) await breakers[0].fire(i);
  const shared = () => regions.list().find(entry => entry.namespace === namespace).bytes;
  settled();
  const before = [process.memoryUsage().heapUsed, nativeBytes(), shared()];
  for (let i = 0; i < COUNT; i++) breakers.push(make(i));
  for (let call = 0; call < CALLS_EACH; call++) {
    for (const breaker of breakers) await breaker.fire(call);
  }
  settled();
  const region = shared() - before[2];
  const heap = process.memoryUsage().heapUsed - before[0];
  // Resident pages of the region are counted with the region.
  const native = nativeBytes() - before[1] - region;
  await pause(500);
  const cpu = process.cpuUsage();
  await pause(2000);
  const { user, system } = process.cpuUsage(cpu);
  regions.remove(namespace);
  return {
    region: region / COUNT, heap: heap / COUNT, native: native / COUNT,
    idle: (user + system) / 2000 / 1000 * 100
  };
}

/** In a process of its own. */
function part (given) {
  return { fire, attach, memory }[given.what](given);
}

module.exports = {
  flags: ['--expose-gc', '--min-semi-space-size=16', '--max-semi-space-size=16'], run, part
};
