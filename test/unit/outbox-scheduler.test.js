'use strict';

// The scheduler of a worker beside a database that is a table in memory, and senders that end when
// chance will have it. Whatever happens, and in whatever order: it keeps its limits, and each
// message that it claims is settled, given back, or left behind.

const { Scheduler } = require('../../lib/store/outbox-scheduler');
const { Dice } = require('../support/random');

const RUNS = 1500;
const STEPS = 200;
const ACTIONS_MAX = 10_000;
const CLAIMS_MAX = 10;
const LEASE_MS = 1000;
const CRASHES_MAX = 4;
const FINAL = ['SENT', 'DEAD'];
const OF_ROUND = ['extend', 'readTime', 'sweep', 'buryUnknown', 'findSnapshot'];
const AFTER_STOP = ['settle', 'extend', 'emit', 'abort', 'giveUp', 'leave', 'stopped'];

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

  claim ({ channel, token, room, behind, suspects, ordered, sent }, now) {
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
    const messages = found.slice(0, room).map(row => {
      Object.assign(row, { status: 'LEASED', token, leaseEnds: now + LEASE_MS });
      const { id, orderKey, priority, dueAt: nextRetryAt } = row;
      return {
        message: { id, channel, orderKey, priority, nextRetryAt, attemptCount: 0 },
        crashes: row.crashes++,
      };
    });
    return { messages, settled, lastKey: behind === undefined ? null : undefined };
  }

  held ({ message: { id }, token }) {
    const row = this.rows[id - 1];
    return row.status === 'LEASED' && row.token === token ? row : undefined;
  }

  settle (job, now) {
    const row = this.held(job);
    if (row === undefined) return undefined;
    const { outcome, delay = 0 } = job.outcome;
    row.crashes = outcome === 'release' ? row.crashes - 1 : 0;
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

/** A worker: the scheduler, what it waits for, and what each message is doing. */
class World {
  now = 1000;
  table = new Table();
  phase = 'stopped';
  /** What is to be answered; functions. */
  open = [];
  /** By the claim's token and the message's id: 'waiting', 'sending', 'ended', 'settling'. */
  states = new Map();
  /** By job: since when its sender has time. */
  senders = new Map();
  claims = [];
  isInRound = false;
  counts = { sent: 0, retried: 0, dead: 0, fenced: 0 };

  constructor (seed) {
    const dice = this.dice = new Dice(seed);
    this.options = {
      concurrency: dice.between(1, 6), unsettled: dice.pick([0, 0, 3]), leaseMs: LEASE_MS,
      batchSize: dice.between(1, 8), pollInterval: 100,
    };
    const names = ['A', 'B', 'C'].slice(0, dice.between(1, 3));
    this.channels = Object.fromEntries(names.map(name => [name, this.channel()]));
    this.scheduler = new Scheduler(this.options, this.channels);
  }

  channel () {
    const { dice } = this;
    const channel = {
      state: 'closed', tokens: 3, concurrency: dice.between(1, 4), timeout: dice.between(20, 500),
      breaker: () => channel.state, restOf: rests => 50 * (rests + 1),
    };
    if (dice.chance(0.3)) {
      channel.limiter = {
        tokenMs: 10,
        get available () { return channel.tokens; },
        tryTake: () => channel.tokens >= 1 && channel.tokens-- >= 1,
      };
    }
    return channel;
  }

  keyOf ({ token, message }) { return `${token}/${message.id}`; }

  count (state) { return [...this.states.values()].filter(one => one === state).length; }

  /** From one state to another: nothing is done twice, or left out. */
  move (job, from, to) {
    const key = this.keyOf(job);
    check(from.includes(this.states.get(key)), `${this.states.get(key)} → ${to} is no step`);
    if (to === undefined) this.states.delete(key);
    else this.states.set(key, to);
  }

  // ---- What happens ----------------------------------------------------------------------------

  step () {
    const { dice } = this;
    const what = dice.below(100);
    if (what < 30) this.pass(dice.pick([0, 1, 10, 50, 400]));
    else if (what < 55) this.answer();
    else if (what < 75) this.endOne();
    else if (what < 87) this.enqueue(dice.between(1, 6));
    else if (what < 92) {
      dice.pick(Object.values(this.channels)).state =
        dice.pick(['closed', 'closed', 'open', 'halfOpen', 'probing']);
    } else if (what < 94) this.scheduler.wake(dice.pick([undefined, 'A', 'C']));
    else if (what < 95) this.table.sweep(this.now);
    else if (what < 96) this.crash();
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

  endOne () {
    if (this.senders.size > 0) this.end(this.dice.pick([...this.senders.keys()]));
  }

  enqueue (count) {
    const { dice, now } = this;
    for (let i = 0; i < count; i++) {
      this.table.add({
        channel: dice.pick(Object.keys(this.channels)), dueAt: now, priority: 0,
        orderKey: dice.chance(0.3) ? dice.pick(['k', 'l']) : null,
        crashes: dice.chance(0.05) ? dice.between(1, 2) : 0,
      });
    }
    this.scheduler.wake();
  }

  end (job, isGood = this.dice.chance(0.7)) {
    this.senders.delete(job);
    this.move(job, ['sending'], 'ended');
    if (isGood) {
      this.scheduler.sent(job, null, this.now);
      return;
    }
    this.scheduler.failed(job, this.dice.pick([
      { outcome: 'retry', delay: 20 }, { outcome: 'dead' }, { outcome: 'release', delay: 30 },
      { outcome: 'release', rests: true, wait: this.dice.pick([undefined, 0, 70]) },
    ]), new Error('no luck'), this.now);
  }

  startOrStop (timeout) {
    if (this.phase === 'running') {
      this.phase = 'stopping';
      this.stopBy = this.now + timeout;
      this.scheduler.stop(timeout, this.now);
    } else if (this.phase === 'stopped') {
      this.phase = 'running';
      for (const job of this.senders.keys()) this.senders.set(job, this.now);
      this.scheduler.start(this.now);
    }
  }

  /** The process ends, and another one begins. */
  crash () {
    this.open = [];
    this.claims = [];
    this.states.clear();
    this.senders.clear();
    this.counts = { sent: 0, retried: 0, dead: 0, fenced: 0 };
    this.isInRound = false;
    this.phase = 'stopped';
    this.scheduler = new Scheduler(this.options, this.channels);
  }

  // ---- What the scheduler does -----------------------------------------------------------------

  act () {
    for (let count = 0; ; count++) {
      check(count < ACTIONS_MAX, 'actions come to an end');
      const action = this.scheduler.next(this.now);
      if (action === undefined) break;
      const { type } = action;
      check(this.phase === 'running' || AFTER_STOP.includes(type), `no ${type} after stop`);
      if (OF_ROUND.includes(type)) this.round(action);
      else this[type](action);
    }
    check(this.scheduler.held === this.states.size, 'nothing that was claimed is forgotten');
    check(this.scheduler.inFlight === this.count('sending'), 'what is in flight is counted');
    check(this.count('ended') === 0, 'outcomes are written');
    check(this.phase === 'running' || this.count('waiting') === 0, 'what waits is given back');
    expect(this.scheduler.counts).toEqual(this.counts);
  }

  claim (claim) {
    const { channel, room, sent } = claim;
    const beside = this.claims.filter(other => other.channel === channel);
    check(beside.length < CLAIMS_MAX, 'few claims at once');
    check(Number.isInteger(room) && room >= 1 && room <= this.options.batchSize, 'room fits');
    check(this.channels[channel].state !== 'open', 'no claim while the breaker is open');
    if (sent !== undefined) this.move(sent.job, ['ended'], 'settling');
    this.claims.push(claim);
    this.open.push(() => this.answerClaim(claim));
  }

  answerClaim (claim) {
    const { dice, now, scheduler, table } = this;
    this.claims.splice(this.claims.indexOf(claim), 1);
    // Its answer may be lost although it was committed.
    const what = dice.pick(['fails', 'is lost', ...Array(8).fill('answers')]);
    const answer = what === 'fails' ? undefined : table.claim(claim, now);
    if (what !== 'answers') {
      scheduler.claimFailed(claim, new Error(what), now);
      return;
    }
    for (const { message } of answer.messages) {
      this.move({ token: claim.token, message }, [undefined], 'waiting');
    }
    if (claim.sent !== undefined) this.settled(claim.sent.job, answer.settled);
    scheduler.claimed(claim, answer, now);
  }

  send ({ job }) {
    const { concurrency, unsettled } = this.options;
    const { channel: name, orderKey } = job.message;
    const channel = this.channels[name];
    const others = [...this.senders.keys()];
    const beside = others.filter(({ message }) => message.channel === name);
    check(channel.state !== 'open', 'nothing is sent while the breaker is open');
    check(channel.state !== 'halfOpen' || beside.length === 0, 'one probe at a time');
    check(job.leaseEnds > this.now, 'nothing is sent after its lease');
    check(beside.length < channel.concurrency, 'no more than the channel may');
    check(others.length + Math.max(this.count('settling') - unsettled, 0) < concurrency,
      'no more than the worker may');
    check(!others.some(({ goesAlone }) => goesAlone), 'nothing goes beside what goes alone');
    check(!job.goesAlone || others.length + this.count('settling') === 0, 'it goes alone');
    // Where a lease was lost, another may be sent beside it; nobody can help that.
    check(orderKey === null || this.table.held(job) === undefined || !beside.some(other =>
      other.message.orderKey === orderKey && this.table.held(other) !== undefined),
    'one of a key at a time');
    this.move(job, ['waiting'], 'sending');
    this.senders.set(job, this.now);
  }

  abort ({ job, why }) {
    check(why === 'stop' ? this.now >= this.stopBy
      : this.now >= this.senders.get(job) + job.lane.timeout, 'senders have their time');
  }

  giveUp ({ job }) {
    check(this.now >= this.senders.get(job) + job.lane.timeout, 'senders have their time');
    this.end(job, false);
  }

  settle ({ job, isRepeated }) {
    this.move(job, isRepeated ? ['settling'] : ['waiting', 'ended'], 'settling');
    this.open.push(() => {
      const row = this.table.settle(job, this.now);
      if (this.dice.chance(0.05)) {
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
    this.isInRound = true;
    this.open.push(() => {
      this.isInRound = false;
      if (this.dice.chance(0.1)) this.scheduler.tendFailed(new Error('away'), false);
      else this.scheduler.tended(action, this.answerRound(action), this.now);
    });
  }

  answerRound ({ type, jobs, before }) {
    if (type === 'extend') return this.table.extend(jobs, this.now);
    if (type === 'readTime') return this.now;
    if (type === 'findSnapshot') return undefined;
    const rows = type === 'sweep' ? this.table.sweep(before) : [];
    this.counts.dead += rows.filter(({ status }) => status === 'DLQ').length;
    return rows;
  }

  leave ({ jobs }) {
    check(jobs.length === this.states.size, 'all that is held is left behind');
    check(this.now >= this.stopBy, 'senders have their time');
  }

  stopped () {
    check(this.phase === 'stopping', 'it stops once');
    this.phase = 'stopped';
  }

  emit ({ event }) { check(typeof event === 'string', 'an event has a name'); }

  // ---- The end ---------------------------------------------------------------------------------

  /** From now on all goes well: in time everything is sent, or dead. */
  finish () {
    for (const channel of Object.values(this.channels)) channel.state = 'closed';
    this.settleDown(() => this.phase !== 'stopping');
    if (this.phase === 'stopped') this.startOrStop();
    this.settleDown(() => this.table.rows.every(({ status }) => FINAL.includes(status)));
    this.settleDown(() => this.states.size === 0 && this.claims.length === 0);
    this.startOrStop(1000);
    this.act();
    check(this.phase === 'stopped', 'what holds nothing stops at once');
  }

  settleDown (isDone) {
    for (let rounds = 0; ; rounds++) {
      this.act();
      if (isDone()) return;
      check(rounds < 10_000, 'in time all is done');
      if (this.open.length > 0) this.open.shift()();
      else if (this.senders.size > 0) this.end(this.senders.keys().next().value, true);
      else this.pass(Math.max(this.scheduler.nextAt() - this.now, 0));
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
