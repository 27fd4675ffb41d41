import { ExecuteOptions, LimitContext } from './limits';

/** What happens to a call: `latency`, `error` or `result`, or `latency` with one of the others. */
export interface Fault {
  /** Share of the calls that get it, 0 to 1. A call gets one fault at most: all add up to 1. */
  rate: number;
  /**
   * How long the call is delayed, whole ms; of [min, max], at random. Infinity: until its signal
   * aborts. Default 0.
   */
  latency?: number | readonly [min: number, max: number] | undefined;
  /** What the call rejects with instead of being made, or what makes it. Default: none. */
  error?: Error | (() => unknown) | undefined;
  /** What the call resolves with instead of being made, or a function that makes it. */
  result?: unknown;
  /** Its name in the stats, which no other fault has. Default 'error', 'result' or 'latency'. */
  name?: string | undefined;
}

export interface ChaosOptions {
  /** 1 to 100 faults; each call gets one of them, or none. */
  faults: readonly Fault[];
  /** Whether faults are injected from the start. Default true. */
  enabled?: boolean | undefined;
  /** A number from 0 to 2^53 - 1: the same one gives the same faults again. Default: at random. */
  seed?: number | undefined;
  /** Whether it may be made where NODE_ENV is 'production'. Default false. */
  allowInProduction?: boolean | undefined;
}

export interface ChaosStats {
  /** Calls while it was enabled. */
  calls: number;
  /** How many of them got each fault, by name. */
  faults: Record<string, number>;
}

/** Injects faults into calls. */
export interface Chaos {
  /** Whether faults are injected. */
  readonly enabled: boolean;
  /** With it, the same faults can be had again. */
  readonly seed: number;
  /** How many calls there were, and how many faults. */
  readonly stats: ChaosStats;
  /** From the next call on, faults are injected. */
  enable (): void;
  /** From the next call on, no faults are injected. */
  disable (): void;
  /**
   * Calls fn, or injects a fault. Aborting the signal ends a delay at once; the call rejects with
   * its reason.
   */
  execute<Result> (
    fn: (context: LimitContext) => Result, options?: ExecuteOptions
  ): Promise<Awaited<Result>>;
  /** Returns a function that calls fn with its arguments, or injects a fault. */
  wrap<A extends any[], R> (fn: (...args: A) => R): (...args: A) => Promise<Awaited<R>>;
}

/**
 * Delays some calls, lets them fail, or answers in their place: for tests and exercises.
 * @throws ERR_INVALID_OPTION, and ERR_CHAOS_IN_PRODUCTION where NODE_ENV is 'production'
 */
export function chaos (options: ChaosOptions): Chaos;
