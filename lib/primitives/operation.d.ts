export interface CreateTimeoutOptions {
  /** By what each delay is multiplied. Default 2. */
  factor?: number | undefined;
  /** The first delay, ms. Default 1000. */
  minTimeout?: number | undefined;
  /** The longest delay, ms. Default Infinity. */
  maxTimeout?: number | undefined;
  /** Multiplies each delay by a random number from 1 to 2. Default false. */
  randomize?: boolean | undefined;
}

export interface TimeoutsOptions extends CreateTimeoutOptions {
  /** The maximum number of retries. Default 10. */
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
export type OperationOptions = WrapOptions | number[];

export interface AttemptTimeoutOptions {
  /** How long an attempt may take before `cb` is called, ms. Default 1. */
  timeout?: number | undefined;
  /** Gets the number of the attempt, from the second attempt on. */
  cb?: ((attempt: number) => void) | undefined;
  /** Ignored, as in the `retry` package, although its types have it. Use `cb`. */
  callback?: (() => void) | undefined;
}

/** An operation that is retried until it succeeds. */
export interface RetryOperation {
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
  try? (fn: (currentAttempt: number) => void): void;
  /** @deprecated use attempt() */
  start? (fn: (currentAttempt: number) => void): void;
}

export function operation (
  options?: WrapOptions | readonly number[] | null): RetryOperation;

/** The delays of an operation, ms. */
export function timeouts (options?: WrapOptions | readonly number[] | null): number[];

/** One delay, ms; `attempt` counts from 0. There are no defaults here. */
export function createTimeout (attempt: number, options?: CreateTimeoutOptions): number;

/** Makes methods retry whose last argument is a callback. */
export function wrap (object: object, methods?: readonly string[]): void;
export function wrap (
  object: object, options?: WrapOptions | null, methods?: readonly string[] | null): void;
