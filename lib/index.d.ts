import CircuitBreaker = require('./primitives/breaker');
import retry = require('./primitives/retry');
import { retryable } from './primitives/retry';

export { SekeringError } from './base/errors';
export { regions } from './base/regions';
export type { RegionEntry } from './base/regions';
export { CircuitBreaker, retry, retryable };
export import breakers = CircuitBreaker.breakers;

export { createBackoff } from './primitives/backoff';
export type {
  Backoff, BackoffJitter, BackoffOptions, BackoffStrategy
} from './primitives/backoff';
export { BreakerGroup } from './primitives/group';
export { chaos } from './primitives/chaos';
export type { Chaos, ChaosOptions, ChaosStats, Fault } from './primitives/chaos';
export {
  deadlineHeaders, readDeadlineHeaders, timeLeft, withDeadline
} from './primitives/deadline';
export type { DeadlineContext, DeadlineOptions } from './primitives/deadline';
export { fallbackChain } from './primitives/fallback-chain';
export type { Declined, FallbackChain, Queued, Strategy } from './primitives/fallback-chain';
export { hedge } from './primitives/hedge';
export type {
  Hedge, HedgeBudget, HedgeContext, HedgeDelay, HedgeOptions, HedgeStats
} from './primitives/hedge';
export {
  NonRetryableError, RetryableError, isRetryable, retryAfterMs, retryOn
} from './primitives/classify';
export type { ErrorKind, RetryOnOptions, RetryableErrorOptions } from './primitives/classify';
export {
  AdaptiveLimiter, Bulkhead, RateLimiter, RetryBudget, Timeout
} from './primitives/limits';
export type {
  AdaptiveLimiterOptions, AttemptContext, BulkheadOptions, EnterOptions, ExecuteOptions,
  GrowingTimeout, LimitContext, RateLimitedError, RateLimiterOptions, RetryBudgetOptions,
  SharingOptions
} from './primitives/limits';
export { LoadShedder } from './primitives/load-shedder';
export type {
  LoadShedderContext, LoadShedderOptions, LoadShedderStats, ShedOptions
} from './primitives/load-shedder';
export { policy } from './primitives/policy';
export type {
  Answer, Policy, PolicyCallOptions, PolicyContext, PolicyOptions, PolicyWrapOptions, Wrapped
} from './primitives/policy';
export { preset, presets, profile, profiles, retryPresets } from './primitives/presets';
export type {
  BreakerPreset, PresetName, Profile, ProfileName, RetryPreset, RetryPresetName
} from './primitives/presets';
export {
  circuitBreakers, getCircuitBreaker, resetCircuitBreaker, resetCircuitBreakers
} from './primitives/registry';
export type { NamedCircuitBreaker } from './primitives/registry';
export { protect } from './primitives/protect';
export type { ProtectOptions } from './primitives/protect';
export { staleCache } from './primitives/stale-cache';
export type {
  CacheEntry, CacheStore, Copy, FetchedCopy, StaleCache, StaleCacheOptions
} from './primitives/stale-cache';

/**
 * What runs the core: the addon (`native`), or WebAssembly where no addon loads. With WebAssembly,
 * scopes other than 'instance' do not work. SEKERING_ENGINE=native or wasm in the environment
 * chooses; loading the package throws ERR_ENGINE if the addon that it asks for does not load.
 */
export const engine: 'native' | 'wasm';

/** Options of a CircuitBreaker. */
export type CircuitBreakerOptions<TI extends unknown[] = any[]> = CircuitBreaker.Options<TI>;
/** Options of retry() and retryable(). */
export type RetryOptions<E = any> = retry.Options<E>;
/** The figures of a retryable function. */
export type RetryStats = retry.Stats;
