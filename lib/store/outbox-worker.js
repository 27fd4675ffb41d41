'use strict';

// Sends what waits in the outbox. The scheduler decides; this carries out its decisions: it queries
// the database, calls senders, sets the timer, and reports the results to the scheduler.

const { randomBytes } = require('node:crypto');
const os = require('node:os');

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { SekeringError, invalidOption, timedOut } = require('../base/errors');
const { read } = require('../base/foreign');
const { bag, is, optionsOf } = require('../base/options');
const { createBackoff } = require('../primitives/backoff');
const { RateLimiter } = require('../primitives/limits');
const { Leases } = require('./outbox-leases');
const { Scheduler } = require('./outbox-scheduler');
const { clean, stoodStill, verdictOn } = require('./outbox-verdict');
const { StoreError } = require('./store-errors');

const OPTIONS = optionsOf({
  channels: is.object('senders by channel', { required: true }),
  concurrency: is.integer('messages in flight, of all channels',
    { min: 1, max: 10_000, default: 20 }),
  unsettled: is.integer('messages that were sent and whose outcome is not written yet, beside ' +
    'those in flight', { min: 0, max: 10_000, default: 0 }),
  batchSize: is.integer('messages claimed at once', { min: 1, max: 1000, default: 500 }),
  heldBytes: is.integer('of messages held at once, and one message more of each claim',
    { min: 1024, max: 2 ** 30, default: 16 * 1024 * 1024 }),
  leaseMs: is.ms('until the messages of a dead worker return',
    { min: 1000, max: 3_600_000, default: 30_000 }),
  pollInterval: is.ms('between looks when nothing has been announced',
    { min: 10, max: 3_600_000, default: 1000 }),
});

const CHANNEL = optionsOf({
  send: is.func('sends a message', { required: true }),
  breaker: is.where('the channel waits while it is open', 'a circuit breaker',
    value => typeof read(value, 'pendingClose') === 'boolean'),
  concurrency: is.integer('messages in flight', { min: 1, max: 1000, default: 5 }),
  rate: is.object('messages per interval, as options of RateLimiter'),
  timeout: is.ms('for one attempt', { min: 1, max: 3_600_000, default: 30_000 }),
});

const STOP = optionsOf({
  timeout: is.ms('for what is in flight', { max: 3_600_000, default: 10_000 }),
});

const REST = { minTimeout: 1000, maxTimeout: 60_000 };
const BREAKER_EVENTS = ['open', 'halfOpen', 'close'];
const IDS_SHOWN = 20;
const PROVIDER_ID_MAX = 512;
// An event loop that stood still for longer than that is worth telling.
const BLOCKED_MS_MIN = 1000;

/** What a sender gets besides the message. The signal is created on first use. */
class Context {
  #controller;
  #reason;

  constructor (attempt) {
    this.attempt = attempt;
  }

  get signal () {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abort (reason) {
    this.#reason ??= reason;
    this.#controller?.abort(this.#reason);
  }
}

/** Of this process: the workers that run, and their schedulers. */
const RUNNING = new Set();
const SCHEDULERS = new Set();

class OutboxWorker extends Emitter {
  #database;
  /** Releases the database. While it is set, this worker is in `#active`. */
  #release;
  #active;
  #announcer;
  #onDead;
  /** By channel: what the user gave, and the backoff of the channel. */
  #channels;
  #scheduler;
  /** By job: its context, and the error if it has taken too long. */
  #attempts = new Map();
  #isActing = false;
  #standing = 'free';
  #timer;
  #timerAt = Infinity;
  #timerDue = Infinity;
  #timerKeepsAlive = false;
  #unlisten;
  #stopping;
  #onStopped;

  /**
   * @param {{ database: object, table: OutboxTable, channels: Map<string, object>,
   *   announcer: object, active: Set<OutboxWorker>, onDead: (letter: object) => void }} parts of
   *   the outbox. `active`: the workers that run or still hold messages
   * @param {object} options as WorkerOptions
   */
  constructor ({ database, table, channels: known, announcer, active, onDead }, options) {
    super();
    const { channels, ...settings } = OPTIONS.read(options);
    this.#database = database;
    this.#active = active;
    this.#announcer = announcer;
    this.#onDead = onDead;
    this.#channels = readChannels(channels, known);
    for (const [name, channel] of this.#channels) channel.wake = () => this.#wake(name);
    this.#scheduler = new Scheduler(settings, Object.fromEntries([...this.#channels].map(
      ([name, channel]) => [name, laneOf(channel, error => this.#warn(error))])), SCHEDULERS);
    this.leases = new Leases({
      database, table, channels: known, leaseMs: settings.leaseMs,
      owner: `${os.hostname()}:${process.pid}:${randomBytes(6).toString('hex')}`,
      onError: error => this.#warn(error), keepsAlive: () => this.running,
    });
  }

  get running () { return this.#scheduler.isRunning; }
  get inFlight () { return this.#scheduler.inFlight; }
  get lastBeat () { return this.#scheduler.lastBeat; }

  stats () { return { ...this.#scheduler.counts, channels: this.#scheduler.channels }; }

  async start () {
    await this.#stopping;
    if (this.running) return;
    // This throws if the store was closed, even if messages still being sent hold the database.
    const release = this.#database.hold();
    if (this.#release === undefined) this.#release = release;
    else release();
    this.#active.add(this);
    RUNNING.add(this);
    this.#eachBreaker((breaker, event, wake) => breaker.on(event, wake));
    this.#scheduler.start(clock.now());
    this.#act();
    const unlisten = await this.#announcer.listen(channel => this.#wake(channel));
    if (this.running && this.#unlisten === undefined) this.#unlisten = unlisten;
    else await unlisten();
  }

  async stop (options) {
    const { timeout } = STOP.read(options);
    // A second call, after it has stopped, waits for what it left behind.
    if (!this.running && this.#scheduler.held === 0) return this.#stopping;
    this.#stopping ??= this.#stop(timeout).finally(() => { this.#stopping = undefined; });
    return this.#stopping;
  }

  /** Called when the store closes. Senders that have not ended keep the database open. */
  async _close () { return this.running ? this.stop({ timeout: 0 }) : this.#stopping; }

  async #stop (timeout) {
    this.#eachBreaker((breaker, event, wake) => breaker.off(event, wake));
    const unlistened = this.#unlisten?.().catch(error => this.#warn(error));
    this.#unlisten = undefined;
    const stopped = new Promise(resolve => { this.#onStopped = resolve; });
    this.#clearTimer();
    this.#scheduler.stop(timeout, clock.now());
    this.#act();
    await stopped;
    await unlistened;
  }

  #eachBreaker (visit) {
    for (const { breaker, wake } of this.#channels.values()) {
      if (breaker !== undefined) for (const event of BREAKER_EVENTS) visit(breaker, event, wake);
    }
  }

  #wake (channel) {
    this.#scheduler.wake(channel);
    this.#act();
  }

  #warn (error) { this.emit('warning', error); }

  // ---- Actions ---------------------------------------------------------------------------------

  /** Does everything that is due after something has happened. */
  #act () {
    // The running loop sees what happens during an action.
    if (this.#isActing) return;
    this.#isActing = true;
    try {
      for (;;) {
        const action = this.#scheduler.next(clock.now());
        if (action === undefined) break;
        this.#do(action);
      }
    } finally {
      this.#isActing = false;
      this.#setTimer();
      if (this.#scheduler.isStopped) RUNNING.delete(this);
      this.#tellOthers();
      if (this.#scheduler.isStopped && this.#scheduler.isQuiet) this.#letGo();
    }
  }

  /** What may end this process is isolated from the messages of all its workers. */
  #tellOthers () {
    const { standing } = this.#scheduler;
    if (standing === this.#standing) return;
    this.#standing = standing;
    for (const worker of RUNNING) if (worker !== this) worker.#act();
  }

  #letGo () {
    this.#active.delete(this);
    this.#release?.();
    this.#release = undefined;
  }

  #do (action) {
    switch (action.type) {
      case 'claim': return this.#claim(action);
      case 'peek': return this.#peek(action);
      case 'send': return this.#send(action.job);
      case 'abort': return this.#abort(action);
      case 'giveUp': return this.#fail(action.job, this.#timeoutOf(action.job));
      case 'settle': return this.#settle(action);
      case 'leave': return this.#leave(action.jobs);
      case 'mark': return this.#mark(action.job);
      case 'note': return this.#note(action.job);
      case 'stopped': return this.#onStopped();
      case 'emit': return this.#emit(action);
      default: return this.#tend(action);
    }
  }

  /** One timer for everything. Once stopped, leases of what was left behind keep nothing alive. */
  #setTimer () {
    const at = this.#scheduler.nextAt();
    const keepsAlive = !this.#scheduler.isStopped;
    // An early timer costs one tick; resetting it for each message costs more.
    if (at >= this.#timerAt && keepsAlive === this.#timerKeepsAlive) return;
    this.#clearTimer();
    if (at === Infinity) return;
    const now = clock.now();
    this.#timerAt = at;
    // What is overdue already waited for the database, not for the event loop.
    this.#timerDue = Math.max(at, now);
    this.#timerKeepsAlive = keepsAlive;
    this.#timer = clock.setTimer(() => this.#tick(), this.#timerDue - now, keepsAlive);
  }

  #clearTimer () {
    clock.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#timerAt = Infinity;
  }

  #tick () {
    this.#standStill(clock.now() - this.#timerDue, this.#attempts.keys());
    this.#clearTimer();
    this.#scheduler.tick(clock.now());
    this.#act();
  }

  #claim (claim) {
    this.#answer(this.leases.claim(claim),
      (answer, now) => this.#scheduler.claimed(claim, answer, now),
      (error, now) => this.#scheduler.claimFailed(claim, error, now));
  }

  #peek (peek) {
    this.#answer(this.leases.peek(), (dueIn, now) => this.#scheduler.peeked(peek, dueIn, now),
      (error, now) => this.#scheduler.peekFailed(peek, error, now));
  }

  #settle ({ job, isRepeated }) {
    this.#answer(this.leases.settle(job, isRepeated),
      (row, now) => this.#scheduler.settled(job, row, now),
      // `Leases` has already warned of it.
      () => this.#scheduler.settleFailed(job));
  }

  #mark (job) {
    this.#answer(this.leases.mark(job), isOurs => this.#scheduler.marked(job, isOurs),
      error => this.#scheduler.markFailed(job, error));
  }

  /** Another worker has the message: only what happened here is written. */
  #note (job) {
    const { name, code, message } = blocked(job);
    this.leases.note(job, { attempt: job.message.attemptCount + 1, name, code, message })
      .catch(error => this.#warn(error));
  }

  #tend (action) {
    this.#answer(this.leases[action.type](action),
      (answer, now) => this.#scheduler.tended(action, answer, now),
      error => this.#scheduler.tendFailed(error, read(error, 'code') === 'ERR_STORE_CLOSED'));
  }

  /** Tells the scheduler how something ended, and goes on. */
  async #answer (promise, onValue, onError) {
    await promise.then(value => onValue(value, clock.now()), error => onError(error, clock.now()));
    this.#act();
  }

  #emit ({ event, args }) {
    if (event === 'dead') this.#onDead(args[0]);
    this.emit(event, ...args);
  }

  #leave (jobs) {
    const ids = jobs.map(({ id }) => id);
    const shown = ids.slice(0, IDS_SHOWN);
    const list = shown.join(', ') + (ids.length > shown.length ? ', …' : '');
    const messages = ids.length === 1 ? 'message' : 'messages';
    const error = new StoreError('ERR_OUTBOX_LEFT_BEHIND', 'The worker stopped while ' +
      `senders were still at work. It still holds ${ids.length} ${messages} (ids ${list}). Call ` +
      'stop() again to wait for them');
    this.#warn(Object.assign(error, { count: ids.length, ids: shown }));
  }

  // ---- Senders ---------------------------------------------------------------------------------

  #send (job) {
    const { message, lane } = job;
    const attempt = { context: new Context(message.attemptCount + 1), late: undefined };
    this.#attempts.set(job, attempt);
    const began = clock.now();
    // A sender may throw before it has a promise. It may do with its copy what it likes.
    const sending = new Promise(resolve => {
      if (message.template !== null) {
        message.body = require('./template').fill(message.template, message.data);
      }
      resolve(this.#channels.get(lane.name).send({ ...message }, attempt.context));
    });
    this.#standStill(clock.now() - began, this.#attempts.keys());
    sending.then(answer => this.#succeed(job, idOf(answer)), error => {
      // How a sender ends after an abort says nothing about the message.
      this.#fail(job, attempt.late ?? error);
    });
  }

  #succeed (job, providerId) {
    // Otherwise it has been given up.
    if (!this.#attempts.delete(job)) return;
    this.#scheduler.sent(job, providerId, clock.now());
    this.#act();
  }

  #fail (job, error) {
    if (!this.#attempts.delete(job)) return;
    const verdict = verdictOn(error, job.message, this.#channels.get(job.lane.name).delayOf,
      job.blockedMs);
    this.#scheduler.failed(job, verdict, error, clock.now());
    this.#act();
  }

  /** The event loop stood still: nobody knows which of these did it. */
  #standStill (ms, jobs) {
    if (ms < BLOCKED_MS_MIN) return;
    for (const job of jobs) job.blockedMs = Math.max(job.blockedMs, Math.round(ms));
  }

  #abort ({ job, why }) {
    const reason = why === 'timeout'
      ? this.#timeoutOf(job)
      : new SekeringError('ESHUTDOWN', 'The worker stops');
    this.#attempts.get(job)?.context.abort(reason);
  }

  /** The error for a sender that took too long; from now on it ends with this. */
  #timeoutOf (job) {
    const attempt = this.#attempts.get(job);
    attempt.late ??= Object.defineProperty(timedOut(job.lane.timeout), 'name',
      { value: 'TimeoutError' });
    return attempt.late;
  }
}

const blocked = ({ blockedMs }) => new StoreError('ERR_OUTBOX_BLOCKED',
  `${stoodStill(blockedMs)}, and then its lease was over`);

/** The provider's id in a sender's answer: the answer itself, or a member of it. */
function idOf (answer) {
  // If the answer cannot be read, the message was sent nevertheless.
  const id = typeof answer === 'object' ? read(answer, 'providerMessageId') : answer;
  return typeof id === 'string' || typeof id === 'number' ? clean(id, PROVIDER_ID_MAX) : null;
}

function readChannels (channels, known) {
  const entries = Object.entries(bag('channels', channels));
  if (entries.length === 0) throw invalidOption('channels', 'at least one channel', channels);
  return new Map(entries.map(([name, value]) => {
    if (!known.has(name)) {
      throw invalidOption('channels', `one of ${[...known.keys()].join(', ')}`, name, RangeError);
    }
    const given = typeof value === 'function' ? { send: value } : value;
    return [name, { ...CHANNEL.read(given, `channels.${name}`), delayOf: known.get(name).delay }];
  }));
}

/** A channel as the scheduler sees it. */
function laneOf ({ concurrency, timeout, breaker, rate }, onError) {
  return {
    concurrency, timeout, restOf: createBackoff(REST),
    breaker: breaker && watch(breaker, onError), limiter: rate && limiterOf(rate),
  };
}

/**
 * Tells the state of a breaker. It may be another package's: while it cannot tell its state, it
 * counts as open, and there is one warning.
 */
function watch (breaker, onError) {
  let hasFailed = false;
  return () => {
    try {
      const state = stateOf(breaker);
      hasFailed = false;
      return state;
    } catch (error) {
      // The scheduler is in the middle of a decision.
      if (!hasFailed) queueMicrotask(() => onError(error));
      hasFailed = true;
      return 'open';
    }
  };
}

function stateOf (breaker) {
  if (!breaker.enabled || !(breaker.opened || breaker.halfOpen)) return 'closed';
  if (breaker.opened) return 'open';
  return breaker.pendingClose ? 'halfOpen' : 'probing';
}

function limiterOf (rate) {
  const limiter = new RateLimiter(rate);
  return {
    tokenMs: Math.max(rate.interval / rate.limit, 1),
    get available () { return limiter.available; },
    tryTake: () => limiter.tryTake(),
  };
}

module.exports = { OutboxWorker };
