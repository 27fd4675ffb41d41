'use strict';

// A host of a fleet in a process of its own: does what it is asked to, and tells what happens.
//   node clock-actor.js '{ "url", "pattern": of its job, "failures": of its first attempts }'

const { CircuitBreaker } = require('../..');
const { Schedule } = require('../../lib/gateway/schedule');
const { openStore } = require('../../lib/store');

const { url, pattern = false, failures = 0 } = JSON.parse(process.argv[2]);
const tell = (event, value) => process.send({ event, value });

async function main () {
  const channels = { JOB: { backoff: { strategy: 'fixed', minTimeout: 100 } } };
  const store = await openStore({ url, channels });
  const breaker = new CircuitBreaker(async () => {}, { name: 'shared', resetTimeout: 300_000 });
  breaker.on('open', () => tell('open')).on('close', () => tell('closed'));
  await store.fleet.join(breaker);

  let holds = false;
  const job = async () => {
    if (pattern !== false) {
      await store.query(`INSERT INTO public.slots (slot, at)
        SELECT slot, now() FROM sekering.schedule_jobs`);
    }
    if (!holds) return;
    tell('begun');
    await new Promise(() => {});
  };
  const schedule = new Schedule({
    store, timezone: 'UTC', jobs: { job: { pattern, run: job } }, onDone: () => {},
  });
  schedule.start();

  let attempts = 0;
  const send = async () => { if (++attempts <= failures) throw new Error('not yet'); };
  const acts = {
    enqueue: message => store.outbox.enqueue(message).then(() => {}),
    work: async () => {
      const worker = store.outbox.createWorker({ channels: { JOB: send }, pollInterval: 50 });
      worker.on('sent', ({ body }) => tell('sent', body)).on('retry', () => tell('retry'));
      await worker.start();
    },
    trip: () => breaker.open(),
    close: () => breaker.close(),
    state: () => breaker.opened,
    run: () => schedule.run('job'),
    hold: () => {
      holds = true;
      schedule.run('job');
    },
  };
  process.on('message', async ({ what, argument }) => tell(what, await acts[what](argument)));
  process.on('disconnect', () => process.exit(0));
  tell('started');
}

main();
