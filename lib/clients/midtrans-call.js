'use strict';

// One call to Midtrans, with retries that never do anything twice. If the outcome of an attempt is
// unknown (a timeout, a cut connection, a 5xx), it is looked up before anything is sent again. If
// it stays unknown, the error says so: such a call is never reported as failed.

const { wall } = require('../base/clock');
const { isA, read } = require('../base/foreign');
const { guarded } = require('../base/warn');
const { RetryRun } = require('../primitives/retry-run');
const {
  MidtransError, errorOfTransport, orderConflict, tokenLost, unknownOutcome, unreadable
} = require('./midtrans-errors');

// Refusals that tell nothing about an earlier attempt of the same call.
const SILENT = new Set(['ERR_MIDTRANS_UNAUTHORIZED', 'ERR_MIDTRANS_RATE_LIMITED']);
// Refusals that the success of an earlier attempt may have caused: the order is taken, the card's
// token is used up, the transaction has left the state, the amount was refunded.
const TELLING = new Set(['406', '411', '412', '414']);
const isTelling = ({ code, statusCode }, { core }) =>
  code === 'ERR_MIDTRANS_CONFLICT' || (core && TELLING.has(statusCode));
// These tell the state of the transaction. After the others the outcome stays unknown unless the
// transaction is found.
const PLAIN = new Set(['412', '414']);

class MidtransCall {
  #transport;
  #request;
  // Whether something was sent whose outcome is unknown.
  #unsure;
  // Whether the last look at the transaction could not tell the outcome.
  #unclear = false;
  // The current attempt, for the transport, which calls onSent() before the first byte is written.
  attempt = 0;
  signal = undefined;
  sent = false;

  /**
   * The transport has { send(request, call), look(id, options), onRetry(details), onUnknown(error),
   * isClosed(), runs: the RetryRuns under way }. The request's `judge` tells from a status body
   * whether the call is 'done', to be sent 'again', in 'conflict' with another transaction, or
   * 'unclear', which does no harm to send again. `resume`: an earlier call may have got through.
   */
  constructor (transport, request, resume) {
    this.#transport = transport;
    this.#request = request;
    this.#unsure = resume && request.mutating;
  }

  async run (plan, signal) {
    this.signal = signal;
    const startedAt = wall();
    let failure;
    try {
      signal?.throwIfAborted();
      const body = await this.#try(1);
      if (plan.budget !== undefined) {
        guarded('budget.deposit failed', () => plan.budget.deposit());
      }
      return body;
    } catch (error) {
      failure = error;
    }
    // Nearly all calls succeed at once, so the rest is made only when it is needed.
    try {
      signal?.throwIfAborted();
      return await this.#tryAgain(plan, failure, startedAt);
    } catch (error) {
      const unknown = read(error, 'code') === 'ERR_MIDTRANS_UNKNOWN_OUTCOME' ? error
        : this.#unsure && unknownOutcome(error, this.#request);
      if (!unknown) throw error;
      this.#transport.onUnknown(unknown);
      throw unknown;
    }
  }

  async #tryAgain (plan, failure, startedAt) {
    const { signal } = this;
    const { runs, isClosed } = this.#transport;
    const own = Object.assign(Object.create(plan), {
      signal, withDelay: true, onRetry: (...args) => this.#tellRetry(plan, ...args),
      shouldRetry: (...args) => !isClosed() && plan.shouldRetry(...args),
    });
    const run = new RetryRun((bail, attempt) => this.#try(attempt), own);
    runs.add(run);
    try {
      run.watch();
      run.startedAt = startedAt;
      return await run.goOn(failure, reason => run.stop(reason));
    } finally {
      runs.delete(run);
    }
  }

  #tellRetry ({ onRetry, options }, error, attempt, delay) {
    const { operation, orderId } = this.#request;
    this.#transport.onRetry({ operation, orderId, attempt, error, delay });
    return onRetry?.call(options, error, attempt);
  }

  #try (attempt) {
    this.attempt = attempt;
    const looksFirst = this.#unsure && this.#request.judge !== undefined;
    return looksFirst ? this.#findOrSend() : this.#send();
  }

  async #findOrSend () {
    return await this.#find() ?? this.#send();
  }

  async #send () {
    const request = this.#request;
    const before = this.#unsure;
    this.sent = false;
    try {
      const body = await this.#transport.send(request, this);
      this.#unsure = false;
      return body;
    } catch (error) {
      // The user's own breaker may have a time limit.
      const timedOut = read(error, 'code') === 'ETIMEDOUT' && !isA(error, MidtransError);
      const failure = timedOut ? errorOfTransport(error, request, this.sent) : error;
      return this.#failed(failure, before);
    }
  }

  onSent () {
    this.sent = true;
    this.#unsure = this.#request.mutating;
  }

  /** Settles a failed attempt. `before`: whether the outcome of an earlier one is unknown. */
  async #failed (error, before) {
    if (!isA(error, MidtransError)) throw error; // Not sent, or given up by the caller.
    if (!read(error, 'ambiguous')) {
      const isSilent = SILENT.has(read(error, 'code')) || read(error, 'httpStatus') === undefined;
      this.#unsure = before && isSilent;
      if (before && isTelling(error, this.#request)) return this.#settleRefusal(error);
      throw error;
    }
    if (this.#request.judge === undefined) throw error;
    let found;
    try {
      found = await this.#find();
    } catch (failure) {
      if (read(failure, 'code') === 'ERR_MIDTRANS_CONFLICT') throw failure;
    }
    if (found === undefined) throw error;
    return found;
  }

  /** Midtrans refuses what an earlier attempt may have done: finds out whether it has. */
  async #settleRefusal (error) {
    const request = this.#request;
    this.#unsure = true;
    if (request.judge === undefined) return this.#taken(error);
    const found = await this.#find();
    if (found !== undefined) return found;
    // If the state does not allow the call, that is a plain refusal. If the order is taken and yet
    // cannot be found, the outcome stays unknown.
    this.#unsure = this.#unclear || !PLAIN.has(read(error, 'statusCode'));
    throw error;
  }

  /** Snap knows the order already. It tells the token of an order only once. */
  async #taken (error) {
    const request = this.#request;
    const found = await this.#look();
    if (found === undefined) throw tokenLost(error, request);
    this.#unsure = false;
    throw orderConflict(request, found, error);
  }

  #look () {
    const { orderId, timeout } = this.#request;
    return this.#transport.look(orderId, { signal: this.signal, timeout });
  }

  /** The status body that shows the call done; undefined if it has to be sent again. */
  async #find () {
    const request = this.#request;
    const body = await this.#look();
    if (body === undefined) return undefined;
    if (typeof body.transaction_status !== 'string') {
      throw unreadable(200, { operation: 'status', mutating: false }, { orderId: request.orderId });
    }
    const verdict = request.judge(body);
    this.#unclear = verdict === 'unclear';
    if (verdict === 'again' || this.#unclear) return undefined;
    this.#unsure = false;
    if (verdict === 'conflict') throw orderConflict(request, body);
    return body;
  }
}

module.exports = { MidtransCall };
