'use strict';

// A model of the outbox: what may become of each message, whatever happens to its workers. Senders
// tell it when they begin and end. Workers tell it what they wrote, or that they came too late. It
// knows which workers died, and which leases were taken from workers that live.

const { gate } = require('./outbox-helpers');
const { Dice } = require('./random');

const COUNTED = ['sent', 'failed', 'asked', 'never', 'late'];
const OVER = ['SENT', 'DLQ', 'CANCELLED'];
// From this number of crashes on, a message may be what kills its workers.
const CRASHES = 3;

const PLANS = ['sent', 'sent', 'sent', 'sent', 'sent', 'failed', 'asked', 'never', 'late', 'busy',
  'pause', 'held', 'held'];

class Model {
  messages = new Map();
  faults = [];
  /** From now on each message is sent at once. */
  isCalm = false;
  /** Whether the breaker is open; whether answers may have been lost. */
  isOpen = () => false;
  isUpset = () => false;
  #time = 0;
  /** Whether rows that are over may have been deleted. */
  isCleaned = false;

  constructor (seed) { this.seed = seed; }

  /** Moments, as numbers that grow. */
  tick () { return ++this.#time; }

  fault (text) { this.faults.push(text); }

  /** A message that is about to be enqueued. Its recipient is its name. */
  add (given) {
    const recipient = String(this.messages.size + 1);
    this.messages.set(recipient, {
      ...given, recipient, state: 'asked', askedAt: this.tick(), calls: [], epoch: 0,
    });
    return recipient;
  }

  /**
   * An enqueue has ended.
   * @param {object[]} messages of the model
   * @param {{ value: { id: string, duplicate: boolean }[] } | undefined} answer undefined: they may
   *   be stored, all or none
   */
  enqueued (messages, answer) {
    messages.forEach((message, i) => {
      if (answer === undefined) return;
      message.id = answer.value[i].id;
      if (answer.value[i].duplicate) this.#dropped(message);
      else this.#stored(message);
    });
  }

  #others ({ recipient, dedupeKey }) {
    return [...this.messages.values()].filter(other => other.recipient !== recipient &&
      dedupeKey !== undefined && other.dedupeKey === dedupeKey);
  }

  #stored (message) {
    const { recipient, askedAt } = message;
    const beside = this.#others(message).find(other => other.since < askedAt &&
      !this.mayBeOver(other));
    if (beside !== undefined) {
      this.fault(`${recipient} is stored beside ${beside.recipient}, with the same dedupeKey`);
    }
    Object.assign(message, { state: 'stored', since: this.tick() });
  }

  #dropped (message) {
    const { recipient, id, askedAt } = message;
    const first = this.#others(message).find(other => other.state !== 'dropped' &&
      (other.id === id || other.id === undefined));
    if (first === undefined) this.fault(`${recipient} is the duplicate of nothing`);
    if (first?.sentAt < askedAt) this.fault(`${recipient} is the duplicate of what was sent`);
    message.state = 'dropped';
  }

  /** A message has come back from the dead letters, and nobody has begun to send it. */
  revived (message) {
    Object.assign(message, {
      isBack: true, since: this.tick(), isGivenUp: false, isCrashed: false, isBuried: false,
    });
  }

  /** Of those that are being sent, and were not taken from their workers. */
  get underWay () {
    return [...this.messages.values()].flatMap(({ calls }) => calls).filter(isUnderWay);
  }

  /** Nobody keeps a sender any longer. */
  free () {
    for (const { calls } of this.messages.values()) for (const { freed } of calls) freed.resolve();
  }

  /** Nobody knows how the last attempt of a message counts. */
  doubt ({ recipient }) { this.messages.get(recipient).isUnsure = true; }

  // ---- What senders and workers tell -----------------------------------------------------------

  /** A sender begins. @returns {{ plan: string, dice: Dice, call: object }} */
  begin (handle, { recipient }, attempt) {
    const message = this.messages.get(recipient);
    const claim = handle.claims.get(recipient);
    for (const fault of this.#faultsOfBegin(message, claim, attempt)) {
      this.fault(`${recipient}: ${fault}`);
    }
    message.isBack = false;
    const call = {
      handle, recipient, attempt, token: claim?.token, epoch: message.epoch, freed: gate(),
    };
    message.calls.push(call);
    const dice = new Dice(this.seed * 1e6 + recipient * 100 + message.calls.length);
    // What is brought back again and again is sent in the end.
    const isCalm = this.isCalm || message.calls.length > 12;
    return { plan: isCalm ? 'sent' : dice.pick(PLANS), dice, call };
  }

  * #faultsOfBegin (message, claim, attempt) {
    if (this.isOpen()) yield 'sent while the breaker is open';
    if (message.state === 'rolled back') yield 'sent, although rolled back';
    if (message.state === 'open') yield 'sent before its transaction was committed';
    if (message.state === 'dropped') yield 'sent, although it was a duplicate';
    if (message.isCancelled) yield 'sent after it was cancelled';
    if (message.isBuried && !message.isReviveAsked) yield 'sent after it was given up';
    if (message.calls.some(isUnderWay)) yield 'sent twice at once';
    if (attempt > message.maxAttempts) yield `attempt ${attempt} of ${message.maxAttempts}`;
    const before = message.calls.filter(({ epoch }) => epoch === message.epoch);
    if (before.some(({ outcome, fate }) => outcome === 'sent' && fate === 'written')) {
      yield 'sent again';
    }
    const counted = countedOf(message);
    const last = counted.at(-1);
    const isRevived = attempt === 1 && message.isReviveAsked &&
      (counted.length > 0 || message.isUnsure);
    if (isRevived) {
      message.epoch++;
      Object.assign(message, { isUnsure: false, isGivenUp: false, isCrashed: false });
    } else if (!message.isUnsure && !counted.some(isInDoubt)) {
      if (attempt !== counted.length + 1) yield `attempt ${attempt} after ${counted.length}`;
      if (isFinal(last, counted.length, message)) yield `sent after ${last.outcome}`;
    }
    yield* this.#faultsOfKey(message, claim);
  }

  * #faultsOfKey (message, claim) {
    if (message.orderKey === undefined) return;
    for (const other of this.messages.values()) {
      if (other === message || other.orderKey !== message.orderKey ||
        other.channel !== message.channel) continue;
      if (other.calls.some(isUnderWay)) yield `beside ${other.recipient}, which has the same key`;
      // Both waited when this one was claimed, and the older one waits still.
      const isOlder = other.state === 'stored' && message.id !== undefined &&
        BigInt(other.id) < BigInt(message.id);
      if (isOlder && other.since < claim?.at && !this.mayBeOver(other)) {
        yield `before ${other.recipient}, which is older and has the same key`;
      }
    }
  }

  /** Whether a message may be sent, dead, or cancelled by now. */
  mayBeOver (message) {
    if (message.isCancelled || message.mayBeCancelled) return true;
    if (message.isBack) return false;
    if (message.isUnsure || message.isGivenUp || message.isCrashed || message.state === 'dropped') {
      return true;
    }
    const counted = countedOf(message);
    return counted.some((call, i) => isFinal(call, i + 1, message));
  }

  /** A sender has ended. */
  end (call, outcome) {
    if (!call.handle.isDead) Object.assign(call, { outcome, endedAt: this.tick() });
  }

  /** A worker has told what it wrote. */
  written (handle, event, { recipient }) {
    if (handle.isDead) return;
    const message = this.messages.get(recipient);
    const call = message?.calls.findLast(each => each.handle === handle && isPending(each) &&
      (each.outcome === 'sent') === (event === 'sent'));
    if (call === undefined) return;
    call.fate = 'written';
    if (event === 'sent') message.sentAt = this.tick();
  }

  /** A worker has told that it no longer held a message, as it was when it was claimed. */
  fenced (handle, { recipient, attemptCount }) {
    if (handle.isDead) return;
    const message = this.messages.get(recipient);
    const ended = message.calls.filter(call => call.handle === handle &&
      call.attempt === attemptCount + 1 && call.endedAt !== undefined && call.fate === undefined);
    const stolen = ended.find(({ isStolen }) => isStolen);
    // It may have been written, and the answer lost; then somebody else took the message.
    if (this.isUpset() && ended.some(isPending)) message.isUnsure = true;
    if (stolen !== undefined) {
      stolen.fate = 'fenced';
      return;
    }
    // Or it was given back, and the answer lost; then this worker has claimed it once more. What is
    // fenced then is the first claim, of which there is no call.
    const isKnown = !this.isCleaned && !handle.claims.get(recipient)?.isAgain;
    if (!this.isUpset() || (isKnown && ended.some(isPendingSuccess))) {
      this.fault(`${recipient} was fenced for no reason`);
    }
  }

  /** A worker dies: whether its last outcomes were written is not known. */
  lose (handle) {
    handle.isDead = true;
    for (const message of this.messages.values()) {
      for (const call of message.calls) {
        if (call.handle !== handle) continue;
        if (isPending(call)) message.isUnsure = true;
        if (call.endedAt === undefined) Object.assign(call, { outcome: 'lost', fate: 'fenced' });
        call.endedAt ??= this.tick();
      }
    }
  }

  // ---- What must have become of all ------------------------------------------------------------

  /** @returns {string[]} what is wrong with rows, once nothing waits any more */
  faultsOf (rows) {
    const faults = [...this.faults];
    const found = new Map(rows.map(row => [row.recipient, row]));
    if (found.size < rows.length) faults.push('a message is stored twice');
    for (const message of this.messages.values()) {
      const row = found.get(message.recipient);
      const fault = row === undefined ? this.#faultOfNone(message) : this.#faultOf(message, row);
      if (fault !== undefined) faults.push(`${message.recipient}: ${fault}`);
    }
    return faults;
  }

  #faultOfNone (message) {
    if (message.state !== 'stored') return undefined;
    if (!this.isCleaned) return 'lost';
    return this.mayBeOver(message) ? undefined : 'deleted before it was over';
  }

  #faultOf (message, row) {
    const { status, attemptCount, maxAttempts, errorHistory, kind } = row;
    if (message.state === 'rolled back') return 'stored, although rolled back';
    if (message.state === 'dropped') return 'stored, although it was a duplicate';
    if (!OVER.includes(status)) return `still ${status}`;
    if (attemptCount > maxAttempts) return `${attemptCount} of ${maxAttempts} attempts`;
    if (message.isCancelled || status === 'CANCELLED') {
      const isRight = status === 'CANCELLED' && (message.isCancelled || message.mayBeCancelled);
      return isRight ? undefined : `${status}; cancelled: ${message.isCancelled === true}`;
    }
    const crashes = errorHistory.filter(({ code }) => code === 'ERR_OUTBOX_CRASHED').length;
    if (kind === 'ERR_OUTBOX_CRASHED') {
      return crashes >= CRASHES ? undefined : `dead of ${crashes} crashes`;
    }
    if (kind === 'ERR_OUTBOX_GIVEN_UP') return message.isGivenUp ? undefined : 'given up by nobody';
    const isSent = message.calls.some(({ outcome }) => outcome === 'sent');
    if (status === 'SENT' && !isSent) return 'never sent';
    if (message.isUnsure) return undefined;
    const counted = countedOf(message);
    const last = counted.at(-1);
    if (counted.some(isInDoubt)) return undefined;
    const expected = last?.outcome === 'sent' ? 'SENT'
      : isFinal(last, counted.length, message) && 'DLQ';
    return `${status} ${attemptCount}` === `${expected} ${counted.length}` ? undefined
      : `${status} ${attemptCount}, not ${expected} ${counted.length}`;
  }

  /** What became of each message, for a person. */
  story (recipient) {
    const { calls, ...message } = this.messages.get(recipient);
    return JSON.stringify({
      ...message,
      calls: calls.map(({ handle, freed, ...call }) => ({ ...call, worker: handle.name })),
    });
  }
}

/** Whether a sender is at work, and its message was not taken from it. */
const isUnderWay = ({ endedAt, isStolen }) => endedAt === undefined && !isStolen;
/** Whether an outcome that counts may not be written yet. */
const isPending = ({ outcome, fate }) => COUNTED.includes(outcome) && fate === undefined;
const isPendingSuccess = call => call.outcome === 'sent' && isPending(call);
const isInDoubt = call => call.isStolen && isPending(call);

/** Attempts since it was enqueued, or was brought back from the dead letters. */
const countedOf = ({ calls, epoch }) => calls.filter(call => call.epoch === epoch &&
  COUNTED.includes(call.outcome) && call.fate !== 'fenced');

const isFinal = (call, count, { maxAttempts }) => call !== undefined &&
  (call.outcome === 'sent' || call.outcome === 'never' || count >= maxAttempts);

module.exports = { Model };
