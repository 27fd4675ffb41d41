export interface RetryableErrorOptions {
  cause?: unknown;
  /** Default 'ERR_RETRYABLE' or 'ERR_NON_RETRYABLE'. */
  code?: string | undefined;
  /** How long to wait before the next attempt, ms. */
  retryAfter?: number | undefined;
}

/** What failed may succeed at another attempt. */
export class RetryableError extends Error {
  constructor (message?: string, options?: RetryableErrorOptions);
  code: string;
  retryAfter?: number;
}

/** Another attempt would fail in the same way: retry() stops at once. */
export class NonRetryableError extends Error {
  constructor (message?: string, options?: RetryableErrorOptions);
  code: string;
  retryAfter?: number;
  /** True. */
  bail: boolean;
}

export type StatusClass = '1xx' | '2xx' | '3xx' | '4xx' | '5xx';

export interface RetryOnOptions {
  /** HTTP statuses and classes of them. Default ['5xx', 429, 408]. */
  statuses?: ReadonlyArray<number | StatusClass> | undefined;
  /** Error codes, the network's by default; 'ETIMEDOUT' stands for any TimeoutError as well. */
  codes?: readonly string[] | undefined;
  /** Asked first; undefined leaves it to the lists. */
  predicate?: ((error: any, attempt?: number) => boolean | undefined) | undefined;
}

/** A function that tells which errors to retry, for the option `shouldRetry`. */
export function retryOn (options?: RetryOnOptions): (error: unknown, attempt?: number) => boolean;

/** Whether an error is worth another attempt: retryOn() without options. */
export function isRetryable (error: unknown): boolean;

/** How long an error asks to wait, in ms; undefined if it does not. */
export function retryAfterMs (error: unknown): number | undefined;
