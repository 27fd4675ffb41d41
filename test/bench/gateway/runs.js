'use strict';

// What is measured: services side by side, and one service while Midtrans is away.

const { summary } = require('../measure');

const CONCURRENCY = 32;
const SETTLE_MS = 120_000;
const LOOK_MS = 250;
const PEER_MS = 10_000;

let runs = 0;

/** No two runs make the same orders. */
function prefix () {
  runs += 1;
  return `load-${process.pid}-${runs}`;
}

const pause = ms => new Promise(resolve => { setTimeout(resolve, ms); });

function quantile (values, q) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

/** How many requests were answered with what. */
function countOf (answers) {
  const counts = {};
  for (const [, status] of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

/** As fast as one service answers, for a while. */
async function slice (fleet, service, ms) {
  const before = { service: await service.ask('usage'), database: fleet.databaseUsage() };
  const { answers, times, ms: took } = await fleet.load.ask('closed', {
    url: service.url, keyed: service.keyed, prefix: prefix(), concurrency: CONCURRENCY, ms,
  });
  const after = { service: await service.ask('usage'), database: fleet.databaseUsage() };
  const faults = answers.filter(([, status]) => status !== 201);
  if (faults.length > 0) throw new Error(`${service.name} answered ${faults[0].slice(1)}`);
  return {
    rate: answers.length * 1000 / took, p50: quantile(times, 0.5), p99: quantile(times, 0.99),
    cpuUs: (after.service - before.service) / answers.length,
    databaseUs: (after.database - before.database) / answers.length,
  };
}

/**
 * Short slices of all services in turn, so that whatever else the machine does strikes all alike.
 * @returns {Promise<{ rows: object[], ratios: Record<string, object> }>} the medians of each
 *   service; of the first one's rate to those of the others in the same round
 */
async function sideBySide (fleet, services, { rounds, sliceMs, warmMs }) {
  const figures = services.map(() => []);
  for (const service of services) await slice(fleet, service, warmMs);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < services.length; i++) {
      const which = (i + round) % services.length;
      figures[which].push(await slice(fleet, services[which], sliceMs));
    }
  }
  const rows = services.map(({ name }, i) => {
    const median = key => summary(figures[i].map(figure => figure[key])).value;
    return Object.fromEntries([['name', name], ...Object.keys(figures[i][0])
      .map(key => [key, median(key)])]);
  });
  const ratios = Object.fromEntries(services.slice(1).map(({ name }, i) => [name,
    summary(figures[0].map(({ rate }, round) => rate / figures[i + 1][round].rate))]));
  return { rows, ratios };
}

/**
 * What orders use, less what is used in the same time without any.
 * @param {() => Promise<Record<string, number>>} look at what was used so far
 * @param {() => Promise<{ ms: number, answers: unknown[] }>} load how long the orders took
 * @returns {Promise<{ used: Record<string, number>, done: object }>} used: by each order. done: of
 *   the load
 */
async function usedBy (look, load) {
  const began = await look();
  const done = await load();
  const ended = await look();
  await pause(done.ms);
  const later = await look();
  const used = Object.fromEntries(Object.keys(began).map(key =>
    [key, (2 * ended[key] - began[key] - later[key]) / done.answers.length]));
  return { used, done };
}

/** What so many orders ask of the database. */
async function asked (fleet, service, { concurrency, count }) {
  const { url, keyed } = service;
  const look = async () =>
    ({ statements: await service.ask('statements'), wal: await fleet.walBytes(service) });
  const { used } = await usedBy(look, () => fleet.load.ask('closed', {
    url, keyed, prefix: prefix(), concurrency, count,
  }));
  return used;
}

/** What an order asks of the database: alone, and together with others. */
async function costs (fleet, services) {
  const found = [];
  for (const service of services) {
    found.push({
      name: service.name, alone: await asked(fleet, service, { concurrency: 1, count: 300 }),
      together: await asked(fleet, service, { concurrency: CONCURRENCY, count: 3000 }),
    });
  }
  return found;
}

/** Orders that were taken in and have no page yet, once all should have one, or time is up. */
async function settled (fleet, service) {
  for (const began = performance.now(); ; await pause(LOOK_MS)) {
    const orders = await fleet.orders(service);
    const open = orders.filter(([, state]) => state !== 'created').length;
    if (open === 0 || performance.now() - began > SETTLE_MS) {
      return { orders, open, ms: performance.now() - began };
    }
  }
}

/**
 * Whether every order that was taken in is there with its page, and each was made once.
 * @param {string[]} ids of the orders whose requests were answered with 201 or 202
 */
async function sumsOf (fleet, service, ids) {
  const { orders, open, ms } = await settled(fleet, service);
  const kept = new Map(orders.map(([id, , token]) => [id, token]));
  const pages = new Map(await fleet.fake.ask('pages'));
  return {
    accepted: ids.length, open, settledMs: ms,
    lost: ids.filter(id => !kept.has(id)).length,
    unmade: ids.filter(id => !pages.has(id)).length,
    others: ids.filter(id => pages.has(id) && pages.get(id) !== kept.get(id)).length,
    // A second page of an order has an id of its own.
    twice: [...pages.keys()].filter(id => !kept.has(id)).length,
  };
}

/** Whether nothing was lost, and nothing made twice. */
const isRight = ({ open, lost, unmade, others, twice }) =>
  [open, lost, unmade, others, twice].every(count => count === 0);

/**
 * Orders at a fixed rate while Midtrans is away, and what has become of them when it is back.
 * @param {{ peer: object, fault: string, perSecond: number, ms: number }} options peer: a service
 *   that is asked just before, while Midtrans is there
 */
async function outage (fleet, service, { peer, fault, perSecond, ms }) {
  const plain = await fleet.load.ask('open',
    { url: peer.url, perSecond, prefix: prefix(), ms: PEER_MS });
  await fleet.fake.ask('forget');
  const load = { url: service.url, perSecond };
  const before = await fleet.load.ask('open', { ...load, prefix: prefix(), ms: 2000 });
  await fleet.fake.ask('set', fault);
  const { answers, times } = await fleet.load.ask('open', { ...load, prefix: prefix(), ms });
  await fleet.fake.ask('set', null);
  const all = [...before.answers, ...answers];
  const accepted = all.filter(([, status]) => status === 201 || status === 202);
  // When the first answer said that it is open; what was due later has found it so.
  const shutMs = Math.min(...answers.map(([, , error], i) =>
    (error === 'EOPENBREAKER' ? i * 1000 / perSecond + times[i] : Infinity)));
  const shut = Math.ceil(shutMs * perSecond / 1000);
  return {
    fault, counts: countOf(answers), peerP99: quantile(plain.times, 0.99),
    p99: quantile(times, 0.99), max: Math.max(...times),
    shutMs, p99Shut: quantile(times.slice(shut), 0.99),
    p50Shut: quantile(times.slice(shut), 0.5), healthyP99: quantile(before.times, 0.99),
    refused: all.length - accepted.length,
    sums: await sumsOf(fleet, service, accepted.map(([id]) => id)),
  };
}

module.exports = {
  costs, countOf, isRight, outage, prefix, quantile, sideBySide, sumsOf, usedBy,
};
