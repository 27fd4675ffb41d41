'use strict';

// A store with payments in a process of its own, which can be killed at any moment. What its hooks
// are told, its parent hears, and decides how they end. Calls of a process that dies reject with a
// `Died`, and may have been done or not.

const { fork } = require('node:child_process');
const { once } = require('node:events');

const { MidtransClient } = require('../../lib/clients/midtrans');
const { openStore } = require('../../lib/store');
const { KEY } = require('./midtrans-helpers');
const { until } = require('./outbox-helpers');
const { openKeyed } = require('./payment-helpers');

const HOOKS = ['onPaid', 'onDenied', 'onFailed', 'onRefund', 'onRefunded', 'onChargeback',
  'onTransition'];
const BACKOFF = { strategy: 'fixed', minTimeout: 5 };
const TIMEOUT_MS = 500;

/** A client of a fake, whose breaker is soon half open. */
const connect = url => new MidtransClient({
  serverKey: KEY, baseUrls: { snap: url, core: url }, timeout: TIMEOUT_MS,
  breaker: { resetTimeout: 20 }, retry: { retries: 1, minTimeout: 1, randomize: false },
});

/** A store whose messages are tried often and soon. `hear(hook, order, transition)`: its hooks. */
async function openPayments (place, midtrans, hear) {
  const hooks = Object.fromEntries(HOOKS.map(name => [name, (...args) => hear(name, ...args)]));
  const store = await openStore({ ...place, payments: { midtrans, hooks } });
  for (const channel of Object.keys(store.payments.senders())) {
    store.outbox.registerChannel(channel, { maxAttempts: 100, backoff: BACKOFF });
  }
  store.on('warning', () => {});
  store.payments.on('warning', () => {});
  return store;
}

/** What lapsed is taken back, although a round has just been made. */
async function sweep ({ outbox }) {
  const { leases } = outbox.createWorker({ channels: { EMAIL: () => {} } });
  const { time } = await leases.sweep({ limit: 1000 });
  await leases.sweep({ limit: 1000, before: time });
}

// ---- The parent --------------------------------------------------------------------------------

class Died extends Error {
  name = 'Died';
}

class RemoteStore {
  #child;
  #calls = new Map();
  #count = 0;
  #closed;

  /** @param {object} place url or directory, schema */
  static async start (place, url, hear) {
    const store = new RemoteStore();
    const child = fork(__filename, [JSON.stringify({ place, url })], { serialization: 'advanced' });
    store.#child = child;
    store.#closed = once(child, 'close').then(() => {
      for (const { reject } of store.#calls.values()) reject(new Died());
      store.#calls.clear();
    });
    child.on('message', ({ id, hook, args, value, error }) => {
      if (hook !== undefined) store.#hear(id, () => hear(hook, ...args));
      else store.#settle(id, value, error);
    });
    const payments = ['createOrder', 'defer', 'open', 'get', 'list', 'events', 'listEvents',
      'handleNotification', 'reconcile', 'review'];
    store.payments = Object.fromEntries(payments.map(name =>
      [name, (...args) => store.#call('payments', name, args)]));
    await store.#call('ready');
    return store;
  }

  openKeyed (...args) { return this.#call('openKeyed', ...args); }
  query (...args) { return this.#call('query', ...args); }
  sweep () { return this.#call('sweep'); }
  startWorker (options) { return this.#call('startWorker', options); }
  stopWorker (options) { return this.#call('stopWorker', options); }
  closeBreaker () { return this.#call('closeBreaker'); }

  async kill () {
    this.#child.kill('SIGKILL');
    await this.#closed;
  }

  #call (...message) {
    return new Promise((resolve, reject) => {
      if (!this.#child.connected) {
        reject(new Died());
        return;
      }
      const id = this.#count++;
      this.#calls.set(id, { resolve, reject });
      // If it cannot be sent, the process has died.
      this.#child.send({ id, message }, () => {});
    });
  }

  #settle (id, value, error) {
    const { resolve, reject } = this.#calls.get(id);
    this.#calls.delete(id);
    if (error === undefined) resolve(value);
    else reject(Object.assign(new Error(error.message), error));
  }

  /** A hook of the process waits for its end. */
  async #hear (id, work) {
    let error;
    try {
      await work();
    } catch ({ message }) {
      error = message;
    }
    if (this.#child.connected) this.#child.send({ id, error }, () => {});
  }
}

// ---- The process -------------------------------------------------------------------------------

async function serve ({ place, url }) {
  const hooks = new Map();
  let count = 0;
  const hear = (hook, order, transition) => new Promise((resolve, reject) => {
    hooks.set(count, { resolve, reject });
    process.send({ id: count++, hook, args: [order, transition] });
  });
  const midtrans = connect(url);
  let store;
  // The server may be restarting.
  await until(async () => {
    try {
      store = await openPayments(place, midtrans, hear);
      return true;
    } catch (error) {
      if (error.retryable) return false;
      throw error;
    }
  });
  let worker;
  const commands = {
    ready: () => {},
    payments: (name, args) => store.payments[name](...args),
    openKeyed: (...args) => openKeyed(store, ...args),
    query: async (...args) => ({ rows: (await store.query(...args)).rows }),
    sweep: () => sweep(store),
    async startWorker (options) {
      worker = store.outbox.createWorker({ channels: store.payments.senders(), ...options });
      worker.on('warning', () => {});
      await worker.start();
    },
    stopWorker: options => worker?.stop(options),
    closeBreaker: () => midtrans.breaker.close(),
  };
  process.on('message', ({ id, message, error }) => {
    if (message === undefined) {
      const { resolve, reject } = hooks.get(id);
      hooks.delete(id);
      if (error === undefined) resolve();
      else reject(new Error(error));
      return;
    }
    const [command, ...args] = message;
    Promise.resolve().then(() => commands[command](...args)).then(
      value => process.send({ id, value }),
      ({ name, code, message: text, retryable }) =>
        process.send({ id, error: { name, code, message: text, retryable } }));
  });
  process.on('disconnect', () => process.exit());
}

module.exports = { RemoteStore, connect, openPayments, sweep };

if (require.main === module) serve(JSON.parse(process.argv[2]));
