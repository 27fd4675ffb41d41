'use strict';

// An HTTP service with four workers (node:cluster) whose upstream goes down and comes back. It runs
// twice: with one breaker per process, as usual, and with one for the host. It counts the calls
// that reach the upstream while it is down: each of them is a customer who waits in vain.

const cluster = require('node:cluster');
const http = require('node:http');

const { CircuitBreaker, regions } = require('sekering');

const WORKERS = 4;
const REQUESTS_PER_PHASE = 200;
const AT_ONCE = 4;
const OUTAGE_MS = 1000;
const NAMESPACE = `example-${cluster.isPrimary ? process.pid : process.env.PRIMARY}`;

// A worker's connections to its upstream.
const agent = new http.Agent({ keepAlive: true });

function get (port, by) {
  return new Promise((resolve, reject) => {
    http.get({ port, agent: by }, response => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    }).on('error', reject);
  });
}

function listening (server) {
  return new Promise(resolve => {
    server.listen(0, '127.0.0.1', () => resolve(server.address().port));
  });
}

// ---- A worker of the service -------------------------------------------------------------------

async function callUpstream () {
  const status = await get(Number(process.env.UPSTREAM), agent);
  if (status >= 500) throw new Error(`The upstream answered ${status}`);
}

function serve () {
  const breaker = new CircuitBreaker(callUpstream, {
    name: 'upstream',
    scope: process.env.SCOPE, // With 'host', the four workers share one breaker.
    namespace: NAMESPACE,
    consecutiveFailures: 10,
    resetTimeout: 250
  });
  http.createServer((request, response) => {
    breaker.fire().then(() => response.writeHead(200), () => response.writeHead(503))
      .then(() => response.end());
  }).listen(0, '127.0.0.1'); // Any free port; workers get the same one.
}

// ---- The upstream, its customers, and the outage -----------------------------------------------

async function startService (scope, upstreamPort) {
  cluster.schedulingPolicy = cluster.SCHED_RR;
  const env = { SCOPE: scope, UPSTREAM: upstreamPort, PRIMARY: process.pid };
  const workers = Array.from({ length: WORKERS }, () => cluster.fork(env));
  const [{ port }] = await Promise.all(workers.map(worker =>
    new Promise(resolve => { worker.once('listening', resolve); })));
  const stop = () => Promise.all(workers.map(worker =>
    new Promise(resolve => { worker.once('exit', resolve).kill(); })));
  return { port, stop };
}

/** Customers who send requests, one after another, until `until` returns true. */
async function customers (port, until) {
  const answers = { 200: 0, 503: 0 };
  let asked = 0;
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    while (!until(asked, answers)) {
      asked += 1;
      // Without keep-alive, so that each connection may reach another worker.
      answers[await get(port, false)] += 1;
    }
  }));
  return answers;
}

async function measure (scope) {
  const upstream = { down: false, calls: 0 };
  const server = http.createServer((request, response) => {
    upstream.calls += 1;
    response.writeHead(upstream.down ? 500 : 200).end();
  });
  const service = await startService(scope, await listening(server));
  const enough = asked => asked >= REQUESTS_PER_PHASE;
  await customers(service.port, enough);

  upstream.down = true;
  upstream.calls = 0;
  const outageEnds = performance.now() + OUTAGE_MS;
  const during = await customers(service.port,
    asked => enough(asked) && performance.now() >= outageEnds);
  const calls = upstream.calls;

  upstream.down = false;
  const recoversBy = performance.now() + 20 * OUTAGE_MS;
  const after = await customers(service.port,
    (asked, answers) => answers[200] >= REQUESTS_PER_PHASE || performance.now() > recoversBy);
  await service.stop();
  server.close();
  return { calls, refused: during[503], recovered: after[200] >= REQUESTS_PER_PHASE };
}

async function main () {
  for (const scope of ['instance', 'host']) {
    const { calls, refused, recovered } = await measure(scope);
    console.log(`scope '${scope}': ${calls} calls reached the dead upstream, ` +
      `${refused} requests were answered with 503; ` +
      (recovered ? 'recovered' : 'did not recover'));
  }
  regions.remove(NAMESPACE);
}

if (cluster.isPrimary) main();
else serve();
