'use strict';

const { summary } = require('../measure');

const COUNT = 10_000;

async function run ({ quick, fork }) {
  const seconds = quick ? 2 : 5;
  const ours = [];
  for (let i = 0; i < (quick ? 1 : 3); i++) {
    ours.push(await fork('idle', { name: 'ours', seconds }));
  }
  const opossum = await fork('idle', { name: 'opossum', seconds });
  const note = `opossum ${opossum.toFixed(1)} %`;
  return { 'idle.cpu': { ...summary(ours), noisy: false, note } };
}

/** In a process of its own: the share of a core (%) that 10,000 breakers use while idle. */
async function part ({ name, seconds }) {
  const { CircuitBreaker, Opossum } = require('../subjects');
  const Breaker = name === 'ours' ? CircuitBreaker : Opossum;
  const breakers = [];
  const action = async x => x;
  for (let i = 0; i < COUNT; i++) {
    breakers.push(new Breaker(action, { name: 'upstream' }));
    // Each has been used, so that whatever calls start is running.
    await breakers[i].fire(i);
  }
  const pause = ms => new Promise(resolve => { setTimeout(resolve, ms); });
  await pause(1000);
  const before = process.cpuUsage();
  const began = performance.now();
  await pause(seconds * 1000);
  const { user, system } = process.cpuUsage(before);
  const share = (user + system) / 1000 / (performance.now() - began) * 100;
  for (const breaker of breakers) breaker.shutdown();
  return share;
}

module.exports = { run, part };
