export interface VirtualClock {
  /** Milliseconds since some start. */
  readonly now: number;
  /** Milliseconds since 1970. */
  readonly wall: number;
  /**
   * Time passes at once: all timers due by then run in their order, before it returns. What they
   * settle is dealt with when the promise resolves.
   */
  advance (ms: number): Promise<void>;
  /** The same, but what each timer settles is dealt with before the next one runs. */
  advanceAsync (ms: number): Promise<void>;
  /** Gives the real time back; timers that still wait never run. */
  restore (): void;
}

/** Stops the time of this package, in JavaScript and in the native core of this thread. */
export function useVirtualClock (options?: { wall?: number }): VirtualClock;
