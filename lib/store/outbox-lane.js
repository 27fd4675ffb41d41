'use strict';

// One channel of a worker: claims messages when there is room for them, sends so many at once, and
// waits while its breaker is open.

const clock = require('../base/clock');
const { read } = require('../base/foreign');
const { createBackoff } = require('../primitives/backoff');
const { RateLimiter } = require('../primitives/limits');
const { Job } = require('./outbox-job');
const { clean, verdictOn } = require('./outbox-verdict');

// Claimed in advance: what is sent in this time at the present pace. More would only wait here
// instead of there, where another worker could take it.
const AHEAD_MS = 100;
// Within this time after a look at everything, later claims begin where the last one ended.
const LOOK_MS = 100;
// Of the time since, how much looks at everything may take.
const LOOK_SHARE = 10;
const REST = { minTimeout: 1000, maxTimeout: 60_000 };
// Claims under way at once: twice as many after each that finds as much as it asks for, one after
// one that does not. Small ones take long to bring much, as each waits for the disk.
const PULLS_MAX = 10;
// The database's time of a retry is set a little later than ours.
const LATE_MS = 5;

class Lane {
  #worker;
  #options;
  #delayOf;
  #limiter;
  #queue = [];
  #inFlight = 0;
  /** Sent, or failed, and not yet written down. */
  #unsettled = 0;
  /** Claims under way, and how many messages they may bring. */
  #pulls = 0;
  #pullsMax = 1;
  #asked = 0;
  /** Of these, the claims that settle one; its place is for what they bring. */
  #exchanges = 0;
  /** Whether there may be something to claim. */
  #hungry = true;
  #woken = false;
  #timer;
  #timerAt = Infinity;
  /** Whether a look at everything is to be next, or is under way; when the next one is due. */
  #mustLook = false;
  #looks = 0;
  #lookAt = 0;
  /** Behind which message, and which key, claims go on. */
  #behind;
  #key = '';
  #turn = false;
  #pulledAt = 0;
  #done = 0;
  #failures = 0;
  /** The channel waits after an error that concerns all of it; then one message is the probe. */
  #restEnds = 0;
  #rests = 0;
  #restOf = createBackoff(REST);
  #isPaused = false;
  #listeners;

  /**
   * @param {object} worker
   * @param {string} name
   * @param {(retry: number) => number} delayOf
   * @param {{ send: Function, breaker?: object, concurrency: number, timeout: number,
   *   rate?: object }} options
   */
  constructor (worker, name, delayOf, options) {
    this.name = name;
    this.#worker = worker;
    this.#delayOf = delayOf;
    this.#options = options;
    if (options.rate !== undefined) this.#limiter = new RateLimiter(options.rate);
  }

  get stats () { return { inFlight: this.#inFlight, paused: this.#isPaused }; }
  get isIdle () {
    return !this.#isBusy && this.#pulls === 0 && !this.#hungry;
  }

  get isClaiming () { return this.#pulls > 0; }

  start () {
    const { breaker } = this.#options;
    this.#hungry = true;
    if (breaker !== undefined) {
      this.#listeners = ['open', 'halfOpen', 'close'].map(event => [event, () => this.wake()]);
      for (const [event, listener] of this.#listeners) breaker.on(event, listener);
    }
    this.pump();
  }

  /** Claims no more, and gives back what has not been begun. */
  stop () {
    clock.clearTimer(this.#timer);
    this.#timerAt = Infinity;
    for (const [event, listener] of this.#listeners ?? []) {
      this.#options.breaker.off(event, listener);
    }
    this.#listeners = undefined;
    this.#giveBack();
  }

  /** Something may have changed: looks again. */
  wake () {
    this.#hungry = true;
    this.#woken = true;
    this.pump();
  }

  /** 'open', 'probe' (one message at a time), or 'closed'. */
  #gate () {
    if (this.#restEnds > clock.now()) return 'closed';
    const { breaker } = this.#options;
    if (breaker !== undefined && breaker.enabled) {
      if (breaker.opened) return 'closed';
      if (breaker.halfOpen) return breaker.pendingClose || this.#isBusy ? 'probe' : 'closed';
    }
    return this.#rests > 0 ? 'probe' : 'open';
  }

  get #isBusy () {
    return this.#inFlight + this.#unsettled + this.#queue.length + this.#asked > 0;
  }

  /** Places: a message has one until its outcome is written, or `unsettled` allows for it. */
  get #free () {
    const held = Math.max(this.#unsettled - this.#worker.options.unsettled, 0);
    return this.#options.concurrency - this.#inFlight - held;
  }

  /** Starts and claims whatever can be started and claimed now. */
  pump () {
    if (!this.#worker.running) return;
    const gate = this.#gate();
    this.#tell(gate !== 'open');
    if (gate === 'closed') {
      this.#giveBack();
      this.#hungry = false;
      const rest = this.#restEnds - clock.now();
      this.#wakeIn(rest > 0 ? rest : this.#worker.options.pollInterval);
      return;
    }
    while (this.#queue.length > 0 && this.#mayStart(this.#queue[0])) {
      this.#begin(this.#queue.shift());
    }
    while (this.#mayPull) {
      const room = this.#room(gate);
      if (room <= 0) break;
      this.#pull(room);
    }
  }

  #tell (isPaused) {
    if (isPaused === this.#isPaused) return;
    this.#isPaused = isPaused;
    this.#worker.emit(isPaused ? 'paused' : 'resumed', this.name);
  }

  #mayStart (job) {
    if (this.#free <= 0 || this.#worker.isFull() || !this.#worker.lets(job)) return false;
    if (this.#limiter === undefined || this.#limiter.tryTake()) return true;
    const { limit, interval } = this.#options.rate;
    this.#wakeIn(Math.max(interval / limit, 1), false);
    return false;
  }

  get #mayPull () {
    return this.#hungry && this.#pulls < this.#pullsMax && this.#worker.lets();
  }

  /** How many to claim: places that are free or `leaving`, and what they will have sent soon. */
  #room (gate, leaving = 0) {
    if (gate === 'probe') return this.#isBusy ? 0 : 1;
    const { batchSize } = this.#worker.options;
    const coming = this.#queue.length + this.#asked;
    const elapsed = Math.max(clock.now() - this.#pulledAt, 1);
    const ahead = Math.min(Math.ceil(this.#done / elapsed * AHEAD_MS), 2 * batchSize);
    if (leaving === 0) this.#worker.isFull();
    const places = Math.min(this.#free, this.#worker.places);
    const free = Math.max(places + this.#exchanges + leaving, 0);
    if (coming >= free && coming > ahead / 2) return 0;
    const room = Math.min(free + ahead - coming, batchSize);
    return this.#limiter === undefined ? room : Math.min(room, this.#tokens() - coming);
  }

  #tokens () {
    const tokens = Math.floor(this.#limiter.available);
    const { limit, interval } = this.#options.rate;
    if (tokens === 0) this.#wakeIn(Math.max(interval / limit, 1));
    return tokens;
  }

  /** @returns {Promise<boolean | undefined>} of `sent`: as Worker.settleSent wants it */
  async #pull (room, sent) {
    let settled;
    const began = clock.now();
    const look = this.#mayLook(began);
    const behind = look ? undefined : this.#behind;
    if (look) this.#mustLook = false;
    this.#looks += look;
    this.#exchanges += sent !== undefined;
    this.#pulls++;
    this.#asked += room;
    this.#woken = false;
    this.#pulledAt = began;
    this.#done = 0;
    const suspects = look && this.#worker.asksForSuspects()
      ? Math.min(this.#options.concurrency, room)
      : 0;
    const key = this.#key;
    try {
      // Half of the room comes first to them, so that neither kind waits for the other; with a
      // single place they take turns.
      const ordered = room > 1 ? Math.ceil(room / 2) : Number(this.#turn = !this.#turn);
      const claimed = await this.#worker.claim(this.name,
        { room, behind, suspects, ordered, key, sent });
      settled = claimed.settled;
      this.#failures = 0;
      this.#take(claimed, { room, look, key, began });
    } catch (error) {
      this.#worker.warn(error);
      this.#wakeIn(Math.min(100 * 2 ** this.#failures++, 5000));
      this.#hungry = false;
    }
    if (suspects > 0) this.#worker.gotSuspects();
    this.#looks -= look;
    this.#exchanges -= sent !== undefined;
    this.#pulls--;
    this.#asked -= room;
    this.pump();
    this.#worker.rest();
    return settled;
  }

  /** One look at everything is enough, unless nothing else is known to be there. */
  #mayLook (now) {
    if (this.#behind === undefined) return true;
    return this.#looks === 0 && (this.#mustLook || now >= this.#lookAt);
  }

  #take ({ rows, token, lastKey }, { room, look, key, began }) {
    const now = clock.now();
    const leaseEnds = began + this.#worker.options.leaseMs;
    const jobs = rows.map(row => new Job(row, token, leaseEnds)).sort(Job.order);
    const isFull = jobs.length >= room;
    if (look) {
      this.#lookAt = now + Math.max(LOOK_MS, (now - began) * LOOK_SHARE);
      const last = isFull ? jobs.findLast(({ message }) => message.orderKey) : undefined;
      this.#key = lastKey ?? last?.message.orderKey ?? '';
      // Keys that follow, or those in front, were not looked at.
      this.#mustLook ||= lastKey !== null || (key !== '' && !isFull);
    }
    this.#goOn(jobs, isFull);
    this.#pullsMax = isFull ? Math.min(2 * this.#pullsMax, PULLS_MAX) : 1;
    this.#hungry = this.#woken || this.#mustLook || isFull || !look;
    if (!this.#hungry) this.#wakeIn(this.#worker.options.pollInterval);
    const isOpen = this.#worker.running && this.#gate() !== 'closed';
    for (const job of jobs) {
      this.#worker.hold(job);
      // The others wait until it is gone.
      if (job.goesAlone) this.#queue.unshift(job);
      else this.#queue.push(job);
    }
    if (!isOpen) this.#giveBack();
  }

  /** Where the next claims begin. */
  #goOn (jobs, isFull) {
    const last = jobs.findLast(job => !job.isSuspect && job.message.orderKey === null);
    this.#behind = undefined;
    if (!isFull || last === undefined) return;
    const { id, priority, nextRetryAt } = last.message;
    this.#behind = { urgency: -priority, time: nextRetryAt, id };
  }

  #begin (job) {
    if (clock.now() >= job.leaseEnds) {
      // It may be ours still, if nobody has looked; then it is nobody's crash.
      this.#giveBack(job);
      return;
    }
    this.#inFlight++;
    this.#worker.began(job);
    this.#send(job);
  }

  async #send (job) {
    const { send, timeout } = this.#options;
    let verdict;
    let providerId;
    let failure;
    try {
      providerId = idOf(await job.attempt(send, timeout));
      this.#rests = 0;
    } catch (error) {
      failure = error;
      verdict = verdictOn(error, job.message, this.#delayOf);
    }
    this.#done++;
    this.#inFlight--;
    this.#unsettled++;
    if (verdict?.rests) this.#rest(verdict.wait);
    const settled = verdict === undefined
      ? this.#settleSent(job, providerId)
      : this.#worker.settleUnsent(job, verdict, failure);
    this.#worker.pump(this);
    await settled;
    this.#unsettled--;
    this.#settled(job, verdict?.delay);
    this.#worker.pump(this);
    this.#worker.rest();
  }

  /** Where its place is all that a claim waits for, the claim writes it down. */
  #settleSent (job, providerId) {
    const room = this.#mayExchange() ? this.#room('open', 1) : 0;
    const claimed = room > 0 ? this.#pull(room, { job, providerId }) : undefined;
    return this.#worker.settleSent(job, providerId, claimed);
  }

  /** The place never becomes free by that, so another channel must not be waiting for it. */
  #mayExchange () {
    return this.#worker.running && this.#mayPull && !this.#mayLook(clock.now()) &&
      this.#gate() === 'open' && !this.#worker.isCrowded && this.#room('open') <= 0;
  }

  /** Another message of its key, or itself, may be claimed later. */
  #settled (job, delay) {
    if (delay !== undefined && delay < this.#worker.options.pollInterval) {
      this.#wakeIn(delay + LATE_MS);
    }
    if (job.message.orderKey === null && !job.isSuspect) return;
    // The next one of its kind is found by looks at everything only.
    this.#mustLook = true;
    this.#hungry = true;
  }

  #rest (wait) {
    if (this.#restEnds > clock.now()) return;
    this.#restEnds = clock.now() + (wait ?? this.#restOf(this.#rests));
    this.#rests++;
  }

  #giveBack (...jobs) {
    for (const job of [...jobs, ...this.#queue.splice(0)]) this.#worker.giveBack(job, this);
  }

  /** Looks again after `ms`, or earlier. */
  #wakeIn (ms, looks = true) {
    const at = clock.now() + ms;
    if (at >= this.#timerAt || !this.#worker.running) return;
    clock.clearTimer(this.#timer);
    this.#timerAt = at;
    this.#timer = clock.setTimer(() => {
      this.#timerAt = Infinity;
      if (looks) this.wake();
      else this.pump();
    }, ms);
  }
}

/** What a sender answers: the provider's id, bare or as a member. */
function idOf (answer) {
  // What cannot be read was sent all the same.
  const id = typeof answer === 'object' ? read(answer, 'providerMessageId') : answer;
  return typeof id === 'string' || typeof id === 'number' ? clean(id, 512) : null;
}

module.exports = { Lane };
