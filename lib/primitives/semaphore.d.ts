/** A counting semaphore. Its functions work without `this`. */
interface Semaphore {
  /**
   * Takes a permit, or waits for one. Resolves with a function that gives that permit back, once.
   * @param timeout ms to wait; 0 or absent waits for ever
   * @throws ETIMEDOUT (as a rejection) when the wait took too long
   */
  take (timeout?: number): Promise<() => void>;
  /** Gives a permit back: to the first who waits, if somebody does. */
  release (): void;
  /** Takes a permit if one is left; returns whether it did. */
  test (): boolean;
  /** How many permits are left. */
  readonly count: number;
}

interface SemaphoreConstructor {
  /**
   * @param count how many permits there are; from Number.MAX_SAFE_INTEGER on any number
   * @throws ERR_INVALID_OPTION for a count that is no whole number
   */
  new (count: number): Semaphore;
  (count: number): Semaphore;
}

declare const Semaphore: SemaphoreConstructor;
export = Semaphore;
