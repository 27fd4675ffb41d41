'use strict';

// One service under load: a cluster of workers on one port. Which one, its argument says.

const cluster = require('node:cluster');
const { once } = require('node:events');

const { given, serve } = require('./processes');
const subjects = require('./subjects');

/** Counts what this process asks of pg from now on: each statement is a round trip. */
function countStatements () {
  const { Client } = require('pg');
  const { query } = Client.prototype;
  const counts = { statements: 0 };
  Client.prototype.query = function countedQuery (...args) {
    counts.statements += 1;
    return query.apply(this, args);
  };
  return counts;
}

async function work () {
  const counts = countStatements();
  const { subject, ...options } = given();
  const { url, close } = await subjects[subject](options);
  process.on('message', ({ id }) => process.send({
    id, usage: process.cpuUsage(), rss: process.memoryUsage.rss(), ...counts,
  }));
  process.on('disconnect', async () => {
    await close();
    process.exit();
  });
  process.send({ url });
}

/** The sum of what the workers answer. */
async function sumOf (workers, valueOf) {
  const values = await Promise.all(workers.map(async worker => {
    worker.send({});
    const [answer] = await once(worker, 'message');
    return valueOf(answer);
  }));
  return values.reduce((sum, value) => sum + value, 0);
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
  serve({
    // CPU, in microseconds.
    usage: () => sumOf(workers, ({ usage }) => usage.user + usage.system),
    statements: () => sumOf(workers, ({ statements }) => statements),
    // Bytes in memory.
    memory: () => sumOf(workers, ({ rss }) => rss),
  }, ready[0][0].url, stop);
}

if (cluster.isPrimary) lead();
else work();
