import { EventEmitter } from 'node:events';

/** The counts of a breaker's rolling window, with `snapshot` events as buckets pass. */
declare class Status extends EventEmitter {
  constructor (options?: Status.Options);

  /** The sums of the window; each read makes a new object. */
  readonly stats: Status.Stats;
  /** The buckets, newest first. */
  readonly window: Status.Bucket[];
  /** Whether latencies are counted. */
  readonly rollingPercentilesEnabled: boolean;
  /** Whether 'snapshot' is emitted. */
  readonly enableSnapshots: boolean;

  /** Its 'rotate' events begin new buckets; undefined: time does. */
  readonly rotateBucketController: EventEmitter | undefined;

  /** Counts one. Successes, failures and timeouts have a latency, in ms. */
  increment (property: Status.Counter, latencyRunTime?: number): void;
  /** Marks the newest bucket: the circuit opened in it. */
  open (): void;
  /** Marks the newest bucket: the circuit closed in it. */
  close (): void;
  /** Ends snapshots and rotations. */
  shutdown (): void;
  /** Begins a new bucket. Only with a rotateBucketController. */
  rotateBucket (): void;
  /** In opossum's spelling. */
  startListeneningForRotateEvent (): void;
  /** Listens to the rotateBucketController no longer. */
  removeRotateBucketControllerListener (): void;

  /** `snapshot` is emitted once per bucket, while it has a listener. */
  on (event: 'snapshot', listener: (stats: Status.Stats) => void): this;
  once (event: 'snapshot', listener: (stats: Status.Stats) => void): this;
  off (event: 'snapshot', listener: (stats: Status.Stats) => void): this;
  addListener (event: 'snapshot', listener: (stats: Status.Stats) => void): this;
  removeListener (event: 'snapshot', listener: (stats: Status.Stats) => void): this;
}

declare namespace Status {
  interface Options {
    /** Length of the window, ms; default 10000. */
    rollingCountTimeout?: number | undefined;
    /** Buckets of the window, default 10. */
    rollingCountBuckets?: number | undefined;
    /** Default true. */
    rollingPercentilesEnabled?: boolean | undefined;
    /** Default true. */
    enableSnapshots?: boolean | undefined;
    /** Its `rotate` events begin new buckets, not the time. */
    rotateBucketController?: EventEmitter | undefined;
    /** Initial counts. */
    stats?: Partial<Stats> | undefined;
  }

  type Counter = 'failures' | 'fallbacks' | 'successes' | 'rejects' | 'fires' | 'timeouts' |
    'cacheHits' | 'cacheMisses' | 'coalesceCacheHits' | 'coalesceCacheMisses' |
    'semaphoreRejections';

  interface Stats extends Record<Counter, number> {
    /** Latencies in ms at 0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995 and 1. */
    percentiles: { [percentile: number]: number };
    /** All latencies in ms, ascending; each read makes it from the histogram. */
    readonly latencyTimes: number[];
    /** ms */
    latencyMean: number;
    /** Of a breaker with a `scope`: the counts of this thread alone. */
    local?: Stats | undefined;
  }

  interface Bucket extends Record<Counter, number> {
    /** Latencies in ms by percentile, such as 0.99. */
    percentiles: { [percentile: number]: number };
    /** Latencies in ms. */
    readonly latencyTimes: number[];
    /** Set in the bucket in which the circuit opened or closed. */
    isCircuitBreakerOpen?: boolean;
  }
}

export = Status;
