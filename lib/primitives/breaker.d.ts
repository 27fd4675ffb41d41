import { EventEmitter } from 'node:events';
import MemoryCacheClass = require('./memory-cache');
import SemaphoreClass = require('./semaphore');
import StatusClass = require('./status');

/**
 * A circuit breaker around `action`.
 * @throws TypeError or RangeError with code ERR_INVALID_OPTION
 */
declare class CircuitBreaker<TI extends unknown[] = unknown[], TR = unknown> extends EventEmitter {
  constructor (
    action: (...args: TI) => TR | PromiseLike<TR>, options?: CircuitBreaker.Options<TI>);

  /** Whether a breaker made this error: open, timed out, saturated or shut down. */
  static isOurError (error: unknown): boolean;
  static newStatus (options?: StatusClass.Options): StatusClass;

  readonly action: (...args: TI) => TR | PromiseLike<TR>;
  readonly options: CircuitBreaker.ResolvedOptions<TI>;
  readonly name: string;
  readonly group: string;
  readonly enabled: boolean;
  readonly closed: boolean;
  readonly opened: boolean;
  readonly halfOpen: boolean;
  /** Half open, and the next call will be the probe. */
  readonly pendingClose: boolean;
  readonly isShutdown: boolean;
  readonly warmUp: boolean;
  readonly volumeThreshold: number;
  readonly status: StatusClass;
  readonly stats: StatusClass.Stats;
  readonly semaphore: SemaphoreClass;

  /** Calls the action if the circuit lets it pass; resolves with its result or the fallback's. */
  fire (...args: TI): Promise<TR>;
  /** As `fire`, with `this` of the action. */
  call (context: unknown, ...args: TI): Promise<TR>;
  /** Calls `fn({ signal })` in the action's place; `signal` aborts on timeout and by the caller. */
  run<T> (
    fn: (context: { signal: AbortSignal }) => T | PromiseLike<T>,
    options?: { signal?: AbortSignal | undefined }
  ): Promise<T>;
  /** What to call with `(...args, error)` when the action fails or may not be called. */
  fallback (func: ((...args: any[]) => unknown) | CircuitBreaker<any, any>): this;

  open (): void;
  close (): void;
  /** Closes the circuit and forgets what it has counted. */
  reset (): void;
  enable (): void;
  disable (): void;
  shutdown (): void;
  clearCache (): void;
  /** Calls `func` every `interval` ms (default 5000); when it rejects, the circuit opens. */
  healthCheck (func: () => unknown, interval?: number): void;
  toJSON (): { state: CircuitBreaker.State; status: StatusClass.Stats };
  getSignal (): AbortSignal | undefined;
  getAbortController (): AbortController | undefined;

  on<E extends keyof CircuitBreaker.Events<TI, TR>> (
    event: E, listener: (...args: CircuitBreaker.Events<TI, TR>[E]) => void): this;
  on (event: string | symbol, listener: (...args: any[]) => void): this;
  once<E extends keyof CircuitBreaker.Events<TI, TR>> (
    event: E, listener: (...args: CircuitBreaker.Events<TI, TR>[E]) => void): this;
  once (event: string | symbol, listener: (...args: any[]) => void): this;
}

declare namespace CircuitBreaker {
  export const MemoryCache: typeof MemoryCacheClass;
  export type MemoryCache = MemoryCacheClass;
  export const Semaphore: typeof SemaphoreClass;
  export type Semaphore = SemaphoreClass;
  export import Status = StatusClass;
  export type Stats = StatusClass.Stats;
  export type Bucket = StatusClass.Bucket;

  /** This environment's breakers that are still in use. */
  export function breakers (): CircuitBreaker<any, any>[];

  export interface Options<TI extends unknown[] = any[]> {
    /** ms after which a call has failed; false or 0 for none; default 10000. */
    timeout?: number | false | undefined;
    /** ms that the circuit stays open, default 30000; with `factor` (2) it grows by every trip. */
    resetTimeout?: number | GrowingTime | undefined;
    /** The circuit opens when failures exceed this share of the calls, default 50. */
    errorThresholdPercentage?: number | undefined;
    /** ms of the window, default 10000. */
    rollingCountTimeout?: number | undefined;
    /** Buckets of the window, default 10. */
    rollingCountBuckets?: number | undefined;
    rollingPercentilesEnabled?: boolean | undefined;
    /** Calls in flight at once; no limit by default. */
    capacity?: number | undefined;
    /** Calls in the window below which the circuit does not open, default 0. */
    volumeThreshold?: number | undefined;
    enabled?: boolean | undefined;
    allowWarmUp?: boolean | undefined;
    name?: string | undefined;
    group?: string | undefined;
    /** True for an error that is not the upstream's fault: it counts as a success. */
    errorFilter?: ((error: any, ...args: TI) => unknown) | undefined;
    cache?: boolean | undefined;
    /** ms, 0 (default) for ever. */
    cacheTTL?: number | undefined;
    cacheSize?: number | undefined;
    cacheGetKey?: ((...args: TI) => unknown) | undefined;
    cacheTransport?: CacheTransport | undefined;
    coalesce?: boolean | undefined;
    /** ms, default that of `timeout`. */
    coalesceTTL?: number | false | undefined;
    coalesceSize?: number | undefined;
    coalesceResetOn?: Array<'error' | 'success' | 'timeout'> | undefined;
    /** Aborted when a call times out. */
    abortController?: AbortController | undefined;
    autoRenewAbortController?: boolean | undefined;
    enableSnapshots?: boolean | undefined;
    rotateBucketController?: EventEmitter | undefined;
    /** Counts to begin with. */
    status?: StatusClass | Partial<StatusClass.Stats> | undefined;
    /** The `state` of a breaker's toJSON(), to go on from. */
    state?: Partial<State> | undefined;
    /** Opens after so many failures in a row. */
    consecutiveFailures?: number | undefined;
    /** Opens at so many failures within the window. */
    failureCount?: number | undefined;
    /** Judges the last so many calls (up to 10000) instead of a time. */
    slidingWindowSize?: number | undefined;
    /** How many of them there must be; default 10. */
    minimumCalls?: number | undefined;
    /** ms from which a call is slow. */
    slowCallDuration?: number | undefined;
    /** Opens when slow calls exceed this share, default 100. */
    slowCallThresholdPercentage?: number | undefined;
    /** Calls that may probe at once while half open, 1 (default) to 16. */
    halfOpenProbes?: number | undefined;
    /** Probes that must succeed before the circuit closes, default 1. */
    successThreshold?: number | undefined;
    /** ms during which a closed circuit admits a growing share of calls, default 0. */
    rampUp?: number | undefined;
    fallback?: ((...args: any[]) => unknown) | CircuitBreaker<any, any> | undefined;
  }

  export interface GrowingTime {
    /** ms */
    initial: number;
    /** Default 2. */
    factor?: number | undefined;
    /** ms, default Infinity. */
    max?: number | undefined;
  }

  export type ResolvedOptions<TI extends unknown[] = any[]> = Options<TI> & Required<Pick<
    Options<TI>, 'timeout' | 'resetTimeout' | 'errorThresholdPercentage' | 'rollingCountTimeout' |
      'rollingCountBuckets' | 'rollingPercentilesEnabled' | 'capacity' | 'volumeThreshold' |
      'cache' | 'cacheTTL' | 'coalesce' | 'enableSnapshots'>>;

  export interface CacheTransport {
    get (key: any): unknown;
    /** `expiresAt`: ms as Date.now() counts, 0 for never. */
    set (key: any, value: any, expiresAt: number): void;
    flush (): void;
  }

  export interface State {
    name: string;
    enabled: boolean;
    closed: boolean;
    open: boolean;
    halfOpen: boolean;
    warmUp: boolean;
    shutdown: boolean;
    /** When it opened, ms as Date.now() counts. */
    lastTimerAt: number | undefined;
  }

  /** The arguments of each event. */
  export interface Events<TI extends unknown[] = unknown[], TR = unknown> {
    fire: [args: TI];
    success: [result: TR, latencyMs: number];
    failure: [error: any, latencyMs: number, args: TI];
    timeout: [error: Error, latencyMs: number, args: TI];
    reject: [error: Error];
    fallback: [result: any, error: any];
    semaphoreLocked: [error: Error, latencyMs: number];
    open: [];
    halfOpen: [resetTimeoutMs: number];
    close: [];
    shutdown: [];
    healthCheckFailed: [error: any];
    cacheHit: [];
    cacheMiss: [];
    coalesceCacheHit: [];
    coalesceCacheMiss: [];
  }
}

export = CircuitBreaker;
