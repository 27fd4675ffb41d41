import { EventEmitter } from 'node:events';
import Breaker = require('./breaker');
import MemoryCacheClass = require('./memory-cache');
import SemaphoreClass = require('./semaphore');
import StatusClass = require('./status');

/**
 * The drop-in for opossum: its class, its options, its behaviour. Wrong options are not rejected,
 * and options that opossum does not know do nothing. docs/migrating.md says what is different.
 */
declare class CircuitBreaker<TI extends unknown[] = unknown[], TR = unknown> extends EventEmitter {
  /** @throws TypeError without an action, or for a cache or an AbortController that is none */
  constructor (
    action: (...args: TI) => TR | PromiseLike<TR>, options?: CircuitBreaker.Options<TI>);

  /** Whether a breaker made this error: open, timed out, at capacity or shut down. */
  static isOurError (error: unknown): boolean;
  /** A separate window of counts, for the option `status`. */
  static newStatus (options?: CircuitBreaker.StatusOptions): StatusClass;

  /** The function that you gave. */
  action (...args: TI): TR | PromiseLike<TR>;
  /**
   * The options with their defaults. What is assigned counts from the next call on, for the options
   * that say so. The object that you gave stays as it is.
   */
  readonly options: CircuitBreaker.ResolvedOptions<any[]>;
  /** The option, else the name of the action, else a UUID. */
  readonly name: string;
  /** The option, else the name. */
  readonly group: string;
  /** Nobody shares it: opossum has no such option. */
  readonly scope: 'instance';
  /** False: calls bypass the breaker. */
  readonly enabled: boolean;
  /** Whether calls pass. */
  readonly closed: boolean;
  /** Whether calls are rejected. */
  readonly opened: boolean;
  /** Whether probes find out if the upstream is back. */
  readonly halfOpen: boolean;
  /** Half open, and the next call will be a probe. */
  readonly pendingClose: boolean;
  /** Whether shutdown() was called. */
  readonly isShutdown: boolean;
  /** True during the first `rollingCountTimeout` ms with `allowWarmUp`. */
  readonly warmUp: boolean;
  /** The option of this name. */
  readonly volumeThreshold: number;
  /** The window of counts, and its `snapshot` events. */
  readonly status: StatusClass;
  /** The sums of the window; each read makes a new object. */
  readonly stats: StatusClass.Stats;
  /**
   * How many more calls the option `capacity` allows. Without it, it counts down from
   * Number.MAX_SAFE_INTEGER, for calls that begin after it was first read.
   */
  readonly semaphore: SemaphoreClass;

  /**
   * Calls the action if the circuit allows it; resolves with its result or the fallback's.
   * Without a fallback it rejects with the action's error, or with code EOPENBREAKER, ETIMEDOUT,
   * ESEMLOCKED or ESHUTDOWN.
   */
  fire (...args: TI): Promise<TR>;
  /** As `fire`; `context` is the `this` of the action. */
  call (context: unknown, ...args: TI): Promise<TR>;
  /** As `run` of the breakers of `sekering`. */
  run<T> (
    fn: (context: { signal: AbortSignal }) => T | PromiseLike<T>,
    options?: { signal?: AbortSignal | undefined }
  ): Promise<T>;
  /** Only the class of `sekering` has it. */
  readonly wrap: never;
  /** Sets what is called with `(...args, error)` when the action fails or may not be called. */
  fallback (func: ((...args: any[]) => unknown) | Breaker<any, any> | CircuitBreaker<any, any>):
    this;

  /** Opens the circuit by hand; after resetTimeout it becomes half open, as after a trip. */
  open (): void;
  /** Closes the circuit by hand. */
  close (): void;
  /** Closes the circuit and clears all counts. */
  reset (): void;
  /** Ends disable(): calls are judged again. */
  enable (): void;
  /** From now on every call reaches the action; only `fires` is counted. */
  disable (): void;
  /** Ends the breaker: later calls reject with code ESHUTDOWN. */
  shutdown (): void;
  /** Forgets all answers of the option `cache`. */
  clearCache (): void;
  /**
   * Calls `func` now and every `interval` ms (default 5000) until shutdown; when it rejects, the
   * circuit opens.
   */
  healthCheck (func: (this: this) => unknown, interval?: number): void;
  /** For the option `state` of a new breaker, and for logs. */
  toJSON (): { state: CircuitBreaker.State; status: StatusClass.Stats };
  /** Inside an action, before its first await: the signal of this call. Otherwise the option's. */
  getSignal (): AbortSignal | undefined;
  /** The controller of the option `abortController`. */
  getAbortController (): AbortController | undefined;

  on<E extends CircuitBreaker.EventName> (
    event: E, listener: CircuitBreaker.Listener<E, TI, TR>): this;
  on (event: string | symbol, listener: (...args: any[]) => void): this;
  once<E extends CircuitBreaker.EventName> (
    event: E, listener: CircuitBreaker.Listener<E, TI, TR>): this;
  once (event: string | symbol, listener: (...args: any[]) => void): this;
}

declare namespace CircuitBreaker {
  export { CircuitBreaker };
  export const MemoryCache: typeof MemoryCacheClass;
  /** What a `cacheTransport` has. */
  export interface MemoryCache {
    /** undefined if there is none. */
    get (key: any): unknown;
    /** Keeps a value until a time as in Date.now(). */
    set (key: any, value: any, expiresAt: number): unknown;
    /** Removes everything. */
    flush (): unknown;
  }
  export const Semaphore: typeof SemaphoreClass;
  export type Semaphore = SemaphoreClass;
  export import Status = StatusClass;
  export type StatusOptions = StatusClass.Options;
  export type Stats = WithoutCoalescing<StatusClass.Stats>;
  export type Bucket = WithoutCoalescing<StatusClass.Bucket>;
  /** The buckets of a window, newest first. */
  export type Window = Bucket[];
  export type CacheTransport = MemoryCache;
  export type State = Breaker.State;
  /** The arguments of each event's listeners. */
  export type Events<TI extends unknown[] = unknown[], TR = unknown> =
    Omit<Breaker.Events<TI, TR>, 'missed'>;
  export type EventName = keyof Events;
  export type Listener<E extends EventName, TI extends unknown[] = unknown[], TR = unknown> =
    (...args: Events<TI, TR>[E]) => void;

  /** This thread's breakers that are in use and not shut down, also those of `sekering`. */
  export const breakers: typeof Breaker.breakers;

  /** Live options may be assigned to `breaker.options` later. The others are read once. */
  export interface Options<TI extends unknown[] = any[]> {
    /** A call fails after so many ms; false or 0: no limit. Default 10000. Live. */
    timeout?: number | false | undefined;
    /** How many calls may be in flight, 0 or more. Default: no limit. */
    capacity?: number | undefined;
    /** Truthy for an error that is not the upstream's fault: the call rejects, but counts as a
     * success. Live. */
    errorFilter?: ((error: any, ...args: TI) => unknown) | undefined;
    /** Opens when failures exceed this share of the fires, in percent. Default 50. Live. */
    errorThresholdPercentage?: number | undefined;
    /** With fewer calls in the window, nothing opens the circuit. Default 0. */
    volumeThreshold?: number | undefined;
    /** True: no failure opens the circuit in its first `rollingCountTimeout` ms. Default false. */
    allowWarmUp?: boolean | undefined;
    /** How long the circuit stays open, ms. Default 30000. Live. */
    resetTimeout?: number | undefined;

    /** Length of the window in ms. Default 10000. */
    rollingCountTimeout?: number | undefined;
    /** Buckets of the window, at most 1000. Default 10. */
    rollingCountBuckets?: number | undefined;
    /** False: latencies are not kept, percentiles and mean are -1. Default true. */
    rollingPercentilesEnabled?: boolean | undefined;
    /** Whether `status` emits `snapshot` each bucket. Default true. */
    enableSnapshots?: boolean | undefined;
    /** Its `rotate` events begin new buckets, not the time. */
    rotateBucketController?: EventEmitter | undefined;
    /** A window to count in, perhaps another breaker's, or counts to begin with. */
    status?: StatusClass | Partial<StatusClass.Stats> | undefined;
    /** Initial state: the `state` of a breaker's toJSON(). */
    state?: Partial<State> | undefined;

    /** Default: the name of the action, or a UUID. */
    name?: string | undefined;
    /** Default: the name. */
    group?: string | undefined;
    /** False: calls bypass the breaker until enable(). Default true. */
    enabled?: boolean | undefined;

    /** Whether results are kept and served, even while the circuit is open. Default false. Live. */
    cache?: boolean | undefined;
    /** How long a result is served, in ms; 0: for ever. Default 0. Live. */
    cacheTTL?: number | undefined;
    /** How many results are kept, from 1; the oldest is dropped first. Default 16777215. */
    cacheSize?: number | undefined;
    /** The key of a call, for cache and coalescing. Default: the arguments as JSON. Live. */
    cacheGetKey?: ((...args: TI) => unknown) | undefined;
    /** Where results are kept instead of memory. Live. */
    cacheTransport?: CacheTransport | undefined;
    /** Whether calls with the same key share one call. Default false. Live. */
    coalesce?: boolean | undefined;
    /** How long a call is shared, ms, even after it settled; 0 or false: for ever. Default: that of
     * `timeout`. Live. */
    coalesceTTL?: number | false | undefined;
    /** How many calls are shared, from 1. Default 16777215. */
    coalesceSize?: number | undefined;
    /** A call that ends so is no longer shared. Default: none. Live. */
    coalesceResetOn?: Array<'error' | 'success' | 'timeout'> | undefined;

    /** Aborted when a call times out. Live. */
    abortController?: AbortController | undefined;
    /** Whether an aborted controller is replaced when the circuit becomes half open or closes; also
     * makes the first one. Default false. Live. */
    autoRenewAbortController?: boolean | undefined;

    /** @deprecated without effect; see errorThresholdPercentage */
    maxFailures?: number | undefined;
  }

  /** As in @types/opossum, an object without the counts of coalescing is one, too. */
  type WithoutCoalescing<T extends StatusClass.Bucket> =
    Omit<T, Coalescing> & Partial<Pick<T, Coalescing>>;
  type Coalescing = 'coalesceCacheHits' | 'coalesceCacheMisses';

  /** What `breaker.options` shows. */
  export type ResolvedOptions<TI extends unknown[] = any[]> = Options<TI> & {
    /** ms; false: no limit. */
    timeout: number | false;
    /** ms. */
    resetTimeout: number;
    /** 0 to 100. */
    errorThresholdPercentage: number;
    /** ms. */
    rollingCountTimeout: number;
    /** How many. */
    rollingCountBuckets: number;
    /** Whether latencies are counted. */
    rollingPercentilesEnabled: boolean;
    /** Calls in flight. */
    capacity: number;
    /** Calls in the window before the percentage counts. */
    volumeThreshold: number;
    /** Whether an error does not count as a failure. */
    errorFilter: (error: any, ...args: TI) => unknown;
    /** Whether answers are kept. */
    cache: boolean;
    /** ms; 0: for ever. */
    cacheTTL: number;
    /** Under which an answer is kept. */
    cacheGetKey: (...args: TI) => unknown;
    /** Whether the status emits 'snapshot'. */
    enableSnapshots: boolean;
    /** Whether calls with the same key share a call in flight. */
    coalesce: boolean;
    /** ms; false: until it settles. */
    coalesceTTL: number | false;
    /** After which a shared call is forgotten. */
    coalesceResetOn: Array<'error' | 'success' | 'timeout'>;
  };
}

export = CircuitBreaker;
