'use strict';

// Sends what waits in the outbox. Whatever happens to the database, it goes on.

const { randomBytes } = require('node:crypto');
const os = require('node:os');

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { bag, number } = require('../base/options');
const { Lane } = require('./outbox-lane');
const { readChannel, readWorker } = require('./outbox-worker-options');
const { Settler } = require('./outbox-settler');
const { StoreError } = require('./store-errors');

const SWEEP_ROWS = 1000;
const SWEEP_MS_MAX = 5000;
// A lease is extended when this share of it has passed, and lapsed ones are looked for.
const LEASE_SHARE = 4;
const LOOK_EVERY_MS = 60_000;
const UNKNOWN_AFTER_MS = 3_600_000;
// While somebody keeps a snapshot, dead entries stay in the indexes, and claims slow down.
const SNAPSHOT_MS_MAX = 300_000;
const STOP_MS = 10_000;
// For senders that heed their signal when time is up.
const ABORT_MS = 100;
const IDS_SHOWN = 20;
// Two claims of the same key: one is rejected, or both wait for each other (deadlock).
const CROSSED = new Set(['23505', '40P01']);
const CROSSINGS_MAX = 10;

class OutboxWorker extends Emitter {
  #database;
  #sql;
  #announcer;
  #channels;
  #onDead;
  #lanes = new Map();
  #held = new Set();
  /** Messages whose worker died, asked for by one channel at a time; the one that goes alone. */
  #suspects = new Set();
  #suspectsAsked = false;
  #alone;
  #inFlight = new Set();
  #owner = `${os.hostname()}:${process.pid}:${randomBytes(6).toString('hex')}`;
  #token = 0;
  #settler;
  #settling = 0;
  #running = false;
  #timer;
  #unlisten;
  #stopping;
  #wasBusy = false;
  #wasFull = false;
  #lookAt = 0;
  /** The database's time when we last looked for leases that are over. */
  #lookedAt;
  /** Until then others get the time to extend their leases; undefined while nobody can. */
  #graceEnds = 0;
  #lastBeat = 0;
  #counts = { sent: 0, retried: 0, dead: 0, fenced: 0 };

  /**
   * @param {{ database: object, sql: object, channels: Map<string, object>, announcer: object,
   *   onDead: (letter: object) => void }} parts of the outbox
   * @param {object} options as WorkerOptions
   */
  constructor ({ database, sql, channels, announcer, onDead }, options) {
    super();
    const given = readWorker(options);
    this.options = given.options;
    this.#database = database;
    this.#sql = sql;
    this.#channels = channels;
    this.#announcer = announcer;
    this.#onDead = onDead;
    this.#settler = new Settler({
      database, sql, owner: this.#owner, onError: error => this.warn(error),
      keepsAlive: () => this.#running,
    });
    for (const [name, value] of given.channels) {
      const lane = readChannel(name, value, channels);
      this.#lanes.set(name, new Lane(this, name, channels.get(name).delay, lane));
    }
  }

  get running () { return this.#running; }
  get inFlight () { return this.#inFlight.size; }
  get lastBeat () { return this.#lastBeat; }
  /** How many more may be sent at once. */
  get places () {
    const { concurrency, unsettled } = this.options;
    return concurrency - this.#inFlight.size - Math.max(this.#settling - unsettled, 0);
  }

  /** Whether channels take places from each other. */
  get isCrowded () { return this.#lanes.size > 1 && this.places <= 0; }

  /** Whoever asks in vain is told when there is a place. */
  isFull () {
    const isFull = this.places <= 0;
    this.#wasFull ||= isFull;
    return isFull;
  }

  stats () {
    const channels = [...this.#lanes].map(([name, lane]) => [name, lane.stats]);
    return { ...this.#counts, channels: Object.fromEntries(channels) };
  }

  async start () {
    await this.#stopping;
    if (this.#running) return;
    this.#running = true;
    // Senders that were left behind take up places: one that never ends must not keep its own.
    for (const job of this.#inFlight) job.retime();
    this.#tend();
    for (const lane of this.#lanes.values()) lane.start();
    this.#unlisten = await this.#announcer.listen(channel => this.#wake(channel));
  }

  async stop (options) {
    const { timeout = STOP_MS } = bag('options', options);
    number('timeout', timeout, { min: 0, max: 3_600_000, unit: 'ms' });
    // Once more after it has stopped, it waits for what it left behind.
    if (!this.#running && this.#held.size === 0) return this.#stopping;
    this.#stopping ??= this.#stop(timeout).finally(() => { this.#stopping = undefined; });
    return this.#stopping;
  }

  async #stop (timeout) {
    this.#running = false;
    for (const lane of this.#lanes.values()) lane.stop();
    const unlistened = this.#unlisten?.().catch(error => this.warn(error));
    this.#unlisten = undefined;
    if (!await this.#quiet(timeout)) {
      const reason = Object.assign(new Error('The worker stops'), { code: 'ESHUTDOWN' });
      for (const job of this.#inFlight) job.abort(reason);
      if (!await this.#quiet(ABORT_MS)) this.#leave();
    }
    this.#tendLater();
    await unlistened;
  }

  /**
   * Messages that are still held stay ours: given back, they would be sent a second time while the
   * first sender goes on.
   */
  #leave () {
    for (const job of this.#inFlight) job.untime();
    const ids = Array.from(this.#held, ({ message }) => message.id);
    if (ids.length === 0) return;
    const shown = ids.slice(0, IDS_SHOWN);
    const list = shown.join(', ') + (ids.length > shown.length ? ', …' : '');
    const messages = ids.length === 1 ? 'message' : 'messages';
    const error = new StoreError('ERR_OUTBOX_LEFT_BEHIND', 'The worker stopped while ' +
      `senders were still at work. It still holds ${ids.length} ${messages} (ids ${list}). Call ` +
      'stop() again to wait for them');
    this.warn(Object.assign(error, { count: ids.length, ids: shown }));
  }

  /** Whether within `ms` everything that was begun has been settled, and no claim is under way. */
  #quiet (ms) {
    const isQuiet = () => this.#inFlight.size === 0 && this.#settling === 0 &&
      [...this.#lanes.values()].every(lane => !lane.isClaiming);
    if (isQuiet()) return true;
    return new Promise(resolve => {
      const end = answer => {
        clock.clearTimer(timer);
        this.off('settled', check);
        resolve(answer);
      };
      const check = () => { if (isQuiet()) end(true); };
      const timer = clock.setTimer(() => end(false), ms);
      this.on('settled', check);
    });
  }

  #wake (channel) {
    if (channel !== undefined) this.#lanes.get(channel)?.wake();
    else for (const lane of this.#lanes.values()) lane.wake();
  }

  /** Goes on with this channel, and with those that found no place before. */
  pump (lane) {
    lane.pump();
    if (!this.#wasFull || this.#lanes.size === 1 || this.places <= 0) return;
    this.#wasFull = false;
    for (const other of this.#lanes.values()) if (other !== lane) other.pump();
  }

  warn (error) { this.emit('warning', error); }

  /**
   * @param {object} ask without `behind` looks at everything; with it, `sent` is written down, too,
   *   if there is one
   * @returns {Promise<{ rows: object[], token: number, settled?: boolean,
   *   lastKey?: string | null }>} `settled`: whether `sent` was still ours; of a look, `lastKey`
   *   is behind which key the next one begins, if that is known
   */
  async claim (channel, ask) {
    const token = ++this.#token;
    const { rows } = await this.#query(this.#statement(channel, token, ask));
    this.#lastBeat = clock.now();
    const { settled, lastKey } = rows[0] ?? {};
    if (rows[0]?.id === null) rows.pop();
    if (rows.length > 0) {
      this.#wasBusy = true;
      this.#sql.grow(rows[0].id);
    }
    return { rows, token, settled, lastKey };
  }

  /** Looks again where another claim was quicker: by then it sees what that one has claimed. */
  async #query (statement) {
    for (let crossings = 1; ; crossings++) {
      try {
        return await this.#database.query(statement);
      } catch (error) {
        if (!CROSSED.has(error.sqlState) || crossings === CROSSINGS_MAX) throw error;
      }
    }
  }

  #statement (channel, token, { room, behind, suspects, ordered, key, sent }) {
    const lease = [channel, this.#owner, token, this.options.leaseMs, room];
    if (behind === undefined) return this.#sql.claim(...lease, suspects, ordered, key);
    const place = [behind.urgency, behind.time, behind.id];
    if (sent === undefined) return this.#sql.claimFurther(...lease, ...place);
    const { job, providerId } = sent;
    return this.#sql.exchange(...lease, ...place, job.message.id, job.token, providerId);
  }

  hold (job) {
    this.#held.add(job);
    if (job.isSuspect) this.#suspects.add(job);
    if (job.goesAlone) this.#alone = job;
  }

  #letGo (job) {
    this.#held.delete(job);
    this.#suspects.delete(job);
    if (this.#alone === job) this.#alone = undefined;
  }

  /** Whether suspects are to be claimed now; if so, gotSuspects() tells when they have been. */
  asksForSuspects () {
    if (this.#suspectsAsked || this.#suspects.size > 0) return false;
    this.#suspectsAsked = true;
    return true;
  }

  gotSuspects () { this.#suspectsAsked = false; }

  /**
   * Whether this message may be sent, or others claimed, now. What goes alone waits until all else
   * is written down, as it may end this process, and all else waits for it. Whoever asks in vain is
   * told.
   */
  lets (job) {
    const may = this.#alone === undefined ||
      (job === this.#alone && this.#inFlight.size === 0 && this.#settling === 0);
    this.#wasFull ||= !may;
    return may;
  }

  began (job) { this.#inFlight.add(job); }

  #fenced ({ message }) {
    this.#counts.fenced++;
    this.emit('fenced', message);
  }

  async giveBack (job, lane) {
    await this.settleUnsent(job, { outcome: 'release', attempts: 0 });
    this.pump(lane);
    this.rest();
  }

  /**
   * @param {Promise<boolean | undefined>} [claimed] the claim that writes it down, too: whether it
   *   was still ours, or undefined when that is not known
   */
  settleSent (job, providerId, claimed) {
    const { message } = job;
    const written = claimed === undefined
      ? this.#settler.sent(job, providerId)
      : claimed.then(settled => settled ?? this.#settler.sent(job, providerId, true));
    return this.#settle(job, written, () => {
      this.#counts.sent++;
      message.status = 'SENT';
      message.attemptCount++;
      message.providerMessageId = providerId;
      this.emit('sent', message);
    });
  }

  settleUnsent (job, verdict, error) {
    const { outcome, delay } = verdict;
    return this.#settle(job, this.#settler.unsent(job, verdict), row => {
      if (outcome === 'retry') {
        this.#counts.retried++;
        this.emit('retry', job.message, error, delay);
      } else if (outcome === 'dead') {
        this.#dead(row, error);
      }
    });
  }

  async #settle (job, written, then) {
    this.#inFlight.delete(job);
    this.#settling++;
    try {
      const answer = await written;
      if (answer) then(answer);
      else this.#fenced(job);
    } catch {
      // The worker has warned of it; the message returns when its lease ends.
    }
    this.#letGo(job);
    this.#settling--;
  }

  #dead (letter, error) {
    this.#counts.dead++;
    this.#onDead(letter);
    this.emit('dead', letter, error);
  }

  /** Called after each claim and settling. Tells when there is nothing left to do. */
  rest () {
    if (!this.#running) this.emit('settled');
    if (!this.#wasBusy || this.#settling > 0 || !this.#running) return;
    for (const lane of this.#lanes.values()) if (!lane.isIdle) return;
    this.#wasBusy = false;
    this.emit('idle');
  }

  /** Extends our leases, for as long as we hold something, and takes back what others left. */
  async #tend () {
    const began = clock.now();
    try {
      await this.#extend();
      if (this.#running) await this.#takeBack();
    } catch (error) {
      this.#graceEnds = undefined;
      // Leases of a store that has been closed end by themselves.
      if (!this.#running && error.code === 'ERR_STORE_CLOSED') return;
      this.warn(error);
    }
    this.#tendLater(began);
  }

  /** What is left behind when we have stopped does not keep the process alive. */
  #tendLater (began = clock.now()) {
    clock.clearTimer(this.#timer);
    if (!this.#running && this.#held.size === 0) return;
    const every = Math.min(this.options.leaseMs / LEASE_SHARE, SWEEP_MS_MAX);
    this.#timer = clock.setTimer(() => this.#tend(), Math.max(0, began + every - clock.now()),
      this.#running);
  }

  async #extend () {
    const { leaseMs } = this.options;
    const began = clock.now();
    // Those that were claimed a moment ago have time.
    const due = [...this.#held].filter(job => job.leaseEnds - began < leaseMs * 0.75);
    if (due.length === 0) return;
    const { rows } = await this.#database.query(
      this.#sql.extend(this.#owner, due.map(({ message }) => message.id), leaseMs));
    const extended = new Set(rows.map(({ id }) => id));
    for (const job of due) {
      if (extended.has(job.message.id)) job.leaseEnds = began + leaseMs;
    }
  }

  async #takeBack () {
    const { rows: [{ now }] } =
      await this.#database.query('SELECT clock_timestamp()::text AS now');
    this.#lastBeat = clock.now();
    this.#graceEnds ??= this.#lastBeat + this.options.leaseMs / 2;
    // On a machine that stood still, leases are over although their holders live: these extend
    // them before we come for the second time.
    const before = this.#lookedAt;
    this.#lookedAt = now;
    // Where the database was away, it is the same.
    if (before === undefined || clock.now() < this.#graceEnds) return;
    await this.#sweep(before);
    if (clock.now() >= this.#lookAt) await this.#look();
  }

  /** @param {string} before when a lease must have ended */
  async #sweep (before) {
    let count;
    do {
      const { rows } = await this.#database.query(this.#sql.sweep(SWEEP_ROWS, before));
      count = rows.length;
      this.#lastBeat = clock.now();
      for (const row of rows) if (row.status === 'DLQ') this.#dead(row, undefined);
      for (const channel of new Set(rows.map(row => row.channel))) this.#wake(channel);
    } while (count === SWEEP_ROWS && this.#running);
  }

  /** For what is rare: messages of no channel, and snapshots that nobody lets go. */
  async #look () {
    this.#lookAt = clock.now() + LOOK_EVERY_MS;
    const { rows } = await this.#database.query(
      this.#sql.buryUnknown([...this.#channels.keys()], UNKNOWN_AFTER_MS));
    for (const row of rows) this.#dead(row, undefined);
    const { rows: [{ age }] } = await this.#database.query(this.#sql.oldSnapshot(SNAPSHOT_MS_MAX));
    if (age === null) return;
    this.warn(new StoreError('ERR_STORE_OLD_SNAPSHOT', `A transaction has been open for ${
      Math.round(age / 1000)} s: until it ends the outbox gets slower`, { retryable: true }));
  }
}

module.exports = { OutboxWorker };
