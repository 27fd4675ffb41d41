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
  /**
   * Time passes while nothing runs, as when the event loop is blocked. Then each timer that was due
   * runs once, late. Its promise resolves as that of `advance`.
   */
  block (ms: number): Promise<void>;
  /** Returns to real time; timers that still wait never run. */
  restore (): void;
}

/** How a virtual clock is driven. */
export interface VirtualClockOptions {
  /** Calendar time at the start, in ms since 1970. Default: now. Not with `timers: 'fake'`. */
  wall?: number | undefined;
  /**
   * `'own'` (default): only this clock's methods move time; your own timers are not affected.
   * `'fake'`: the fake timers of Jest or vitest move the time of this package together with your
   * own timers. It ends when they do (`useRealTimers`).
   */
  timers?: 'own' | 'fake' | undefined;
}

/**
 * Stops the time of this package, in JavaScript and in the native core of this thread.
 * @throws SekeringError with code ERR_VIRTUAL_CLOCK if one is already in use,
 * ERR_VIRTUAL_CLOCK_TIMERS if there are no fake timers to follow
 */
export function useVirtualClock (options?: VirtualClockOptions): VirtualClock;
