export interface GrowingTimeout {
  /** ms that the first attempt may take, from 1. */
  initial: number;
  /** ms by which every further attempt may take longer. Default 0. */
  increment?: number | undefined;
  /** ms, the most that an attempt may take. Default Infinity. */
  max?: number | undefined;
}

export interface AttemptContext {
  /** Aborted when the attempt is given up: by a timeout, or by the caller. */
  signal: AbortSignal;
  /** Counts from 1. */
  attempt: number;
}

/** Ends attempts that take too long, each of them alone. */
export class Timeout {
  /**
   * @param limit ms, from 1; Infinity for none
   * @throws ERR_INVALID_OPTION
   */
  constructor (limit: number | GrowingTimeout);
  readonly initial: number;
  readonly increment: number;
  readonly max: number;
  /** How long attempt number `attempt` may take, ms; it counts from 1. */
  limitOf (attempt: number): number;
  /**
   * Calls fn and waits for it as long as the attempt may take. Rejects with code ETIMEDOUT when the
   * time is over, with the signal's reason when that aborts.
   */
  execute<T> (
    fn: (context: AttemptContext) => T | PromiseLike<T>,
    options?: { signal?: AbortSignal | undefined; attempt?: number | undefined }
  ): Promise<T>;
}
