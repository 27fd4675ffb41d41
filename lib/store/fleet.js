'use strict';

// Breakers that all hosts share, with one row of the database each. A host writes its transition
// and notifies the others, which follow it. A write names the generation that the host knew: if
// another host was faster, this one follows it instead. So when hosts trip together, one of them is
// heard, and late notifications never undo newer ones. No host waits for another.

const { randomUUID } = require('node:crypto');

const { clearTimer, setTimer } = require('../base/clock');
const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const { read, textOf } = require('../base/foreign');
const { is, optionsOf } = require('../base/options');
const { checkNamespace } = require('../base/regions');

const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 30_000;

const JOIN = optionsOf({
  namespace: {
    ...is.text('sets breakers of the same name apart', { default: 'default' }),
    check: (_, value) => checkNamespace(value),
  },
});

/**
 * The generation of a new row: at least the time in ms, so that it is news to a host that knows an
 * earlier row, which a clean-up has deleted.
 */
const FIRST = `greatest($4::bigint + 1,
          (extract(epoch FROM clock_timestamp()) * 1000)::bigint)`;

const resetMs = ({ resetTimeout }) =>
  typeof resetTimeout === 'number' ? resetTimeout : resetTimeout.initial;

/** A breaker of this process in the fleet. */
class Member {
  constructor (breaker, name) {
    this.breaker = breaker;
    this.name = name;
    this.generation = 0n;
    /** The state that is still to be written; undefined when the database knows it. */
    this.unwritten = undefined;
    this.isWriting = false;
    this.isFollowing = false;
    this.failures = 0;
    this.timer = undefined;
  }

  /** Does what another host did. The events of the breaker meanwhile are no news to the others. */
  follow (state) {
    const { breaker } = this;
    const isThere = state === 'open' ? !breaker.closed : breaker.closed;
    if (isThere || breaker.isShutdown) return;
    this.isFollowing = true;
    try {
      if (state === 'open') breaker.open();
      else breaker.close();
    } finally {
      this.isFollowing = false;
    }
  }
}

class Fleet extends Emitter {
  #database;
  #table;
  #channel;
  #self = randomUUID();
  #members = new Map();
  #listening;
  #stop = async () => {};

  constructor ({ database }) {
    super();
    this.#database = database;
    this.#table = `${database.schema}.fleet_breakers`;
    this.#channel = `${database.prefix}fleet`;
  }

  async join (breaker, options) {
    if (!['open', 'on'].every(method => typeof read(breaker, method) === 'function')) {
      throw invalidOption('breaker', 'a CircuitBreaker', breaker);
    }
    const { namespace } = JOIN.read(options);
    const name = `${namespace}/${textOf(read(breaker, 'name'))}`;
    if (this.#members.has(name)) {
      throw invalidOption('breaker', `a breaker with another name (the fleet has ${name})`,
        breaker, RangeError);
    }
    const member = new Member(breaker, name);
    this.#members.set(name, member);
    member.onOpen = () => this.#moved(member, 'open');
    member.onClose = () => this.#moved(member, 'closed');
    breaker.on('open', member.onOpen).on('close', member.onClose);
    this.#listening ??= this.#listen();
    await this.#listening;
    await this.#readAll([name]);
  }

  leave (breaker) {
    const member = [...this.#members.values()].find(one => one.breaker === breaker);
    if (member === undefined) return;
    this.#members.delete(member.name);
    clearTimer(member.timer);
    breaker.off('open', member.onOpen).off('close', member.onClose);
  }

  async list () {
    const { rows } = await this.#database.query(
      `SELECT name, state, open_until, changed_at FROM ${this.#table} ORDER BY name`);
    return rows.map(({ name, state, open_until: openUntil, changed_at: changedAt }) => {
      const slash = name.indexOf('/');
      return { namespace: name.slice(0, slash), name: name.slice(slash + 1), state, openUntil,
        changedAt };
    });
  }

  async close () {
    for (const { breaker } of [...this.#members.values()]) this.leave(breaker);
    await this.#listening;
    await this.#stop();
  }

  async #listen () {
    this.#stop = await this.#database.listen(this.#channel, payload => this.#heard(payload),
      () => this.#readAll([...this.#members.keys()]));
  }

  #heard (payload) {
    const { by, name, state, generation } = JSON.parse(payload);
    if (by !== this.#self) this.#learn(this.#members.get(name), state, BigInt(generation));
  }

  #learn (member, state, generation, binds = true) {
    if (member === undefined || generation <= member.generation) return;
    member.generation = generation;
    member.unwritten = undefined;
    if (state === 'closed' || binds) member.follow(state);
  }

  async #readAll (names) {
    try {
      await this.#read(names);
    } catch (error) {
      this.emit('warning', error);
    }
  }

  /** Follows what happened meanwhile, except an open circuit whose time is over. */
  async #read (names) {
    const { rows } = await this.#database.query(`SELECT name, state, generation,
      open_until > now() AS binds FROM ${this.#table} WHERE name = ANY($1)`, [names]);
    for (const { name, state, generation, binds } of rows) {
      this.#learn(this.#members.get(name), state, BigInt(generation), binds);
    }
  }

  #moved (member, state) {
    if (member.isFollowing) return;
    member.unwritten = state;
    if (!member.isWriting) this.#writeAll(member);
  }

  async #writeAll (member) {
    clearTimer(member.timer);
    member.isWriting = true;
    try {
      while (member.unwritten !== undefined) {
        const state = member.unwritten;
        await this.#write(member, state);
        if (member.unwritten === state) member.unwritten = undefined;
        member.failures = 0;
      }
    } catch (error) {
      this.emit('warning', error);
      const delay = Math.min(RETRY_MS_MIN * 2 ** member.failures, RETRY_MS_MAX);
      member.failures++;
      // The state may change again until then: the last one is what is written.
      member.timer = setTimer(() => this.#writeAll(member), delay, false);
    } finally {
      member.isWriting = false;
    }
  }

  async #write (member, state) {
    const { breaker, generation, name } = member;
    const openMs = state === 'open' ? resetMs(breaker.options) : 0;
    const { rows } = await this.#database.query(`
      WITH moved AS (
        INSERT INTO ${this.#table} AS b (name, state, open_until, generation)
        VALUES ($1, $2, now() + $3 * interval '1 ms', ${FIRST})
        ON CONFLICT (name) DO UPDATE SET state = excluded.state, generation = b.generation + 1,
          open_until = excluded.open_until, changed_at = now()
        WHERE b.generation = $4::bigint
        RETURNING generation)
      SELECT generation, pg_notify($5, json_build_object('by', $6::text,
        'name', $1::text, 'state', $2::text, 'generation', generation::text)::text)
      FROM moved`,
    [name, state, openMs, String(generation), this.#channel, this.#self]);
    if (rows.length === 0) await this.#read([name]);
    else if (member.generation === generation) member.generation = BigInt(rows[0].generation);
  }
}

/** @param {{ database: object }} parts */
const createFleet = parts => new Fleet(parts);

module.exports = { createFleet };
