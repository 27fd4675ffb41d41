/** Calls `fn` until it succeeds. */
declare function retry<T> (
  fn: retry.RetryFunction<T>, options?: retry.Options | readonly number[]): Promise<T>;

declare namespace retry {
  /** A function that calls `fn` with its arguments, and again until that succeeds. */
  export function retryable<A extends any[], T> (
    fn: (...args: A) => T | PromiseLike<T>, options?: Options | readonly number[]): Retryable<A, T>;

  export interface Retryable<A extends any[], T> {
    (...args: A): Promise<T>;
    readonly stats: Stats;
    readonly options: Options | readonly number[];
  }

  /**
   * `bail` ends the call with its argument; `attempt` counts from 1; `context` is there with the
   * options signal and attemptTimeout.
   */
  export type RetryFunction<T> = (
    bail: (reason?: any) => void, attempt: number, context: { readonly signal: AbortSignal }
  ) => T | PromiseLike<T>;

  export interface BackoffOptions {
    /** Default 'exponential'. */
    strategy?: 'exponential' | 'linear' | 'fixed' | 'fibonacci' | 'decorrelated' | undefined;
    /** Or p from 0 to 1 for ±p. */
    jitter?: 'none' | 'full' | 'equal' | number | undefined;
    /** Multiplies each delay by 1 to 2. */
    randomize?: boolean | undefined;
    /** ms, default 1000. */
    minTimeout?: number | undefined;
    /** ms, default Infinity. */
    maxTimeout?: number | undefined;
    /** Default 2. */
    factor?: number | undefined;
  }

  export interface Options extends BackoffOptions {
    /** How often at most, default 10. */
    retries?: number | null | undefined;
    forever?: boolean | undefined;
    unref?: boolean | undefined;
    /** No retry is planned after so many ms; default Infinity. */
    maxRetryTime?: number | undefined;
    onRetry?: ((error: any, attempt: number) => unknown) | undefined;
    /** False ends the call with this error. */
    shouldRetry?: ((error: any, attempt: number) => boolean | PromiseLike<boolean>) | undefined;
    /** ms that one attempt may take; each retry may take `increment` longer. */
    attemptTimeout?: number | AttemptTimeout | undefined;
    /** How far an error's Retry-After may lengthen a delay, ms; default 60000. */
    maxRetryAfter?: number | undefined;
    /** Ends the call with its reason. */
    signal?: AbortSignal | undefined;
    /** No retry without its leave. */
    budget?: { tryWithdraw (): boolean; deposit (): void } | undefined;
  }

  export interface AttemptTimeout {
    /** ms */
    initial: number;
    increment?: number | undefined;
    max?: number | undefined;
  }

  export interface Stats {
    calls: number;
    successes: number;
    failures: number;
    /** 0 to 1; 1 without calls. */
    successRate: number;
    attempts: number;
    retries: number;
    successfulRetries: number;
    failedRetries: number;
    maxRetriesReached: number;
    /** ms */
    averageDelay: number;
  }
}

export = retry;
