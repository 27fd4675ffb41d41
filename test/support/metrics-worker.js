'use strict';

// A worker of a cluster for test/integration/http-metrics.test.js: a breaker of the host, and
// metrics that the primary process adds up. As the primary: it starts two, and tells the sums.

const cluster = require('node:cluster');
const { once } = require('node:events');

const client = require('prom-client');

const { CircuitBreaker } = require('../..');
const { createDegradation } = require('../../lib/gateway');
const { createMetrics } = require('../../lib/http');

const WORKERS = 2;

async function work () {
  const breaker = new CircuitBreaker(async fails => {
    if (fails) throw new Error('down');
  }, {
    name: 'midtrans', scope: 'host', namespace: process.env.NAMESPACE,
    errorThresholdPercentage: 90, volumeThreshold: 1000, fallback: () => 'later',
  });
  const degradation = createDegradation({ services: { midtrans: breaker } });
  await degradation.start();
  const { registry } = createMetrics({ degradation });
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
  process.send(await registry.clusterMetrics());
  const exits = workers.map(worker => once(worker, 'exit'));
  for (const worker of workers) worker.send('end');
  await Promise.all(exits);
  process.disconnect();
}

if (cluster.isPrimary) lead();
else work();
