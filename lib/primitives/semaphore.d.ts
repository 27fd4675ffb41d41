/** A counting semaphore, with and without `new`; its functions need no `this`. */
declare function Semaphore (count: number): Semaphore.Semaphore;

declare namespace Semaphore {
  interface Semaphore {
    /**
     * Waits for a permit.
     * @param timeout ms; no limit unless given
     * @returns a function that gives the permit back; rejects with code ETIMEDOUT
     */
    take (timeout?: number): Promise<() => void>;
    release (): void;
    /** Takes a permit if there is one. */
    test (): boolean;
    /** How many are left. */
    readonly count: number;
  }
}

export = Semaphore;
