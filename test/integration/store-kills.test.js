'use strict';

// Random operations of the outbox and of idempotency in processes that are killed, on PostgreSQL by
// two at a time, on PGlite by one that has the folder, and after it another. A model says what must
// hold: what was acknowledged is there, what was told to be done is not done again.
//
// SEKERING_SEEDS: how many sequences; SEKERING_SEED: only this one; SEKERING_CHAOS_SECONDS: as many
// as there is time for.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { gate, until } = require('../support/outbox-helpers');
const { Dice, seedsOf } = require('../support/random');
const { describeRuns, operationsBy } = require('../support/random-runs');

const ACTOR = path.join(__dirname, '..', 'support', 'random-actor.js');
const SEEDS = { postgresql: seedsOf(4), pglite: seedsOf(1) };
const STEPS = 14;
const LANES = { postgresql: 2, pglite: 1 };
const PROCESSES = { postgresql: 2, pglite: 1 };
const LOOKS_MAX = 200;
const ROUNDS_MAX = 50;
// Work under the first two is part of a transaction.
const KEYS = ['a', 'b', 'c', 'd'];
const isInside = ({ key }) => KEYS.indexOf(key) < 2;
const BUSY = ['ERR_IDEMPOTENCY_IN_PROGRESS', 'ERR_IDEMPOTENCY_LOST'];
if (SEEDS.postgresql.isLong) jest.setTimeout(7 * 24 * 3_600_000);

const operationsOf = operationsBy({ enqueue: 5, run: 5, kill: 1, wait: 1 }, STEPS);

/** A process with a store. */
class Actor {
  static #count = 0;
  #calls = new Map();
  hear = () => {};

  static async start (place) {
    const actor = new Actor();
    actor.child = fork(ACTOR, [JSON.stringify(place)]);
    actor.closed = once(actor.child, 'close');
    const ready = gate();
    actor.child.on('message', ({ id, value, error, ...said }) => {
      if (said.event === 'ready') ready.resolve();
      else if (id === undefined) actor.hear(said);
      else actor.#settle(id, { value, error });
      actor.heard?.();
    });
    actor.closed.then(() => {
      for (const id of [...actor.#calls.keys()]) actor.#settle(id, undefined);
    });
    await Promise.race([ready.promise, actor.closed.then(() => { throw new Error('ended'); })]);
    return actor;
  }

  #settle (id, answer) {
    this.#calls.get(id)?.resolve(answer);
    this.#calls.delete(id);
  }

  /** @returns {Promise<{ value: unknown, error: object } | undefined>} undefined: it has died */
  async ask (command, ...args) {
    if (this.isDead) return undefined;
    const id = Actor.#count++;
    const call = gate();
    this.#calls.set(id, call);
    // The channel closes when the process dies.
    this.child.send({ id, command, args }, () => {});
    return call.promise;
  }

  /** Kills it when it has said so much more, or has nothing more to say. */
  async kill (words) {
    const enough = gate();
    let left = words;
    this.heard = () => { if (--left < 0) enough.resolve(); };
    if (left > 0) this.ask('query', 'SELECT 1').then(enough.resolve);
    else enough.resolve();
    await Promise.race([enough.promise, this.closed]);
    this.isDead = true;
    this.child.kill('SIGKILL');
    await this.closed;
  }
}

/** A place for one sequence after the other. */
class Lane {
  actors = [];

  static async open (place, name, i) {
    const lane = Object.assign(new Lane(), { name });
    if (name === 'pglite') lane.folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-kills-'));
    lane.place = name === 'pglite' ? { directory: path.join(lane.folder, 'data') }
      : { ...place, schema: `lane_${i}`, connections: 4 };
    return lane;
  }

  /** Has as many processes as it should. */
  async fill () {
    const { actors, name, place } = this;
    while (actors.length < PROCESSES[name]) actors.push(await Actor.start(place));
  }

  async close () {
    for (const actor of this.actors) await actor.kill(0);
    if (this.folder !== undefined) fs.rmSync(this.folder, { recursive: true });
  }
}

/** A sequence of operations. */
class Run {
  static #count = 0;
  messages = new Map();
  found = [];
  #dead = [];
  #tables;

  constructor (lane, seed) {
    this.lane = lane;
    // What comes late of an earlier sequence has other names.
    this.name = `${seed}.${Run.#count++}`;
    this.keys = new Map(KEYS.map(key => [`${this.name} ${key}`, { key, tokens: [] }]));
    const schema = lane.place.schema ?? 'sekering';
    this.#tables = ['notification_outbox', 'idempotency_store', 'effects']
      .map(table => `${schema}.${table}`);
  }

  /** All of it. @returns {Promise<string[]>} what is wrong */
  async play (operations) {
    const { lane } = this;
    await lane.fill();
    await this.rows(`TRUNCATE ${this.#tables}`);
    let isWell = false;
    try {
      for (const actor of lane.actors) await this.employ(actor);
      for (const { kind, seed } of operations) await this[kind](new Dice(seed));
      await this.finish();
      const faults = [...this.found, ...await this.faults()];
      isWell = faults.length === 0;
      return faults;
    } finally {
      if (!isWell) for (const actor of lane.actors.splice(0)) await actor.kill(0);
    }
  }

  /** A process begins to work. */
  async employ (actor) {
    actor.hear = said => this.hear(actor, said);
    if (actor.owner !== undefined) return;
    const { value, error } = await actor.ask('work');
    if (error !== undefined) this.found.push(error.message);
    actor.owner = value;
  }

  hear (actor, { event, recipient, key, token }) {
    const message = this.messages.get(recipient);
    if (message === undefined && !this.keys.has(key)) return;
    if (event === 'begin') {
      if (message.isWritten) this.found.push(`${recipient} is sent again`);
      if (message.begins.some(other => !other.isDead)) this.found.push(`${recipient}: twice`);
      message.begins.push(actor);
      this.began(recipient);
    } else if (event === 'written') {
      message.isWritten = true;
    } else {
      const known = this.keys.get(key);
      if (known.value !== undefined) this.found.push(`${key} is done again`);
      if (known.tokens.some(other => BigInt(other) >= BigInt(token))) {
        this.found.push(`${key}: ${token} after ${known.tokens}`);
      }
      known.tokens.push(token);
    }
  }

  /** Of one orderKey the older message was written before. */
  began (recipient) {
    const { orderKey, id } = this.messages.get(recipient);
    for (const other of this.messages.values()) {
      const isOlder = orderKey !== undefined && other.orderKey === orderKey &&
        BigInt(other.id ?? 0) < BigInt(id ?? 0) && other.id !== undefined;
      if (isOlder && other.begins.length === 0) {
        this.found.push(`${recipient} before ${other.recipient}`);
      }
    }
  }

  async rows (text, values) {
    const { value, error } = await this.lane.actors[0].ask('query', text, values);
    if (error !== undefined) throw new Error(error.message);
    return value;
  }

  // ---- Operations ------------------------------------------------------------------------------

  async enqueue (dice) {
    const { name, messages: { size } } = this;
    const given = Array.from({ length: dice.between(1, 4) }, (_, i) => ({
      channel: 'JOB', recipient: `${name} ${size + i}`, orderKey: dice.pick([undefined, 'k', 'l']),
    }));
    const group = given.map(({ recipient }) => recipient);
    for (const message of given) {
      this.messages.set(message.recipient, { ...message, begins: [], group });
    }
    const actor = dice.pick(this.lane.actors);
    const asked = actor.ask('enqueue', given).then(answer => {
      if (answer?.error !== undefined) this.found.push(answer.error.message);
      answer?.value?.forEach((id, i) => Object.assign(this.messages.get(group[i]), { id }));
    });
    if (dice.chance(0.2)) await this.killActor(actor, dice);
    await asked;
  }

  async run (dice) {
    const actor = dice.pick(this.lane.actors);
    const key = dice.pick([...this.keys.keys()]);
    const ran = this.use(key, actor);
    if (dice.chance(0.2)) await this.killActor(actor, dice);
    await ran;
  }

  /** @returns {Promise<boolean>} whether the key has a result */
  async use (key, actor) {
    const known = this.keys.get(key);
    const answer = await actor.ask('run', key, isInside(known));
    if (answer === undefined) return false;
    const { value, error } = answer;
    if (error !== undefined) {
      if (!BUSY.includes(error.code)) this.found.push(`${error.code} ${error.message}`);
      return false;
    }
    const { token } = value.value;
    known.value ??= token;
    if (known.value !== token) this.found.push(`${key}: ${token}, not ${known.value}`);
    return true;
  }

  async kill (dice) { await this.killActor(dice.pick(this.lane.actors), dice); }

  /** A process dies; another takes its place, and what the dead one held lapses. */
  async killActor (actor, dice) {
    const { actors } = this.lane;
    await actor.kill(dice.below(6));
    this.#dead.push(actor.owner);
    actors.splice(actors.indexOf(actor), 1);
    await this.lane.fill();
    if (dice.chance(0.7)) await this.lapse();
    await this.employ(actors.at(-1));
  }

  /** What dead processes held is held no longer. No call of a living one is under way. */
  async lapse () {
    const [outbox, keys] = this.#tables;
    await this.rows(`UPDATE ${outbox} SET lease_until = now() - interval '1 s'
      WHERE status = 'SENDING' AND lease_owner = ANY ($1::text[])`, [this.#dead]);
    await this.rows(`UPDATE ${keys} SET locked_until = clock_timestamp() - interval '1 s'
      WHERE key IN (SELECT key FROM ${keys} WHERE status = 'in_progress' FOR UPDATE SKIP LOCKED)`);
    const { error } = await this.lane.actors[0].ask('sweep');
    if (error !== undefined) this.found.push(`sweep: ${error.message}`);
  }

  async wait (dice) { for (let i = dice.below(10); i > 0; i--) await this.rows('SELECT 1'); }

  // ---- The end ---------------------------------------------------------------------------------

  /** All that was taken in is sent, and each key can be used. */
  async finish () {
    const [outbox] = this.#tables;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      await this.lapse();
      let looks = 0;
      const isDone = await until(async () => {
        const left = await this.rows(`SELECT FROM ${outbox} WHERE status <> 'SENT'`);
        return left.length === 0 ? 'done' : ++looks > LOOKS_MAX && 'not yet';
      });
      if (isDone === 'done') break;
    }
    for (const key of this.keys.keys()) {
      let rounds = 0;
      await until(async () => {
        await this.lapse();
        return await this.use(key, this.lane.actors[0]) || ++rounds > ROUNDS_MAX;
      });
    }
  }

  /** All that is wrong. */
  async faults () {
    const [outbox, , effects] = this.#tables;
    const faults = [];
    const rows = await this.rows(`SELECT recipient, status FROM ${outbox}`);
    const statuses = new Map(rows.map(({ recipient, status }) => [recipient, status]));
    for (const { recipient, id, begins, group } of this.messages.values()) {
      const status = statuses.get(recipient);
      if (id !== undefined && status === undefined) faults.push(`${recipient} is lost`);
      if (status !== undefined && status !== 'SENT') faults.push(`${recipient} is ${status}`);
      if (status === 'SENT' && begins.length === 0) faults.push(`${recipient} was not sent`);
      if (group.some(other => statuses.has(other) !== (status !== undefined))) {
        faults.push(`${recipient}: a part of ${group}`);
      }
    }
    const done = await this.rows(`SELECT key, token FROM ${effects}`);
    for (const [key, known] of this.keys) {
      const { value } = known;
      if (value === undefined) faults.push(`${key} cannot be used`);
      const tokens = done.filter(row => row.key === key).map(({ token }) => token);
      const expected = isInside(known) ? [value] : [];
      if (String(tokens) !== String(expected)) faults.push(`${key}: ${tokens}, not ${expected}`);
    }
    return faults;
  }
}

describeRuns('what was acknowledged is there, and is done once', {
  seeds: SEEDS, lanes: LANES, operationsOf,
  open: (...lane) => Lane.open(...lane),
  begin: (lane, seed) => new Run(lane, seed),
  tell: run => ({
    messages: [...run.messages.values()].map(({ recipient, id, orderKey, begins, isWritten }) =>
      [recipient, id, orderKey, begins.map(({ owner }) => owner), isWritten].join(' ')),
    keys: [...run.keys].map(([key, { tokens, value }]) => `${key}: ${tokens} > ${value}`),
  }),
});
