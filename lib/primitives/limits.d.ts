interface Context {
  signal?: AbortSignal | undefined;
}

/** At most so many calls at once; more wait in a line of bounded length, or are rejected. */
export class Bulkhead {
  constructor (options: Bulkhead.Options);

  readonly maxConcurrent: number;
  readonly maxQueue: number;
  /** How many calls are running. */
  readonly active: number;
  /** How many calls wait for a place. */
  readonly queued: number;

  /** Calls `fn({ signal })` when there is a place; rejects with code EBULKHEADFULL. */
  execute<T> (fn: (context: Context) => T | PromiseLike<T>, options?: Context): Promise<T>;
}

export namespace Bulkhead {
  interface Options {
    maxConcurrent: number;
    /** Default 0: none may wait. */
    maxQueue?: number | undefined;
    /** ms, default Infinity. */
    queueTimeout?: number | undefined;
  }
}

/** At most so many calls per stretch of time; more wait for a bounded time, or are rejected. */
export class RateLimiter {
  constructor (options: RateLimiter.Options);

  readonly burst: number;
  /** Tokens that are there now, with fractions. */
  readonly available: number;
  /** How many calls wait for tokens. */
  readonly queued: number;

  /** Takes tokens (default 1) at once if they are there and nobody waits for them. */
  tryTake (tokens?: number): boolean;
  /** Calls `fn({ signal })` when its tokens are there; rejects with code ERATELIMITED. */
  execute<T> (
    fn: (context: Context) => T | PromiseLike<T>,
    options?: Context & { tokens?: number | undefined }
  ): Promise<T>;
}

export namespace RateLimiter {
  interface Options {
    /** Tokens that arrive per interval, evenly. */
    limit: number;
    /** ms */
    interval: number;
    /** Tokens that may be saved up; default: limit. */
    burst?: number | undefined;
    /** ms that a call may wait, default 0. */
    maxWait?: number | undefined;
  }
}

/** Keeps retries in proportion to the successes, so that they cannot become a storm. */
export class RetryBudget {
  constructor (options?: RetryBudget.Options);

  deposit (): void;
  /** Whether a token was left for a retry; it is spent. */
  tryWithdraw (): boolean;
  balance (): number;
}

export namespace RetryBudget {
  interface Options {
    /** Tokens that a success earns, default 0.1. */
    ratio?: number | undefined;
    /** Tokens that arrive by themselves, default 10. */
    reservePerSecond?: number | undefined;
    /** Earned tokens that are kept at most, default 100. */
    max?: number | undefined;
  }
}
