/** A clock that only moves when it is told to; all breakers, retries and limits go by it. */
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

/**
 * Stops the time of this package, in JavaScript and in the native core of this thread. Your own
 * timers are not touched.
 * @param options `wall` is what the calendar shows at first, ms since 1970
 * @throws SekeringError with code ERR_VIRTUAL_CLOCK if one is in use already
 */
export function useVirtualClock (options?: { wall?: number | undefined }): VirtualClock;
