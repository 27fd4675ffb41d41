/** A clock that only your test moves. All breakers, retries and limits use it. */
export interface VirtualClock {
  /** Milliseconds since some start. */
  readonly now: number;
  /** Milliseconds since 1970. */
  readonly wall: number;
  /**
   * Runs all timers that are due by then, in order, before it returns. Its promise resolves when
   * the promises that they settled have been handled.
   */
  advance (ms: number): Promise<void>;
  /** The same, but handles the promises after each timer. */
  advanceAsync (ms: number): Promise<void>;
  /** Returns to real time; timers that still wait never run. */
  restore (): void;
}

/**
 * Stops the time of this package, in JavaScript and in the native core of this thread. Your own
 * timers are not affected.
 * @param options `wall` is the calendar time at the start, in ms since 1970
 * @throws SekeringError with code ERR_VIRTUAL_CLOCK if one is already in use
 */
export function useVirtualClock (options?: { wall?: number | undefined }): VirtualClock;
