'use strict';

// The scheduler of a worker beside a database that is a table in memory, and senders that end when
// chance will have it. Whatever happens, and in whatever order: it keeps its limits, and each
// message that it claims is settled, given back, or left behind.

const { Scheduler } = require('../../lib/store/outbox-scheduler');
const { Dice } = require('../support/random');

const RUNS = 1000;
const STEPS = 150;
const ACTIONS_MAX = 10_000;
const CLAIMS_MAX = 10;
const LEASE_MS = 1000;
const CRASHES_MAX = 4;
// When nothing fails any longer, all is done in this time.
const FINISH_MS_MAX = 60_000;
const FINAL = ['SENT', 'DEAD'];
const OF_ROUND = ['extend', 'sweep', 'buryUnknown', 'findSnapshot'];
const AFTER_STOP = ['note', 'settle', 'extend', 'emit', 'abort', 'giveUp', 'leave', 'stopped'];

function check (holds, what) {
  if (!holds) throw new Error(`This does not hold: ${what}`);
}

/** The outbox's table, and what the statements of a worker do to it. */
class Table {
  rows = [];

  add (row) {
    const id = String(this.rows.length + 1);
    this.rows.push({ id, status: 'WAITING', token: undefined, leaseEnds: 0, ...row });
  }

  /** No message of its key is before it, or leased. */
  isFirst (row) {
    return row.orderKey === null || !this.rows.some(other => other !== row &&
      other.channel === row.channel && other.orderKey === row.orderKey &&
      (other.status === 'LEASED' || (other.status === 'WAITING' && +other.id < +row.id)));
  }

  claim ({ channel, token, room, bytes, behind, suspects, ordered, sent }, now) {
    const settled = sent === undefined ? undefined : this.settle(sent.job, now) !== undefined;
    const due = this.rows.filter(row => row.channel === channel && row.status === 'WAITING' &&
      row.dueAt <= now && this.isFirst(row));
    const plain = due.filter(({ crashes, orderKey }) => crashes === 0 && orderKey === null);
    const heads = due.filter(({ crashes, orderKey }) => crashes === 0 && orderKey !== null);
    const once = due.filter(({ crashes }) => crashes === 1).slice(0, suspects);
    const again = due.filter(({ crashes }) => crashes > 1).slice(0, Math.min(suspects, 1));
    const alone = once.length === 0 && again.length > 0;
    const found = behind !== undefined ? plain.filter(({ id }) => +id > +behind.id)
      : alone ? again : [...once, ...heads.slice(0, ordered), ...plain, ...heads.slice(ordered)];
    let left = bytes;
    const fitting = found.slice(0, room).filter(row => {
      left -= row.bytes;
      return left + row.bytes > 0;
    });
    const messages = fitting.map(row => {
      Object.assign(row, { status: 'LEASED', token, leaseEnds: now + LEASE_MS });
      const { id, orderKey, priority, dueAt: nextRetryAt } = row;
      return {
        message: { id, channel, orderKey, priority, nextRetryAt, attemptCount: 0 },
        bytes: row.bytes,
        // What goes alone is charged when it begins.
        crashes: row.crashes > 1 ? row.crashes : row.crashes++,
      };
    });
    if (behind !== undefined) return { messages, settled, dueIn: Infinity };
    const waiting = this.rows.filter(row =>
      row.channel === channel && row.status === 'WAITING' && row.dueAt > now);
    const dueIn = messages.length < room
      ? Math.min(...waiting.map(row => row.dueAt - now)) : Infinity;
    return { messages, settled, lastKey: null, dueIn };
  }

  /** What of a channel's waits, except that a key's may be due whenever there is any. */
  peek (now) {
    const dueIn = new Map();
    for (const { status, channel, orderKey, crashes, dueAt } of this.rows) {
      if (status !== 'WAITING') continue;
      const ms = orderKey === null && crashes === 0 ? dueAt - now : 0;
      dueIn.set(channel, Math.min(dueIn.get(channel) ?? Infinity, ms));
    }
    return dueIn;
  }

  held ({ message: { id }, token }) {
    const row = this.rows[id - 1];
    return row.status === 'LEASED' && row.token === token ? row : undefined;
  }

  settle (job, now) {
    const row = this.held(job);
    if (row === undefined) return undefined;
    const { outcome, delay = 0 } = job.outcome;
    row.crashes = outcome === 'release' ? job.crashes : 0;
    row.status = { sent: 'SENT', dead: 'DEAD' }[outcome] ?? 'WAITING';
    row.dueAt = now + delay;
    return row;
  }

  extend (jobs, now) {
    const rows = jobs.map(job => this.held(job)).filter(row => row !== undefined);
    for (const row of rows) row.leaseEnds = now + LEASE_MS;
    return rows.map(({ id }) => id);
  }

  sweep (before) {
    const lapsed = this.rows.filter(row => row.status === 'LEASED' && row.leaseEnds < before);
    for (const row of lapsed) row.status = row.crashes >= CRASHES_MAX ? 'DEAD' : 'WAITING';
    return lapsed.map(row => ({ ...row, status: row.status === 'DEAD' ? 'DLQ' : 'RETRYING' }));
  }
}

const limiterOf = channel => ({
  tokenMs: 10,
  get available () { return channel.tokens; },
  tryTake () {
    if (channel.tokens < 1) return false;
    channel.tokens--;
    channel.taken++;
    return true;
  },
});

const keyOf = ({ token, message }) => `${token}/${message.id}`;

/** A worker: the scheduler, what it waits for, and what each message is doing. */
class World {
  now = 1000;
  table = new Table();
  /** What is to be answered; functions. */
  open;
  /** By keyOf(): { state: 'waiting' | 'sending' | 'ended' | 'settling', channel, … }. */
  held;
  /** By job: { since, isStuck }. */
  senders;
  claims;
  counts;
  /** Of which channels messages were sent. */
  order = [];

  /**
   * In a smooth world the database answers at once, always, and no process ends.
   * @param {object} [options] some of the worker's
   * @param {object[]} [channels] some of each channel's options
   */
  constructor (seed, options, channels) {
    const dice = this.dice = new Dice(seed);
    this.isSmooth = dice.chance(0.3);
    this.options = {
      concurrency: dice.between(1, 6), unsettled: dice.pick([0, 0, 3]), leaseMs: LEASE_MS,
      batchSize: dice.between(1, 8), heldBytes: dice.pick([16, 40, 1000]),
      pollInterval: dice.pick([100, 2000]),
      ...options,
    };
    const names = channels === undefined ? ['A', 'B', 'C'].slice(0, dice.between(1, 3))
      : channels.map((_, i) => 'ABC'[i] ?? `D${i}`);
    this.channels = Object.fromEntries(names.map((name, i) =>
      [name, Object.assign(this.channel(), channels?.[i])]));
    this.begin();
  }

  /** A process begins. */
  begin () {
    Object.assign(this, {
      scheduler: new Scheduler(this.options, this.channels), phase: 'stopped', open: [],
      held: new Map(), senders: new Map(), claims: [], isPeeking: false, isInRound: false,
      awayUntil: 0, statements: 0,
      isClosed: false, hasLeft: false, counts: { sent: 0, retried: 0, dead: 0, fenced: 0 },
    });
  }

  channel () {
    const { dice } = this;
    const channel = {
      state: 'closed', tokens: 3, taken: 0, concurrency: dice.between(1, 4),
      timeout: dice.between(20, 1500), breaker: () => channel.state,
      restOf: rests => Math.min(50 * (rests + 1), 1000),
    };
    if (dice.chance(0.3)) channel.limiter = limiterOf(channel);
    return channel;
  }

  count (test) { return [...this.held.values()].filter(test).length; }

  /** Of what is held. */
  get bytes () { return [...this.held.values()].reduce((sum, { bytes }) => sum + bytes, 0); }

  countIn (state) { return this.count(one => one.state === state); }

  /** From one state to another: nothing is done twice, or left out. */
  move (job, from, to) {
    const one = this.held.get(keyOf(job));
    check(from.includes(one?.state), `a message is ${from}, not ${one?.state}, before it is ${to}`);
    if (to === undefined) this.held.delete(keyOf(job));
    else one.state = to;
  }

  // ---- What happens ----------------------------------------------------------------------------

  step () {
    const { dice } = this;
    const what = dice.below(100);
    if (this.isSmooth) this.answerAll();
    if (what < 30) this.pass(dice.pick(this.isSmooth ? [0, 1, 10, 50] : [0, 1, 10, 50, 400]));
    else if (what < 55) this.answer();
    else if (what < 75) this.endOne();
    else if (what < 87) this.enqueue(dice.between(1, 6));
    else if (what < 92) {
      dice.pick(Object.values(this.channels)).state =
        dice.pick(['closed', 'closed', 'open', 'halfOpen', 'probing']);
      this.scheduler.wake();
    } else if (what < 94) this.scheduler.wake(dice.pick([undefined, 'A', 'C']));
    else if (what < 95) this.isSmooth || this.table.sweep(this.now);
    else if (what < 96) this.isSmooth || this.begin();
    else this.startOrStop(dice.pick([0, 30, 1000]));
    this.act();
  }

  pass (ms) {
    this.now += ms;
    for (const channel of Object.values(this.channels)) {
      channel.tokens = Math.min(channel.tokens + ms / 10, 3);
    }
    if (this.scheduler.nextAt() <= this.now) this.scheduler.tick(this.now);
  }

  answer () { if (this.open.length > 0) this.dice.take(this.open)(); }

  answerAll () {
    while (this.open.length > 0) {
      this.answer();
      this.act();
    }
  }

  fails (chance) { return !this.isSmooth && !this.isOver && this.dice.chance(chance); }

  /** Senders that are not stuck. */
  get able () { return [...this.senders].filter(([, { isStuck }]) => !isStuck); }

  endOne () { if (this.able.length > 0) this.end(this.dice.pick(this.able)[0]); }

  enqueue (count) {
    const { dice } = this;
    for (let i = 0; i < count; i++) {
      this.add(dice.pick(Object.keys(this.channels)), {
        orderKey: dice.chance(0.3) ? dice.pick(['k', 'l']) : null,
        crashes: dice.chance(0.05) ? dice.between(1, 2) : 0,
        bytes: dice.pick([1, 1, 3, 20]),
      });
    }
    this.scheduler.wake();
  }

  add (channel, more) {
    this.table.add({
      channel, dueAt: this.now, priority: 0, orderKey: null, crashes: 0, bytes: 1, ...more,
    });
  }

  end (job, isGood = this.dice.chance(0.7)) {
    this.senders.delete(job);
    this.move(job, ['sending'], 'ended');
    if (isGood) {
      this.scheduler.sent(job, null, this.now);
      return;
    }
    const retry = { outcome: 'retry', delay: 20 };
    const verdict = this.isOver ? retry : this.dice.pick([
      retry, { outcome: 'dead' }, { outcome: 'release', delay: 30 },
      { outcome: 'release', rests: true, wait: this.dice.pick([undefined, 0, 70]) },
    ]);
    this.scheduler.failed(job, verdict, new Error('no luck'), this.now);
  }

  startOrStop (timeout) {
    if (this.phase === 'running') {
      this.phase = 'stopping';
      this.stopBy = this.now + timeout;
      this.scheduler.stop(timeout, this.now);
    } else if (this.phase === 'stopped') {
      this.phase = 'running';
      this.hasLeft = this.isClosed = false;
      for (const sender of this.senders.values()) sender.since = this.now;
      this.scheduler.start(this.now);
    }
  }

  // ---- What the scheduler does -----------------------------------------------------------------

  act () {
    for (let count = 0; ; count++) {
      check(count < ACTIONS_MAX, 'actions come to an end');
      const action = this.scheduler.next(this.now);
      if (action === undefined) break;
      const { type } = action;
      if (['claim', 'peek', ...OF_ROUND].includes(type)) this.statements++;
      check(this.phase === 'running' || AFTER_STOP.includes(type), `no ${type} after stop`);
      if (OF_ROUND.includes(type)) this.round(action);
      else this[type](action);
    }
    this.checkHeld();
  }

  checkHeld () {
    check(this.scheduler.held === this.held.size, 'nothing that was claimed is forgotten');
    check(this.scheduler.isQuiet === (this.held.size === 0 && this.claims.length === 0),
      'whoever waits for quiet knows of claims, too');
    check(this.scheduler.inFlight === this.countIn('sending'), 'what is in flight is counted');
    check(this.countIn('ended') === 0, 'outcomes are written');
    const isOpen = channel => this.phase === 'running' && this.channels[channel].state !== 'open';
    check(this.count(({ state, channel }) => state === 'waiting' && !isOpen(channel)) === 0,
      'what cannot be sent is given back');
    check(!this.isSmooth || this.counts.fenced === 0, 'leases are extended in time');
    const { counts } = this.scheduler;
    check(Object.keys(counts).every(name => counts[name] === this.counts[name]), 'all is counted');
  }

  claim (claim) {
    const { channel, room, sent } = claim;
    const beside = this.claims.filter(other => other.channel === channel);
    check(beside.length < CLAIMS_MAX, 'few claims at once');
    const asked = this.claims.reduce((sum, { bytes }) => sum + bytes, claim.bytes);
    const leaving = sent === undefined ? 0 : this.held.get(keyOf(sent.job)).bytes;
    const held = this.bytes - leaving;
    check(held + asked <= this.options.heldBytes || held + asked === claim.bytes,
      'no claim while too many bytes are held, or asked for');
    check(Number.isInteger(room) && room >= 1 && room <= this.options.batchSize, 'room fits');
    check(this.channels[channel].state !== 'open', 'no claim while the breaker is open');
    check(this.count(({ goesAlone }) => goesAlone) === 0, 'no claim beside what goes alone');
    if (sent !== undefined) {
      this.move(sent.job, ['ended'], 'settling');
      check(Object.keys(this.channels).length === 1 || this.places > 0,
        'no lane keeps a place that another one may wait for');
    }
    this.claims.push(claim);
    this.open.push(() => this.answerClaim(claim));
  }

  answerClaim (claim) {
    const { dice, now, scheduler, table } = this;
    this.claims.splice(this.claims.indexOf(claim), 1);
    const fails = this.fails(0.2);
    // Its answer may be lost although it was committed.
    const answer = fails && dice.chance(0.5) ? undefined : table.claim(claim, now);
    if (fails) {
      scheduler.claimFailed(claim, new Error('away'), now);
      return;
    }
    for (const { message, bytes, crashes } of answer.messages) {
      this.held.set(keyOf({ token: claim.token, message }), {
        state: 'waiting', channel: claim.channel, bytes, goesAlone: crashes > 1,
        leaseEnds: claim.began + LEASE_MS,
      });
    }
    if (claim.sent !== undefined) this.settled(claim.sent.job, answer.settled);
    scheduler.claimed(claim, answer, now);
  }

  peek (peek) {
    check(!this.isPeeking, 'one look at all channels at a time');
    check(peek.lanes.length > 1, 'a channel alone claims');
    this.isPeeking = true;
    const { scheduler } = this;
    this.open.push(() => {
      this.isPeeking = false;
      if (this.fails(0.2)) scheduler.peekFailed(peek, new Error('away'), this.now);
      else scheduler.peeked(peek, this.table.peek(this.now), this.now);
    });
  }

  get places () {
    const { concurrency, unsettled } = this.options;
    return concurrency - this.senders.size - Math.max(this.countIn('settling') - unsettled, 0);
  }

  mark ({ job }) {
    const others = this.senders.size + this.countIn('settling');
    check(job.goesAlone && others === 0, 'only what goes alone is charged, when it could begin');
    this.open.push(() => {
      if (this.fails(0.2)) {
        this.scheduler.markFailed(job, new Error('away'));
        return;
      }
      const row = this.table.held(job);
      if (row !== undefined) row.crashes = job.crashes + 1;
      else if (this.held.get(keyOf(job))?.state === 'waiting') {
        this.move(job, ['waiting']);
        this.counts.fenced++;
      }
      this.scheduler.marked(job, row !== undefined);
    });
  }

  note () {}

  send ({ job }) {
    check(!job.goesAlone || this.table.held(job)?.crashes !== job.crashes,
      'what goes alone is charged before it is sent');
    const { channel: name, orderKey } = job.message;
    this.order.push(name);
    const channel = this.channels[name];
    const others = [...this.senders.keys()];
    const beside = others.filter(({ message }) => message.channel === name);
    check(channel.state !== 'open', 'nothing is sent while the breaker is open');
    check(channel.state !== 'halfOpen' || beside.length === 0, 'one probe at a time');
    check(channel.limiter === undefined || channel.taken-- === 1, 'each message takes a token');
    check(this.held.get(keyOf(job)).leaseEnds > this.now, 'nothing is sent after its lease');
    check(beside.length < channel.concurrency, 'no more than the channel may');
    check(this.places > 0, 'no more than the worker may');
    check(!others.some(({ goesAlone }) => goesAlone), 'nothing goes beside what goes alone');
    check(!job.goesAlone || others.length + this.countIn('settling') === 0, 'it goes alone');
    // Where a lease was lost, another may be sent beside it; nobody can help that.
    check(orderKey === null || this.table.held(job) === undefined || !beside.some(other =>
      other.message.orderKey === orderKey && this.table.held(other) !== undefined),
    'one of a key at a time');
    this.move(job, ['waiting'], 'sending');
    this.senders.set(job, { since: this.now, isStuck: !this.isOver && this.dice.chance(0.1) });
  }

  abort ({ job, why }) {
    check(why === 'stop' ? this.now >= this.stopBy : this.isLate(job), 'senders have their time');
  }

  isLate (job) {
    const { since } = this.senders.get(job);
    return this.now >= since + this.channels[job.message.channel].timeout;
  }

  giveUp ({ job }) {
    check(this.isLate(job), 'senders have their time');
    this.end(job, false);
  }

  settle ({ job, isRepeated }) {
    this.move(job, isRepeated ? ['settling'] : ['waiting', 'ended'], 'settling');
    this.open.push(() => {
      const row = this.table.settle(job, this.now);
      if (this.fails(0.05)) {
        this.move(job, ['settling'], undefined);
        this.scheduler.settleFailed(job);
      } else {
        this.settled(job, row !== undefined);
        this.scheduler.settled(job, row, this.now);
      }
    });
  }

  /** Counts on its own what became of messages. */
  settled (job, isOurs) {
    this.move(job, ['settling'], undefined);
    const count = { sent: 'sent', retry: 'retried', dead: 'dead' }[job.outcome.outcome];
    if (!isOurs) this.counts.fenced++;
    else if (count !== undefined) this.counts[count]++;
  }

  round (action) {
    check(!this.isInRound, 'one step of a round at a time');
    check(!this.isClosed || this.phase === 'running', 'a store that is closed is left alone');
    check(action.before === undefined || this.now >= this.awayUntil,
      'others may extend their leases');
    this.isInRound = true;
    this.open.push(() => {
      this.isInRound = false;
      if (!this.fails(0.1)) {
        this.scheduler.tended(action, this.answerRound(action), this.now);
        return;
      }
      this.awayUntil = Infinity;
      this.isClosed = this.phase !== 'running' && this.dice.chance(0.3);
      this.scheduler.tendFailed(new Error('away'), this.isClosed);
    });
  }

  answerRound ({ type, jobs, before, began }) {
    if (type === 'extend') {
      const ids = this.table.extend(jobs, this.now);
      for (const job of jobs) {
        const one = this.held.get(keyOf(job));
        if (one !== undefined && ids.includes(job.message.id)) one.leaseEnds = began + LEASE_MS;
      }
      return ids;
    }
    if (type !== 'sweep') return type === 'buryUnknown' ? [] : undefined;
    if (this.awayUntil === Infinity) this.awayUntil = this.now + LEASE_MS / 2;
    const rows = before === undefined ? [] : this.table.sweep(before);
    this.counts.dead += rows.filter(({ status }) => status === 'DLQ').length;
    return { rows, time: this.now };
  }

  leave ({ jobs }) {
    check(jobs.length === this.held.size, 'all that is held is left behind');
    check(this.now >= this.stopBy, 'senders have their time');
    this.hasLeft = true;
  }

  stopped () {
    check(this.phase === 'stopping', 'it stops once');
    check(this.held.size === 0 || this.hasLeft, 'nothing is left behind silently');
    this.phase = 'stopped';
  }

  emit ({ event }) { check(typeof event === 'string', 'an event has a name'); }

  // ---- The end ---------------------------------------------------------------------------------

  /** From now on nothing fails: in time everything is sent, or dead. */
  finish () {
    this.isOver = true;
    for (const [name, channel] of Object.entries(this.channels)) {
      channel.state = 'closed';
      // A channel that rests finds out by a message that it works again.
      this.add(name);
    }
    this.scheduler.wake();
    this.settleDown(() => this.phase !== 'stopping');
    if (this.phase === 'stopped') this.startOrStop();
    this.settleDown(() => this.held.size === 0 && this.claims.length === 0 &&
      this.table.rows.every(({ status }) => FINAL.includes(status)));
    check(Object.values(this.scheduler.channels).every(({ paused }) => !paused),
      'channels that work are not paused');
    this.startOrStop(1000);
    this.act();
    check(this.phase === 'stopped', 'what holds nothing stops at once');
  }

  settleDown (isDone) {
    const ends = this.now + FINISH_MS_MAX;
    for (;;) {
      this.act();
      if (isDone()) return;
      if (this.open.length > 0) this.open.shift()();
      else if (this.able.length > 0) this.end(this.able[0][0], true);
      else this.pass(Math.max(this.scheduler.nextAt() - this.now, 0));
      check(this.now < ends, 'in time all is done');
    }
  }
}

test('whatever happens, each message is settled, given back or left behind', () => {
  for (let seed = 1; seed <= RUNS; seed++) {
    const world = new World(seed);
    try {
      world.startOrStop();
      world.act();
      for (let i = 0; i < STEPS; i++) world.step();
      world.finish();
    } catch (error) {
      error.message = `Seed ${seed}: ${error.message}`;
      throw error;
    }
  }
});

describe('without polling', () => {
  const isDone = ({ table, held, claims }) => held.size === 0 && claims.length === 0 &&
    table.rows.every(({ status }) => FINAL.includes(status));

  /** A worker to which nothing bad happens, and that looks by itself once in an hour. */
  function worldOf (options, channels = [{}]) {
    const world = new World(1, { pollInterval: 3_600_000, concurrency: 2, ...options },
      channels.map(channel => ({ limiter: undefined, timeout: 1000, ...channel })));
    world.isOver = true;
    world.startOrStop();
    world.settleDown(() => isDone(world));
    return world;
  }

  /** Until all is sent, or dead: after how many ms. */
  function finish (world) {
    const began = world.now;
    world.scheduler.wake();
    world.settleDown(() => isDone(world));
    return world.now - began;
  }

  test('channels take turns where there are too few places for all', () => {
    const world = worldOf({ concurrency: 1, batchSize: 3 }, [{}, {}, {}]);
    for (let i = 0; i < 30; i++) world.add('ABC'[Math.floor(i / 10)]);
    finish(world);
    for (const name of 'ABC') expect(world.order.slice(0, 9)).toContain(name);
  });

  test('a retry is claimed when it is due', () => {
    const world = worldOf();
    world.add('A');
    world.scheduler.wake();
    world.settleDown(() => world.able.length > 0);
    world.end(world.able[0][0], false);
    expect(finish(world)).toBeLessThan(100);
    expect(world.counts).toMatchObject({ retried: 1, sent: 1 });
  });

  test('a message that was enqueued long before it is due is claimed then', () => {
    const world = worldOf();
    world.add('A', { dueAt: world.now + 10_000 });
    world.add('A', { dueAt: world.now + 50_000 });
    expect(finish(world)).toBeLessThan(50_100);
    expect(world.counts).toMatchObject({ sent: 2 });
  });

  test('messages of a key follow each other', () => {
    const world = worldOf();
    for (let i = 0; i < 10; i++) world.add('A', { orderKey: i % 2 ? 'k' : 'l' });
    expect(finish(world)).toBe(0);
  });

  test('suspects follow each other, in all channels', () => {
    const world = worldOf({}, [{}, {}]);
    for (let i = 0; i < 20; i++) world.add('AB'[i % 2], { crashes: 1 + i % 3 % 2 });
    // Both channels have found none before, and wait for some poll intervals.
    world.now += 5 * 3_600_000;
    expect(finish(world)).toBe(0);
  });

  test('messages are sent when there are tokens for them', () => {
    const world = worldOf();
    const { A: channel } = world.channels;
    channel.limiter = limiterOf(channel);
    world.begin();
    world.startOrStop();
    for (let i = 0; i < 13; i++) world.add('A');
    expect(finish(world)).toBeLessThan(200);
  });

  test('a message whose lease ended before its claim was answered is claimed again', () => {
    const world = worldOf();
    world.add('A');
    world.scheduler.wake();
    world.act();
    world.scheduler.wake();
    world.now += 2 * LEASE_MS;
    world.open.pop()();
    world.act();
    // The next claim is answered before the message has been given back.
    world.open.reverse();
    world.settleDown(() => isDone(world));
    expect(world.now).toBeLessThan(10_000);
    expect(world.counts).toMatchObject({ sent: 1 });
  });

  test('a claim that failed is tried again', () => {
    const world = worldOf();
    world.add('A');
    world.scheduler.wake();
    for (let failures = 0; failures < 5; failures++) {
      world.settleDown(() => world.claims.length > 0);
      const [claim] = world.claims.splice(0);
      world.open = world.open.slice(0, -1);
      world.scheduler.claimFailed(claim, new Error('away'), world.now);
    }
    expect(finish(world)).toBeLessThan(5000);
  });
});

describe('a thousand channels at rest', () => {
  const COUNT = 1000;

  /** A worker to which nothing bad happens, for so many seconds. */
  function pass (world, seconds) {
    const ends = world.now + seconds * 1000;
    for (;;) {
      world.act();
      if (world.open.length > 0) world.open.shift()();
      else if (world.able.length > 0) world.end(world.able[0][0], true);
      else if (world.scheduler.nextAt() > ends) return;
      else world.pass(Math.max(world.scheduler.nextAt() - world.now, 0));
    }
  }

  function worldOf (count) {
    const world = new World(1, { pollInterval: 1000, leaseMs: 30_000, concurrency: 20 },
      Array.from({ length: count }, () => ({ limiter: undefined, timeout: 1000 })));
    world.isOver = true;
    world.startOrStop();
    return world;
  }

  /** Statements in so many seconds. */
  function statementsIn (world, seconds) {
    const before = world.statements;
    pass(world, seconds);
    return world.statements - before;
  }

  test('they cost two statements a second at first, and then fewer', () => {
    const world = worldOf(COUNT);
    expect(statementsIn(world, 10)).toBeLessThanOrEqual(2 * 10);
    pass(world, 50);
    // A look in three seconds, and a round in five, now and then of three statements.
    expect(statementsIn(world, 300)).toBeLessThanOrEqual(300 / 3 + 300 / 5 + 2 * 300 / 60 + 2);
  });

  test('only those with something due claim, and what nobody announced is found in time', () => {
    const world = worldOf(COUNT);
    pass(world, 60);
    world.add('D500');
    world.add('D700', { dueAt: world.now + 60_000 });
    // A look; a claim, and one more that finds nothing.
    expect(statementsIn(world, 4)).toBeLessThanOrEqual(2 * 4 + 2);
    expect(world.counts.sent).toBe(1);
    expect(statementsIn(world, 60)).toBeLessThanOrEqual(2 * 60 + 2);
    expect(world.counts.sent).toBe(2);
  });

  test('a busy channel does not make the others claim', () => {
    const world = worldOf(COUNT);
    pass(world, 60);
    const [claim, peek] = ['claim', 'peek'].map(name => jest.spyOn(world, name));
    for (let i = 0; i < 100; i++) {
      world.add('D3');
      world.scheduler.wake('D3');
      pass(world, 1);
    }
    expect(world.counts.sent).toBe(100);
    expect(claim.mock.calls.map(([{ channel }]) => channel).filter(name => name !== 'D3'))
      .toEqual([]);
    expect(peek.mock.calls.length).toBeLessThanOrEqual(100 + 1);
  });

  test('a channel whose claims fail is not asked for more often because others rest', () => {
    const world = worldOf(COUNT);
    pass(world, 60);
    world.add('D3');
    const answer = world.answerClaim;
    const failed = [];
    world.answerClaim = claim => {
      failed.push(world.now);
      world.claims.splice(world.claims.indexOf(claim), 1);
      world.scheduler.claimFailed(claim, new Error('away'), world.now);
    };
    pass(world, 60);
    // Six while the pauses grow, and then one in five seconds.
    expect(failed.length).toBeLessThanOrEqual(6 + 60 / 5);
    world.answerClaim = answer;
    pass(world, 6);
    expect(world.counts.sent).toBe(1);
  });

  test('a look that fails is told once, and repeated', () => {
    const world = worldOf(COUNT);
    world.fails = () => false;
    pass(world, 60);
    const told = jest.spyOn(world, 'emit');
    world.fails = () => true;
    const failed = statementsIn(world, 60);
    world.fails = () => false;
    const warnings = told.mock.calls.filter(([{ event }]) => event === 'warning');
    expect(warnings.length).toBeGreaterThan(0);
    expect(warnings.length).toBeLessThanOrEqual(failed);
    expect(failed).toBeLessThanOrEqual(2 * 60);
    world.add('D500');
    pass(world, 6);
    expect(world.counts.sent).toBe(1);
  });
});
