interface JudgedOptions {
  cause?: unknown;
  code?: string | undefined;
}

/** What failed may succeed at another attempt. */
export class RetryableError extends Error {
  /** `code` is 'ERR_RETRYABLE' unless given; `retryAfter` in ms */
  constructor (message?: string, options?: JudgedOptions & { retryAfter?: number | undefined });
  readonly code: string;
  readonly retryAfter?: number;
}

/** Another attempt would fail in the same way: retry() stops at once. */
export class NonRetryableError extends Error {
  /** `code` is 'ERR_NON_RETRYABLE' unless given */
  constructor (message?: string, options?: JudgedOptions);
  readonly code: string;
  readonly bail: true;
}

export interface RetryOnOptions {
  /** Statuses, and classes of them; default ['5xx', 429, 408]. */
  statuses?: ReadonlyArray<number | string> | undefined;
  /** Error codes, those of the network unless given. */
  codes?: readonly string[] | undefined;
  /** Asked first; undefined leaves it to the lists. */
  predicate?: ((error: any, attempt?: number) => boolean | undefined) | undefined;
}

/** A function that tells which errors to retry, for the option `shouldRetry`. */
export function retryOn (options?: RetryOnOptions): (error: unknown, attempt?: number) => boolean;

/** Whether an error is worth another attempt: `retryOn()` without options. */
export function isRetryable (error: unknown): boolean;

/** How many ms an error asks to wait (Retry-After); undefined if it does not say. */
export function retryAfterMs (error: unknown): number | undefined;
