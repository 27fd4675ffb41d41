/** How delays between attempts grow, and how chance changes them. All times are milliseconds. */
export interface BackoffOptions {
  /** How the delay grows from retry to retry. Default 'exponential'. */
  strategy?: BackoffStrategy | undefined;
  /**
   * 'full': from 0 to the delay; 'equal': from half of it; a number p from 0 to 1: ±p of it.
   * Default 'none'. Not beside `randomize` or the strategy 'decorrelated'.
   */
  jitter?: BackoffJitter | undefined;
  /** The first delay. Default 1000. */
  minTimeout?: number | undefined;
  /** No delay is longer. Default Infinity. */
  maxTimeout?: number | undefined;
  /** By which exponential delays grow. Default 2. */
  factor?: number | undefined;
  /** Multiplies each delay by 1 to 2. Default false. */
  randomize?: boolean | undefined;
}

export type BackoffStrategy = 'exponential' | 'linear' | 'fixed' | 'fibonacci' | 'decorrelated';
export type BackoffJitter = 'none' | 'full' | 'equal' | number;

/**
 * The delay before a retry, in ms. `retry` counts from 0; `previous` is the delay before the retry
 * before it, and matters to the strategy 'decorrelated'.
 */
export type Backoff = (retry: number, previous?: number) => number;

/** A function that computes delays, for loops of your own. Throws ERR_INVALID_OPTION. */
export function createBackoff (options?: BackoffOptions): Backoff;
