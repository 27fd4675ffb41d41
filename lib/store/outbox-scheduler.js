'use strict';

// All decisions of a worker: what to claim, when to send it, what becomes of it, and how to stop.
//
// It is a state machine without I/O. Its methods tell it what has happened, and when; then next()
// is asked for actions until there are none, and nextAt() for the time of the next tick(). Each
// action is decided on the state at that moment, so nothing that happens between two of them (a
// sender that stops the worker, say) can make the second one wrong. It calls nothing but the
// breaker and the rate limiter of a channel, which are shared with others.
//
// A message that was claimed waits in its lane, is sent, and is settled: its outcome is written.
// Or it is given back unsent, which is settled like an outcome. `held` has it until then.

// Claimed in advance: what is sent in this time at the present rate. More would only wait here
// while another worker could take it.
const AHEAD_MS = 100;
// For this time after a look at everything, claims begin where the last one ended.
const LOOK_MS = 100;
// At most this share of the time is spent on looks at everything: 1 in 10.
const LOOK_SHARE = 10;
// Claims under way at once: twice as many after each that finds all it asks for, and one after one
// that does not. Small claims need company, as each waits for the disk.
const CLAIMS_MAX = 10;
// A claim brings at most this share of the bytes that may be held, and one message more.
const CLAIM_BYTES_SHARE = 16;
const CLAIM_RETRY_MS_MIN = 100;
const CLAIM_RETRY_MS_MAX = 5000;
// The database sets the time of a retry a little later than we do.
const LATE_MS = 5;

// Leases are extended, and lapsed ones are looked for, when this share of a lease has passed.
const LEASE_SHARE = 4;
const TEND_MS_MAX = 5000;
// A lease is extended once it has less than this share left.
const LEASE_FRESH = 0.75;
const SWEEP_ROWS = 1000;
const INSPECT_MS = 60_000;
// A lane that missed its turn to look for suspects, and found none last time, waits for so many
// poll intervals before it makes up for it.
const SUSPECTS_POLLS = 5;

// A lane that has found nothing for so many polls, and was not woken meanwhile, polls less often.
const QUICK_POLLS = 10;
const SLOW_POLLS = 3;

// For senders that end when their signal aborts.
const ABORT_MS = 100;

const RELEASE = { outcome: 'release', attempts: 0 };

/** By priority, then by the time it was due, then by age: ids are numbers as text. */
function compare ({ message: a }, { message: b }) {
  return b.priority - a.priority || a.nextRetryAt - b.nextRetryAt ||
    a.id.length - b.id.length || (a.id < b.id ? -1 : 1);
}

/** After so many failures in turn. */
const retryMs = failures => Math.min(CLAIM_RETRY_MS_MIN * 2 ** failures, CLAIM_RETRY_MS_MAX);

const sum = jobs => jobs.reduce((bytes, job) => bytes + job.bytes, 0);

/** A message that this worker has claimed. */
class Job {
  /** When its sender's time is over: first it is aborted, then given up. */
  deadline = Infinity;
  isAborted = false;
  /** Of what goes alone, before it is sent: 'asked', then 'made'. */
  mark;
  /** For how long the event loop stood still while it was sent. */
  blockedMs = 0;
  /** What became of it, once that is known. */
  outcome;

  constructor (lane, { message, bytes, crashes }, token, leaseEnds) {
    this.lane = lane;
    this.message = message;
    this.id = message.id;
    this.bytes = bytes;
    /** How often a worker died while it held the message. */
    this.crashes = crashes;
    this.token = token;
    this.leaseEnds = leaseEnds;
  }

  get isSuspect () { return this.crashes > 0; }

  /** A second crash is no coincidence: it is sent while nothing else is. */
  get goesAlone () { return this.crashes > 1; }
}

/** One channel. */
class Lane {
  waiting = [];
  /** In the order of their deadlines. */
  sending = new Set();
  /** Sent, or failed, and not written yet. */
  settling = 0;
  /** Claims under way; how many messages they may bring. */
  claims = 0;
  asked = 0;
  /** Of these, how many keep the place of the message that they settle; how many are looks. */
  exchanges = 0;
  looks = 0;
  suspectLooks = 0;
  claimsMax = 1;
  /** Of a claim, after one that brought as many bytes as it could. */
  roomMax = Infinity;
  failures = 0;
  /** Whether there may be something to claim; whether it was woken since the last claim began. */
  isHungry = false;
  isWoken = false;
  /** Whether it wants to know if there may be something to claim. */
  isCurious = false;
  /** When it becomes curious by itself; when there may be tokens again. */
  wakeAt = Infinity;
  tokensAt = Infinity;
  /** When the first message that is known here is due; how many polls have found nothing. */
  dueAt = Infinity;
  emptyPolls = 0;
  /** Whether the next claim must look at everything; when the next one does so anyway. */
  mustLook = false;
  lookAt = 0;
  /** Whether its last look asked for no suspects, because of those of another lane. */
  missedSuspects = false;
  /** Not before this time it looks once more for suspects that it missed. */
  suspectsAt = 0;
  /** Where claims go on: behind this message, and at a look behind this key. */
  behind;
  key = '';
  isKeysTurn = false;
  /** Since when `done` counts what was sent: the present rate. */
  countedFrom = 0;
  done = 0;
  /** After an error that concerns the whole channel it rests; then one message is the probe. */
  restEnds = 0;
  rests = 0;
  isPaused = false;

  /** @param {object} options as `channels` of Scheduler, and the worker's `unsettled` */
  constructor (name, { concurrency, timeout, breaker, limiter, restOf }, unsettled) {
    this.name = name;
    this.concurrency = concurrency;
    this.timeout = timeout;
    this.breaker = breaker;
    this.limiter = limiter;
    this.restOf = restOf;
    this.unsettled = unsettled;
  }

  add (claim) { this.#change(claim, 1); }
  remove (claim) { this.#change(claim, -1); }

  #change ({ room, sent, behind, suspects }, one) {
    this.claims += one;
    this.asked += one * room;
    if (sent !== undefined) this.exchanges += one;
    if (behind === undefined) this.looks += one;
    if (suspects > 0) this.suspectLooks += one;
  }

  /** A message has a place until its outcome is written, or `unsettled` allows for it. */
  get places () {
    return this.concurrency - this.sending.size - Math.max(this.settling - this.unsettled, 0);
  }

  /** Whether there is nothing to decide until something happens. */
  get isIdle () {
    return !this.isHungry && !this.isCurious && !this.isPaused && !this.missedSuspects &&
      this.waiting.length === 0;
  }

  /** Whether all it does is to wait for its next poll, and no claim has failed. */
  get isResting () {
    return !this.isHungry && !this.isPaused && this.failures === 0 && this.wakeAt < Infinity;
  }

  get isSending () { return this.sending.size + this.settling > 0; }
  get isBusy () { return this.isSending || this.waiting.length + this.claims > 0; }

  /** 'open', 'probe' (one message at a time), or 'closed'. */
  gate (now) {
    if (this.restEnds > now) return 'closed';
    const state = this.breaker?.() ?? 'closed';
    if (state === 'open') return 'closed';
    if (state === 'probing') return this.isBusy ? 'probe' : 'closed';
    return state === 'halfOpen' || this.rests > 0 ? 'probe' : 'open';
  }

  /** Tokens of its rate limit. */
  tokens (now) {
    const tokens = Math.floor(this.limiter.available);
    if (tokens === 0) this.tokensAt = Math.min(this.tokensAt, now + this.limiter.tokenMs);
    return tokens;
  }

  takeToken (now) {
    if (this.limiter === undefined || this.limiter.tryTake()) return true;
    this.tokensAt = Math.min(this.tokensAt, now + this.limiter.tokenMs);
    return false;
  }

  get isSlow () { return this.emptyPolls > QUICK_POLLS; }

  poll () {
    this.isHungry = true;
    this.isWoken = true;
    this.isCurious = false;
  }

  ask () {
    this.wakeAt = Infinity;
    this.isCurious = true;
  }

  wake () {
    this.emptyPolls = 0;
    this.poll();
  }

  dueAtLatest (time) { this.dueAt = Math.min(this.dueAt, time); }
  wakeAtLatest (time) { this.wakeAt = Math.min(this.wakeAt, time); }

  rest (wait, now) {
    if (this.restEnds > now) return;
    this.restEnds = now + (wait ?? this.restOf(this.rests));
    this.rests++;
  }

  /** One look at everything at a time, unless nothing else is known to be there. */
  mayLook (now) {
    return this.behind === undefined || (this.looks === 0 && (this.mustLook || now >= this.lookAt));
  }

  /** Whether claims may begin; with 'open' or 'probe' as the gate. */
  get mayClaim () { return this.isHungry && this.claims < this.claimsMax; }

  begin (job, now) {
    job.deadline = now + this.timeout;
    this.sending.add(job);
  }

  /** What its claims found tells how the next ones go on. */
  learn (claim, jobs, lastKey, now) {
    const isHeavy = sum(jobs) >= claim.bytes;
    const isFull = jobs.length >= claim.room || isHeavy;
    const isLook = claim.behind === undefined;
    if (isLook) {
      this.lookAt = now + Math.max(LOOK_MS, (now - claim.began) * LOOK_SHARE);
      const last = isFull ? jobs.findLast(({ message }) => message.orderKey) : undefined;
      this.key = lastKey ?? last?.message.orderKey ?? '';
      // It saw no keys behind `lastKey`, and none in front of where it began.
      this.mustLook ||= lastKey !== null || (claim.key !== '' && !isFull);
    }
    const last = jobs.findLast(job => !job.isSuspect && job.message.orderKey === null);
    this.behind = isFull && last !== undefined
      ? { urgency: -last.message.priority, time: last.message.nextRetryAt, id: last.message.id }
      : undefined;
    if (isHeavy) this.roomMax = jobs.length;
    else if (isFull) this.roomMax *= 2;
    this.claimsMax = isFull && !isHeavy ? Math.min(2 * this.claimsMax, CLAIMS_MAX) : 1;
    this.isHungry = this.isWoken || this.mustLook || isFull || !isLook;
  }
}

/**
 * @typedef {object} Claim asks for messages
 * @property {'claim'} type
 * @property {string} channel
 * @property {number} token fences what it brings
 * @property {number} room how many messages at most
 * @property {number} bytes it brings no more messages once they have that many
 * @property {object} [behind] the message behind which it begins; undefined: looks at everything
 * @property {number} suspects of a look: how many whose worker died
 * @property {number} ordered of a look: how many with a key, before others
 * @property {string} key of a look: the key behind which it begins
 * @property {{ job: Job, providerId: string | null }} [sent] what it settles besides
 */

class Scheduler {
  #options;
  #lanes = new Map();
  #peers;
  #phase = 'stopped';
  #stopAt = Infinity;
  #actions = [];
  /** The lane whose turn it is to take a place. */
  #turn = 0;
  #order;
  #held = new Set();
  /** Bytes of the messages that are held, and of those that claims under way may bring. */
  #bytes = 0;
  /** Of these, how many wait, and how many are being sent; the others are being settled. */
  #waiting = 0;
  #sending = 0;
  /** Of these, messages whose worker died. */
  #suspects = new Set();
  #token = 0;
  #wasBusy = false;
  /** Extending, sweeping and inspecting are one round: `round` is when the present one began. */
  #tendAt = Infinity;
  #round;
  #inspectAt = 0;
  /** The database's time at the last round; until `graceEnds` others may extend their leases. */
  #sweptAt;
  #graceEnds = 0;

  /** Whether it is being looked which channels have something due, and failures of that in turn. */
  #isPeeking = false;
  #peekFailures = 0;

  /** When the database last answered. */
  lastBeat = 0;
  counts = { sent: 0, retried: 0, dead: 0, fenced: 0 };

  /**
   * @param {object} options `concurrency`, `unsettled`, `batchSize`, `heldBytes`, `leaseMs`,
   *   `pollInterval` of WorkerOptions
   * @param {Record<string, { concurrency: number, timeout: number,
   *   breaker?: () => 'closed' | 'open' | 'halfOpen' | 'probing',
   *   limiter?: { available: number, tryTake: () => boolean, tokenMs: number },
   *   restOf: (rests: number) => number }>} channels by name. `breaker`: half-open it lets one
   *   call pass, the probe; 'probing' is when that is under way. `tokenMs`: until the next token
   * @param {Set<Scheduler>} [peers] those of this process that run. What ends one of them ends all,
   *   so they suspect messages together
   */
  constructor (options, channels, peers = new Set()) {
    this.#options = options;
    this.#peers = peers;
    for (const [name, channel] of Object.entries(channels)) {
      this.#lanes.set(name, new Lane(name, channel, options.unsettled));
    }
    this.#order = [...this.#lanes.values()];
  }

  get isRunning () { return this.#phase === 'running'; }
  get isStopped () { return this.#phase === 'stopped'; }
  get held () { return this.#held.size; }

  /** Whether no message is held, and no claim is under way. */
  get isQuiet () {
    return this.#held.size === 0 && this.#order.every(({ claims }) => claims === 0);
  }

  get inFlight () { return this.#sending; }

  get channels () {
    return Object.fromEntries(this.#order.map(({ name, sending, isPaused }) =>
      [name, { inFlight: sending.size, paused: isPaused }]));
  }

  // ---- What has happened -----------------------------------------------------------------------

  start (now) {
    this.#phase = 'running';
    this.#peers.add(this);
    for (const lane of this.#order) {
      lane.ask();
      // Senders that were left behind take up places: one that never ends must not keep its own.
      for (const job of lane.sending) {
        job.isAborted = true;
        job.deadline = now + lane.timeout;
      }
    }
    if (this.#round === undefined) this.#tend(now);
  }

  /** Finishes what is being sent, for `timeout` ms, and gives back the rest. */
  stop (timeout, now) {
    this.#phase = 'stopping';
    this.#stopAt = now + timeout;
    for (const lane of this.#order) {
      lane.wakeAt = lane.tokensAt = lane.dueAt = Infinity;
      this.#giveBack(lane);
    }
  }

  /** Time passes. */
  tick (now) {
    for (const lane of this.#order) {
      if (now >= lane.tokensAt) lane.tokensAt = Infinity;
      if (now >= lane.wakeAt) lane.ask();
      if (now >= lane.dueAt) {
        lane.dueAt = Infinity;
        lane.poll();
      }
      for (const job of lane.sending) {
        if (now < job.deadline) break;
        this.#overdue(job, now);
      }
    }
    if (now >= this.#stopAt) this.#hasten(now);
    if (now >= this.#tendAt) this.#tend(now);
  }

  /** There may be something to claim: in one channel, or in any. */
  wake (channel) {
    if (channel !== undefined) {
      this.#lanes.get(channel)?.wake();
      return;
    }
    for (const lane of this.#order) {
      lane.emptyPolls = 0;
      lane.ask();
    }
  }

  /**
   * @param {Claim} claim
   * @param {{ messages: { message: object, bytes: number, crashes: number }[],
   *   settled?: boolean, lastKey?: string | null, dueIn: number }} answer `settled`: whether
   *   `sent` of the claim was still held; `lastKey`, of a look: the key behind which the next one
   *   begins, if it saw not all of them; `dueIn`: ms until the next message is due, if known
   */
  claimed (claim, { messages, settled, lastKey, dueIn }, now) {
    const lane = this.#lanes.get(claim.channel);
    lane.remove(claim);
    this.#bytes -= claim.bytes;
    lane.failures = 0;
    this.lastBeat = now;
    this.#wasBusy ||= messages.length > 0;
    const leaseEnds = claim.began + this.#options.leaseMs;
    const jobs = messages.map(message => new Job(lane, message, claim.token, leaseEnds))
      .sort(compare);
    lane.learn(claim, jobs, lastKey, now);
    if (claim.suspects > 0) {
      const found = jobs.some(job => job.isSuspect);
      lane.suspectsAt = found ? now : now + SUSPECTS_POLLS * this.#options.pollInterval;
    }
    this.#waiting += jobs.length;
    lane.emptyPolls = messages.length > 0 ? 0 : lane.emptyPolls + 1;
    if (this.isRunning) lane.dueAtLatest(now + dueIn + LATE_MS);
    if (!lane.isHungry) lane.wakeAtLatest(now + this.#pollMs(lane));
    for (const job of jobs) {
      this.#hold(job);
      if (job.isSuspect) this.#suspects.add(job);
      // What goes alone comes first, as all others wait for it.
      if (job.goesAlone) lane.waiting.unshift(job);
      else lane.waiting.push(job);
    }
    if (!this.isRunning) this.#giveBack(lane);
    if (claim.sent !== undefined) this.settled(claim.sent.job, settled || undefined, now);
  }

  #pollMs (lane) { return this.#options.pollInterval * (lane.isSlow ? SLOW_POLLS : 1); }

  /**
   * @param {{ lanes: Lane[] }} peek
   * @param {Map<string, number>} dueIn by channel: ms until something may be due there; of others
   *   nothing waits
   */
  peeked ({ lanes }, dueIn, now) {
    this.#isPeeking = false;
    this.#peekFailures = 0;
    this.lastBeat = now;
    if (!this.isRunning) return;
    for (const lane of lanes) {
      const ms = dueIn.get(lane.name) ?? Infinity;
      if (ms <= 0) {
        lane.poll();
        continue;
      }
      lane.emptyPolls++;
      lane.dueAtLatest(now + ms + LATE_MS);
      lane.wakeAtLatest(now + this.#pollMs(lane));
    }
  }

  peekFailed ({ lanes }, error, now) {
    this.#isPeeking = false;
    // Nobody waits for it any more.
    if (!this.isRunning) return;
    this.#emit('warning', error);
    const at = now + retryMs(this.#peekFailures++);
    for (const lane of lanes) lane.wakeAtLatest(at);
  }

  claimFailed (claim, error, now) {
    const lane = this.#lanes.get(claim.channel);
    lane.remove(claim);
    this.#bytes -= claim.bytes;
    lane.isHungry = false;
    lane.wakeAtLatest(now + retryMs(lane.failures++));
    this.#emit('warning', error);
    // It may have been written all the same.
    if (claim.sent !== undefined) this.#do('settle', { job: claim.sent.job, isRepeated: true });
  }

  /** @param {boolean} isOurs whether the message is still held */
  marked (job, isOurs) {
    if (job.outcome === RELEASE) return;
    job.mark = 'made';
    if (isOurs) return;
    const { lane } = job;
    lane.waiting.splice(lane.waiting.indexOf(job), 1);
    this.#waiting--;
    this.#drop(job);
    this.#count('fenced', 'fenced', job.message);
  }

  markFailed (job, error) {
    this.#emit('warning', error);
    if (job.outcome !== RELEASE) this.#giveBack(job.lane);
  }

  /** A sender has succeeded. */
  sent (job, providerId, now) {
    const { lane } = job;
    this.#ended(job, { outcome: 'sent', providerId });
    lane.rests = 0;
    const room = this.#roomOfExchange(job, now);
    if (room > 0) this.#actions.push(this.#claim(lane, room, now, { job, providerId }));
    else this.#do('settle', { job, isRepeated: false });
  }

  /**
   * A sender has failed.
   * @param {object} verdict of verdictOn(): what becomes of the message
   */
  failed (job, verdict, error, now) {
    this.#ended(job, { ...verdict, cause: error });
    if (verdict.rests) job.lane.rest(verdict.wait, now);
    this.#do('settle', { job, isRepeated: false });
  }

  /**
   * @param {object | true} [row] what was written; undefined: the message was no longer ours
   */
  settled (job, row, now) {
    const { lane, message, outcome } = job;
    this.#letGo(job);
    if (row === undefined) this.#lost(job);
    else this.#tell(job, row);
    if (outcome.delay !== undefined && this.isRunning) {
      lane.dueAtLatest(now + outcome.delay + LATE_MS);
    }
    if (outcome !== RELEASE && message.orderKey === null && !job.isSuspect) return;
    // The next one of its kind, or one that was given back, is found by looks at everything only.
    lane.mustLook = true;
    lane.isHungry = true;
  }

  #lost (job) {
    this.#count('fenced', 'fenced', job.message);
    if (job.blockedMs > 0) this.#do('note', { job });
  }

  /** An outcome could not be written: the message returns when its lease ends. */
  settleFailed (job) { this.#letGo(job); }

  /** A part of a round is done: see #tend(). `answer` is what the action asked for. */
  tended (action, answer, now) {
    switch (action.type) {
      case 'extend': return this.#extended(action, answer, now);
      case 'sweep': return this.#swept(action, answer, now);
      case 'buryUnknown': return this.#buried(answer);
      default: return this.#inspected(answer);
    }
  }

  /** @param {boolean} isClosed whether the store has been closed */
  tendFailed (error, isClosed) {
    this.#graceEnds = undefined;
    // Leases of a store that was closed end by themselves.
    const isOver = isClosed && !this.isRunning;
    if (!isOver) this.#emit('warning', error);
    this.#endRound();
    if (isOver) this.#tendAt = Infinity;
  }

  // ---- What to do ------------------------------------------------------------------------------

  /**
   * @returns {{ type: string } | undefined} the next action; undefined when there is none for now:
   *   `claim`: see Claim; answered by claimed() or claimFailed()
   *   `peek` { lanes }: looks in which channels something is due, in one statement for all;
   *     answered by peeked() or peekFailed()
   *   `mark` { job }: charges it before it is sent alone; answered by marked() or markFailed()
   *   `send` { job }: answered by sent() or failed()
   *   `abort` { job, why }: tells its sender to end, because of 'timeout' or 'stop'
   *   `giveUp` { job }: waits for its sender no longer; answered by failed()
   *   `settle` { job, isRepeated }: writes job.outcome; answered by settled() or settleFailed().
   *     isRepeated: it may have been written before
   *   `extend` { jobs }, `sweep` { limit, before }, `buryUnknown`, `findSnapshot`:
   *     answered by tended() or tendFailed()
   *   `note` { job }: it was lost while the event loop stood still
   *   `leave` { jobs }: the worker stops, and these go on
   *   `stopped`: stop() is done
   *   `emit` { event, args }
   */
  next (now) {
    if (this.#actions.length > 0) return this.#actions.shift();
    if (this.isRunning) return this.#go(now);
    return this.isStopped || !this.isQuiet ? undefined : this.#stopped();
  }

  /** When tick() is to be called next; Infinity if only other events can change something. */
  nextAt () {
    let at = this.#stopAt;
    for (const { sending, wakeAt, dueAt, tokensAt } of this.#order) {
      at = Math.min(at, wakeAt, dueAt, tokensAt);
      for (const { deadline } of sending) {
        at = Math.min(at, deadline);
        break;
      }
    }
    const tends = this.isRunning || this.#held.size > 0;
    return tends ? Math.min(at, this.#tendAt) : at;
  }

  /** Each lane in turn gets one message sent, or one claim, so that none keeps others waiting. */
  #go (now) {
    const count = this.#order.length;
    for (let i = 0; i < count; i++) {
      const place = (this.#turn + i) % count;
      const action = this.#step(this.#order[place], now);
      if (action === undefined) continue;
      this.#turn = (place + 1) % count;
      return action;
    }
    const peek = this.#peek(now);
    if (peek !== undefined) return peek;
    if (!this.#wasBusy || !this.isQuiet || this.#isPeeking ||
      this.#order.some(lane => lane.isHungry)) return undefined;
    this.#wasBusy = false;
    return { type: 'emit', event: 'idle', args: [] };
  }

  /**
   * All lanes that rest take part when one of them is curious: from then on they poll together. A
   * lane for which nothing else waits does without, and claims.
   */
  #peek (now) {
    if (this.#isPeeking || this.#order.every(({ isCurious }) => !isCurious)) return undefined;
    const lanes = this.#order.filter(lane => lane.isCurious || lane.isResting);
    if (lanes.length === 1) {
      lanes[0].poll();
      return this.#step(lanes[0], now);
    }
    for (const lane of lanes) {
      lane.isCurious = false;
      lane.wakeAt = Infinity;
    }
    this.#isPeeking = true;
    return { type: 'peek', lanes };
  }

  #step (lane, now) {
    if (lane.isIdle) return undefined;
    const gate = lane.gate(now);
    if (lane.isPaused !== (gate !== 'open')) {
      lane.isPaused = !lane.isPaused;
      return { type: 'emit', event: lane.isPaused ? 'paused' : 'resumed', args: [lane.name] };
    }
    if (gate === 'closed') {
      lane.isHungry = lane.isCurious = false;
      lane.wakeAtLatest(lane.restEnds > now ? lane.restEnds : now + this.#options.pollInterval);
      this.#giveBack(lane);
      return this.#actions.shift();
    }
    return this.#begin(lane, gate, now) ?? this.#claimMore(lane, gate, now);
  }

  /** Sends the next message that waits. */
  #begin (lane, gate, now) {
    const [job] = lane.waiting;
    if (job === undefined || !this.#mayBegin(job, gate)) return undefined;
    if (now >= job.leaseEnds) {
      // If nobody has taken it, it is still ours, and is given back without a crash.
      this.#giveBack(lane);
      return this.#actions.shift();
    }
    if (job.goesAlone && job.mark !== 'made') {
      if (job.mark === 'asked') return undefined;
      job.mark = 'asked';
      return { type: 'mark', job };
    }
    if (!lane.takeToken(now)) return undefined;
    lane.waiting.shift();
    this.#waiting--;
    this.#sending++;
    lane.begin(job, now);
    return { type: 'send', job };
  }

  #mayBegin (job, gate) {
    const { lane } = job;
    if (lane.places <= 0 || this.#places <= 0) return false;
    if (gate === 'probe' && lane.isSending) return false;
    // What goes alone may end this process: it waits until all else is written, and all else waits
    // for it.
    const alone = this.#alone;
    return alone === undefined ||
      (job === alone && this.#settling === 0 && this.#areQuiet);
  }

  get #areQuiet () {
    for (const peer of this.#peers) if (peer.inFlight > 0) return false;
    return true;
  }

  #claimMore (lane, gate, now) {
    if (lane.missedSuspects && now >= lane.suspectsAt && !this.#hasSuspects) {
      lane.missedSuspects = false;
      lane.mustLook = true;
      lane.isHungry = true;
    }
    if (!lane.mayClaim || this.#alone !== undefined) return undefined;
    const room = this.#room(lane, gate, now);
    return room > 0 ? this.#claim(lane, room, now) : undefined;
  }

  /**
   * How many to claim: what there are places for, and what will have been sent soon.
   * @param {Job} [leaving] its place becomes free by the claim itself
   */
  #room (lane, gate, now, leaving) {
    if (!this.#hasBytes(leaving)) return 0;
    if (gate === 'probe') return lane.isBusy ? 0 : 1;
    const { batchSize } = this.#options;
    const coming = lane.waiting.length + lane.asked;
    const rate = lane.done / Math.max(now - lane.countedFrom, 1);
    const ahead = Math.min(Math.ceil(rate * AHEAD_MS), 2 * batchSize);
    const free = Math.min(lane.places, this.#places) + lane.exchanges +
      (leaving === undefined ? 0 : 1);
    const places = Math.max(free, 0);
    if (coming >= places && coming > ahead / 2) return 0;
    const room = Math.min(places + ahead - coming, batchSize, lane.roomMax);
    return lane.limiter === undefined ? room : Math.min(room, lane.tokens(now) - coming);
  }

  get #claimBytes () { return Math.ceil(this.#options.heldBytes / CLAIM_BYTES_SHARE); }

  /** Whether there are bytes for one more claim. A message that is larger than all comes alone. */
  #hasBytes (leaving) {
    const bytes = this.#bytes - (leaving?.bytes ?? 0);
    return bytes <= 0 || bytes + this.#claimBytes <= this.#options.heldBytes;
  }

  /**
   * Room of a claim that also settles a message that was just sent: where the place of that message
   * is all that the lane's next claim waits for. 0: it is settled by itself.
   */
  #roomOfExchange (job, now) {
    const { lane } = job;
    if (!this.isRunning || this.#alone !== undefined || !lane.mayClaim || lane.mayLook(now) ||
      lane.gate(now) !== 'open') return 0;
    // The place stays with the lane, so no other lane may be waiting for one.
    const isCrowded = this.#order.length > 1 && this.#places <= 0;
    if (isCrowded || this.#room(lane, 'open', now) > 0) return 0;
    return Math.max(this.#room(lane, 'open', now, job), 0);
  }

  /** @returns {Claim} */
  #claim (lane, room, now, sent) {
    const isLook = lane.mayLook(now);
    const hasSuspects = this.#hasSuspects;
    if (isLook) {
      lane.mustLook = false;
      lane.missedSuspects = hasSuspects;
    }
    // With a single place, messages with a key and others take turns.
    const ordered = room > 1 ? Math.ceil(room / 2) : Number(lane.isKeysTurn = !lane.isKeysTurn);
    const claim = {
      type: 'claim', channel: lane.name, token: ++this.#token, room, bytes: this.#claimBytes,
      began: now, sent,
      behind: isLook ? undefined : lane.behind, ordered, key: lane.key,
      suspects: isLook && !hasSuspects ? Math.min(lane.concurrency, room) : 0,
    };
    lane.add(claim);
    this.#bytes += claim.bytes;
    lane.isWoken = false;
    lane.countedFrom = now;
    lane.done = 0;
    return claim;
  }

  // ---- Messages --------------------------------------------------------------------------------

  /** How many more may be sent at once. */
  get #places () {
    const { concurrency, unsettled } = this.#options;
    return concurrency - this.inFlight - Math.max(this.#settling - unsettled, 0);
  }

  /** Messages whose outcome, or return, is being written. */
  get #settling () { return this.#held.size - this.#waiting - this.#sending; }

  /** The message that is sent while nothing else is. A peer may take long to write its outcome. */
  get #alone () {
    for (const peer of this.#peers) {
      for (const job of peer.#suspects) {
        if (job.goesAlone && (peer === this || job.outcome === undefined)) return job;
      }
    }
    return undefined;
  }

  /** Whether there are suspects, or are asked for: one channel of one worker at a time has some. */
  get #hasSuspects () {
    for (const peer of this.#peers) {
      if (peer.#suspects.size > 0) return true;
      if (peer.#order.some(({ suspectLooks }) => suspectLooks > 0)) return true;
    }
    return false;
  }

  /** Its part in what peers decide by. After each change they have to be asked what to do. */
  get standing () {
    if (this.#alone !== undefined) return this.inFlight > 0 ? 'busy' : 'quiet';
    return this.#hasSuspects ? 'suspects' : 'free';
  }

  #hold (job) {
    this.#held.add(job);
    this.#bytes += job.bytes;
  }

  #drop (job) {
    this.#held.delete(job);
    this.#suspects.delete(job);
    this.#bytes -= job.bytes;
  }

  #letGo (job) {
    this.#drop(job);
    if (job.outcome !== RELEASE) job.lane.settling--;
  }

  #giveBack (lane) {
    this.#waiting -= lane.waiting.length;
    for (const job of lane.waiting.splice(0)) {
      job.outcome = RELEASE;
      this.#do('settle', { job, isRepeated: false });
    }
  }

  #overdue (job, now) {
    const { lane } = job;
    lane.sending.delete(job);
    lane.sending.add(job);
    if (job.isAborted) {
      job.deadline = Infinity;
      this.#do('giveUp', { job });
      return;
    }
    // It may still send the message, and another attempt beside it would send it twice: it gets the
    // same time once more.
    job.isAborted = true;
    job.deadline = now + lane.timeout;
    this.#do('abort', { job, why: 'timeout' });
  }

  #ended (job, outcome) {
    const { lane } = job;
    job.outcome = outcome;
    lane.sending.delete(job);
    this.#sending--;
    lane.settling++;
    lane.done++;
  }

  #tell ({ message, outcome: { outcome, providerId, cause, delay } }, row) {
    if (outcome === 'sent') {
      message.status = 'SENT';
      message.attemptCount++;
      message.providerMessageId = providerId;
      this.#count('sent', 'sent', message);
    } else if (outcome === 'retry') {
      this.#count('retried', 'retry', message, cause, delay);
    } else if (outcome === 'dead') {
      this.#count('dead', 'dead', row, cause);
    }
  }

  // ---- Stopping --------------------------------------------------------------------------------

  /** The time for stopping is over: senders are aborted, and then left behind. */
  #hasten (now) {
    if (this.#phase === 'stopping') {
      this.#phase = 'aborting';
      this.#stopAt = now + ABORT_MS;
      for (const { sending } of this.#order) {
        for (const job of sending) {
          // The others have just been given up.
          if (job.deadline !== Infinity) this.#do('abort', { job, why: 'stop' });
        }
      }
      return;
    }
    // Messages that are still held stay ours: given back, they would be sent a second time while
    // the first sender goes on.
    for (const { sending } of this.#order) for (const job of sending) job.deadline = Infinity;
    if (this.#held.size > 0) this.#do('leave', { jobs: [...this.#held] });
    this.#actions.push(this.#stopped());
  }

  #stopped () {
    this.#phase = 'stopped';
    this.#peers.delete(this);
    this.#stopAt = Infinity;
    return { type: 'stopped' };
  }

  // ---- Leases ----------------------------------------------------------------------------------

  /**
   * Begins a round: extends our leases, for as long as we hold something; then takes back messages
   * whose leases lapsed; and now and then looks for what is rare.
   */
  #tend (now) {
    this.#round = now;
    this.#tendAt = Infinity;
    const { leaseMs } = this.#options;
    const jobs = [...this.#held].filter(({ leaseEnds }) => leaseEnds - now < leaseMs * LEASE_FRESH);
    if (jobs.length > 0) this.#do('extend', { jobs, began: now });
    else this.#sweep(now);
  }

  #endRound () {
    const every = Math.min(this.#options.leaseMs / LEASE_SHARE, TEND_MS_MAX);
    this.#tendAt = this.#round + every;
    this.#round = undefined;
  }

  #extended ({ jobs, began }, ids, now) {
    const extended = new Set(ids);
    for (const job of jobs) {
      if (extended.has(job.id)) job.leaseEnds = began + this.#options.leaseMs;
    }
    this.#sweep(now);
  }

  /** The next part of a round. A worker that stops only extends its leases. */
  #goOn (type, more) {
    if (this.isRunning) this.#do(type, more);
    else this.#endRound();
  }

  /**
   * On a machine that stood still, leases lapse although their holders live: these extend them
   * before we come for the second time, so only those that had lapsed at the last round are taken
   * back. After the database was away the same holds, and for longer.
   */
  #sweep (now) {
    const isTooEarly = this.#graceEnds === undefined || now < this.#graceEnds;
    const before = isTooEarly ? undefined : this.#sweptAt;
    this.#goOn('sweep', { limit: SWEEP_ROWS, before });
  }

  #swept ({ before, isMore }, { rows, time }, now) {
    this.lastBeat = now;
    if (!isMore) this.#sweptAt = time;
    this.#graceEnds ??= now + this.#options.leaseMs / 2;
    this.#dead(rows.filter(({ status }) => status === 'DLQ'));
    for (const channel of new Set(rows.map(row => row.channel))) {
      this.wake(channel);
      const lane = this.#lanes.get(channel);
      if (lane !== undefined) lane.suspectsAt = now;
    }
    if (rows.length === SWEEP_ROWS) {
      this.#goOn('sweep', { limit: SWEEP_ROWS, before, isMore: true });
    } else if (before === undefined || now < this.#inspectAt) {
      this.#endRound();
    } else {
      this.#inspectAt = now + INSPECT_MS;
      this.#goOn('buryUnknown');
    }
  }

  #buried (letters) {
    this.#dead(letters);
    this.#goOn('findSnapshot');
  }

  #inspected (warning) {
    if (warning !== undefined) this.#emit('warning', warning);
    this.#endRound();
  }

  #dead (letters) {
    for (const letter of letters) this.#count('dead', 'dead', letter, undefined);
  }

  #count (name, event, ...args) {
    this.counts[name]++;
    this.#emit(event, ...args);
  }

  #emit (event, ...args) { this.#do('emit', { event, args }); }

  #do (type, more) { this.#actions.push({ type, ...more }); }
}

module.exports = { Scheduler };
