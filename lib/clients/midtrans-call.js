'use strict';

// One call to Midtrans, with retries that never do anything twice. If the outcome of an attempt is
// unknown (a timeout, a cut connection, a 5xx), it is looked up before anything is sent again. If
// it stays unknown, the error says so: such a call is never reported as failed.

const crypto = require('node:crypto');

const { wall } = require('../base/clock');
const { isA, read } = require('../base/foreign');
const { guarded } = require('../base/warn');
const { RetryRun } = require('../primitives/retry-run');
const {
  MidtransError, answerOf, errorOfTransport, orderConflict, tokenLost, unknownOutcome, unreadable
} = require('./midtrans-errors');

// Refusals that tell nothing about an earlier attempt of the same call.
const SILENT = new Set(['ERR_MIDTRANS_UNAUTHORIZED', 'ERR_MIDTRANS_RATE_LIMITED']);
// Refusals that the success of an earlier attempt may have caused: the order is taken, the card's
// token is used up, the transaction has left the state, the amount was refunded.
const TELLING = new Set(['406', '411', '412', '414']);
// These tell the state of the transaction. After the others the outcome stays unknown unless the
// transaction is found.
const PLAIN = new Set(['412', '414']);

// Verdicts of a look-up that settle the call.
const DECIDED = new Set(['ERR_MIDTRANS_CONFLICT', 'ERR_MIDTRANS_UNKNOWN_OUTCOME']);
// After these, the order_id may belong to another transaction.
const ENDED = new Set(['expire', 'cancel', 'deny', 'failure']);
const hasEnded = body => ENDED.has(body?.transaction_status);

/** Whether the success of an earlier attempt may have caused this refusal. */
function isTelling ({ code, statusCode }, { api, look }) {
  if (look !== undefined) return true; // An alias that is taken, a payout that has moved on.
  return code === 'ERR_MIDTRANS_CONFLICT' || (api === 'core' && TELLING.has(statusCode));
}

/** GET status of a transaction: the look-up of a request that has a judge. */
function lookAtOrder ({ orderId, judge }) {
  const request = {
    operation: 'status', api: 'core', method: 'GET', again: 'read', orderId,
    path: `/v2/${encodeURIComponent(orderId)}/status`,
    isAnswer: body => read(body, 'status_code') !== undefined,
  };
  return async ask => {
    const answer = await ask(request);
    if (answer === undefined) return { verdict: 'again' };
    if (typeof answer.body.transaction_status !== 'string') {
      throw unreadable(answer, { operation: 'status', again: 'read' }, { orderId });
    }
    return { verdict: judge === undefined ? 'conflict' : judge(answer.body), answer };
  };
}

class MidtransCall {
  #transport;
  #request;
  #resume;
  // How to look up the outcome; undefined if that is impossible.
  #look;
  // Whether something was sent whose outcome is unknown.
  #unsure;
  // Whether the last look could not tell the outcome.
  #unclear = false;
  // The current attempt, for the transport, which calls onSent() before the first byte is written.
  attempt = 0;
  sent = false;
  // The idempotency key.
  key = undefined;

  /** `transport` and `request` are as midtrans-transport.js describes them. */
  constructor (transport, request, { signal, resume = false, timeout, headers, once }) {
    this.#transport = transport;
    this.#request = request;
    this.#resume = resume;
    this.#unsure = resume && request.again !== 'read';
    this.signal = signal;
    this.timeout = timeout;
    this.headers = headers;
    this.once = once;
    if (request.again !== 'lookUp') return;
    this.#look = request.look ??
      (request.judge && request.orderId !== undefined ? lookAtOrder(request) : undefined);
  }

  /** `runs`: the RetryRuns of the transport that are under way. */
  async run (plan, runs) {
    const startedAt = wall();
    let failure;
    try {
      this.signal?.throwIfAborted();
      const answer = await this.#try(1);
      if (plan.budget !== undefined) {
        guarded('budget.deposit failed', () => plan.budget.deposit());
      }
      return this.#show(answer);
    } catch (error) {
      failure = error;
    }
    // Nearly all calls succeed at once, so the rest is made only when it is needed.
    try {
      this.signal?.throwIfAborted();
      return this.#show(await this.#tryAgain(plan, failure, startedAt, runs));
    } catch (error) {
      const unknown = read(error, 'code') === 'ERR_MIDTRANS_UNKNOWN_OUTCOME' ? error
        : this.#unsure && unknownOutcome(error, this.#request, this.key);
      if (!unknown) return this.#fail(error);
      this.#transport.tell('alert', { kind: 'unknown-outcome', error: unknown });
      throw unknown;
    }
  }

  #show (answer) {
    if (this.#request.raw) return answer;
    return answer.body === undefined ? answer.text : answer.body;
  }

  #fail (error) {
    const answer = this.#request.raw ? answerOf(error) : undefined;
    if (answer === undefined) throw error;
    return answer;
  }

  async #tryAgain (plan, failure, startedAt, runs) {
    const { signal } = this;
    const own = Object.assign(Object.create(plan), {
      signal, withDelay: true, onRetry: (...args) => this.#tellRetry(plan, ...args),
      shouldRetry: (...args) =>
        !this.once && !this.#transport.closed && this.#isRepeatable() && plan.shouldRetry(...args),
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

  /** Whether the request may be sent again, as far as its kind is concerned. */
  #isRepeatable () {
    return !this.#unsure || this.#request.again !== 'never' && !this.#isBlind;
  }

  /** Whether the outcome has to be looked up before anything is sent, and cannot be. */
  get #isBlind () {
    return this.#request.again === 'lookUp' && this.#look === undefined;
  }

  #tellRetry ({ onRetry, options }, error, attempt, delay) {
    const { operation, orderId } = this.#request;
    this.#transport.tell('retry', { operation, orderId, attempt, error, delay });
    return onRetry?.call(options, error, attempt);
  }

  #try (attempt) {
    this.attempt = attempt;
    if (!this.#isRepeatable()) throw unknownOutcome(undefined, this.#request, this.key);
    return this.#unsure && this.#look !== undefined ? this.#findOrSend() : this.#send();
  }

  async #findOrSend () {
    return await this.#find() ?? this.#send();
  }

  async #send () {
    const request = this.#request;
    const before = this.#unsure;
    this.sent = false;
    try {
      const answer = await this.#transport.send(request, this);
      this.#unsure = false;
      return answer;
    } catch (error) {
      // The user's own breaker may have a time limit.
      const timedOut = read(error, 'code') === 'ETIMEDOUT' && !isA(error, MidtransError);
      const failure = timedOut ? errorOfTransport(error, request, this.sent) : error;
      return this.#failed(failure, before);
    }
  }

  onSent () {
    this.sent = true;
    this.#unsure = this.#request.again !== 'read';
  }

  /** Settles a failed attempt. `before`: whether the outcome of an earlier one is unknown. */
  async #failed (error, before) {
    if (!isA(error, MidtransError)) throw error; // Not sent, or given up by the caller.
    if (!read(error, 'ambiguous')) {
      const isSilent = SILENT.has(read(error, 'code')) || read(error, 'httpStatus') === undefined;
      this.#unsure = before && isSilent;
      if (before && !isSilent && isTelling(error, this.#request)) return this.#settleRefusal(error);
      throw error;
    }
    if (this.#look === undefined) throw error;
    let found;
    try {
      found = await this.#find();
    } catch (failure) {
      if (DECIDED.has(read(failure, 'code'))) throw failure;
    }
    if (found === undefined) throw error;
    return found;
  }

  /** Midtrans refuses what an earlier attempt may have done: finds out whether it has. */
  async #settleRefusal (error) {
    const request = this.#request;
    this.#unsure = true;
    if (this.#look === undefined) {
      if (request.api === 'snap' && request.orderId !== undefined) return this.#taken(error);
      throw error;
    }
    const found = await this.#find();
    if (found !== undefined) return found;
    // If the state does not allow the call, that is a plain refusal. If the order is taken and yet
    // cannot be found, the outcome stays unknown.
    this.#unsure = this.#unclear ||
      (request.look === undefined && !PLAIN.has(read(error, 'statusCode')));
    throw error;
  }

  /** Snap knows the order already. It tells the token of an order only once. */
  async #taken (error) {
    const request = this.#request;
    const { answer } = await lookAtOrder({ orderId: request.orderId })(r => this.#ask(r));
    // The id of a transaction that expired may be used again: the page was made after that.
    const isPage = answer === undefined || read(answer.body, 'transaction_status') === 'expire';
    if (isPage) throw tokenLost(error, request);
    this.#unsure = false;
    throw orderConflict(request, answer, error);
  }

  #ask (request) {
    return this.#transport.look({ ...request, key: this.#request.key },
      { signal: this.signal, timeout: this.timeout });
  }

  /** The answer that shows the call done; undefined if it has to be sent again. */
  async #find () {
    const request = this.#request;
    const { verdict, answer } = await this.#look(r => this.#ask(r));
    if (verdict === 'unknown') throw unknownOutcome(undefined, request, this.key);
    this.#unclear = verdict === 'unclear';
    if (verdict === 'again' || this.#unclear) {
      // The earlier call's transaction has ended, so this call makes a new one. With the old key,
      // Midtrans would repeat its earlier answer.
      if (this.#resume && !this.sent && hasEnded(answer?.body)) this.key = crypto.randomUUID();
      return undefined;
    }
    this.#unsure = false;
    if (verdict === 'conflict') throw orderConflict(request, answer);
    return answer;
  }
}

module.exports = { MidtransCall, hasEnded };
