import { BackoffOptions } from './backoff';

export type CreateTimeoutOptions = BackoffOptions;

export interface TimeoutsOptions extends CreateTimeoutOptions {
  /** The maximum number of retries; null means none. Default 10. */
  retries?: number | null | undefined;
}

export interface WrapOptions extends TimeoutsOptions {
  /** True: retries never end; the last delay repeats. Default false. */
  forever?: boolean | undefined;
  /** True: the process may end while a timer runs. Default false. */
  unref?: boolean | undefined;
  /** A failure later than so many ms is not retried. Default Infinity; 0 means the same. */
  maxRetryTime?: number | undefined;
}

/** Options, or delays in ms. */
export type OperationOptions = WrapOptions | readonly number[];

export interface AttemptTimeoutOptions {
  /** How long an attempt may take before `cb` is called, in ms. */
  timeout?: number | undefined;
  cb?: ((attempt: number) => void) | undefined;
}

/** An operation that is retried until it succeeds. */
export class RetryOperation {
  constructor (timeouts: readonly number[], options?: {
    forever?: boolean | undefined;
    unref?: boolean | undefined;
    maxRetryTime?: number | undefined;
  } | boolean);

  /** Calls `fn` now, and again for each retry. `currentAttempt` counts from 1. */
  attempt (fn: (currentAttempt: number) => void, timeoutOps?: AttemptTimeoutOptions): void;
  /** Schedules the next attempt; false if there is no error, or no retry left. */
  retry (error?: any): boolean;
  /** No further attempt is made. */
  stop (): void;
  /** Makes all retries available again. */
  reset (): void;
  /** The errors so far, oldest first: the last 1,000, or only the last one with `forever`. */
  errors (): any[];
  /** How many attempts have been made. */
  attempts (): number;
  /** The most frequent error, the last one of several; null without errors. */
  mainError (): any;
  /** @deprecated use attempt() */
  try (fn: (currentAttempt: number) => void): void;
  /** @deprecated use attempt() */
  start (fn: (currentAttempt: number) => void): void;
}

export function operation (options?: OperationOptions | null): RetryOperation;

/** The delays of an operation, in ms. */
export function timeouts (options?: OperationOptions | null): number[];

/** One delay, in ms; `attempt` counts from 0. */
export function createTimeout (attempt: number, options?: CreateTimeoutOptions): number;

/** Makes methods retry whose last argument is a callback. */
export function wrap (object: object, methods?: readonly string[]): void;
export function wrap (
  object: object, options?: OperationOptions | null, methods?: readonly string[]): void;
