'use strict';

// Random operations on the outbox, and what disturbs it: workers die, lose leases and stop,
// connections are cut, PostgreSQL restarts. A model says what must hold; see support/outbox-model.
//
// SEKERING_SEEDS: how many sequences, default 100; SEKERING_SEED: only this one;
// SEKERING_CHAOS_SECONDS: as many as there is time for. A sequence that fails is printed, and then
// made shorter for as long as it still fails.

const { once } = require('node:events');
const { setImmediate: turn } = require('node:timers/promises');

const CircuitBreaker = require('../../lib/primitives/breaker');
const { NonRetryableError } = require('../../lib/primitives/classify');
const { openStore } = require('../../lib/store');
const { startTcpProxy } = require('../../lib/testing/tcp-proxy');
const { Model } = require('../support/outbox-model');
const { gate, until } = require('../support/outbox-helpers');
const { Dice, seedsOf } = require('../support/random');
const { Disturbed, describeRuns, operationsBy, server } = require('../support/random-runs');

const SEEDS = seedsOf(100);
const STEPS = 40;
const WORKERS = 3;
const LANES = { postgresql: 12, pglite: 2 };
const CONNECTIONS = 5;
// On PGlite a transaction that is open keeps all others waiting.
const OPEN_MAX = { postgresql: 3, pglite: 0 };
const backoff = { strategy: 'fixed', minTimeout: 5 };
const CHANNELS = { JOB: { backoff, maxAttempts: 3 }, ALSO: { backoff, maxAttempts: 2 } };
const KEYS = [undefined, undefined, 'k', 'l', 'm'];
const DEDUPE_KEYS = [undefined, undefined, undefined, 'p', 'q', 'r'];
// Living workers lose a lease only if it is taken from them, however slow the machine is.
const LEASE_MS = 300_000;
const TIMEOUT_MS = 150;
// When all goes well: how often to look before another worker begins, and how many of them.
const LOOKS_MAX = 200;
const ROUNDS_MAX = 50;
const LEASES_CALLS = ['claim', 'settle', 'mark', 'note', 'extend', 'sweep',
  'buryUnknown', 'findSnapshot'];
if (SEEDS.isLong) jest.setTimeout(7 * 24 * 3_600_000);

/** Takes so many turns of the event loop, or until the signal aborts. */
async function work (turns, signal) {
  if (turns === Infinity && !signal.aborted) await once(signal, 'abort');
  for (let done = 0; done < turns && !signal.aborted; done++) await turn();
  signal.throwIfAborted();
}

const failing = (message, more) => Object.assign(new Error(message), more);

const ERRORS = {
  failed: () => failing('no luck'),
  asked: () => failing('later', { retryAfterMs: 10 }),
  never: () => new NonRetryableError('never'),
  busy: () => failing('busy', { code: 'ERATELIMITED', retryAfterMs: 10 }),
  pause: () => failing('pause', { kind: 'pause', retryAfterMs: 20 }),
};

/** What happens, how often, and where it can. */
const operationsOf = operationsBy({
  enqueue: 40, cancel: 5, giveUp: 4, retry: 4, retryMany: 4, recover: 3, purge: 1, cleanUp: 1,
  breakerOpensOrCloses: 5, startOrStop: 6, die: 3, steal: 7, sweep: 6, cut: 4, end: 9, wait: 12,
}, STEPS, 0.002);

/** A place for one sequence after the other. */
class Lane {
  static async open (place, name, i) {
    const lane = new Lane();
    lane.name = name;
    const options = {
      channels: CHANNELS, connections: CONNECTIONS, schema: `lane_${i}`, ...place,
    };
    lane.direct = await openStore(options);
    lane.store = lane.direct;
    if (name === 'postgresql') {
      const { port } = new URL(place.url);
      lane.proxy = await startTcpProxy({ target: Number(port) });
      const url = place.url.replace(`:${port}`, `:${lane.proxy.port}`);
      lane.store = await openStore({ ...options, url });
    }
    for (const store of [lane.direct, lane.store]) store.on('warning', () => {});
    lane.sweeper = lane.direct.outbox.createWorker({ channels: { JOB: async () => {} } });
    lane.table = `${lane.direct.schema}.notification_outbox`;
    return lane;
  }

  async close () {
    await this.direct.close();
    if (this.store !== this.direct) await this.store.close();
    await this.proxy?.close();
  }
}

/** A sequence of operations. */
class Run extends Disturbed {
  workers = [];
  /** Transactions that are not committed yet. */
  open = [];

  constructor (lane, seed) {
    super();
    this.lane = lane;
    this.dice = new Dice(seed);
    this.breaker = new CircuitBreaker(async () => {}, { resetTimeout: 3_600_000 });
    // Each worker listens.
    this.breaker.setMaxListeners(Infinity);
    this.model = new Model(seed);
    this.model.isOpen = () => this.breaker.opened;
    // Its connections may still end of what an earlier sequence did to them.
    this.model.isUpset = () => lane.isHurt || server.restarts > 0;
  }

  /** All of it. @returns {Promise<string[]>} what is wrong */
  async play (operations) {
    await this.persist(() => this.lane.direct.query(`TRUNCATE ${this.lane.table}`));
    for (let i = 0; i < WORKERS; i++) await this.startWorker(this.dice);
    try {
      for (const { kind, seed } of operations) await this[kind](new Dice(seed));
      await this.finish();
      return await this.faults();
    } finally {
      await this.stopAll();
      this.breaker.shutdown();
    }
  }

  // ---- Calls of the store ----------------------------------------------------------------------

  /** Either store: one of them loses connections. */
  any (dice) { return dice.pick([this.lane.direct, this.lane.store]); }

  /** @returns {Promise<{ value: unknown } | undefined>} undefined: it may have been done, or not */
  async try (work) {
    try {
      return { value: await work() };
    } catch (error) {
      const isExpected = error.isOurs || (error.name === 'StoreError' && error.retryable &&
        this.model.isUpset());
      if (!isExpected) this.model.fault(error.stack);
      return undefined;
    }
  }

  /** Until it succeeds. */
  async persist (work) { return until(() => work().catch(() => false)); }

  // ---- Workers ---------------------------------------------------------------------------------

  async startWorker (dice) {
    const { breaker, model, lane } = this;
    const handle = {
      name: this.workers.length, isDead: false, isStopped: false, claims: new Map(), over: gate(),
    };
    handle.over.promise.catch(() => {});
    const channel = () => ({
      send: (message, context) => this.send(handle, message, context),
      concurrency: dice.between(1, 5), timeout: TIMEOUT_MS, breaker,
    });
    const worker = lane.store.outbox.createWorker({
      channels: { JOB: channel(), ALSO: channel() },
      concurrency: dice.between(2, 6), unsettled: dice.pick([0, 5]),
      batchSize: dice.pick([1, 3, 500]), leaseMs: LEASE_MS, pollInterval: 20,
    });
    handle.worker = worker;
    const { leases } = worker;
    const { claim } = leases;
    leases.claim = async asked => {
      const at = model.tick();
      const answer = await claim.call(leases, asked);
      for (const { message: { recipient } } of answer.messages) {
        const isAgain = handle.claims.has(recipient);
        handle.claims.set(recipient, { at, token: asked.token, isAgain });
      }
      return answer;
    };
    for (const event of ['sent', 'retry', 'dead']) {
      worker.on(event, message => model.written(handle, event, message));
    }
    worker.on('fenced', message => model.fenced(handle, message));
    worker.on('warning', error => {
      const isExpected = error.code === 'ERR_OUTBOX_LEFT_BEHIND' || error.retryable ||
        handle.isDead;
      if (!isExpected) model.fault(error.stack);
    });
    this.workers.push(handle);
    await worker.start();
  }

  async send (handle, message, { signal, attempt }) {
    // The process is gone.
    if (handle.isDead) return handle.over.promise;
    const { model } = this;
    const { plan, dice, call } = model.begin(handle, message, attempt);
    const began = performance.now();
    try {
      if (plan === 'held') await Promise.race([call.freed.promise, once(signal, 'abort')]);
      await work(plan === 'late' ? Infinity : dice.pick([1, 1, dice.below(200)]), signal);
    } catch (error) {
      if (handle.isDead) return handle.over.promise;
      const isLate = error.code === 'ETIMEDOUT';
      model.end(call, isLate ? 'late' : 'stopped');
      // It may have been late as well.
      if (!isLate && performance.now() - began > TIMEOUT_MS / 2) model.doubt(message);
      throw error;
    }
    if (handle.isDead) return handle.over.promise;
    const hasFailed = Object.hasOwn(ERRORS, plan);
    model.end(call, hasFailed ? plan : 'sent');
    if (hasFailed) throw ERRORS[plan]();
    return undefined;
  }

  /** Ends all workers: those that live have written all that there is to write. */
  async stopAll () {
    for (const { over } of this.workers) over.reject(new Error('The process is gone'));
    this.model.free();
    for (const timeout of [1000, 10_000]) {
      await Promise.all(this.workers.map(({ worker }) => worker.stop({ timeout })));
    }
  }

  get living () { return this.workers.filter(({ isDead }) => !isDead); }

  // ---- Operations ------------------------------------------------------------------------------

  async enqueue (dice) {
    const { lane, model, open } = this;
    const isInside = dice.chance(0.4);
    const messages = Array.from({ length: dice.pick([1, 1, 2, 3, 5]) }, () => {
      const channel = dice.pick(['JOB', 'JOB', 'ALSO']);
      // What waits for a dedupeKey waits for the transaction that has it.
      const dedupeKey = isInside ? undefined : dice.pick(DEDUPE_KEYS);
      const given = {
        channel, orderKey: dice.pick(KEYS), dedupeKey, maxAttempts: dice.pick([1, 2, 3]),
        priority: dice.between(-1, 1), delay: dice.pick([0, 0, 0, 15]),
      };
      const isMany = dedupeKey === undefined && dice.chance(0.1);
      const recipients = Array.from({ length: isMany ? 3 : 1 }, () => model.add(given));
      return { ...given, recipient: isMany ? recipients : recipients[0] };
    });
    const mine = messages.flatMap(({ recipient }) => recipient)
      .map(recipient => model.messages.get(recipient));
    const store = this.any(dice);
    if (!isInside) {
      const isOne = messages.length === 1 && mine.length === 1;
      const done = await this.try(() => store.outbox.enqueue(isOne ? messages[0] : messages));
      model.enqueued(mine, isOne && done ? { value: [done.value] } : done);
      return;
    }
    if (open.length > 0 && open.length === OPEN_MAX[lane.name]) await this.end(dice);
    const [taken, end] = [gate(), gate()];
    for (const message of mine) message.state = 'open';
    const done = this.try(() => store.transaction(async client => {
      const answers = await store.outbox.enqueue(messages, { client });
      taken.resolve();
      if (await end.promise) return answers;
      throw failing('rolled back', { name: 'StoreError', isOurs: true });
    }));
    const transaction = { mine, end, done };
    open.push(transaction);
    if (OPEN_MAX[lane.name] === 0) await this.end(dice);
    else await Promise.race([taken.promise, done]);
  }

  /** Ends a transaction, not always the one that began first. */
  async end (dice) {
    if (this.open.length === 0) return;
    const { mine, end, done } = dice.take(this.open);
    const isCommitted = dice.chance(0.7);
    for (const message of mine) message.state = isCommitted ? 'asked' : 'rolled back';
    end.resolve(isCommitted);
    const answers = await done;
    if (isCommitted) this.model.enqueued(mine, answers);
  }

  /** One of the messages that are stored; or undefined. */
  pick (dice) {
    const stored = [...this.model.messages.values()].filter(({ state }) => state === 'stored');
    return dice.pick(stored);
  }

  async cancel (dice) {
    const message = this.pick(dice);
    if (message === undefined) return;
    const before = message.mayBeCancelled;
    message.mayBeCancelled = true;
    const done = await this.try(() => this.any(dice).outbox.cancel(message.id));
    if (done === undefined) return;
    message.mayBeCancelled = before;
    if (done.value) message.isCancelled = true;
  }

  async giveUp (dice) {
    const message = this.pick(dice);
    if (message === undefined) return;
    message.isGivenUp = true;
    const done = await this.try(() => this.any(dice).deadLetters.add(message.id, 'enough')
      // It does not wait.
      .catch(error => { if (error.code !== 'ERR_OUTBOX_MESSAGE') throw error; }));
    if (done?.value !== undefined) {
      Object.assign(message, { isBuried: true, isReviveAsked: false, isBack: false });
    }
  }

  async retry (dice) {
    const dead = [...this.model.messages.values()].filter(message => message.state === 'stored' &&
      this.model.mayBeOver(message));
    const message = dice.pick(dead);
    if (message === undefined) return;
    const { length } = message.calls;
    message.isReviveAsked = true;
    const done = await this.try(() => this.any(dice).deadLetters.retry(message.id));
    if (done?.value && message.calls.length === length) this.model.revived(message);
  }

  async retryMany (dice) {
    const filter = { channel: dice.pick(['JOB', 'ALSO']), limit: dice.between(1, 3) };
    for (const message of this.model.messages.values()) message.isReviveAsked = true;
    await this.try(() => this.any(dice).deadLetters.retryMany(filter));
  }

  async recover (dice) {
    const decide = ({ recipient }) => {
      const message = this.model.messages.get(recipient);
      const decision = dice.pick(['retry', 'drop', 'keep']);
      if (decision === 'retry') message.isReviveAsked = true;
      if (decision === 'drop') message.mayBeCancelled = true;
      return decision;
    };
    await this.try(() => this.any(dice).deadLetters.recover({ '*': decide }, { limit: 2 }));
  }

  async purge (dice) {
    const message = this.pick(dice);
    this.model.isCleaned = true;
    if (message) await this.try(() => this.any(dice).deadLetters.purge({ ids: [message.id] }));
  }

  async cleanUp (dice) {
    this.model.isCleaned = true;
    await this.try(() => this.any(dice).cleanUp({ sent: 0, dead: dice.pick([0, false]) }));
  }

  async breakerOpensOrCloses () { this.breaker[this.breaker.opened ? 'close' : 'open'](); }

  async startOrStop (dice) {
    const handle = dice.pick(this.living);
    handle.isStopped = !handle.isStopped;
    if (!handle.isStopped) await this.try(() => handle.worker.start());
    else await this.try(() => handle.worker.stop({ timeout: dice.pick([0, 5, 1000]) }));
  }

  /** A process ends: whatever it had under way is never answered. Another one begins. */
  async die (dice) {
    const handle = dice.pick(this.living);
    this.model.lose(handle);
    const { leases } = handle.worker;
    for (const call of LEASES_CALLS) leases[call] = () => handle.over.promise;
    await this.expire('lease_owner = $1', leases.owner);
    await this.startWorker(dice);
  }

  /** A living worker loses a lease, as if it had stood still, while it sends. */
  async steal (dice) {
    const call = dice.pick(this.model.underWay);
    if (call === undefined) return;
    call.isStolen = true;
    await this.expire('lease_owner = $1 AND lease_token = $2 AND recipient = $3',
      call.handle.worker.leases.owner, call.token, call.recipient);
    if (dice.chance(0.7)) await this.sweep(dice);
    call.freed.resolve();
  }

  async expire (condition, ...values) {
    await this.persist(() => this.lane.direct.query(`UPDATE ${this.lane.table}
      SET lease_until = now() - interval '1 s' WHERE status = 'SENDING' AND ${condition}`, values));
  }

  /** Takes back what has lapsed. */
  async sweep () {
    const { leases } = this.lane.sweeper;
    const done = await this.try(async () => {
      const { time } = await leases.sweep({ limit: 1000 });
      return (await leases.sweep({ limit: 1000, before: time })).rows;
    });
    for (const message of this.model.messages.values()) {
      const row = done?.value.find(({ recipient }) => recipient === message.recipient);
      if (done === undefined || row?.status === 'DLQ') message.isCrashed = true;
    }
  }

  /** The others go on while the database answers. */
  async wait (dice) {
    for (let i = dice.below(10); i > 0; i--) {
      await this.try(() => this.lane.direct.query('SELECT 1'));
    }
  }

  // ---- The end ---------------------------------------------------------------------------------

  /** From now on all goes well, and all that waits is sent. */
  async finish () {
    const { lane, model } = this;
    lane.proxy?.set(null);
    while (this.open.length > 0) await this.end(this.dice);
    this.breaker.close();
    await this.stopAll();
    model.isCalm = true;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      // What is held now is held by nobody: a claim was made, and its answer lost.
      await this.expire('true');
      await this.sweep();
      await this.startWorker(this.dice);
      const { worker } = this.workers.at(-1);
      let looks = 0;
      const isDone = await until(async () => {
        const left = await this.persist(async () => (await lane.direct.query(`SELECT FROM
          ${lane.table} WHERE status NOT IN ('SENT', 'DLQ', 'CANCELLED')`)));
        return left.rowCount === 0 ? 'done' : ++looks > LOOKS_MAX && 'not yet';
      });
      for (const timeout of [1000, 10_000]) await worker.stop({ timeout });
      if (isDone === 'done') return;
    }
  }

  /** All that is wrong. */
  async faults () {
    const { direct, table } = this.lane;
    const { rows } = await this.persist(() => direct.query(`SELECT id, recipient, channel, status,
      attempt_count AS "attemptCount", max_attempts AS "maxAttempts",
      error_history AS "errorHistory", dead_kind AS kind FROM ${table}`));
    const { channels } = await this.persist(() => direct.outbox.stats({ exact: true }));
    const faults = this.model.faultsOf(rows);
    for (const [channel, counts] of Object.entries(channels)) {
      for (const [status, count] of Object.entries(counts)) {
        const found = rows.filter(row => row.channel === channel && row.status === status).length;
        if (found !== count) faults.push(`${count} ${status} of ${channel}, not ${found}`);
      }
    }
    return faults;
  }
}

describeRuns('each message is sent, cancelled, or dead for a reason', {
  seeds: SEEDS, lanes: LANES, operationsOf,
  open: (...lane) => Lane.open(...lane),
  begin: (lane, seed) => new Run(lane, seed),
  tell: run => ({
    stories: [...run.model.messages.keys()].map(recipient => run.model.story(recipient)),
  }),
});
