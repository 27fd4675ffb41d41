'use strict';

// Random calls under idempotency keys, and what disturbs them: holders lose their locks, processes
// are killed or stand still, connections are cut, PostgreSQL restarts. A model says what must hold;
// see support/idempotency-model.
//
// SEKERING_SEEDS: how many sequences, default 100; SEKERING_SEED: only this one;
// SEKERING_CHAOS_SECONDS: as many as there is time for. A sequence that fails is printed, and then
// made shorter for as long as it still fails.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { createIdempotency } = require('../../lib/store/idempotency');
const { openDatabase } = require('../../lib/store/database');
const { migrate } = require('../../lib/store/migrate');
const { startTcpProxy } = require('../../lib/testing/tcp-proxy');
const { Host } = require('../support/idempotency-host');
const { HISTORY, Model } = require('../support/idempotency-model');
const { gate, until } = require('../support/outbox-helpers');
const { Dice, seedsOf } = require('../support/random');
const { Disturbed, describeRuns, operationsBy, server } = require('../support/random-runs');

const HOST = path.join(__dirname, '..', 'support', 'idempotency-host.js');

const SEEDS = seedsOf(100);
const STEPS = 24;
const LANES = { postgresql: 8, pglite: 2 };
const CONNECTIONS = 4;
// A claim waits for the transaction that has the key: longer than any machine needs.
const TIMEOUT_MS = 300_000;
// A connection for each transaction that is open, and some for all others.
const OPEN_MAX = 2;
// One in so many sequences has calls in other processes.
const SEEDS_WITH_PEERS = 10;
const KEYS = ['a', 'b', 'c'];
const PLANS = ['value', 'value', 'value', 'value', 'fail', 'fail', 'odd'];
// Living holders lose a lock only if it is taken from them, however slow the machine is.
const LOCK_MS = 300_000;
const ROUNDS_MAX = 1000;
if (SEEDS.isLong) jest.setTimeout(7 * 24 * 3_600_000);

/** What happens, and how often. */
const operationsOf = operationsBy({
  call: 40, end: 25, lapse: 10, confirm: 8, empty: 5, cut: 3, kill: 2, freeze: 3, thaw: 3, wait: 4,
}, STEPS, 0.001);

/** A host in a process of its own. */
class Peer {
  isFrozen = false;

  static async open (place, tell) {
    const peer = new Peer();
    peer.child = fork(HOST, [JSON.stringify(place)]);
    peer.tell = tell;
    const ready = gate();
    peer.child.on('message', ({ event, id, said }) => {
      if (event === 'ready') ready.resolve();
      else peer.tell(event, id, said);
    });
    await ready.promise;
    return peer;
  }

  run (...args) { this.child.send({ method: 'run', args }); }
  end (...args) { this.child.send({ method: 'end', args }); }
  confirm (...args) { this.child.send({ method: 'confirm', args }); }

  freeze (isFrozen) {
    this.isFrozen = isFrozen;
    this.child.kill(isFrozen ? 'SIGSTOP' : 'SIGCONT');
  }

  async kill () {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }
}

/** A place for one sequence after the other. */
class Lane {
  static async open (place, name, i) {
    const lane = Object.assign(new Lane(), { name });
    lane.place = {
      connections: CONNECTIONS, schema: `lane_${i}`, timeout: TIMEOUT_MS, ...place,
    };
    lane.direct = await openDatabase({ ...lane.place, onWarning: () => {} });
    await migrate(lane.direct);
    for (const text of HISTORY(lane.direct.schema)) await lane.direct.query(text);
    lane.idempotency = createIdempotency({ database: lane.direct });
    if (name === 'postgresql') {
      const { port } = new URL(place.url);
      lane.proxy = await startTcpProxy({ target: Number(port) });
      lane.proxied = {
        ...lane.place, url: place.url.replace(`:${port}`, `:${lane.proxy.port}`),
      };
    }
    return lane;
  }

  async close () {
    await this.peer?.kill();
    await this.direct.close();
    await this.proxy?.close();
  }
}

/** A sequence of operations. */
class Run extends Disturbed {
  static #count = 0;
  #restarts = server.restarts;

  constructor (lane, seed) {
    super();
    this.lane = lane;
    this.dice = new Dice(seed);
    // What an earlier sequence left behind has other keys.
    this.name = `${seed}.${Run.#count++}`;
    this.hasPeers = lane.proxy !== undefined && seed % SEEDS_WITH_PEERS === 0;
    this.model = new Model();
    this.model.isUpset = () => this.isHurt || server.restarts !== this.#restarts;
  }

  /** All of it. @returns {Promise<string[]>} what is wrong */
  async play (operations) {
    const { lane } = this;
    // Fresh connections: what happened to those of an earlier sequence is no excuse for this one.
    this.hosts = lane.proxy === undefined ? [new Host(lane.direct, this.hear)]
      : await Promise.all([lane.place, lane.proxied].map(place => Host.open(place, this.hear)));
    if (this.hasPeers) await this.findPeer();
    try {
      for (const { kind, seed } of operations) await this[kind](new Dice(seed));
      await this.finish();
      return await this.faults();
    } finally {
      lane.proxy?.set(null);
      this.peer?.freeze(false);
      if (this.model.isUpset() || !this.isOver) await this.dropPeer();
      await Promise.all(this.hosts.map(({ database }) => database?.close()));
    }
  }

  hear = (event, id, said) => {
    const call = this.model.calls[id];
    if (event === 'begun') {
      call.token = said.token;
      call.begun.resolve();
    } else if (event === 'settled') {
      call.answer = said;
      this.position(call.key).then(to => {
        call.to = to;
        call.settled.resolve();
      });
    } else if (event === 'confirmed') {
      const confirmation = this.model.confirmations.find(each => each.call === call &&
        each.answer === undefined);
      confirmation.answer = said;
      this.position(call.key).then(to => {
        confirmation.to = to;
        confirmation.settled.resolve();
      });
    } else if (said.code !== 'ERR_IDEMPOTENCY_LOST') {
      this.model.fault(`warned of ${said.code}`);
    }
  };

  async findPeer () {
    const { lane, hear } = this;
    lane.peer ??= await Peer.open(this.dice.chance(0.5) ? lane.proxied : lane.place, hear);
    lane.peer.tell = hear;
    this.peer = lane.peer;
  }

  async dropPeer () {
    const { peer } = this.lane;
    this.lane.peer = undefined;
    await peer?.kill();
  }

  // ---- The database, as the test sees it -------------------------------------------------------

  /** Until it succeeds: the server may be restarting. */
  async ask (text, values) {
    return until(() => this.lane.direct.query(text, values).catch(() => false));
  }

  get #schema () { return this.lane.direct.schema; }

  /** The last state of a key that everybody can see. */
  async position (key) {
    const { rows: [{ id }] } = await this.ask(`SELECT coalesce(max(id), 0) AS id
      FROM ${this.#schema}.history WHERE key = $1`, [key]);
    return BigInt(id);
  }

  async look (times) { for (let i = 0; i < times; i++) await this.ask('SELECT 1'); }

  // ---- Operations ------------------------------------------------------------------------------

  get working () {
    return this.model.calls.filter(call => call.token !== undefined && call.plan === undefined &&
      !call.isKilled);
  }

  async call (dice) {
    const host = dice.pick(this.peer ? [...this.hosts, this.peer, this.peer] : this.hosts);
    const open = this.working.filter(call => call.host === host && call.options.transaction);
    const payload = dice.pick([1, 1, 1, 1, 2]);
    await this.begin(host, dice.pick(KEYS), {
      payload, lockTimeout: LOCK_MS, wait: dice.pick([0, 0, 30, LOCK_MS]),
      transaction: open.length < OPEN_MAX && dice.chance(0.25),
      storeFailures: dice.chance(0.3),
    }, dice);
  }

  /** @returns {Promise<object>} the call, which has begun its work, or has settled, or waits */
  async begin (host, letter, options, dice) {
    const { model, lane } = this;
    const key = `${this.name} ${letter}`;
    const call = {
      id: model.calls.length, key, options, host,
      fingerprint: lane.idempotency.keyOf(options.payload),
      isPatient: options.wait === LOCK_MS, begun: gate(), settled: gate(),
    };
    model.calls.push(call);
    call.from = await this.position(key);
    // On PGlite a transaction that is open keeps all others waiting.
    const isAtOnce = this.isOver || (lane.name === 'pglite' && options.transaction);
    if (isAtOnce) call.plan = this.isOver ? 'value' : dice.pick(PLANS);
    host.run(call.id, { key, options, plan: call.plan });
    if (!host.isFrozen) await this.orNot(call.begun, call.settled);
    return call;
  }

  /** Waits for what may not come. */
  orNot (...gates) {
    return Promise.race([...gates.map(({ promise }) => promise), this.look(4)]);
  }

  async end (dice) {
    const call = dice.pick(this.working);
    if (call === undefined) return;
    call.plan = dice.pick(PLANS);
    call.host.end(call.id, call.plan);
    if (!call.host.isFrozen && dice.chance(0.7)) await this.orNot(call.settled);
  }

  /** A holder loses its lock, as if its process had stood still; then others may come. */
  async lapse (dice) {
    const call = dice.pick(this.working);
    if (call === undefined) return;
    await this.endLocks('token = $1', call.token);
    if (dice.chance(0.7)) await this.call(dice);
  }

  /** Ends locks, except those of keys that a transaction has. */
  async endLocks (condition, value) {
    const table = `${this.#schema}.idempotency_store`;
    await this.ask(`UPDATE ${table} SET locked_until = clock_timestamp() - interval '1 s'
      WHERE key IN (SELECT key FROM ${table} WHERE status = 'in_progress' AND
        locked_until > clock_timestamp() AND ${condition} FOR UPDATE SKIP LOCKED)`, [value]);
  }

  async confirm (dice) {
    const call = dice.pick(this.working);
    if (call === undefined) return;
    const confirmation = { call, settled: gate(), from: await this.position(call.key) };
    this.model.confirmations.push(confirmation);
    call.host.confirm(call.id);
    if (!call.host.isFrozen) await this.orNot(confirmation.settled);
  }

  /** A result expires, or a key is forgotten. */
  async empty (dice) {
    const key = `${this.name} ${dice.pick(KEYS)}`;
    this.model.emptied.add(key);
    // A transaction that has the key would keep it waiting.
    const isOpen = this.working.some(call => call.key === key && call.options.transaction);
    if (dice.chance(0.5) && !isOpen) {
      await until(() => this.lane.idempotency.forget(key).then(() => true, error => {
        if (!this.model.isUpset()) throw error;
      }));
    } else {
      await this.ask(`UPDATE ${this.#schema}.idempotency_store SET expires_at = clock_timestamp()
        WHERE key = $1 AND status = 'done' AND expires_at > clock_timestamp()`, [key]);
    }
  }

  async wait (dice) { await this.look(dice.below(10)); }

  /** A process dies, and another one takes its place. */
  async kill () {
    const { peer, model } = this;
    if (peer === undefined) return;
    for (const call of model.calls) {
      if (call.host === peer && call.answer === undefined) call.isKilled = true;
    }
    await this.dropPeer();
    await this.findPeer();
  }

  /** A process stands still for longer than its locks last. */
  async freeze (dice) {
    const { peer } = this;
    if (peer === undefined || peer.isFrozen) return;
    peer.freeze(true);
    for (const { host, token } of this.working) {
      if (host === peer) await this.endLocks('token = $1', token);
    }
    await this.call(dice);
  }

  async thaw () { if (this.peer?.isFrozen) this.peer.freeze(false); }

  // ---- The end ---------------------------------------------------------------------------------

  /** From now on all goes well: all calls settle, and each key can be used. */
  async finish () {
    const { lane, model, dice } = this;
    lane.proxy?.set(null);
    await this.thaw();
    const waits = () => [...model.calls, ...model.confirmations]
      .filter(each => !(each.call ?? each).isKilled && each.to === undefined);
    for (let round = 0; waits().length > 0 && round < ROUNDS_MAX; round++) {
      for (const call of this.working) {
        call.plan = dice.pick(PLANS);
        call.host.end(call.id, call.plan);
      }
      // What is held now may be held by nobody: its process died, or the claim's answer was lost.
      if (round % 10 === 9) await this.endLocks('starts_with(key, $1)', `${this.name} `);
      await this.orNot(...waits().map(({ settled }) => settled));
    }
    this.isOver = true;
    for (const key of KEYS) await this.useKey(key);
  }

  /** Whatever has happened to a key, it has a result, or it can be taken. */
  async useKey (letter) {
    const key = `${this.name} ${letter}`;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      await this.endLocks('key = $1', key);
      const { rows: [row] } = await this.ask(`SELECT fingerprint
        FROM ${this.#schema}.idempotency_store WHERE key = $1`, [key]);
      const { idempotency } = this.lane;
      const payload = [1, 2].find(each => idempotency.keyOf(each) === row?.fingerprint) ?? 1;
      const call = await this.begin(this.hosts[0], letter,
        { payload, lockTimeout: LOCK_MS, wait: 0, transaction: false, storeFailures: false });
      await call.settled.promise;
      // A statement whose connection was cut may take the key as late as now.
      const { value, error } = call.answer;
      if (value !== undefined || !this.model.isUpset()) return;
      if (error.code === 'E_WORK' || error.code === 'ERR_IDEMPOTENCY_RESULT') return;
    }
    this.model.fault(`${key} cannot be used`);
  }

  /** All that is wrong. */
  async faults () {
    const mine = [`${this.name} `];
    const { rows: history } = await this.ask(`SELECT * FROM ${this.#schema}.history
      WHERE starts_with(key, $1) ORDER BY id`, mine);
    const { rows: effects } = await this.ask(`SELECT * FROM ${this.#schema}.effects
      WHERE starts_with(key, $1)`, mine);
    return this.model.check(history, effects);
  }
}

describeRuns('work is done once, and all callers get what became of it', {
  seeds: SEEDS, lanes: LANES, operationsOf,
  open: (...lane) => Lane.open(...lane),
  async begin (lane, seed) {
    await server.restarting;
    return new Run(lane, seed);
  },
  tell: run => ({ calls: run.model.story() }),
});
