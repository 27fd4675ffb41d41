/** Who shares a limit. */
export interface SharingOptions {
  /**
   * Nobody, the threads of this process, or the processes of this user on the host. They must use
   * the same `namespace`, `name` and limits: otherwise the constructor throws
   * ERR_OPTIONS_MISMATCH, with the `options` that differ. Where a scope cannot be had (it needs the
   * binary, on Linux, macOS or Windows, and room in memory), the limit takes the next
   * smaller one, with a process warning (SEKERING_SCOPE). Default 'instance'.
   */
  scope?: 'instance' | 'process' | 'host' | undefined;
  /**
   * Whether a scope that cannot be had is an error: ERR_SCOPE_UNSUPPORTED or one of ERR_REGION_*.
   * Default false.
   */
  strictScope?: boolean | undefined;
  /** 1 to 64 letters, digits, dots, dashes or underscores. Default 'default'. */
  namespace?: string | undefined;
  /**
   * 1 to 255 bytes; needed to share. ERR_NAME_TAKEN if something of another kind has it.
   */
  name?: string | undefined;
}

export interface BulkheadOptions extends SharingOptions {
  /** How many calls may run at once, from 1; counts all who share it. */
  maxConcurrent: number;
  /** How many calls may wait in this object, first in, first out. Default 0. */
  maxQueue?: number | undefined;
  /** How long a call may wait in ms, from 1. Default Infinity. */
  queueTimeout?: number | undefined;
}

export interface LimitContext {
  /** The signal passed to execute. */
  signal: AbortSignal | undefined;
}

export interface ExecuteOptions {
  /** Aborting removes a waiting call from the queue; it rejects with the reason. */
  signal?: AbortSignal | undefined;
}

export interface EnterOptions extends ExecuteOptions {
  /**
   * A number from 0 to 9 for when there are fewer slots than calls. Waiting calls of higher
   * priority get the next slot. If the queue is full, a call takes the place of one of lower
   * priority, which rejects with EBULKHEADFULL. Default 5.
   */
  priority?: number | undefined;
}

/**
 * Limits the number of concurrent calls. Further calls wait in a bounded queue, or are rejected.
 * When a thread or process that shares it ends in any way, its slots are free at the next request
 * for one.
 */
export class Bulkhead {
  /** @throws ERR_INVALID_OPTION, and those of SharingOptions */
  constructor (options: BulkheadOptions);
  /** Who shares it. Smaller than the option if that scope cannot be had, unless `strictScope`. */
  readonly scope: 'instance' | 'process' | 'host';
  /** Calls that may run at once. */
  readonly maxConcurrent: number;
  /** Calls that may wait. */
  readonly maxQueue: number;
  /** How many calls are running, in all who share it. */
  readonly active: number;
  /** Figures of this thread alone. */
  readonly local: { active: number };
  /** How many calls wait in this object. */
  readonly queued: number;
  /**
   * Calls fn when a slot is free. Rejects with code EBULKHEADFULL if the queue is full too, when
   * queueTimeout has passed, or when a call of higher priority needs the place in the queue.
   */
  execute<Result> (
    fn: (context: LimitContext) => Result, options?: EnterOptions
  ): Promise<Awaited<Result>>;
}

export interface AdaptiveLimiterOptions {
  /**
   * How many calls may run at once at first, 1 to 1e6. Default 20, or the nearest number from
   * `min` to `max`.
   */
  initial?: number | undefined;
  /** How many calls may always run at once, 1 to 1e6. Default 1. */
  min?: number | undefined;
  /** How many calls may ever run at once, from `min` to 1e6. Default 200, or `min` if larger. */
  max?: number | undefined;
  /**
   * How many times as slow as under little load the upstream may be before the limit falls, 1 to
   * 1000. Default 1.25.
   */
  tolerance?: number | undefined;
  /** How many calls may wait, first in, first out. Default 100. */
  maxQueue?: number | undefined;
  /** How long a call may wait in ms, from 1. Default 1000. */
  queueTimeout?: number | undefined;
  /**
   * Whether an error says that the upstream is overloaded, so that the limit falls. Default: a
   * timeout, or HTTP 408, 429, 503 or 504, of the error or of its causes. Other errors change
   * nothing.
   */
  isOverload?: ((error: any) => boolean) | undefined;
}

/**
 * Limits the number of concurrent calls, and finds the limit by itself: it falls when calls make
 * the upstream slow or time out, and rises while the limit is used and the upstream stays fast.
 * Further calls wait in a bounded queue, or are rejected.
 */
export class AdaptiveLimiter {
  /** @throws ERR_INVALID_OPTION */
  constructor (options?: AdaptiveLimiterOptions);
  /** Calls that may run at once, as found so far. */
  readonly limit: number;
  /** Calls that may always run at once. */
  readonly min: number;
  /** Calls that may ever run at once. */
  readonly max: number;
  /** Calls that may wait. */
  readonly maxQueue: number;
  /** The latency under little load in ms; undefined until it is known. */
  readonly baseLatency: number | undefined;
  /** How many calls are running. */
  readonly active: number;
  /** How many calls wait. */
  readonly queued: number;
  /**
   * Calls fn when a slot is free. Rejects with code EBULKHEADFULL if the queue is full too, when
   * queueTimeout has passed, or when a call of higher priority needs the place in the queue.
   */
  execute<Result> (
    fn: (context: LimitContext) => Result, options?: EnterOptions
  ): Promise<Awaited<Result>>;
}

export interface RateLimiterOptions extends SharingOptions {
  /** Tokens per interval, 1 to 1e9. They arrive evenly, not all at its end. */
  limit: number;
  /** ms, 1 to 2147483647. */
  interval: number;
  /** How many tokens can be saved up, 1 to 1e9. Default: limit. */
  burst?: number | undefined;
  /** How long a call may wait for its tokens in ms, 0 to 2147483647. Default 0. */
  maxWait?: number | undefined;
}

/** The error with code ERATELIMITED. */
export interface RateLimitedError extends Error {
  /** Stable; for programs. */
  code: 'ERATELIMITED';
  /** ms until there are enough tokens for a call like this one. */
  retryAfterMs: number;
}

/** Limits the calls per interval. Further calls wait for a limited time, or are rejected. */
export class RateLimiter {
  /** @throws ERR_INVALID_OPTION, and those of SharingOptions */
  constructor (options: RateLimiterOptions);
  /** Who shares it. Smaller than the option if that scope cannot be had, unless `strictScope`. */
  readonly scope: 'instance' | 'process' | 'host';
  /** Permits that may be used at once. */
  readonly burst: number;
  /** The tokens available now, with fractions. */
  readonly available: number;
  /** How many calls wait for tokens in this object. */
  readonly queued: number;
  /**
   * Takes tokens (default 1, at most burst) if they are available and no call waits for
   * them; returns whether it did.
   */
  tryTake (tokens?: number): boolean;
  /**
   * Calls fn when its tokens (default 1, at most burst) are available. Rejects with a
   * RateLimitedError if the wait would be longer than maxWait.
   */
  execute<Result> (
    fn: (context: LimitContext) => Result,
    options?: ExecuteOptions & { tokens?: number | undefined }
  ): Promise<Awaited<Result>>;
}

export interface RetryBudgetOptions extends SharingOptions {
  /** Tokens earned by a deposit, 0 to 1000. Default 0.1: one retry per ten successes. */
  ratio?: number | undefined;
  /** Tokens added per second, 0 to 1e6. Default 10. */
  reservePerSecond?: number | undefined;
  /** How many earned tokens are kept, 0 to 1e9. Default 100. */
  max?: number | undefined;
}

/** Keeps retries in proportion to successes, so that they cannot become a storm. */
export class RetryBudget {
  /** @throws ERR_INVALID_OPTION, and those of SharingOptions */
  constructor (options?: RetryBudgetOptions);
  /** Who shares it. Smaller than the option if that scope cannot be had, unless `strictScope`. */
  readonly scope: 'instance' | 'process' | 'host';
  /** Earns `ratio` tokens: call it once per success, or once per first attempt. */
  deposit (): void;
  /** Spends a token for a retry; returns whether one was left. */
  tryWithdraw (): boolean;
  /** Tokens left, with fractions. */
  balance (): number;
}

export interface GrowingTimeout {
  /** Time limit of the first attempt, ms, from 1. */
  initial: number;
  /** How much longer each further attempt may take, ms. Default 0. */
  increment?: number | undefined;
  /** The longest time limit, ms. Default Infinity. */
  max?: number | undefined;
}

export interface AttemptContext {
  /** Aborts on timeout, and when the caller aborts. */
  signal: AbortSignal;
  /** Counts from 1. */
  attempt: number;
}

/** Limits the time of each attempt. */
export class Timeout {
  /**
   * @param limit ms, from 1; Infinity for none
   * @throws ERR_INVALID_OPTION
   */
  constructor (limit: number | GrowingTimeout);
  /** Of the first attempt, ms. */
  readonly initial: number;
  /** By which it grows with each attempt, ms. */
  readonly increment: number;
  /** The longest, ms. */
  readonly max: number;
  /** The time limit of an attempt, ms; `attempt` counts from 1. */
  limitOf (attempt: number): number;
  /**
   * Calls fn and waits for it up to the time limit. Rejects with code ETIMEDOUT after
   * that, or with the signal's reason when the signal aborts.
   */
  execute<T> (
    fn: (context: AttemptContext) => T | PromiseLike<T>,
    options?: { signal?: AbortSignal | undefined; attempt?: number | undefined }
  ): Promise<T>;
}
