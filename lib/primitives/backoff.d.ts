/** How delays between attempts grow, and how they are randomized. All times are milliseconds. */
export interface BackoffOptions {
  /** How the delay grows from retry to retry. Default 'exponential'. */
  strategy?: BackoffStrategy | undefined;
  /**
   * 'full': from 0 to the delay; 'equal': from half of it; a number p from 0 to 1: ±p of it.
   * Default 'none'. Not with `randomize` or the strategy 'decorrelated'.
   */
  jitter?: BackoffJitter | undefined;
  /** The first delay in ms. Default 1000. */
  minTimeout?: number | undefined;
  /** The longest delay in ms. Default Infinity. */
  maxTimeout?: number | undefined;
  /** By what each exponential delay is multiplied. Default 2. */
  factor?: number | undefined;
  /** Multiplies each delay by a random number from 1 to 2. Default false. */
  randomize?: boolean | undefined;
}

export type BackoffStrategy = 'exponential' | 'linear' | 'fixed' | 'fibonacci' | 'decorrelated';
export type BackoffJitter = 'none' | 'full' | 'equal' | number;

/**
 * The delay before a retry, in ms. `retry` counts from 0; `previous` is the last delay, which only
 * the strategy 'decorrelated' uses.
 */
export type Backoff = (retry: number, previous?: number) => number;

/** Returns a function that computes delays, for your own loops. Throws ERR_INVALID_OPTION. */
export function createBackoff (options?: BackoffOptions): Backoff;
