import { ExecuteOptions, RetryBudgetOptions } from './limits';

/** A delay that follows the latencies. */
export interface HedgeDelay {
  /**
   * Between 0 and 1: with 0.95, the slowest 5 % of the calls are hedged. Of the last 500 to 1000
   * calls that were answered.
   */
  quantile: number;
  /** The shortest delay, ms. Default 1. */
  min?: number | undefined;
  /** The longest delay, ms; also while too few calls have been answered: 20, for 0.99 100. */
  max: number;
}

/** Such as a RetryBudget. */
export interface HedgeBudget {
  /** Whether there may be a hedge; it is spent. */
  tryWithdraw (): boolean;
  /** Called once for each call. */
  deposit (): void;
}

export interface HedgeOptions {
  /** Says that fn may be called again while an earlier call runs. Nothing can find that out. */
  safeToRepeat: true;
  /** How long a call may go without an answer before it is made once more, ms. */
  delay: number | HedgeDelay;
  /** How many more calls one call may become, 1 to 10; one after each delay. Default 1. */
  maxHedges?: number | undefined;
  /**
   * Bounds the share of hedges; null for no bound. Of options, the defaults are `ratio` 0.1,
   * `reservePerSecond` 0 and `max` 10: at most one hedge for ten calls.
   */
  budget?: HedgeBudget | RetryBudgetOptions | null | undefined;
}

export interface HedgeContext {
  /** Aborts when another attempt has answered, and when the caller aborts. */
  signal: AbortSignal;
  /** 0 for the first attempt, 1 for the first hedge, and so on. */
  hedge: number;
}

export interface HedgeStats {
  /** Calls so far. */
  calls: number;
  /** Further attempts. */
  hedges: number;
  /** Calls that a further attempt has answered. */
  wins: number;
  /** Further attempts that the budget did not allow. */
  denied: number;
}

/** Makes calls once more that have no answer after a while. */
export interface Hedge {
  /** How long the next call may go without an answer, ms. */
  readonly delay: number;
  /** How many calls, hedges and so on there were. */
  readonly stats: HedgeStats;
  /**
   * Calls fn, and calls it again while there is no answer. The first answer counts; the signals of
   * the other attempts abort. Rejects when no attempt is left that runs, with the first one's
   * error.
   */
  execute<T> (
    fn: (context: HedgeContext) => T | PromiseLike<T>, options?: ExecuteOptions
  ): Promise<T>;
}

/**
 * Hedges calls that are safe to repeat: never use it for what charges, sends or creates.
 * @throws ERR_INVALID_OPTION
 */
export function hedge (options: HedgeOptions): Hedge;
