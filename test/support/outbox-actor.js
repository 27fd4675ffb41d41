'use strict';

// A worker in a process of its own, for tests that kill and stop it. What it sends goes to an HTTP
// server of the test's, which is what counts.

const http = require('node:http');

const { openStore } = require('../../lib/store');

const { url, effects, worker: options, concurrency } = JSON.parse(process.argv[2]);
const agent = new http.Agent({ keepAlive: true });

function post (path) {
  return new Promise((resolve, reject) => {
    const request = http.request(`${effects}${path}`, { agent, method: 'POST' }, answer => {
      answer.resume();
      answer.on('end', resolve);
    });
    request.on('error', reject);
    request.end();
  });
}

async function send ({ id, recipient, reference }) {
  if (recipient === 'killer') process.kill(process.pid, 'SIGKILL');
  await post(`/${id}?reference=${reference}`);
}

async function main () {
  const store = await openStore({ url, channels: { JOB: { maxAttempts: 3 } } });
  const worker = store.outbox.createWorker({
    channels: { JOB: { send, concurrency } }, ...options,
  });
  for (const event of ['fenced', 'warning']) {
    worker.on(event, what => process.send?.({ event, id: what.id, message: what.message }));
  }
  store.on('warning', () => {});
  process.on('disconnect', () => process.exit(0));
  process.once('SIGTERM', async () => {
    await worker.stop({ timeout: 0 });
    await store.close();
    // From here on only what is still being sent keeps it alive.
    process.removeAllListeners('disconnect').disconnect();
  });
  await worker.start();
  // Once signals are heard: whoever reads this may send one at once.
  process.send({ event: 'started' });
}

main();
