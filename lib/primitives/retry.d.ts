import { WrapOptions } from './operation';

/**
 * Calls `fn` until it succeeds, as async-retry does.
 *
 * Rejects with the most frequent error (the last one of several); with what `bail` was given; at
 * once with an error that has a true `bail` property, as NonRetryableError has; or with
 * ERR_INVALID_OPTION.
 */
declare function retry<T, E = any> (
  fn: retry.RetryFunction<T, E>, options?: retry.RetryOptions<E> | readonly number[] | null | false,
): Promise<Awaited<T>>;

declare namespace retry {
  export { retry };

  /** `bail` ends the call; `attempt` counts from 1. */
  export type RetryFunction<T, E = any> = (
    bail: (reason?: E) => void, attempt: number, context: RetryContext) => T | PromiseLike<T>;

  /** Only there if the option signal or attemptTimeout is given. */
  export interface RetryContext {
    /** Aborted when the attempt takes too long, and when the caller aborts. */
    readonly signal: AbortSignal;
  }

  /** Permission to retry, as RetryBudget gives it. */
  export interface Budget {
    tryWithdraw (): boolean;
    deposit (): void;
  }

  export interface AttemptTimeout {
    /** Of the first attempt, ms. */
    initial: number;
    /** How much longer each retry may take, ms. Default 0. */
    increment?: number | undefined;
    /** No attempt may take longer, ms. Default Infinity. */
    max?: number | undefined;
  }

  /** `randomize` is true unless `strategy` or `jitter` is given. `E` is the type of the errors. */
  export interface RetryOptions<E = any> extends WrapOptions {
    /** Told of each failure that another attempt follows; if it throws, that ends the call. */
    onRetry?: ((error: E, attempt: number) => unknown) | null | false | undefined;
    /** False ends the call with this error. Default: every error is worth a retry. */
    shouldRetry?: ((error: E, attempt: number) => boolean | PromiseLike<boolean>)
      | null | false | undefined;
    /** How long one attempt may take, ms; it fails with ETIMEDOUT. Default: no limit. */
    attemptTimeout?: number | AttemptTimeout | null | false | undefined;
    /**
     * How long a delay is made at most because the error carries a Retry-After, ms; 0: not at all.
     * Default 60000.
     */
    maxRetryAfter?: number | undefined;
    /** Ends the call with its reason. */
    signal?: AbortSignal | null | undefined;
    /** No retry without its leave: a RetryBudget. */
    budget?: Budget | null | undefined;
  }

  export type Options<E = any> = RetryOptions<E>;
  export type Stats = RetryStats;

  export interface RetryStats {
    calls: number;
    successes: number;
    failures: number;
    /** Of the calls that have ended, from 0 to 1; 1 before the first. */
    successRate: number;
    /** All attempts, first ones included. */
    attempts: number;
    retries: number;
    successfulRetries: number;
    failedRetries: number;
    /** How many calls used all their retries up. */
    maxRetriesReached: number;
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
      readonly stats: RetryStats;
      readonly options: RetryOptions | readonly number[];
    };

  /** A function that calls `fn` with its arguments, and again until that succeeds. */
  export function retryable<F extends (...args: any[]) => any> (
    fn: F, options?: RetryOptions | readonly number[] | null): Retryable<F>;
}

export = retry;
