import { EventEmitter } from 'node:events';

/** The counts of a breaker's rolling window, with `snapshot` events as buckets pass. */
declare class Status extends EventEmitter {
  constructor (options?: Status.Options);

  readonly stats: Status.Stats;
  /** The buckets, newest first. */
  readonly window: Status.Bucket[];
  readonly rollingPercentilesEnabled: boolean;
  readonly enableSnapshots: boolean;

  increment (property: Status.Counter, latencyRunTime?: number): void;
  open (): void;
  close (): void;
  shutdown (): void;
  rotateBucket (): void;

  on (event: 'snapshot', listener: (stats: Status.Stats) => void): this;
  on (event: string | symbol, listener: (...args: any[]) => void): this;
  once (event: 'snapshot', listener: (stats: Status.Stats) => void): this;
  once (event: string | symbol, listener: (...args: any[]) => void): this;
}

declare namespace Status {
  interface Options {
    /** Length of the window, ms; default 10000. */
    rollingCountTimeout?: number | undefined;
    /** Default 10. */
    rollingCountBuckets?: number | undefined;
    /** Default true. */
    rollingPercentilesEnabled?: boolean | undefined;
    /** Default true. */
    enableSnapshots?: boolean | undefined;
    /** Its `rotate` events begin new buckets, in place of the time. */
    rotateBucketController?: EventEmitter | undefined;
    /** Counts to begin with. */
    stats?: Partial<Stats> | undefined;
  }

  type Counter = 'failures' | 'fallbacks' | 'successes' | 'rejects' | 'fires' | 'timeouts' |
    'cacheHits' | 'cacheMisses' | 'coalesceCacheHits' | 'coalesceCacheMisses' |
    'semaphoreRejections';

  interface Stats extends Record<Counter, number> {
    /** Latencies in ms at 0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995 and 1. */
    percentiles: { [percentile: number]: number };
    /** Every latency in ms, ascending; rebuilt from the histogram when it is read. */
    readonly latencyTimes: number[];
    /** ms */
    latencyMean: number;
  }

  interface Bucket extends Record<Counter, number> {
    percentiles: { [percentile: number]: number };
    readonly latencyTimes: number[];
    /** Set in the bucket in which the circuit opened or closed. */
    isCircuitBreakerOpen?: boolean;
  }
}

export = Status;
