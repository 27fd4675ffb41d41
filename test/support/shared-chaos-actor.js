'use strict';

// One of the processes of the chaos test: two threads that fire, and write down what they see.
// A line is written at once by one system call, so that a process killed in the midst of its work
// leaves whole lines. Times are of the host's monotonic clock.

const fs = require('node:fs');
const { Worker, isMainThread, threadId, workerData } = require('node:worker_threads');

const { CircuitBreaker } = require('../../lib');

const { file, options } = isMainThread ? JSON.parse(process.argv[2]) : workerData;
const log = fs.openSync(file, 'a');
const environment = `${process.pid}.${threadId}`;

const nowMs = () => Number(process.hrtime.bigint() / 1000n) / 1000;
function write (what, more) {
  fs.writeSync(log, `${JSON.stringify({ environment, at: nowMs(), what, ...more })}\n`);
}

const pause = ms => new Promise(resolve => { setTimeout(resolve, ms); });
let probe = 0;

async function action (works) {
  const isProbe = breaker.halfOpen;
  const number = ++probe;
  // Of which half-open period: the number of transitions so far, above the state.
  if (isProbe) write('probe begins', { number, period: breaker._period() >>> 2 });
  // Long enough to be killed in.
  await pause(isProbe ? 30 * Math.random() : 1);
  if (isProbe) write('probe ends', { number });
  if (!works) throw new Error('refused');
}

const breaker = new CircuitBreaker(action, options);
for (const event of ['open', 'halfOpen', 'close']) breaker.on(event, () => write(event));
breaker.on('missed', count => write('missed', { count }));
process.on('warning', ({ message }) => write('warning', { message }));
process.on('uncaughtException', error => {
  write('crash', { stack: error.stack });
  process.exit(1);
});

let resting = false;

async function work () {
  write('starts', { state: breaker.toJSON().state });
  for (;;) {
    if (resting) {
      await pause(10);
      continue;
    }
    const sick = Math.floor(nowMs() / 400) % 3 === 0;
    await breaker.fire(!sick || Math.random() < 0.1).catch(() => {});
    await pause(4 * Math.random());
  }
}

function stateOf ({ opened, halfOpen }) {
  return opened ? 'open' : halfOpen ? 'halfOpen' : 'closed';
}

/** What the test asks at the end: to rest, and then which state each thread sees. */
function obey (message, answer) {
  if (message === 'rest') resting = true;
  if (message === 'open') breaker.open();
  answer({ message, state: stateOf(breaker) });
}

if (isMainThread) {
  const worker = new Worker(__filename, { workerData: { file, options } });
  process.on('message', message => {
    obey(message, answer => process.send(answer));
    worker.postMessage(message);
  });
  worker.on('message', answer => process.send(answer));
} else {
  const { parentPort } = require('node:worker_threads');
  parentPort.on('message', message => obey(message, answer => parentPort.postMessage(answer)));
}
work();
