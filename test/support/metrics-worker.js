'use strict';

// A worker of a cluster for test/integration/http-metrics.test.js: a breaker of the host, many of
// its own, and metrics that the primary process adds up. As the primary: it starts two, and tells
// the sums, those of prom-client and ours.

const cluster = require('node:cluster');
const { once } = require('node:events');
const http = require('node:http');
const { promisify } = require('node:util');

const client = require('prom-client');

const { CircuitBreaker } = require('../..');
const { createDegradation } = require('../../lib/gateway');
const { createClusterMetrics, createMetrics } = require('../../lib/http');

const WORKERS = 2;
const NAMES = 300;

async function work () {
  const breaker = new CircuitBreaker(async fails => {
    if (fails) throw new Error('down');
  }, {
    name: 'midtrans', scope: 'host', namespace: process.env.NAMESPACE,
    errorThresholdPercentage: 90, volumeThreshold: 1000, fallback: () => 'later',
  });
  const degradation = createDegradation({ services: { midtrans: breaker } });
  await degradation.start();
  const many = Array.from({ length: NAMES }, (_, i) =>
    new CircuitBreaker(async () => {}, { name: `shop "${i}"` }));
  for (const each of many) await each.fire();
  const retries = { load: { stats: { calls: 1, retries: 1, successes: cluster.worker.id % 2,
    failures: 1, delays: 1, totalDelay: 100 } } };
  const { registry } = createMetrics({ degradation, retries, maxNames: NAMES + 1, cluster: true });
  client.AggregatorRegistry.setRegistries([registry]);
  new client.AggregatorRegistry(); // Answers the primary's questions from now on.
  process.on('message', async message => {
    if (message === 'call') {
      for (let i = 0; i < 30; i++) await breaker.fire(i % 3 === 0);
      process.send('called');
    } else if (message === 'open') breaker.open();
    else if (message === 'end') process.exit(0);
  });
  breaker.on('open', () => process.send('opened'));
  process.send('ready');
}

/** What is large is not there yet when send() returns. */
const tell = message => promisify(process.send).call(process, message);

async function lead () {
  const registry = new client.AggregatorRegistry();
  const workers = Array.from({ length: WORKERS }, () => cluster.fork());
  const hear = async word => {
    await Promise.all(workers.map(async worker => {
      while ((await once(worker, 'message'))[0] !== word);
    }));
  };
  await hear('ready');
  const called = hear('called');
  for (const worker of workers) worker.send('call');
  await called;
  const opened = hear('opened');
  workers[0].send('open');
  await opened;
  const metrics = createClusterMetrics();
  const server = http.createServer(metrics.handler).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const read = async () => {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}`);
    return { status: answer.status, text: await answer.text() };
  };
  // Of the parts that the primary takes, the largest.
  let lines = 0;
  cluster.on('message', (worker, { text }) => {
    lines = Math.max(lines, text?.split('\n').length ?? 0);
  });
  const { text: ours } = await read();
  const theirs = await registry.clusterMetrics();
  const exits = workers.map(worker => once(worker, 'exit'));
  // It ends before it answers.
  workers[0].send('end');
  const { status: ofOneThatLeft } = await read();
  await exits[0];
  const { text: ofTheOther } = await read();
  await tell({ ours, theirs, lines, ofOneThatLeft, ofTheOther });
  workers[1].send('end');
  await exits[1];
  metrics.close();
  server.closeAllConnections();
  server.close();
  process.disconnect();
}

if (cluster.isPrimary) lead();
else work();
