import CircuitBreaker = require('./primitives/breaker');
import retry = require('./primitives/retry');
import { retryable } from './primitives/retry';

export { SekeringError } from './base/errors';
export { BreakerGroup } from './primitives/group';
export {
  NonRetryableError, RetryableError, RetryOnOptions, isRetryable, retryAfterMs, retryOn
} from './primitives/classify';
export { Bulkhead, RateLimiter, RetryBudget } from './primitives/limits';
export {
  Profile, preset, presets, profile, profiles, retryPresets
} from './primitives/presets';
export { CircuitBreaker, retry, retryable };

export import breakers = CircuitBreaker.breakers;
