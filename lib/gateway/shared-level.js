'use strict';

// A level that is set by hand, shared by all processes of a store through one row. The process that
// sets a level has it at once, writes the row, and notifies the others, which read it. If the
// database is away, the decision is written later, with its age: of two decisions, the newer one
// wins, whichever arrives first. Ages are only as exact as the way to the database is quick, so a
// process that knows the generation of the row need not prove that its decision is newer.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { is, optionsOf } = require('../base/options');
const { prefixOf } = require('../store/sql-client');

const OPTIONS = optionsOf({
  store: is.having('where the level is kept', ['query', 'transaction', 'listen'],
    { required: true, expected: 'a store' }),
  degradation: is.having('whose level it is', ['setLevel', 'snapshot', 'on'],
    { required: true, expected: 'what createDegradation returns' }),
});

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;

const WRITE = table => `
  WITH written AS (
    INSERT INTO ${table} AS d (level, reason, actor, since)
    VALUES ($1, $2, $3, statement_timestamp() - $4::float8 * interval '1 ms')
    ON CONFLICT (singleton) DO UPDATE SET level = excluded.level, reason = excluded.reason,
      actor = excluded.actor, since = greatest(d.since, excluded.since),
      generation = d.generation + 1
    WHERE d.since <= excluded.since OR d.generation = $6::bigint
    RETURNING generation)
  SELECT generation, pg_notify($5, generation::text) FROM written`;

class SharedLevel extends Emitter {
  #store;
  #degradation;
  #table;
  #channel;
  #isRunning = false;
  #stopListening;
  /** Of the row, as we know it. */
  #generation;
  #isStale = false;
  /** Our own decision that may not be in the row yet. */
  #pending;
  #isFollowing = false;
  #syncing;
  #failures = 0;
  #timer;

  constructor (options) {
    super();
    const { store, degradation } = OPTIONS.read(options);
    this.#store = store;
    this.#degradation = degradation;
    this.#table = `${store.schema}.degradation_level`;
    this.#channel = `${prefixOf(store.schema)}level`;
    degradation.on('manual', this.#onManual);
  }

  async start () {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#stopListening = await this.#store.listen(this.#channel,
      generation => { if (generation !== this.#generation) this.#look(); }, () => this.#look());
    await this.#look();
  }

  /** Waits for a decision that is being written. */
  async stop () {
    this.#isRunning = false;
    this.#degradation.off('manual', this.#onManual);
    clock.clearTimer(this.#timer);
    await this.#syncing;
    await this.#stopListening?.();
    this.#stopListening = undefined;
  }

  #onManual = ({ level, reason, by }) => {
    if (this.#isFollowing) return;
    this.#pending = { level, reason, by, at: clock.now() };
    this.#sync();
  };

  #look () {
    this.#isStale = true;
    return this.#sync();
  }

  /** One run at a time; it also does what comes up meanwhile. */
  #sync () {
    if (!this.#isRunning) return undefined;
    clock.clearTimer(this.#timer);
    this.#syncing ??= this.#catchUp();
    return this.#syncing;
  }

  async #catchUp () {
    try {
      do await (this.#pending === undefined ? this.#read() : this.#write(this.#pending));
      while (this.#pending !== undefined || (this.#isStale && this.#isRunning));
      this.#failures = 0;
    } catch (error) {
      this.#isStale = true;
      this.emit('warning', error);
      if (this.#isRunning) this.#tryLater();
    } finally {
      this.#syncing = undefined;
    }
  }

  #tryLater () {
    const delay = Math.min(RETRY_MS_MIN * 2 ** this.#failures, RETRY_MS_MAX);
    this.#failures++;
    this.#timer = clock.setTimer(() => this.#sync(), delay, false);
  }

  async #write (decision) {
    const { level, reason, by, at } = decision;
    // In a transaction, so that the age is taken when the statement is sent: before that we may
    // have waited for a connection.
    const { rows: [written] } = await this.#store.transaction(client =>
      client.query(WRITE(this.#table),
        [level, reason, by, clock.now() - at, this.#channel, this.#generation]));
    if (this.#pending === decision) this.#pending = undefined;
    if (written === undefined) this.#isStale = true;
    else this.#generation = written.generation;
  }

  async #read () {
    this.#isStale = false;
    const { rows: [row] } = await this.#store.query(
      `SELECT level, reason, actor, since, generation FROM ${this.#table}`);
    // Our own decision is written first; that shows which of the two is newer.
    if (row === undefined || row.generation === this.#generation || this.#pending) return;
    this.#generation = row.generation;
    this.#follow(row);
  }

  #follow ({ level, reason, actor: by, since }) {
    if (level === null && !this.#degradation.snapshot().manual) return;
    this.#isFollowing = true;
    try {
      this.#degradation.setLevel(level, { reason, by, since });
    } catch (error) {
      // Another process may have a scheme with other levels.
      this.emit('warning', error);
    } finally {
      this.#isFollowing = false;
    }
  }
}

/** Options as the types describe them. */
const createSharedLevel = options => new SharedLevel(options);

module.exports = { createSharedLevel };
