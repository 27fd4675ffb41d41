import { WrapOptions } from './operation';

/**
 * Calls `fn` until it succeeds, with the options of async-retry 1.3 and no others.
 *
 * Rejects with the most frequent error (if several are equally frequent, the last of them); with
 * the argument of `bail`; or at once with an error whose property `bail` is true.
 */
declare function asyncRetry<TRet, TErr = any> (
  fn: asyncRetry.RetryFunction<TRet, TErr>,
  opts?: asyncRetry.Options<TErr> | readonly number[] | null | false,
): Promise<TRet>;

declare namespace asyncRetry {
  /** `bail` ends the call; `attempt` counts from 1. */
  export type RetryFunction<TRet, TErr = any> = (
    bail: (error: TErr) => void, attempt: number) => TRet | Promise<TRet>;

  export interface Options<TErr = any> extends WrapOptions {
    /** Called after each failure that is retried. */
    onRetry?: ((error: TErr, attempt: number) => any) | undefined;
    /** Multiplies each delay by a random number from 1 to 2. Default true. */
    randomize?: boolean | undefined;
  }
}

export = asyncRetry;
