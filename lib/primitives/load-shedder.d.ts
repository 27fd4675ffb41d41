export interface LoadShedderOptions {
  /** How late the event loop may be without being overloaded, in ms, 1 to 60000. Default 50. */
  maxDelay?: number | undefined;
  /** Time between two measurements in ms, 10 to 60000. Default 100. */
  interval?: number | undefined;
}

export interface LoadShedderContext {
  /** The signal passed to execute. */
  signal: AbortSignal | undefined;
}

export interface ShedOptions {
  /** A call whose signal has aborted is not begun. Default: none. */
  signal?: AbortSignal | undefined;
  /** A number from 0 to 9. Calls of low priority are rejected first, of 9 never. Default 5. */
  priority?: number | undefined;
}

export interface LoadShedderStats {
  /** How many calls there were. */
  calls: number;
  /** How many of them were rejected. */
  shed: number;
  /** The same by priority, 0 to 9; only of priorities that there were calls of. */
  byPriority: Record<number, { calls: number; shed: number }>;
}

/** Rejects calls of low priority while the event loop of this thread is late. */
export class LoadShedder {
  /** @throws ERR_INVALID_OPTION */
  constructor (options?: LoadShedderOptions);
  /** How late the event loop was when it was measured last, in ms. */
  readonly delay: number;
  /**
   * A number from 0 to 9. Calls whose priority is at least 1 below it are rejected; of a priority p
   * less than 1 below it, the part pressure - p.
   */
  readonly pressure: number;
  /** Figures since it was made. */
  readonly stats: LoadShedderStats;
  /**
   * Calls fn, or rejects with code ELOADSHED; then `retryAfterMs` of the error is the time in ms
   * until such a call is taken, if the event loop is not late any more.
   */
  execute<Result> (
    fn: (context: LoadShedderContext) => Result, options?: ShedOptions
  ): Promise<Awaited<Result>>;
}
