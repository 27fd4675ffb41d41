'use strict';

// Random operations on the outbox while three workers send, one of which dies. What must hold is
// said by a simple model of each message: it is sent, dead for a reason, or cancelled; those of a
// key go one at a time and in their order; nothing is sent while the breaker is open; attempts are
// counted. What a sender does depends on the seed, the message and the attempt, and nothing else.

const { once } = require('node:events');
const { setImmediate: turn } = require('node:timers/promises');

const CircuitBreaker = require('../../lib/primitives/breaker');
const { NonRetryableError } = require('../../lib/primitives/classify');
const { gate, outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');
const { Dice } = require('../support/random');

const SEEDS = Array.from({ length: process.env.SEKERING_CHAOS_SECONDS ? 40 : 2 }, (_, i) => i + 1);
const STEPS = 50;
const WORKERS = 3;
const ATTEMPTS = 3;
// What is brought back from the dead letters is sent in the end.
const CALLS_MAX = 8;
const KEYS = [undefined, undefined, 'k', 'l', 'm'];
const CHANNELS = { JOB: { backoff: { strategy: 'fixed', minTimeout: 20 }, maxAttempts: ATTEMPTS } };
// Living workers never lose a lease, however slow the machine is.
const LEASE_MS = 300_000;
const LEASES_CALLS = ['claim', 'settle', 'extend', 'readTime', 'sweep', 'buryUnknown',
  'findSnapshot'];

const COUNTED = ['sent', 'failed', 'never', 'late'];
const PLANS = ['sent', 'sent', 'sent', 'sent', 'sent', 'failed', 'failed', 'never', 'late', 'busy'];
const OVER = ['SENT', 'DLQ', 'CANCELLED'];

/** Takes so many turns of the event loop, or until the signal aborts. */
async function work (turns, signal) {
  if (turns === Infinity && !signal.aborted) await once(signal, 'abort');
  for (let done = 0; done < turns && !signal.aborted; done++) await turn();
  signal.throwIfAborted();
}

/** What senders did, by message. Messages are known by their recipient, a number. */
class Model {
  messages = new Map();
  faults = [];
  /** Recipients in the order in which they were sent. */
  sent = [];

  constructor (seed, breaker) {
    this.seed = seed;
    this.breaker = breaker;
  }

  add (orderKey) {
    const recipient = String(this.messages.size + 1);
    this.messages.set(recipient, {
      recipient, orderKey, calls: 0, outcomes: [], confirmed: 0, isUnsure: false, worker: undefined,
    });
    return recipient;
  }

  /** The sender of one worker. */
  senderOf (worker) {
    return async ({ recipient }, { signal }) => {
      // The process is gone.
      if (worker.isDead) return new Promise(() => {});
      const message = this.messages.get(recipient);
      this.checkCall(message);
      message.worker = worker;
      const dice = new Dice(this.seed * 1e6 + recipient * 100 + message.calls++);
      const plan = message.calls > CALLS_MAX ? 'sent' : dice.pick(PLANS);
      let outcome = 'stopped';
      try {
        await work(plan === 'late' ? Infinity : dice.pick([1, 1, dice.below(200)]), signal);
        outcome = plan;
        return this.act(plan);
      } catch (error) {
        if (error.code === 'ETIMEDOUT') outcome = 'late';
        throw error;
      } finally {
        if (!worker.isDead) this.end(message, outcome);
      }
    };
  }

  checkCall ({ recipient, orderKey, worker }) {
    if (this.breaker.opened) this.faults.push(`${recipient} while the breaker is open`);
    if (worker !== undefined) this.faults.push(`${recipient} twice at once`);
    if (orderKey === undefined) return;
    for (const other of this.messages.values()) {
      if (other.orderKey === orderKey && other.worker !== undefined) {
        this.faults.push(`${recipient} beside ${other.recipient}`);
      }
    }
  }

  act (plan) {
    if (plan === 'failed') throw new Error('no luck');
    if (plan === 'never') throw new NonRetryableError('never');
    if (plan === 'busy') {
      throw Object.assign(new Error('busy'), { code: 'ERATELIMITED', retryAfterMs: 10 });
    }
    return undefined;
  }

  end (message, outcome) {
    message.worker = undefined;
    message.outcomes.push(outcome);
    if (outcome === 'sent') this.sent.push(message.recipient);
  }

  /** A worker has told what it wrote. */
  confirm ({ recipient }) { this.messages.get(recipient).confirmed++; }

  /** A worker dies: whether its last outcomes were written is not known. */
  lose (worker) {
    worker.isDead = true;
    for (const message of this.messages.values()) {
      const counted = message.outcomes.filter(outcome => COUNTED.includes(outcome)).length;
      if (message.worker === worker || counted > message.confirmed) message.isUnsure = true;
      if (message.worker === worker) message.worker = undefined;
    }
  }

  /** What is wrong with a row, if something is. */
  faultOf ({ recipient, status, attemptCount, errorHistory }) {
    const { outcomes, isUnsure, isCancelled } = this.messages.get(recipient);
    if (isCancelled) return status === 'CANCELLED' ? undefined : `${status}, although cancelled`;
    const counted = outcomes.filter(outcome => COUNTED.includes(outcome));
    const sent = counted.filter(outcome => outcome === 'sent').length;
    if (status === 'SENT' && sent === 0) return 'never sent';
    if (isUnsure) {
      const mayBeDead = counted.includes('never') || counted.length >= ATTEMPTS;
      return status === 'SENT' || mayBeDead ? undefined : 'dead for no reason';
    }
    if (sent > 1) return `sent ${sent} times`;
    const last = counted.at(-1);
    const isDead = last === 'never' || (last !== 'sent' && counted.length === ATTEMPTS);
    const expected = [last === 'sent' ? 'SENT' : isDead && 'DLQ', counted.length,
      counted.length - sent].join();
    const found = [status, attemptCount, errorHistory.length].join();
    return found === expected ? undefined : `${found}, not ${expected} (${outcomes})`;
  }

  /** Messages of a key that were sent before an older one. */
  get disorder () {
    const first = [...new Set(this.sent)];
    return first.filter((recipient, i) => {
      const { orderKey } = this.messages.get(recipient);
      return orderKey !== undefined && first.slice(0, i).some(other => +other > +recipient &&
        this.messages.get(other).orderKey === orderKey);
    });
  }
}

/** A sequence of operations. */
class Run {
  workers = [];
  /** Transactions that are not committed yet. */
  open = [];

  /**
   * @param {object} store
   * @param {number} seed
   * @param {{ revives: boolean, openMax: number }} options whether dead letters are tried again,
   *   and how many transactions may be open at once: either ends the order of a key's messages
   */
  constructor (store, seed, { revives, openMax }) {
    this.store = store;
    this.dice = new Dice(seed);
    this.revives = revives;
    this.openMax = openMax;
    this.breaker = new CircuitBreaker(async () => {}, { resetTimeout: 3_600_000 });
    this.model = new Model(seed, this.breaker);
  }

  async begin () {
    for (let i = 0; i < WORKERS; i++) await this.startWorker();
    // It takes back what the dead one leaves.
    this.sweeper = this.store.outbox.createWorker({
      channels: { EMAIL: async () => {} }, leaseMs: 1000,
    });
    await this.sweeper.start();
  }

  async startWorker () {
    const { breaker, dice, model, store } = this;
    const handle = { isDead: false, isStopped: false };
    handle.worker = store.outbox.createWorker({
      channels: {
        JOB: {
          send: model.senderOf(handle), concurrency: dice.between(1, 5), timeout: 100, breaker,
        },
      },
      concurrency: 4, unsettled: dice.pick([0, 5]), batchSize: dice.pick([1, 3, 500]),
      leaseMs: LEASE_MS, pollInterval: 50,
    });
    for (const event of ['sent', 'retry', 'dead']) {
      handle.worker.on(event, message => model.confirm(message));
    }
    handle.worker.on('fenced', ({ recipient }) => {
      if (!handle.isDead) model.faults.push(`${recipient} was fenced`);
    });
    this.workers.push(handle);
    await handle.worker.start();
  }

  async step () {
    const { dice } = this;
    const what = dice.below(100);
    if (what < 60) await this.enqueue();
    else if (what < 68) await this.startOrStop(dice.pick(this.workers));
    else if (what < 76) this.breaker[this.breaker.opened ? 'close' : 'open']();
    else if (what < 84) await this.giveUpOrRevive();
    else if (what < 90 && this.open.length > 0) await this.commit();
    // The others go on while the database answers.
    else for (let i = dice.below(10); i > 0; i--) await this.store.query('SELECT 1');
  }

  async enqueue () {
    const { dice, model, store } = this;
    const messages = Array.from({ length: dice.between(1, 5) }, () => {
      const orderKey = dice.pick(KEYS);
      return {
        channel: 'JOB', recipient: model.add(orderKey), orderKey, priority: dice.between(-1, 1),
        delay: dice.pick([0, 0, 0, 30]),
      };
    });
    if (this.openMax === 0 || dice.chance(0.5)) {
      await store.outbox.enqueue(messages);
      return;
    }
    if (this.open.length === this.openMax) await this.commit();
    const [taken, end] = [gate(), gate()];
    const done = store.transaction(async client => {
      await store.outbox.enqueue(messages, { client });
      taken.resolve();
      await end.promise;
    });
    await Promise.race([taken.promise, done]);
    this.open.push({ end, done });
  }

  async commit () {
    const { end, done } = this.dice.take(this.open);
    end.resolve();
    await done;
  }

  async startOrStop (handle) {
    if (handle.isDead) return;
    handle.isStopped = !handle.isStopped;
    if (handle.isStopped) await handle.worker.stop({ timeout: this.dice.pick([0, 20, 1000]) });
    else await handle.worker.start();
  }

  async giveUpOrRevive () {
    const { dice, model, store } = this;
    if (this.revives) {
      await store.deadLetters.retryMany({ limit: dice.between(1, 3) });
      return;
    }
    const message = dice.pick([...model.messages.values()]);
    const rows = message === undefined ? [] : await store.outbox.list({ limit: 1000 });
    const row = rows.find(({ recipient }) => recipient === message.recipient);
    if (row !== undefined && await store.outbox.cancel(row.id)) message.isCancelled = true;
  }

  /** One process ends: whatever it had under way is never answered. */
  crash () {
    const handle = this.dice.pick(this.workers);
    this.model.lose(handle);
    const { leases } = handle.worker;
    this.deadOwner = leases.owner;
    for (const call of LEASES_CALLS) leases[call] = () => new Promise(() => {});
    return handle;
  }

  /** From now on all goes well. */
  async finish () {
    while (this.open.length > 0) await this.commit();
    this.breaker.close();
    for (const handle of this.workers) if (handle.isStopped) await this.startOrStop(handle);
    await until(async () => {
      await this.store.query(`UPDATE sekering.notification_outbox SET lease_until = now()
        WHERE lease_owner = $1 AND status = 'SENDING' AND lease_until > now()`, [this.deadOwner]);
      // Some by themselves: then others of their keys are being sent.
      if (this.revives) await this.store.deadLetters.retryMany({ limit: this.dice.between(1, 3) });
      const rows = await this.store.outbox.list({ limit: 1000 });
      return rows.every(({ status }) => (this.revives ? ['SENT'] : OVER).includes(status));
    });
  }

  async end () {
    const workers = [...this.workers.map(({ worker }) => worker), this.sweeper];
    await Promise.all(workers.map(worker => worker.stop({ timeout: 0 })));
    this.breaker.shutdown();
  }

  /** All that is wrong. */
  async faults () {
    const { model, revives } = this;
    const rows = await this.store.outbox.list({ limit: 1000 });
    const faults = [...model.faults, ...rows.length === model.messages.size ? [] : ['lost']];
    for (const row of rows) {
      const fault = revives
        ? !model.sent.includes(row.recipient) && 'never sent'
        : model.faultOf(row);
      if (fault) faults.push(`${row.recipient}: ${fault}`);
    }
    if (!revives) faults.push(...model.disorder.map(recipient => `${recipient} in disorder`));
    return faults;
  }
}

describeEngines('whatever happens', ({ name, place }) => {
  const it = outboxOf(place, { channels: CHANNELS });

  test.each(SEEDS)('each message is sent, or is dead for a reason: seed %d', async seed => {
    const revives = seed % 2 === 0;
    // On PGlite a transaction that is open keeps all others waiting.
    const openMax = revives && name === 'postgresql' ? 4 : 0;
    const run = new Run(it.store, seed, { revives, openMax });
    await run.begin();
    try {
      for (let i = 0; i < STEPS; i++) {
        if (i === STEPS / 2) run.crash();
        await run.step();
      }
      await run.finish();
      expect(await run.faults()).toEqual([]);
    } finally {
      await run.end();
    }
  });
});
