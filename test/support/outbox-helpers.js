'use strict';

// What tests of the outbox share: a store that is emptied between tests, and ways to wait.

const { openStore } = require('../../lib/store');

const CHANNELS = {
  JOB: { backoff: { strategy: 'fixed', minTimeout: 20 } },
  SLOW: { backoff: { strategy: 'fixed', minTimeout: 60_000 } },
};

/**
 * To be called in describeEngines: opens a store before all tests, empties it before each.
 * @returns {{ store: object, worker: (options: object) => object }} `worker` is stopped after its
 *   test, and must have warned of nothing unless `warns` is true
 */
function outboxOf (place, { channels = CHANNELS } = {}) {
  const it = { workers: [], warnings: [] };
  beforeAll(async () => {
    it.place = await place();
    it.store = await openStore({ ...it.place, channels });
  });
  beforeEach(async () => {
    it.warnings = [];
    await it.store.query('TRUNCATE sekering.notification_outbox RESTART IDENTITY');
  });
  afterEach(async () => {
    await Promise.all(it.workers.splice(0).map(worker => worker.stop({ timeout: 0 })));
    expect(it.warnings).toEqual([]);
  });
  afterAll(() => it.store?.close());
  it.worker = async (channels, options) => {
    const worker = it.store.outbox.createWorker({ channels, pollInterval: 100, ...options });
    worker.on('warning', error => it.warnings.push(error));
    it.workers.push(worker);
    // Messages that are there already may have an end before `start` is done.
    const noted = ENDS.map(event => {
      const found = [];
      const note = (...args) => found.push(args);
      worker.on(event, note);
      return { event, found, note };
    });
    await worker.start();
    for (const { event, note } of noted) worker.off(event, note);
    early.set(worker, Object.fromEntries(noted.map(({ event, found }) => [event, found])));
    return worker;
  };
  it.row = async id => (await it.store.outbox.list()).find(row => row.id === id);
  it.statuses = async () =>
    (await it.store.outbox.list({ limit: 1000 })).map(({ status }) => status).reverse();
  return it;
}

const ENDS = ['sent', 'retry', 'dead'];

/** By worker and event: what happened while it started, and nobody has asked for yet. */
const early = new WeakMap();

/**
 * Waits for so many events of an emitter from now on, or from the start of a worker: the list of
 * their arguments.
 */
function events (emitter, event, count = 1) {
  return new Promise(resolve => {
    const found = early.get(emitter)?.[event]?.splice(0) ?? [];
    const isEnough = () => found.length >= count;
    if (isEnough()) {
      resolve(found);
      return;
    }
    const listener = (...args) => {
      found.push(args);
      if (!isEnough()) return;
      emitter.off(event, listener);
      resolve(found);
    };
    emitter.on(event, listener);
  });
}

/** A promise, with what settles it. */
function gate () {
  const it = {};
  it.promise = new Promise((resolve, reject) => Object.assign(it, { resolve, reject }));
  return it;
}

/** Waits until `look` finds something. */
async function until (look) {
  for (;;) {
    const found = await look();
    if (found) return found;
    await new Promise(resolve => { setTimeout(resolve, 5); });
  }
}

module.exports = { CHANNELS, events, gate, outboxOf, until };
