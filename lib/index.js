'use strict';

// What `require('sekering')` gives. Each export is loaded by its first use: a program pays for the
// parts that it uses, and for little before that. The engine is loaded at once, so that what is
// wrong with it shows.

require('./base/native');

const { defineLazy } = require('./base/lazy');

defineLazy(exports, {
  AdaptiveLimiter: () => require('./primitives/limits').AdaptiveLimiter,
  BreakerGroup: () => require('./primitives/group').BreakerGroup,
  Bulkhead: () => require('./primitives/limits').Bulkhead,
  CircuitBreaker: () => require('./primitives/breaker').CircuitBreaker,
  LoadShedder: () => require('./primitives/load-shedder').LoadShedder,
  NonRetryableError: () => require('./primitives/classify').NonRetryableError,
  RateLimiter: () => require('./primitives/limits').RateLimiter,
  RetryBudget: () => require('./primitives/limits').RetryBudget,
  RetryableError: () => require('./primitives/classify').RetryableError,
  SekeringError: () => require('./base/errors').SekeringError,
  Timeout: () => require('./primitives/limits').Timeout,
  breakers: () => require('./primitives/breaker').breakers,
  chaos: () => require('./primitives/chaos').chaos,
  circuitBreakers: () => require('./primitives/registry').circuitBreakers,
  createBackoff: () => require('./primitives/backoff').createBackoff,
  deadlineHeaders: () => require('./primitives/deadline').deadlineHeaders,
  engine: () => require('./base/native').engine,
  fallbackChain: () => require('./primitives/fallback-chain').fallbackChain,
  getCircuitBreaker: () => require('./primitives/registry').getCircuitBreaker,
  hedge: () => require('./primitives/hedge').hedge,
  isRetryable: () => require('./primitives/classify').isRetryable,
  policy: () => require('./primitives/policy').policy,
  preset: () => require('./primitives/presets').preset,
  presets: () => require('./primitives/presets').presets,
  profile: () => require('./primitives/presets').profile,
  profiles: () => require('./primitives/presets').profiles,
  protect: () => require('./primitives/protect').protect,
  readDeadlineHeaders: () => require('./primitives/deadline').readDeadlineHeaders,
  regions: () => require('./base/regions').regions,
  resetCircuitBreaker: () => require('./primitives/registry').resetCircuitBreaker,
  resetCircuitBreakers: () => require('./primitives/registry').resetCircuitBreakers,
  retry: () => require('./primitives/retry').retry,
  retryAfterMs: () => require('./primitives/classify').retryAfterMs,
  retryOn: () => require('./primitives/classify').retryOn,
  retryPresets: () => require('./primitives/presets').retryPresets,
  retryable: () => require('./primitives/retry').retryable,
  staleCache: () => require('./primitives/stale-cache').staleCache,
  timeLeft: () => require('./primitives/deadline').timeLeft,
  withDeadline: () => require('./primitives/deadline').withDeadline,
});

// Never runs. Node.js reads from here which names an ES module can import.
/* eslint-disable no-undef */
0 && (module.exports = {
  AdaptiveLimiter, BreakerGroup, Bulkhead, CircuitBreaker, LoadShedder, NonRetryableError,
  RateLimiter, RetryBudget, RetryableError, SekeringError, Timeout, breakers, chaos,
  circuitBreakers, createBackoff, deadlineHeaders, engine, fallbackChain, getCircuitBreaker, hedge,
  isRetryable, policy, preset, presets, profile, profiles, protect, readDeadlineHeaders, regions,
  resetCircuitBreaker, resetCircuitBreakers, retry, retryAfterMs, retryOn, retryPresets, retryable,
  staleCache, timeLeft, withDeadline,
});
