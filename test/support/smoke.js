'use strict';

// Uses the package as the working directory sees it, once each way, and prints what came out.
//
//   node smoke.js [name or path of the package]

const { createRequire } = require('node:module');
const path = require('node:path');

const load = createRequire(path.join(process.cwd(), 'smoke.js'));

async function main (name) {
  const { CircuitBreaker, retry } = load(name);
  const breaker = new CircuitBreaker(async value => {
    if (value instanceof Error) throw value;
    return value;
  }, { resetTimeout: 60_000 });
  const opened = new Promise(resolve => breaker.once('open', () => resolve('open')));
  const answers = [await breaker.fire('first')];
  answers.push(await breaker.fire(new Error('down')).catch(error => error.message));
  answers.push(await breaker.fire(new Error('down again')).catch(error => error.message));
  breaker.open();
  answers.push(await opened);
  answers.push(await breaker.fire('rejected').catch(error => error.code));
  answers.push(await retry(async (bail, attempt) => {
    if (attempt < 3) throw new Error(`attempt ${attempt}`);
    return `attempt ${attempt}`;
  }, { minTimeout: 1 }));
  answers.push(breaker.stats.fires);
  breaker.shutdown();
  console.log(JSON.stringify({ node: process.version, answers }));
}

main(process.argv[2] ?? 'sekering');
