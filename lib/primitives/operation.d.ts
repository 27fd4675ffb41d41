import retry = require('./retry');

export interface TimeoutsOptions extends retry.BackoffOptions {
  /** Default 10. */
  retries?: number | null | undefined;
}

export interface OperationOptions extends TimeoutsOptions {
  forever?: boolean | undefined;
  unref?: boolean | undefined;
  /** No retry begins after so many ms; default Infinity. */
  maxRetryTime?: number | undefined;
}

/** Something to be tried until it succeeds. */
export class RetryOperation {
  constructor (
    timeouts: number[],
    options?: boolean | Pick<OperationOptions, 'forever' | 'unref' | 'maxRetryTime'>);

  /** Calls `fn(attempt)` now, and again for each retry. */
  attempt (
    fn: (attempt: number) => void,
    timeoutOps?: { timeout?: number | undefined; cb?: ((attempt: number) => void) | undefined }
  ): void;
  /** Plans the next attempt; false when the caller has to go on by itself. */
  retry (error?: any): boolean;
  stop (): void;
  reset (): void;
  errors (): any[];
  attempts (): number;
  mainError (): any;
}

export function operation (options?: OperationOptions | number[]): RetryOperation;

/** The delays that an operation with these options waits, ms. */
export function timeouts (options?: TimeoutsOptions | number[]): number[];

/** One delay, ms; `attempt` counts from 0. */
export function createTimeout (attempt: number, options?: retry.BackoffOptions): number;

/** Replaces methods whose last argument is a callback by ones that retry. */
export function wrap (object: object, options?: OperationOptions | null, methods?: string[]): void;
export function wrap (object: object, methods: string[]): void;
