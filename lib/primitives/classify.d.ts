export interface RetryableErrorOptions {
  /** The error that caused this one. Default: none. */
  cause?: unknown;
  /** Default 'ERR_RETRYABLE' or 'ERR_NON_RETRYABLE'. */
  code?: string | undefined;
  /** How long to wait before the next attempt, in ms; default: as the backoff says. */
  retryAfter?: number | undefined;
}

/** Another attempt may succeed. */
export class RetryableError extends Error {
  constructor (message?: string, options?: RetryableErrorOptions);
  /** Stable; for programs. */
  code: string;
  /** Milliseconds that the upstream asks callers to wait; undefined if it named no time. */
  retryAfter?: number;
  /** True. */
  retryable: boolean;
}

/** Another attempt would fail in the same way: retry() stops at once. */
export class NonRetryableError extends Error {
  constructor (message?: string, options?: RetryableErrorOptions);
  /** Stable; for programs. */
  code: string;
  /** Milliseconds that the upstream asks callers to wait; undefined if it named no time. */
  retryAfter?: number;
  /** False. */
  retryable: boolean;
  /** True. */
  bail: boolean;
}

export type StatusClass = '1xx' | '2xx' | '3xx' | '4xx' | '5xx';

/** A name for all error codes and HTTP statuses that mean the same; docs/retry.md lists them. */
export type ErrorKind =
  | 'connection_refused' | 'connection_reset' | 'connection_timeout' | 'dns_resolution'
  | 'network' | 'network_unreachable' | 'rate_limited' | 'server_error' | 'timeout' | 'tls';

export interface RetryOnOptions {
  /** HTTP statuses and classes of statuses. Default ['5xx', 429, 408]. */
  statuses?: ReadonlyArray<number | StatusClass> | undefined;
  /**
   * Kinds of errors, and error codes; by default the codes of the network. 'ETIMEDOUT' includes any
   * TimeoutError. Unknown lowercase names are rejected: they are probably misspelt kinds.
   */
  codes?: ReadonlyArray<ErrorKind | (string & {})> | undefined;
  /** Called first; if it returns undefined, the lists decide. */
  predicate?: ((error: any, attempt?: number) => boolean | undefined) | undefined;
  /** Whether errors without a status or a known code are retried. Default false. */
  otherwise?: boolean | undefined;
}

/** Returns a function that tells which errors to retry, for the option `shouldRetry`. */
export function retryOn (options?: RetryOnOptions): (error: unknown, attempt?: number) => boolean;

/** Whether an error should be retried: retryOn() without options. */
export function isRetryable (error: unknown): boolean;

/** How long an error asks to wait, in ms; undefined if it does not. */
export function retryAfterMs (error: unknown): number | undefined;
