'use strict';

// One service under load: a cluster of workers on one port. Which one, its argument says.

const cluster = require('node:cluster');
const { once } = require('node:events');

const { given, serve } = require('./processes');
const subjects = require('./subjects');

async function work () {
  const { subject, ...options } = given();
  const { url, close } = await subjects[subject](options);
  process.on('message', ({ id }) => process.send({ id, usage: process.cpuUsage() }));
  process.on('disconnect', async () => {
    await close();
    process.exit();
  });
  process.send({ url });
}

/** CPU of the workers, in microseconds. */
async function usageOf (workers, id) {
  const usages = await Promise.all(workers.map(async worker => {
    worker.send({ id });
    const [{ usage }] = await once(worker, 'message');
    return usage.user + usage.system;
  }));
  return usages.reduce((sum, usage) => sum + usage, 0);
}

async function lead () {
  const { workers: count } = given();
  cluster.setupPrimary({ exec: __filename, args: process.argv.slice(2) });
  const workers = Array.from({ length: count }, () => cluster.fork());
  cluster.on('exit', (worker, code, signal) => {
    if (worker.exitedAfterDisconnect) return;
    process.stderr.write(`A worker ended with ${signal ?? code}\n`);
    process.exit(1);
  });
  const ready = await Promise.all(workers.map(worker => once(worker, 'message')));
  const stop = () => Promise.all(workers.map(worker => {
    worker.disconnect();
    return once(worker, 'exit');
  }));
  serve({ usage: () => usageOf(workers) }, ready[0][0].url, stop);
}

if (cluster.isPrimary) lead();
else work();
