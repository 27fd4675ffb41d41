/** Who shares a limit. */
export interface SharingOptions {
  /**
   * Nobody, the threads of this process, or the processes of this user on the host. Sharers have
   * the same `namespace` and `name`, and the same limits: else the constructor throws
   * ERR_OPTIONS_MISMATCH, with the differing `options`. Node.js on Linux only: elsewhere a scope
   * other than 'instance' throws ERR_SCOPE_UNSUPPORTED. Default 'instance'.
   */
  scope?: 'instance' | 'process' | 'host' | undefined;
  /** 1 to 64 letters, digits, dots, dashes or underscores. Default 'default'. */
  namespace?: string | undefined;
  /**
   * 1 to 255 bytes; needed to share. ERR_NAME_TAKEN when it is that of another kind of thing.
   */
  name?: string | undefined;
}

export interface BulkheadOptions extends SharingOptions {
  /** Calls that may run at once, from 1; in all that share it together. */
  maxConcurrent: number;
  /** Calls that may wait for a place here, first come first served. Default 0: none. */
  maxQueue?: number | undefined;
  /** ms that a call may wait, from 1. Default Infinity. */
  queueTimeout?: number | undefined;
}

export interface LimitContext {
  /** The signal that execute was given. */
  signal: AbortSignal | undefined;
}

export interface ExecuteOptions {
  /** Aborting takes a waiting call out of the line; its reason is the rejection. */
  signal?: AbortSignal | undefined;
}

/**
 * At most so many calls at once; more wait in a line of bounded length, or are rejected. The places
 * of a thread or process that has ended, however it did, are free again when another one that
 * shares them asks.
 */
export class Bulkhead {
  /** @throws ERR_INVALID_OPTION, and those of SharingOptions */
  constructor (options: BulkheadOptions);
  readonly maxConcurrent: number;
  readonly maxQueue: number;
  /** How many calls are running, everywhere that it is shared. */
  readonly active: number;
  /** Figures of this environment alone. */
  readonly local: { active: number };
  /** How many calls of this environment wait for a place. */
  readonly queued: number;
  /**
   * Calls fn when there is a place for it. Rejects with code EBULKHEADFULL when there is neither a
   * place nor room in the line, or when queueTimeout has passed.
   */
  execute<Result> (
    fn: (context: LimitContext) => Result, options?: ExecuteOptions
  ): Promise<Awaited<Result>>;
}

export interface RateLimiterOptions extends SharingOptions {
  /** Tokens that arrive per interval, 1 to 1e9. They arrive evenly, not all at once at its end. */
  limit: number;
  /** ms, 1 to 2147483647. */
  interval: number;
  /** Tokens that may be saved up, 1 to 1e9. Default: limit. */
  burst?: number | undefined;
  /** ms that a call may wait for its tokens, 0 to 2147483647. Default 0: not at all. */
  maxWait?: number | undefined;
}

/** The error with code ERATELIMITED. */
export interface RateLimitedError extends Error {
  code: 'ERATELIMITED';
  /** ms until there will be tokens for a call like this one. */
  retryAfterMs: number;
}

/** At most so many calls per stretch of time; more wait for a bounded time, or are rejected. */
export class RateLimiter {
  /** @throws ERR_INVALID_OPTION, and those of SharingOptions */
  constructor (options: RateLimiterOptions);
  readonly burst: number;
  /** Tokens that are there now, with fractions. */
  readonly available: number;
  /** How many calls of this environment wait for tokens. */
  readonly queued: number;
  /**
   * Takes tokens (1 unless given, at most burst) at once if they are there and nobody waits for
   * them; returns whether they were taken.
   */
  tryTake (tokens?: number): boolean;
  /**
   * Calls fn when its tokens (1 unless given, at most burst) are there. Rejects with a
   * RateLimitedError when the wait would be longer than maxWait.
   */
  execute<Result> (
    fn: (context: LimitContext) => Result,
    options?: ExecuteOptions & { tokens?: number | undefined }
  ): Promise<Awaited<Result>>;
}

export interface RetryBudgetOptions extends SharingOptions {
  /** Tokens that a deposit earns, 0 to 1000. Default 0.1: one retry per ten successes. */
  ratio?: number | undefined;
  /** Tokens that arrive by themselves per second, 0 to 1e6. Default 10. */
  reservePerSecond?: number | undefined;
  /** Earned tokens that are kept at most, 0 to 1e9. Default 100. */
  max?: number | undefined;
}

/** Keeps retries in proportion to the successes, so that they cannot become a storm. */
export class RetryBudget {
  /** @throws ERR_INVALID_OPTION, and those of SharingOptions */
  constructor (options?: RetryBudgetOptions);
  /** Earns `ratio` tokens: call it once per success, or once per first attempt. */
  deposit (): void;
  /** Spends a token for a retry; returns whether one was left. */
  tryWithdraw (): boolean;
  /** Tokens left, with fractions. */
  balance (): number;
}
