'use strict';

// A message in a worker's hands.

const clock = require('../base/clock');
const { fill } = require('./template');

/**
 * Names a message at its provider, whatever the number of attempts. A time that no Date can hold is
 * a text, and must not keep the other messages of its claim from being sent.
 */
const referenceOf = ({ id, createdAt }) =>
  `${id}.${typeof createdAt === 'string' ? createdAt : createdAt.getTime().toString(36)}`;

/** By urgency, then by when it was due, then by age: ids are numbers as text. */
function order ({ message: a }, { message: b }) {
  return b.priority - a.priority || a.nextRetryAt - b.nextRetryAt ||
    a.id.length - b.id.length || (a.id < b.id ? -1 : 1);
}

/** What a sender is told besides the message. The signal is made when it is asked for. */
class Context {
  #controller;
  #reason;

  constructor (attempt) {
    this.attempt = attempt;
  }

  get signal () {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  abort (reason) {
    this.#reason ??= reason;
    this.#controller?.abort(this.#reason);
  }
}

function timedOut (ms) {
  const error = new Error(`No answer within ${ms} ms`);
  error.name = 'TimeoutError';
  error.code = 'ETIMEDOUT';
  return error;
}

class Job {
  #context;
  #timer;
  #limit;

  /**
   * @param {object} row as it was claimed
   * @param {number} token of the claim
   * @param {number} leaseEnds by our clock
   */
  constructor ({ crashCount, settled, lastKey, ...message }, token, leaseEnds) {
    this.message = message;
    this.token = token;
    this.leaseEnds = leaseEnds;
    /** How often a worker died while it held the message. */
    this.crashes = crashCount - 1;
    message.reference = referenceOf(message);
  }

  static order = order;

  get isSuspect () { return this.crashes > 0; }

  /** Once more may be the last time: it is sent while nothing else is. */
  get goesAlone () { return this.crashes > 1; }

  /**
   * Sends the message. After `timeout` ms the sender's signal is aborted. A sender that goes on may
   * still send the message, and another attempt beside it would send it twice. So it gets the same
   * time once more, and only then is it given up.
   * @returns {Promise<unknown>} what the sender answers; rejects as it does, or because it took
   *   too long
   */
  async attempt (send, timeout) {
    const { message } = this;
    if (message.template !== null) message.body = fill(message.template, message.data);
    const context = new Context(message.attemptCount + 1);
    this.#context = context;
    let late;
    const sent = new Promise((resolve, reject) => {
      this.#timer = clock.setTimer(() => {
        late = timedOut(timeout);
        this.#timer = clock.setTimer(() => reject(late), timeout);
        context.abort(late);
      }, timeout);
      this.#limit = () => {
        this.#timer = clock.setTimer(() => reject(late ?? timedOut(timeout)), timeout);
      };
      // A sender may throw before it has a promise.
      new Promise(go => { go(send(message, context)); }).then(resolve, reject);
    });
    try {
      return await sent;
    } catch (error) {
      // How a sender ends when it is told to says nothing about the message.
      throw late ?? error;
    } finally {
      clock.clearTimer(this.#timer);
    }
  }

  /** Tells the sender that it should end. */
  abort (reason) { this.#context?.abort(reason); }

  /** From now on the sender has no time limit. */
  untime () { clock.clearTimer(this.#timer); }

  /** From now on it has its time limit once more. */
  retime () {
    this.untime();
    this.#limit?.();
  }
}

module.exports = { Job, referenceOf };
