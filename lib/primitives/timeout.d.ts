export interface GrowingTimeout {
  /** Time limit of the first attempt, ms, from 1. */
  initial: number;
  /** How much longer each further attempt may take, ms. Default 0. */
  increment?: number | undefined;
  /** The longest time limit, ms. Default Infinity. */
  max?: number | undefined;
}

export interface AttemptContext {
  /** Aborts on timeout, and when the caller aborts. */
  signal: AbortSignal;
  /** Counts from 1. */
  attempt: number;
}

/** Limits the time of each attempt. */
export class Timeout {
  /**
   * @param limit ms, from 1; Infinity for none
   * @throws ERR_INVALID_OPTION
   */
  constructor (limit: number | GrowingTimeout);
  readonly initial: number;
  readonly increment: number;
  readonly max: number;
  /** The time limit of an attempt, ms; `attempt` counts from 1. */
  limitOf (attempt: number): number;
  /**
   * Calls fn and waits for it up to the time limit. Rejects with code ETIMEDOUT after
   * that, or with the signal's reason when the signal aborts.
   */
  execute<T> (
    fn: (context: AttemptContext) => T | PromiseLike<T>,
    options?: { signal?: AbortSignal | undefined; attempt?: number | undefined }
  ): Promise<T>;
}
