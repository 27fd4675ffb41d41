import CircuitBreaker = require('./breaker');
import retry = require('./retry');
import { Chaos, ChaosOptions } from './chaos';
import { FallbackChain, Strategy, StrategyValue } from './fallback-chain';
import { Hedge, HedgeOptions } from './hedge';
import {
  AdaptiveLimiter, AdaptiveLimiterOptions, AttemptContext, Bulkhead, BulkheadOptions,
  GrowingTimeout, RateLimiter, RateLimiterOptions, Timeout
} from './limits';
import { LoadShedder, LoadShedderOptions } from './load-shedder';
import { StaleCache, StaleCacheOptions } from './stale-cache';

type Absent = false | null | undefined;

/** The parts of a policy, outermost first; all are optional. */
export interface PolicyOptions {
  /** A function of the call's arguments and the error, or strategies of a fallbackChain. */
  fallback?: ((...argsAndError: any[]) => unknown) | CircuitBreaker<any, any> |
    readonly Strategy[] | Exclude<Strategy, Function> | Absent;
  /** Old answers for a time when the call fails; default: none. */
  cache?: StaleCache | StaleCacheOptions | Absent;
  /** Rejects calls of low priority while the event loop is late; default: none. */
  shed?: LoadShedder | LoadShedderOptions | Absent;
  /**
   * How long a call may take with all its attempts, pauses and waits, in ms, from 1: then it
   * rejects with code EDEADLINE, and the fallback answers. Default: no limit.
   */
  deadline?: number | Absent;
  /** Its attemptTimeout becomes the timeout below. */
  retry?: Omit<retry.Options, 'signal'> | readonly number[] | Absent;
  /** For calls that are safe to repeat; default: none. */
  hedge?: Hedge | HedgeOptions | Absent;
  /** With a timeout below, one made from options has no time limit unless they name one. */
  breaker?: CircuitBreaker<any, any> | CircuitBreaker.Options | Absent;
  /** Calls per time; default: no limit. */
  rateLimit?: RateLimiter | RateLimiterOptions | Absent;
  /** Calls in flight; default: no limit. */
  bulkhead?: Bulkhead | BulkheadOptions | Absent;
  /** Calls in flight, as many as the upstream can do without getting slow; default: no limit. */
  adaptiveLimit?: AdaptiveLimiter | AdaptiveLimiterOptions | Absent;
  /** Time limit of each attempt, ms. */
  timeout?: Timeout | number | GrowingTimeout | Absent;
  /** Faults, for tests and exercises; default: none. */
  chaos?: Chaos | ChaosOptions | Absent;
}

type FallbackValue<F> =
  F extends FallbackChain<infer V> ? V
    : F extends (...args: any[]) => infer R ? Awaited<R>
      : F extends CircuitBreaker<any, infer R> ? R
        : F extends readonly (infer S)[] ? StrategyValue<S>
          : F extends Absent ? never
            : StrategyValue<F>;

/** What the fallback of a policy with these options may return. */
export type FallbackOf<O> = O extends { fallback: infer F } ? FallbackValue<F> : never;

export interface Answer<T> {
  /** What the call is answered with. */
  value: T;
  /** Where it comes from. */
  source: 'call' | 'cache' | 'stale' | 'fallback';
  /** Whether it is an old one. */
  stale: boolean;
  /** How old it is, in ms. */
  ageMs: number;
  /** The reason for a stale copy or a fallback. */
  error?: unknown;
}

export interface PolicyContext extends AttemptContext {
  /** With a hedge: 0 for the first call of the attempt, 1 for the first hedge, and so on. */
  hedge?: number;
}

export interface PolicyCallOptions {
  /** Ends the call at once with its reason; it is not counted. */
  signal?: AbortSignal | undefined;
  /** The cache key; without one the cache is not used. */
  key?: unknown;
  /** The fallback's arguments before the error. */
  args?: readonly unknown[] | undefined;
  /** A number from 0 to 9 for `shed`, `bulkhead` and `adaptiveLimit`. Default 5. */
  priority?: number | undefined;
}

export interface PolicyWrapOptions<A extends any[] = any[]> {
  /** The cache key; default: made from the function and its arguments. */
  key?: ((...args: A) => unknown) | undefined;
  /** Of each call, a number from 0 to 9, as in PolicyCallOptions. Default 5. */
  priority?: number | undefined;
  /** Finds the signal of a call in its arguments. Default: there is none. */
  signal?: ((...args: A) => AbortSignal | null | undefined) | undefined;
}

export interface Wrapped<A extends any[], T> {
  (...args: A): Promise<T>;
  /** The same call, with the source of its answer. */
  answer (...args: A): Promise<Answer<T>>;
}

/** `F` is what the fallback may return. */
export interface Policy<F = never> {
  /** undefined without this part. */
  readonly fallback: ((...argsAndError: any[]) => any) | undefined;
  /** undefined without this part. */
  readonly cache: StaleCache | undefined;
  /** undefined without this part. */
  readonly shed: LoadShedder | undefined;
  /** How long a call may take, ms; undefined without a limit. */
  readonly deadline: number | undefined;
  /** undefined without this part. */
  readonly hedge: Hedge | undefined;
  /** undefined without this part. */
  readonly breaker: CircuitBreaker<any, any> | undefined;
  /** undefined without this part. */
  readonly rateLimit: RateLimiter | undefined;
  /** undefined without this part. */
  readonly bulkhead: Bulkhead | undefined;
  /** undefined without this part. */
  readonly adaptiveLimit: AdaptiveLimiter | undefined;
  /** undefined without this part. */
  readonly timeout: Timeout | undefined;
  /** undefined without this part. */
  readonly chaos: Chaos | undefined;
  /** Figures of the retries so far. */
  readonly retryStats: retry.Stats;
  /** Calls fn through all parts. */
  execute<T> (
    fn: (context: PolicyContext) => T | PromiseLike<T>, options?: PolicyCallOptions
  ): Promise<T | F>;
  /** As `execute`, with the source of the answer. */
  answer<T> (
    fn: (context: PolicyContext) => T | PromiseLike<T>, options?: PolicyCallOptions
  ): Promise<Answer<T | F>>;
  /** Returns a function that calls fn with its arguments through all parts. */
  wrap<A extends any[], R> (
    fn: (...args: A) => R, options?: PolicyWrapOptions<A>
  ): Wrapped<A, Awaited<R> | F>;
}

/**
 * Combines several protections, always in the order of PolicyOptions.
 * @throws ERR_INVALID_OPTION
 */
export function policy<const O extends PolicyOptions> (options: O): Policy<FallbackOf<O>>;
