'use strict';

// A process that shares things with others, for systems where processes cannot speak through pipes.
// Those who take part run the same steps in turn; files in a folder say how far each has come.
//
//   node scopes.js <library> <folder> <role> <role of the other>

const fs = require('node:fs');
const path = require('node:path');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const until = async what => {
  while (!what()) await new Promise(resolve => { setTimeout(resolve, 5); });
};

/** The breaker that all share, and what happened to it here. */
function makeBreaker (library, scope) {
  const { CircuitBreaker } = require(library);
  const breaker = new CircuitBreaker(async isUp => { if (!isUp) throw new Error('down'); }, {
    scope, name: 'upstream', namespace: 'platforms', strictScope: true,
    consecutiveFailures: 3, resetTimeout: 600_000,
  });
  const events = [];
  for (const name of ['open', 'halfOpen', 'close']) breaker.on(name, () => events.push(name));
  return { breaker, events };
}

// ---- Threads of one process --------------------------------------------------------------------

async function shareWithThread (library) {
  const { breaker, events } = makeBreaker(library, 'process');
  const worker = new Worker(__filename, { workerData: { library } });
  const next = () => new Promise((resolve, reject) => {
    worker.once('message', resolve).once('error', reject);
  });
  await next();
  for (let i = 0; i < 3; i += 1) await breaker.fire(false).catch(() => {});
  const seen = await next();
  await until(() => events.includes('close'));
  await worker.terminate();
  return { scope: breaker.scope, events, worker: seen };
}

async function beTheThread () {
  const { breaker, events } = makeBreaker(workerData.library, 'process');
  parentPort.postMessage('here');
  await until(() => events.includes('open'));
  parentPort.postMessage([breaker.opened, breaker.stats.failures]);
  breaker.close();
  await until(() => false);
}

// ---- Two processes -----------------------------------------------------------------------------

async function shareWithProcess (library, folder, role, other) {
  const { Bulkhead, RateLimiter, RetryBudget } = require(library);
  const place = { scope: 'host', namespace: 'platforms', strictScope: true };
  const { breaker, events } = makeBreaker(library, 'host');
  const bulkhead = new Bulkhead({ ...place, name: 'places', maxConcurrent: 2 });
  const limiter = new RateLimiter({ ...place, name: 'rate', limit: 3, interval: 3_600_000 });
  const budget = new RetryBudget({ ...place, name: 'budget', ratio: 1, reservePerSecond: 0 });
  const answers = {};
  const say = step => fs.writeFileSync(path.join(folder, `${role}.${step}`), '');
  const hear = step => until(() => fs.existsSync(path.join(folder, `${other}.${step}`)));
  const both = async step => { say(step); await hear(step); };
  const isFirst = role < other;

  await both('joined');
  if (isFirst) {
    for (let i = 0; i < 3; i += 1) await breaker.fire(false).catch(() => {});
    await bulkhead.execute(async () => {
      await limiter.execute(async () => {});
      budget.deposit();
      await both('opened');
      await both('looked');
    });
  } else {
    await hear('opened');
    await until(() => events.includes('open'));
    const { code } = await breaker.fire(true).catch(error => error);
    Object.assign(answers, {
      refused: code, failures: breaker.stats.failures, active: bulkhead.active,
      tokens: limiter.available, paid: budget.balance(),
    });
    say('opened');
    await both('looked');
    breaker.close();
  }
  await until(() => events.includes('close'));
  // The place of a process that is killed is free again, and so is what it held.
  if (isFirst) {
    await both('closed');
    await until(() => bulkhead.active === 1);
    say('may be killed');
    await hear('killed');
    answers.taken = [];
    for (let i = 0; i < 2; i += 1) {
      answers.taken.push(await bulkhead.execute(async () => 'free').catch(error => error.code));
    }
    const both2 = [bulkhead.execute(() => until(() => answers.over)), bulkhead.execute(() => 'two')];
    answers.together = await both2[1];
    answers.over = true;
    await both2[0];
  } else {
    bulkhead.execute(() => new Promise(() => {}));
    await both('closed');
    fs.writeFileSync(path.join(folder, 'answers'), JSON.stringify({ ...answers, events }));
    await hear('may be killed');
    process.kill(process.pid, 'SIGKILL');
  }
  return { scope: breaker.scope, events, ...answers };
}

async function main ([library, folder, role, other]) {
  const answers = role === undefined
    ? await shareWithThread(library)
    : await shareWithProcess(library, folder, role, other);
  console.log(JSON.stringify(answers));
  process.exit();
}

if (isMainThread) main(process.argv.slice(2));
else beTheThread();
