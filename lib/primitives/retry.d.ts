import { BackoffOptions } from './backoff';
import { RetryOnOptions } from './classify';

/**
 * Calls `fn` until it succeeds.
 *
 * Rejects with the most frequent error (the last one of several); with the argument of `bail`; at
 * once with an error that has a true property `bail`, such as a NonRetryableError; or with
 * ERR_INVALID_OPTION, also for unknown options.
 */
declare function retry<T, E = any> (
  fn: retry.RetryFunction<T, E>, options?: retry.RetryOptions<E> | readonly number[] | null | false,
): Promise<T>;

declare namespace retry {
  export { retry };

  /** `bail` ends the call; `attempt` counts from 1. */
  export type RetryFunction<T, E = any> = (
    bail: (reason?: E) => void, attempt: number, context: RetryContext) => T | PromiseLike<T>;

  /** Only exists with the option signal or attemptTimeout. */
  export interface RetryContext {
    /** Aborts when the attempt takes too long, and when the caller aborts. */
    readonly signal: AbortSignal;
  }

  /** Permission to retry, such as a RetryBudget. */
  export interface Budget {
    /** Takes a permit for a retry; false if there is none. */
    tryWithdraw (): boolean;
    /** Counts a call that allows a share of a retry. */
    deposit (): void;
  }

  export interface AttemptTimeout {
    /** Of the first attempt, ms. */
    initial: number;
    /** How much longer each retry may take, ms. Default 0. */
    increment?: number | undefined;
    /** The longest time limit, ms. Default Infinity. */
    max?: number | undefined;
  }

  /** `randomize` is true unless `strategy` or `jitter` is given. `E` is the type of errors. */
  export interface RetryOptions<E = any> extends BackoffOptions {
    /** The maximum number of retries; null means none. Default 10. */
    retries?: number | null | undefined;
    /** True: retries never end. Default false. */
    forever?: boolean | undefined;
    /** True: the process may end while a timer runs. Default false. */
    unref?: boolean | undefined;
    /** A failure after this time in ms is not retried. Default Infinity; 0 means the same. */
    maxRetryTime?: number | undefined;
    /** Called after each failure that is retried; if it throws, the call ends. */
    onRetry?: ((error: E, attempt: number) => unknown) | null | false | undefined;
    /**
     * A function that returns false to end the call with this error; or options of retryOn().
     * Default: every error is retried, unless its `retryable` is false.
     */
    shouldRetry?: ((error: E, attempt: number) => boolean | PromiseLike<boolean>)
      | RetryOnOptions | null | false | undefined;
    /** Time limit of one attempt, ms; then it fails with ETIMEDOUT. Default: no limit. */
    attemptTimeout?: number | AttemptTimeout | null | false | undefined;
    /**
     * The longest delay that a Retry-After may cause, ms; 0 ignores Retry-After.
     * Default 60000.
     */
    maxRetryAfter?: number | undefined;
    /** Ends the call with its reason. */
    signal?: AbortSignal | null | undefined;
    /** A RetryBudget that must allow each retry. */
    budget?: Budget | null | undefined;
  }

  export type Options<E = any> = RetryOptions<E>;
  export type Stats = RetryStats;

  export interface RetryStats {
    /** All calls. */
    calls: number;
    /** Calls that succeeded in the end. */
    successes: number;
    /** Calls that failed in the end. */
    failures: number;
    /** Of calls that have ended, from 0 to 1; 1 before the first. */
    successRate: number;
    /** All attempts, including first ones. */
    attempts: number;
    /** Attempts after the first of all calls. */
    retries: number;
    /** Calls that succeeded after a retry. */
    successfulRetries: number;
    /** Calls that failed although they were retried. */
    failedRetries: number;
    /** How many calls used up all their retries. */
    maxRetriesReached: number;
    /** How many open periods of a breaker the attempts ran into or caused. */
    circuitBreakerTrips: number;
    /** How many delays there were. */
    delays: number;
    /** Their sum, ms. */
    totalDelay: number;
    /** Their mean, ms. */
    averageDelay: number;
  }

  /** A function that retries by itself. */
  export type Retryable<F extends (...args: any[]) => any> =
    ((this: ThisParameterType<F>, ...args: Parameters<F>) => Promise<Awaited<ReturnType<F>>>) & {
      /** Since it was made. */
      readonly stats: RetryStats;
      /** As they were given. */
      readonly options: RetryOptions | readonly number[];
    };

  /**
   * Returns a function that calls `fn` with its arguments until it succeeds.
   * @throws ERR_INVALID_OPTION
   */
  export function retryable<F extends (...args: any[]) => any> (
    fn: F, options?: RetryOptions | readonly number[] | null): Retryable<F>;
}

export = retry;
