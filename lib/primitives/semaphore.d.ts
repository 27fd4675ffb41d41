/** A counting semaphore. Its functions work without `this`. */
interface Semaphore {
  /**
   * Takes a permit, or waits for one. Resolves with a function that releases it once.
   * @param timeout how long to wait, ms; 0 or undefined: for ever
   * @throws ETIMEDOUT (as a rejection) when the wait takes too long
   */
  take (timeout?: number): Promise<() => void>;
  /** Releases a permit, to the first call that waits, if any. */
  release (): void;
  /** Takes a permit if one is left; returns whether it did. */
  test (): boolean;
  /** How many permits are left. */
  readonly count: number;
}

interface SemaphoreConstructor {
  /**
   * @param count how many permits there are; from Number.MAX_SAFE_INTEGER: any number
   * @throws ERR_INVALID_OPTION if count is not an integer
   */
  new (count: number): Semaphore;
  (count: number): Semaphore;
}

declare const Semaphore: SemaphoreConstructor;
export = Semaphore;
