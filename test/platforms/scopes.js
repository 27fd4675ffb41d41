'use strict';

// A process that shares things with its threads, or with another process, for systems where
// processes cannot speak through pipes. The two follow each other by files in a folder.
//
//   node scopes.js <library>                              a process and a thread of it
//   node scopes.js <library> <folder> first|second        two processes

const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

// Of those who meet in this folder.
const namespace = (process.argv[3] ?? 'threads').split(/[\\/]/).slice(-2).join('-');
const PLACE = { namespace, strictScope: true };

// While a program waits for an event of a breaker, nothing else refers to either.
const held = [];

/** The breaker that all share, and what happened to it here. */
function makeBreaker (library, scope) {
  const { CircuitBreaker } = require(library);
  const breaker = new CircuitBreaker(async isUp => { if (!isUp) throw new Error('down'); }, {
    ...PLACE, scope, name: 'upstream', consecutiveFailures: 3, resetTimeout: 600_000,
  });
  held.push(breaker);
  const events = [];
  for (const name of ['open', 'halfOpen', 'close']) breaker.on(name, () => events.push(name));
  /** Until an event has happened. It keeps no process alive. */
  const seen = async name => {
    if (!events.includes(name)) await once(breaker, name);
  };
  return { breaker, events, seen };
}

async function failThrice (breaker) {
  for (let i = 0; i < 3; i += 1) await breaker.fire(false).catch(() => {});
}

// ---- Threads of one process --------------------------------------------------------------------

async function shareWithThread (library) {
  const { breaker, events, seen } = makeBreaker(library, 'process');
  const worker = new Worker(__filename, { workerData: { library } });
  await once(worker, 'message');
  const answer = once(worker, 'message');
  await failThrice(breaker);
  const [there] = await answer;
  await seen('close');
  await worker.terminate();
  return { scope: breaker.scope, events, there };
}

async function beTheThread () {
  const { breaker, seen } = makeBreaker(workerData.library, 'process');
  parentPort.on('message', () => {}); // It lives until it is terminated.
  parentPort.postMessage('here');
  await seen('open');
  parentPort.postMessage([breaker.opened, breaker.stats.failures]);
  breaker.close();
}

// ---- Two processes -----------------------------------------------------------------------------

/** The first opens the breaker and survives; the second sees it, closes it and is killed. */
async function shareWithProcess (library, folder, role) {
  const { Bulkhead, RateLimiter, RetryBudget, regions } = require(library);
  const place = { ...PLACE, scope: 'host' };
  const { breaker, events, seen } = makeBreaker(library, 'host');
  const bulkhead = new Bulkhead({ ...place, name: 'places', maxConcurrent: 2 });
  const limiter = new RateLimiter({ ...place, name: 'rate', limit: 3, interval: 3_600_000 });
  const budget = new RetryBudget({ ...place, name: 'budget', ratio: 1, reservePerSecond: 0 });
  // It keeps the process alive.
  const changes = fs.watch(folder);
  const fileOf = (who, step) => path.join(folder, `${who}.${step}`);
  const say = (step, answers = {}) => {
    fs.writeFileSync(fileOf(role, `${step}~`), JSON.stringify(answers));
    fs.renameSync(fileOf(role, `${step}~`), fileOf(role, step));
  };
  const hear = async step => {
    const file = fileOf(role === 'first' ? 'second' : 'first', step);
    while (!fs.existsSync(file)) await once(changes, 'change');
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  };

  say('joined');
  await hear('joined');
  if (role === 'second') {
    await hear('opened');
    await seen('open');
    const { code } = await breaker.fire(true).catch(error => error);
    const looked = {
      code, failures: breaker.stats.failures, active: bulkhead.active,
      tokens: Math.floor(limiter.available), paid: budget.balance(),
    };
    bulkhead.execute(() => new Promise(() => {}));
    breaker.close();
    say('looked', { ...looked, events });
    await hear('may be killed');
    process.kill(process.pid, 'SIGKILL');
  }
  await failThrice(breaker);
  const looked = await bulkhead.execute(async () => {
    await limiter.execute(async () => {});
    budget.deposit();
    say('opened');
    return hear('looked');
  });
  await seen('close');
  const active = bulkhead.active;
  say('may be killed');
  await hear('killed');
  // The places of the killed process are free again.
  let leave;
  const first = bulkhead.execute(() => new Promise(resolve => { leave = resolve; }));
  const atOnce = await bulkhead.execute(async () => bulkhead.active);
  leave();
  await first;
  regions.remove(namespace);
  changes.close();
  return { scope: breaker.scope, events, active, atOnce, second: looked };
}

async function main ([library, folder, role]) {
  const answers = role === undefined
    ? await shareWithThread(library)
    : await shareWithProcess(library, folder, role);
  console.log(JSON.stringify(answers));
}

if (isMainThread) main(process.argv.slice(2));
else beTheThread();
