'use strict';

// One level set by hand for all processes that share a store, in one row of it. Who sets a level
// has it at once, and the row is told; the row's news make the others read it. A decision that
// could not be told is told later, with its age: of two decisions the newer one stays, whichever
// arrives first. Ages are as exact as the way to the database is quick, so that whoever knows the
// row's generation need not show that it came later.

const clock = require('../base/clock');
const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const { bag } = require('../base/options');
const { prefixOf } = require('../store/sql-client');

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;

const TELL = table => `
  WITH told AS (
    INSERT INTO ${table} AS d (level, reason, actor, since)
    VALUES ($1, $2, $3, statement_timestamp() - $4::float8 * interval '1 ms')
    ON CONFLICT (singleton) DO UPDATE SET level = excluded.level, reason = excluded.reason,
      actor = excluded.actor, since = greatest(d.since, excluded.since),
      generation = d.generation + 1
    WHERE d.since <= excluded.since OR d.generation = $6::bigint
    RETURNING generation)
  SELECT generation, pg_notify($5, generation::text) FROM told`;

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
  /** What was decided here, and the row is not known to have. */
  #untold;
  #isFollowing = false;
  #syncing;
  #failures = 0;
  #timer;

  constructor (options) {
    super();
    const { store, degradation } = bag('options', options);
    if (typeof store?.listen !== 'function') throw invalidOption('store', 'a store', store);
    if (typeof degradation?.setLevel !== 'function') {
      throw invalidOption('degradation', 'what createDegradation gives', degradation);
    }
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

  /** What is being told is waited for. */
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
    this.#untold = { level, reason, by, at: clock.now() };
    this.#sync();
  };

  #look () {
    this.#isStale = true;
    return this.#sync();
  }

  /** One thing at a time; what comes up meanwhile is done by whoever is at it. */
  #sync () {
    if (!this.#isRunning) return undefined;
    clock.clearTimer(this.#timer);
    this.#syncing ??= this.#catchUp();
    return this.#syncing;
  }

  async #catchUp () {
    try {
      do await (this.#untold === undefined ? this.#read() : this.#tell(this.#untold));
      while (this.#untold !== undefined || (this.#isStale && this.#isRunning));
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

  async #tell (decision) {
    const { level, reason, by, at } = decision;
    // Within a transaction, so that its age is that at which it is sent: a connection may have to
    // be made first, or a turn to be waited for.
    const { rows: [told] } = await this.#store.transaction(client =>
      client.query(TELL(this.#table),
        [level, reason, by, clock.now() - at, this.#channel, this.#generation]));
    if (this.#untold === decision) this.#untold = undefined;
    if (told === undefined) this.#isStale = true;
    else this.#generation = told.generation;
  }

  async #read () {
    this.#isStale = false;
    const { rows: [row] } = await this.#store.query(
      `SELECT level, reason, actor, since, generation FROM ${this.#table}`);
    // What was decided here meanwhile is told first: then it shows which of them is newer.
    if (row === undefined || row.generation === this.#generation || this.#untold) return;
    this.#generation = row.generation;
    this.#follow(row);
  }

  #follow ({ level, reason, actor: by, since }) {
    if (level === null && !this.#degradation.snapshot().manual) return;
    this.#isFollowing = true;
    try {
      this.#degradation.setLevel(level, { reason, by, since });
    } catch (error) {
      // Another one's levels are not ours.
      this.emit('warning', error);
    } finally {
      this.#isFollowing = false;
    }
  }
}

/** @param {{ store: object, degradation: object }} options as the types describe them */
const createSharedLevel = options => new SharedLevel(options);

module.exports = { createSharedLevel };
