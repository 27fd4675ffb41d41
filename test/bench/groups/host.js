'use strict';

// A host with many shared breakers in many processes: how fast all of them know of a trip, and what
// that costs, if one of the breakers trips, and if all do.

const { fork } = require('node:child_process');
const { on, once } = require('node:events');

const { summary } = require('../measure');
const { regions } = require('../../../lib');

const WORKER = require.resolve('../host-worker');
const BREAKERS = 4096;
const PROCESSES = 32;
// The first changes of each breaker make what its later ones use.
const WARM_UP = 2;

async function start (options) {
  const child = fork(WORKER, [JSON.stringify(options)]);
  const messages = on(child, 'message');
  const next = async () => (await messages.next()).value[0];
  await next();
  return { child, next, send: (order, given) => child.send([order, given]) };
}

class Host {
  static async of (count) {
    const namespace = `bench-${process.pid}-host-${count}`;
    const options = {
      count, scope: 'host', namespace, timeout: false, resetTimeout: 3_600_000
    };
    const workers = [];
    // A few at a time, as all of them would wait for the processors.
    while (workers.length < PROCESSES) {
      workers.push(...await Promise.all(Array.from({ length: 4 }, () => start(options))));
    }
    return Object.assign(new Host(), { workers, namespace });
  }

  /** Until all know, and the CPU that all of them take for that. */
  async time (begin, many) {
    const [first] = this.workers;
    await Promise.all(this.workers.map(async ({ send, next }) => {
      send('await', many);
      await next();
    }));
    begin(first);
    const { began } = await first.next();
    const ends = await Promise.all(this.workers.map(({ next }) => next()));
    return {
      ns: Math.max(...ends.map(({ at }) => at)) - began,
      cpuNs: ends.reduce((sum, { cpuNs }) => sum + cpuNs, 0)
    };
  }

  /** What opening them takes; afterwards they are closed again. */
  async trips (many) {
    const move = to => this.time(({ send }) => send('move', { many, to }), many);
    const trip = await move('open');
    await move('close');
    return trip;
  }

  /** The same news by messages from the one process through the parent to all. */
  async messages (many) {
    const [first] = this.workers;
    const passOn = ({ passOn: i }) => {
      if (i === undefined) return;
      for (const { send } of this.workers) send('told', i);
    };
    const awaited = first.next;
    first.next = async () => {
      for (;;) {
        const message = await awaited();
        if (message.passOn === undefined) return message;
      }
    };
    first.child.on('message', passOn);
    try {
      return await this.time(({ send }) => send('tell', many), many);
    } finally {
      first.child.off('message', passOn);
      first.next = awaited;
    }
  }

  async end () {
    await Promise.all(this.workers.map(({ child }) => {
      child.disconnect();
      return once(child, 'exit');
    }));
    regions.remove(this.namespace);
  }
}

async function repeated (times, measure) {
  const results = [];
  for (let i = 0; i < WARM_UP + times; i++) results.push(await measure());
  return results.slice(WARM_UP);
}

const ratios = (as, bs, pick) => ({
  ...summary(as.map((a, i) => pick(a) / pick(bs[i]))),
  aNs: summary(as.map(pick)).value,
  bNs: summary(bs.map(pick)).value
});

async function run ({ quick }) {
  const times = quick ? 20 : 100;
  const small = await Host.of(1);
  const alone = await repeated(times, () => small.trips(1));
  await small.end();
  const large = await Host.of(BREAKERS);
  const one = await repeated(times, () => large.trips(1));
  const rounds = quick ? 2 : 5;
  const all = await repeated(rounds, () => large.trips(BREAKERS));
  const told = await repeated(rounds, () => large.messages(BREAKERS));
  await large.end();
  const ns = result => result.ns;
  const cpuNs = result => result.cpuNs;
  const each = summary(all.map(cpuNs)).value / BREAKERS / PROCESSES / 1000;
  return {
    'host.one': ratios(one, alone, ns),
    'host.oneCpu': ratios(one, alone, cpuNs),
    'host.all': ratios(told, all, ns),
    'host.allCpu': { ...ratios(told, all, cpuNs), note: `${each.toFixed(1)} µs for each to know` },
    'host.allTime': summary(all.map(result => result.ns / 1e6))
  };
}

module.exports = { run };
