'use strict';

const { BreakerGroup } = require('./primitives/group');
const { Bulkhead, RateLimiter, RetryBudget } = require('./primitives/limits');
const { CircuitBreaker, breakers } = require('./primitives/breaker');
const {
  NonRetryableError, RetryableError, isRetryable, retryAfterMs, retryOn
} = require('./primitives/classify');
const { preset, presets, profile, profiles, retryPresets } = require('./primitives/presets');
const { retry, retryable } = require('./primitives/retry');
const { SekeringError } = require('./base/errors');

// A flat list of identifiers, so that ESM can import each by name.
module.exports = {
  BreakerGroup,
  Bulkhead,
  CircuitBreaker,
  NonRetryableError,
  RateLimiter,
  RetryBudget,
  RetryableError,
  SekeringError,
  breakers,
  isRetryable,
  preset,
  presets,
  profile,
  profiles,
  retry,
  retryAfterMs,
  retryOn,
  retryPresets,
  retryable
};
