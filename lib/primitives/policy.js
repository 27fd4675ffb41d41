'use strict';

// Several protections around one call, always in the same order, outermost first:
// fallback, cache, shed, deadline, retry, hedge, breaker, rateLimit, bulkhead, adaptiveLimit,
// timeout, chaos.

const { now } = require('../base/clock');
const {
  hadItsTime, inheritDeadline, isDeadline, msUntilDeadline, withCallersDeadline, withDeadline
} = require('../base/deadline');
const { invalidOption, isRefusal } = require('../base/errors');
const { isList, likeFunction, read, reasonOf } = require('../base/foreign');
const { bag, func, is, optionsOf, readSignal } = require('../base/options');
const { asked } = require('../base/warn');
const { readDelays } = require('./backoff');
const CircuitBreaker = require('./breaker');
const { Chaos } = require('./chaos');
const { fallbackChain } = require('./fallback-chain');
const { Hedge } = require('./hedge');
const { AdaptiveLimiter, Bulkhead, PRIORITY, RateLimiter, Timeout } = require('./limits');
const { LoadShedder } = require('./load-shedder');
const { RetryPlan, RetryRun, RetryStats, mayPass, readShouldRetry } = require('./retry-run');
const { StaleCache, keyOf } = require('./stale-cache');

// Each part is one that exists already, or its options; what those may be is checked by the part.
// false and null stand for none.
const POLICY = optionsOf({
  fallback: is.any('a function, a breaker, a fallbackChain, or strategies'),
  cache: is.any('a StaleCache, or options of staleCache()'),
  shed: is.any('a LoadShedder, or its options'),
  deadline: is.ms('for a call with all its attempts and pauses',
    { min: 1, or: [false, null, Infinity] }),
  retry: is.any('options of retry(); its attemptTimeout becomes the timeout below'),
  hedge: is.any('for calls that are safe to repeat: a Hedge, or options of hedge()'),
  breaker: is.any('a CircuitBreaker, or its options; without a time limit of its own, unless ' +
    'they name one, if there is a timeout below'),
  rateLimit: is.any('a RateLimiter, or its options'),
  bulkhead: is.any('a Bulkhead, or its options'),
  adaptiveLimit: is.any('an AdaptiveLimiter, or its options'),
  timeout: is.any('of each attempt: a Timeout, ms, or { initial, increment, max }'),
  chaos: is.any('faults for tests and exercises: a Chaos, or options of chaos()'),
});
const CALL = optionsOf({
  signal: is.signal('ends the call at once with its reason; nothing counts'),
  key: is.any('of the copy in the cache; without a key, the cache is not used'),
  args: is.args('what the fallback gets, with the error after them'),
  priority: PRIORITY,
});
const WRAP = optionsOf({
  key: is.func('of the copy in the caches: (...args); default: see keyOf in ./stale-cache'),
  signal: is.func('of the call: (...args)'),
  priority: PRIORITY,
});

// These say that this process is busy, and nothing about the upstream.
const SATURATED = new Set(['EBULKHEADFULL', 'ERATELIMITED']);

const isGiven = value => value !== undefined && value !== null && value !== false;

/** A part that exists already, or one made from its options. */
function part (name, value, method, make) {
  if (!isGiven(value)) return undefined;
  return typeof read(value, method) === 'function' ? value : make(bag(name, value));
}

function readFallback (value) {
  if (!isGiven(value) || typeof value === 'function') return value || undefined;
  if (typeof read(value, 'fire') === 'function') return (...args) => value.fire(...args);
  return fallbackChain(isList(value) ? value : [bag('fallback', value)]);
}

function readTimeout (value) {
  if (!isGiven(value) || value === 0) return undefined;
  return typeof read(value, 'execute') === 'function' ? value : new Timeout(value);
}

/** A breaker of the policy's own: the time limit is the policy's too, if it has one. */
function makeBreaker (options, timed) {
  const call = fn => fn();
  return new CircuitBreaker(call, { ...timed && { timeout: false }, name: 'policy', ...options });
}

function readRetry (value) {
  if (!isGiven(value)) return {};
  const list = isList(value);
  const given = list ? {} : bag('retry', value);
  const { attemptTimeout, signal, shouldRetry } = given;
  if (signal !== undefined) throw invalidOption('retry.signal', 'none: pass it to execute', signal);
  const judge = shouldRetry ? readShouldRetry(shouldRetry) : mayPass;
  const decide = (error, attempt) => !isRefusal(error) && judge(error, attempt);
  const options = Object.assign(list ? readDelays(value) : { ...given }, { shouldRetry: decide });
  // The limit of an attempt is inside the breaker, so that the breaker counts timeouts.
  if (!list) options.attemptTimeout = undefined;
  return { plan: new RetryPlan(options), attemptTimeout };
}

/** The same plan with the signal of one call. */
function planFor (plan, signal) {
  return signal === undefined ? plan : Object.assign(Object.create(plan), { signal });
}

/** One call while it runs. `origin` is what `answer` tells of its result. */
const callOf = (fn, { signal, key, args, priority }) =>
  ({ fn, signal, key, args, priority, origin: { source: 'call', stale: false, ageMs: 0 } });

/** What `answer` resolves with. */
function answerOf (value, { source, stale, ageMs, error }) {
  return { value, source, stale, ageMs, ...error !== undefined && { error } };
}

class Policy {
  #plan;
  #stats;

  /** Options as policy() has them. */
  constructor (options) {
    const given = POLICY.read(options);
    const { plan, attemptTimeout } = readRetry(given.retry);
    if (isGiven(attemptTimeout) && isGiven(given.timeout)) {
      throw invalidOption('timeout', 'no value (retry.attemptTimeout is set)', given.timeout);
    }
    this.#plan = plan;
    this.fallback = readFallback(given.fallback);
    this.cache = part('cache', given.cache, 'fetch', o => new StaleCache(o));
    this.shed = part('shed', given.shed, 'execute', o => new LoadShedder(o));
    this.deadline = isGiven(given.deadline) ? given.deadline : undefined;
    this.hedge = part('hedge', given.hedge, 'execute', o => new Hedge(o));
    this.timeout = readTimeout(isGiven(attemptTimeout) ? attemptTimeout : given.timeout);
    this.breaker = part('breaker', given.breaker, 'run',
      o => makeBreaker(o, this.timeout !== undefined));
    this.#stats = new RetryStats(this.breaker);
    this.rateLimit = part('rateLimit', given.rateLimit, 'execute', o => new RateLimiter(o));
    this.bulkhead = part('bulkhead', given.bulkhead, 'execute', o => new Bulkhead(o));
    // Inside the others, so that it measures the upstream and no line of ours.
    this.adaptiveLimit =
      part('adaptiveLimit', given.adaptiveLimit, 'execute', o => new AdaptiveLimiter(o));
    this.chaos = part('chaos', given.chaos, 'execute', o => new Chaos(o));
  }

  /** Figures of the retries so far, as retryable() has them. */
  get retryStats () { return this.#stats.toJSON(); }

  /** Calls `fn({ signal, attempt })` through all parts. */
  async execute (fn, options) {
    return this.#begin(callOf(func('fn', fn), CALL.read(options)));
  }

  /** As `execute`, but tells where the answer is from. */
  async answer (fn, options) {
    const call = callOf(func('fn', fn), CALL.read(options));
    return answerOf(await this.#begin(call), call.origin);
  }

  /**
   * A function that calls `fn` with its arguments through all parts. Its own method `answer` takes
   * the same arguments and tells where the answer is from.
   */
  wrap (fn, options) {
    func('fn', fn);
    const { key, priority, signal } = WRAP.read(options);
    const policy = this;
    const hasCopies = policy.cache !== undefined ||
      typeof read(policy.fallback, 'remember') === 'function';
    const keyFor = (self, args) => {
      if (key !== undefined) return asked('key failed', () => key(...args));
      return hasCopies ? keyOf(fn, args, self) : undefined;
    };
    const signalFor = args => readSignal(asked('signal failed', () => signal(...args)));
    const begin = (self, args) => callOf(() => fn.apply(self, args), {
      args, key: keyFor(self, args), priority,
      signal: signal === undefined ? undefined : signalFor(args),
    });
    async function wrapped (...args) {
      return policy.#begin(begin(this, args));
    }
    async function answer (...args) {
      const call = begin(this === wrapped ? undefined : this, args);
      return answerOf(await policy.#begin(call), call.origin);
    }
    return Object.defineProperty(likeFunction(wrapped, fn), 'answer',
      { value: answer, configurable: true });
  }

  async #begin (call) {
    const { signal } = call;
    if (signal === undefined) return this.#settle(call);
    signal.throwIfAborted();
    // Not every function heeds its signal.
    return withDeadline(signal, Infinity, () => this.#settle(call));
  }

  async #settle (call) {
    const { fallback } = this;
    let value;
    try {
      value = await this.#cached(call);
    } catch (error) {
      if (fallback === undefined || call.signal?.aborted) throw error;
      return this.#fallBack(call, error);
    }
    const { args, key } = call;
    if (call.origin.source === 'call' && typeof read(fallback, 'remember') === 'function') {
      await fallback.remember(value, { args, key });
    }
    return value;
  }

  async #fallBack (call, error) {
    const { fallback } = this;
    const { args, key } = call;
    if (typeof read(fallback, 'answer') !== 'function') {
      call.origin = { source: 'fallback', stale: false, ageMs: 0, error };
      return fallback(...args, error);
    }
    const answer = await fallback.answer(error, { args, key });
    call.origin = { ...answer, source: 'fallback', error };
    return answer.value;
  }

  async #cached (call) {
    if (this.cache === undefined || call.key === undefined) {
      return this.#admitted(call, call.signal);
    }
    let source = 'cache';
    const copy = await this.cache.fetch(call.key, ({ signal }) => {
      source = 'call';
      return this.#admitted(call, signal);
    }, { signal: call.signal });
    call.origin = { ...copy, source: copy.stale ? 'stale' : source };
    return copy.value;
  }

  /** Once for a call: its retries are no more calls. */
  #admitted (call, signal) {
    if (this.shed === undefined) return this.#inTime(call, signal);
    return this.shed.execute(() => this.#inTime(call, signal),
      { signal, priority: call.priority });
  }

  #inTime (call, signal) {
    if (this.deadline === undefined) return this.#retried(call, signal);
    return withCallersDeadline(signal, this.deadline, own => this.#retried(call, own));
  }

  #retried (call, signal) {
    if (this.#plan === undefined) return this.#hedged(call, 1, signal);
    const run = new RetryRun((bail, attempt) => this.#hedged(call, attempt, signal),
      planFor(this.#plan, signal), this.#stats);
    return run.start();
  }

  /** Outside the breaker and the limits: a hedge is one more request to the upstream. */
  #hedged (call, attempt, signal) {
    if (this.hedge === undefined) return this.#guarded(call, attempt, signal);
    return this.hedge.execute(({ signal: own, hedge }) => {
      const fn = context => call.fn({ ...context, hedge });
      return this.#guarded({ ...call, fn }, attempt, own);
    }, { signal });
  }

  #guarded (call, attempt, signal) {
    const { breaker } = this;
    if (breaker === undefined) return this.#limited(call, attempt, signal);
    // A disabled breaker passes no signal on.
    if (!breaker.enabled) return breaker.run(() => this.#limited(call, attempt, signal));
    if (this.timeout !== undefined && msUntilDeadline(signal) !== Infinity) {
      return this.#judged(call, attempt, signal);
    }
    return this.#counted(call, attempt, signal);
  }

  /** So that the breaker can tell what it means that the caller's deadline ends this attempt. */
  #judged (call, attempt, signal) {
    const limit = this.timeout.limitOf(attempt);
    // Waits for the limits inside the breaker say nothing about the upstream.
    let began = Infinity;
    const begin = () => { began = now(); };
    const countsAbort = reason => isDeadline(reason) && hadItsTime(now() - began, limit);
    return this.#counted({ ...call, begin }, attempt, signal, countsAbort);
  }

  #counted (call, attempt, signal, countsAbort) {
    if (this.#isLimited) return this.#uncounted(call, attempt, signal, countsAbort);
    return this.breaker.run(context => this.#limited(call, attempt, context.signal),
      { signal, countsAbort });
  }

  get #isLimited () {
    return (this.rateLimit ?? this.bulkhead ?? this.adaptiveLimit) !== undefined;
  }

  /** Through the breaker, which does not count calls that the limits inside did not let pass. */
  async #uncounted (call, attempt, signal, countsAbort) {
    const controller = new AbortController();
    inheritDeadline(controller.signal, signal);
    const leave = () => controller.abort(reasonOf(signal));
    signal?.addEventListener('abort', leave, { once: true });
    try {
      return await this.breaker.run(async context => {
        try {
          return await this.#limited(call, attempt, context.signal);
        } catch (error) {
          if (SATURATED.has(read(error, 'code'))) controller.abort(error);
          throw error;
        }
      }, { signal: controller.signal, countsAbort });
    } finally {
      signal?.removeEventListener('abort', leave);
    }
  }

  #limited (call, attempt, signal) {
    const { rateLimit } = this;
    const { priority } = call;
    let enter = inner => this.#timed(call, attempt, inner);
    for (const limit of [this.adaptiveLimit, this.bulkhead]) {
      if (limit === undefined) continue;
      const entered = enter;
      enter = inner => limit.execute(() => entered(inner), { signal: inner, priority });
    }
    if (rateLimit === undefined) return enter(signal);
    return rateLimit.execute(() => enter(signal), { signal });
  }

  #timed ({ fn, begin }, attempt, signal) {
    const { timeout, chaos } = this;
    begin?.();
    const call = chaos === undefined ? fn
      : context => chaos.execute(() => fn(context), { signal: context.signal });
    if (timeout !== undefined) return timeout.execute(call, { signal, attempt });
    return call({ signal: signal ?? new AbortController().signal, attempt });
  }
}

/**
 * Several protections around one call, always in this order, outermost first. Each attempt of a
 * retry passes the breaker; an open breaker ends the retry at once. A call that the limits did not
 * let pass, or that its caller aborted, counts for nothing in the breaker.
 */
const policy = options => new Policy(options);

module.exports = { POLICY, Policy, policy };
