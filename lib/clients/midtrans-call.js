'use strict';

// One call to Midtrans that is safe to repeat. An attempt whose outcome is not known (a timeout, a
// cut connection, a 5xx) is looked up before anything is sent again, and what stays unknown is
// reported as unknown, never as failed.

const { wall } = require('../base/clock');
const { RetryPlan } = require('../primitives/retry-plan');
const { RetryRun } = require('../primitives/retry-run');
const {
  MidtransError, errorOfTransport, orderConflict, tokenLost, unknownOutcome
} = require('./midtrans-errors');

// Refusals that say nothing about an earlier attempt of the same call.
const SILENT = new Set(['ERR_MIDTRANS_UNAUTHORIZED', 'ERR_MIDTRANS_RATE_LIMITED']);
// Refusals that an earlier attempt may have caused by its success.
const TELLING = new Set(['ERR_MIDTRANS_CONFLICT', 'ERR_MIDTRANS_CANNOT_MODIFY']);

/** The options of retry() for a client: only what may be sent again is, whatever they say. */
function makePlan (options) {
  const { shouldRetry } = options;
  return new RetryPlan({
    ...options,
    shouldRetry: (error, attempt) => error instanceof MidtransError && error.retryable &&
      (shouldRetry ? shouldRetry(error, attempt) : true),
  });
}

class MidtransCall {
  #transport;
  #request;
  // Whether something was sent of which nobody knows the outcome.
  #unsure;

  /**
   * @param {object} transport { send(request, options), look(id, options), onRetry(details) }
   * @param {object} request { operation, orderId, mutating, core, refundKey, timeout, judge };
   *   judge tells from a status body whether the call is 'done', to be sent 'again', or in
   *   'conflict' with another transaction
   * @param {boolean} resume whether an earlier call may have got through
   */
  constructor (transport, request, resume) {
    this.#transport = transport;
    this.#request = request;
    this.#unsure = resume && request.mutating;
  }

  /**
   * @param {RetryPlan} plan of makePlan
   * @param {AbortSignal} [signal]
   * @returns {Promise<object>} the body of the answer
   */
  async run (plan, signal) {
    try {
      signal?.throwIfAborted();
      return await this.#attempts(plan, signal);
    } catch (error) {
      const known = !this.#unsure || error?.code === 'ERR_MIDTRANS_UNKNOWN_OUTCOME';
      throw known ? error : unknownOutcome(error, this.#request);
    }
  }

  /** Nearly all calls succeed at once: the rest is only made when it is needed. */
  async #attempts (plan, signal) {
    const startedAt = wall();
    let failure;
    try {
      const body = await this.#attempt(1, signal);
      plan.budget?.deposit();
      return body;
    } catch (error) {
      failure = error;
    }
    const own = Object.assign(Object.create(plan), {
      signal, withDelay: true, onRetry: (...args) => this.#tellRetry(plan, ...args),
    });
    const run = new RetryRun((bail, attempt) => this.#attempt(attempt, signal), own);
    run.watch();
    run.startedAt = startedAt;
    return run.goOn(failure, reason => run.stop(reason));
  }

  #tellRetry ({ onRetry, options }, error, attempt, delay) {
    const { operation, orderId } = this.#request;
    this.#transport.onRetry({ operation, orderId, attempt, error, delay });
    return onRetry?.call(options, error, attempt);
  }

  async #attempt (attempt, signal) {
    if (this.#unsure && this.#request.judge !== undefined) {
      const found = await this.#find(signal);
      if (found !== undefined) return found;
    }
    return this.#send(attempt, signal);
  }

  async #send (attempt, signal) {
    const request = this.#request;
    const before = this.#unsure;
    let sent = false;
    try {
      const body = await this.#transport.send(request, {
        attempt,
        signal,
        onSent: () => {
          sent = true;
          this.#unsure = request.mutating;
        },
      });
      this.#unsure = false;
      return body;
    } catch (error) {
      // A breaker of the user's may have a time limit of its own.
      const timedOut = error?.code === 'ETIMEDOUT' && !(error instanceof MidtransError);
      const failure = timedOut ? errorOfTransport(error, request, sent) : error;
      return this.#failed(failure, before, signal);
    }
  }

  /** What an attempt comes to that has failed. `before`: whether an earlier one was unsure. */
  async #failed (error, before, signal) {
    if (!(error instanceof MidtransError)) throw error; // Not sent, or given up by the caller.
    if (!error.ambiguous) {
      this.#unsure = before && (SILENT.has(error.code) || error.httpStatus === undefined);
      if (before && TELLING.has(error.code)) return this.#told(error, signal);
      throw error;
    }
    if (this.#request.judge === undefined) throw error;
    let found;
    try {
      found = await this.#find(signal);
    } catch (failure) {
      if (failure.code === 'ERR_MIDTRANS_CONFLICT') throw failure;
    }
    if (found === undefined) throw error;
    return found;
  }

  /** Midtrans refuses what an earlier attempt may have done. */
  async #told (error, signal) {
    const request = this.#request;
    this.#unsure = true;
    if (request.judge === undefined) return this.#taken(error, signal);
    const found = await this.#find(signal);
    if (found !== undefined) return found;
    // A state that cannot be left is a plain refusal; an order that is taken and yet not to be
    // found stays unknown.
    this.#unsure = error.code === 'ERR_MIDTRANS_CONFLICT';
    throw error;
  }

  /** Snap knows the order already. Its token is told once, and no other call tells it. */
  async #taken (error, signal) {
    const request = this.#request;
    const found = await this.#look(signal);
    if (found === undefined) throw tokenLost(error, request);
    this.#unsure = false;
    throw orderConflict(request, found, error);
  }

  #look (signal) {
    const { orderId, timeout } = this.#request;
    return this.#transport.look(orderId, { signal, timeout });
  }

  /** The status body that shows the call done; undefined if it has to be sent again. */
  async #find (signal) {
    const request = this.#request;
    const body = await this.#look(signal);
    if (body === undefined) return undefined;
    const verdict = request.judge(body);
    if (verdict === 'again') return undefined;
    this.#unsure = false;
    if (verdict === 'conflict') throw orderConflict(request, body);
    return body;
  }
}

module.exports = { MidtransCall, makePlan };
