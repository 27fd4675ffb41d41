import { EventEmitter } from 'node:events';
import MemoryCacheClass = require('./memory-cache');
import { PresetName } from './presets';
import SemaphoreClass = require('./semaphore');
import StatusClass = require('./status');

/**
 * A circuit breaker around `action`. `TI` are the action's arguments, `TR` is what it resolves
 * with; both are inferred from it. All times are milliseconds.
 */
declare class CircuitBreaker<TI extends unknown[] = unknown[], TR = unknown> extends EventEmitter {
  /**
   * @param action called by fire(); it may be synchronous
   * @throws TypeError or RangeError with code ERR_INVALID_OPTION
   */
  constructor (
    action: (...args: TI) => TR | PromiseLike<TR>, options?: CircuitBreaker.Options<TI>);

  /** Whether a breaker made this error: open, timed out, saturated or shut down. */
  static isOurError (error: unknown): boolean;
  /** A window of counts of its own, for the option `status`. */
  static newStatus (options?: CircuitBreaker.StatusOptions): StatusClass;

  /** The function that was given. */
  action (...args: TI): TR | PromiseLike<TR>;
  /** The options with their defaults. */
  readonly options: CircuitBreaker.ResolvedOptions<any[]>;
  /** The option, else the name of the action, else a UUID. */
  readonly name: string;
  /** The option, else the name. */
  readonly group: string;
  /** False: calls pass the breaker by. */
  readonly enabled: boolean;
  /** True while ramping up as well. */
  readonly closed: boolean;
  readonly opened: boolean;
  readonly halfOpen: boolean;
  /** Half open, and the next call will be a probe. */
  readonly pendingClose: boolean;
  readonly isShutdown: boolean;
  /** True during the first `rollingCountTimeout` ms with `allowWarmUp`. */
  readonly warmUp: boolean;
  readonly volumeThreshold: number;
  /** The window of counts, and its `snapshot` events. */
  readonly status: StatusClass;
  /** The sums of the window, a new object at each reading. */
  readonly stats: StatusClass.Stats;
  /**
   * The places of the option `capacity`. Without it, of Number.MAX_SAFE_INTEGER places, which the
   * calls take that begin after the first look at it.
   */
  readonly semaphore: SemaphoreClass;

  /**
   * Calls the action if the circuit lets it pass; resolves with its result or the fallback's.
   * Without a fallback it rejects with the action's error, or with code EOPENBREAKER, ETIMEDOUT,
   * ESEMLOCKED or ESHUTDOWN.
   */
  fire (...args: TI): Promise<TR>;
  /** As `fire`, with `this` of the action. */
  call (context: unknown, ...args: TI): Promise<TR>;
  /**
   * Calls `fn({ signal })` in the action's place. The signal aborts on timeout, and when the
   * caller's does: then the call rejects at once with that signal's reason and counts for nothing.
   */
  run<T> (
    fn: (context: { signal: AbortSignal }) => T | PromiseLike<T>,
    options?: { signal?: AbortSignal | undefined }
  ): Promise<T>;
  /** What to call with `(...args, error)` when the action fails or may not be called. */
  fallback (func: ((...args: any[]) => unknown) | CircuitBreaker<any, any>): this;

  /** Opens the circuit by hand; after resetTimeout it is half open, as after a trip. */
  open (): void;
  /** Closes the circuit by hand. */
  close (): void;
  /** Closes the circuit and forgets what it has counted. */
  reset (): void;
  enable (): void;
  /** Lets every call pass, uncounted except for `fires`. */
  disable (): void;
  /** For good: later calls reject with code ESHUTDOWN. */
  shutdown (): void;
  clearCache (): void;
  /**
   * Calls `func` now and every `interval` ms (default 5000) until shutdown; when it rejects, the
   * circuit opens.
   */
  healthCheck (func: (this: this) => unknown, interval?: number): void;
  toJSON (): { state: CircuitBreaker.State; status: StatusClass.Stats };
  /** Inside an action, before its first await: the signal of this call. Else the option's. */
  getSignal (): AbortSignal | undefined;
  getAbortController (): AbortController | undefined;

  on<E extends CircuitBreaker.EventName> (
    event: E, listener: CircuitBreaker.Listener<E, TI, TR>): this;
  once<E extends CircuitBreaker.EventName> (
    event: E, listener: CircuitBreaker.Listener<E, TI, TR>): this;
  off<E extends CircuitBreaker.EventName> (
    event: E, listener: CircuitBreaker.Listener<E, TI, TR>): this;
  addListener<E extends CircuitBreaker.EventName> (
    event: E, listener: CircuitBreaker.Listener<E, TI, TR>): this;
  removeListener<E extends CircuitBreaker.EventName> (
    event: E, listener: CircuitBreaker.Listener<E, TI, TR>): this;
  prependListener<E extends CircuitBreaker.EventName> (
    event: E, listener: CircuitBreaker.Listener<E, TI, TR>): this;
  prependOnceListener<E extends CircuitBreaker.EventName> (
    event: E, listener: CircuitBreaker.Listener<E, TI, TR>): this;
}

declare namespace CircuitBreaker {
  export { CircuitBreaker };
  export const MemoryCache: typeof MemoryCacheClass;
  export type MemoryCache = MemoryCacheClass;
  export const Semaphore: typeof SemaphoreClass;
  export type Semaphore = SemaphoreClass;
  export import Status = StatusClass;
  export type StatusOptions = StatusClass.Options;
  export type Stats = StatusClass.Stats;
  export type Bucket = StatusClass.Bucket;
  /** The buckets of a window, newest first. */
  export type Window = Bucket[];

  /** This thread's breakers that are still in use and not shut down. */
  export function breakers (): CircuitBreaker<any, any>[];

  export interface Options<TI extends unknown[] = any[]> {
    // ---- Calls

    /** ms after which a call has failed; false or 0: no limit. Default 10000. */
    timeout?: number | false | undefined;
    /** Calls in flight at once, 0 or more. Default: no limit. */
    capacity?: number | undefined;
    /** Called with `(...args, error)` when the action fails or may not be called. */
    fallback?: ((...args: any[]) => unknown) | CircuitBreaker<any, any> | undefined;
    /** Truthy for an error that is not the upstream's fault: the call rejects, and counts as a
     * success. */
    errorFilter?: ((error: any, ...args: TI) => unknown) | undefined;

    // ---- When the circuit opens. Any rule that is set may open it.

    /**
     * Opens when failures exceed this share of the fires, 0 to 100. Default 50; no rule unless
     * given beside `consecutiveFailures` or `failureCount` without `slidingWindowSize`.
     */
    errorThresholdPercentage?: number | undefined;
    /** Fires in the window below which only `consecutiveFailures` opens the circuit. Default 0. */
    volumeThreshold?: number | undefined;
    /** No failure opens the circuit in its first `rollingCountTimeout` ms. Default false. */
    allowWarmUp?: boolean | undefined;
    /** Opens at so many failures in a row, however old. Default: no rule. */
    consecutiveFailures?: number | undefined;
    /** Opens at so many failures within the window. Default: no rule. */
    failureCount?: number | undefined;
    /** Percentages are of the last so many calls, 1 to 10000, instead of the window of time. */
    slidingWindowSize?: number | undefined;
    /** How many of those there must be. Default 10, or slidingWindowSize if that is less. */
    minimumCalls?: number | undefined;
    /** ms from which a call is slow. Default: no call is. */
    slowCallDuration?: number | undefined;
    /** Opens when slow calls reach this share of the completed ones, 0 to 100. Default 100. */
    slowCallThresholdPercentage?: number | undefined;

    // ---- How it closes again

    /** ms that the circuit stays open, or how that grows with each trip. Default 30000. */
    resetTimeout?: number | GrowingTime | undefined;
    /** Calls that may probe a half-open circuit at once, 1 to 16. Default 1. */
    halfOpenProbes?: number | undefined;
    /** Probes that must succeed before the circuit closes. Default 1. */
    successThreshold?: number | undefined;
    /** ms during which a circuit that has closed admits a growing share of the calls. Default 0. */
    rampUp?: number | undefined;

    // ---- What is counted

    /** ms, the length of the window. Default 10000. */
    rollingCountTimeout?: number | undefined;
    /** Buckets of the window, 1 to 1000. Default 10. */
    rollingCountBuckets?: number | undefined;
    /** False: latencies are not kept, percentiles and mean are -1. Default true. */
    rollingPercentilesEnabled?: boolean | undefined;
    /** Whether `status` emits `snapshot` each bucket. Default true. */
    enableSnapshots?: boolean | undefined;
    /** Its `rotate` events begin new buckets, in place of the time. */
    rotateBucketController?: EventEmitter | undefined;
    /** Counts to begin with. */
    status?: StatusClass | Partial<StatusClass.Stats> | undefined;
    /** The `state` of a breaker's toJSON(), to go on from. */
    state?: Partial<State> | undefined;

    // ---- Names

    /** Default: the name of the action, or a UUID. */
    name?: string | undefined;
    /** Default: the name. */
    group?: string | undefined;
    /** False: calls pass the breaker by until enable(). Default true. */
    enabled?: boolean | undefined;
    /** The options of a preset, which others that are given override. */
    preset?: PresetName | undefined;

    // ---- Sharing

    /**
     * Who shares the breaker: nobody, the threads of this process, or the processes of this user on
     * the host. Sharers have the same `namespace` and `name`, and the same options. Node.js on
     * Linux only: elsewhere a scope other than 'instance' throws ERR_SCOPE_UNSUPPORTED. Default
     * 'instance'.
     */
    scope?: 'instance' | 'process' | 'host' | undefined;
    /** 1 to 64 letters, digits, dots, dashes or underscores. Default 'default'. */
    namespace?: string | undefined;
    /** How many processes must see failures before they open a shared circuit, 1 to 16. Default
     * 'any'. */
    shareTrip?: 'any' | { processes: number } | undefined;

    // ---- Cache and coalescing

    /** Whether results are kept and served, also while the circuit is open. Default false. */
    cache?: boolean | undefined;
    /** ms that a result is served; 0: for ever. Default 0. */
    cacheTTL?: number | undefined;
    /** Results that are kept, from 1; the oldest makes room. Default 16777215. */
    cacheSize?: number | undefined;
    /** The key of a call, for cache and coalescing. Default: the arguments as JSON. */
    cacheGetKey?: ((...args: TI) => unknown) | undefined;
    /** Where results are kept instead of memory. */
    cacheTransport?: CacheTransport | undefined;
    /** Whether calls with the same key share one call. Default false. */
    coalesce?: boolean | undefined;
    /** ms that a call is shared, also after it has settled; 0 or false: for ever. Default: that of
     * `timeout`. */
    coalesceTTL?: number | false | undefined;
    /** Calls that are shared, from 1. Default 16777215. */
    coalesceSize?: number | undefined;
    /** Ends of a call that end its sharing. Default: none of them. */
    coalesceResetOn?: Array<'error' | 'success' | 'timeout'> | undefined;

    // ---- Cancelling

    /** Aborted when a call times out. */
    abortController?: AbortController | undefined;
    /** Whether a new controller takes the place of one that was aborted when the circuit is half
     * open or closes; makes the first one too. Default false. */
    autoRenewAbortController?: boolean | undefined;

    /** @deprecated without effect; see errorThresholdPercentage */
    maxFailures?: number | undefined;
  }

  export interface GrowingTime {
    /** ms after the first trip. */
    initial: number;
    /** By which it grows with each further trip without closing, 1 to 1000. Default 2. */
    factor?: number | undefined;
    /** ms, the most. Default Infinity. */
    max?: number | undefined;
  }

  /** What `breaker.options` shows. */
  export type ResolvedOptions<TI extends unknown[] = any[]> = Options<TI> & {
    timeout: number | false;
    resetTimeout: number | GrowingTime;
    errorThresholdPercentage: number;
    rollingCountTimeout: number;
    rollingCountBuckets: number;
    rollingPercentilesEnabled: boolean;
    capacity: number;
    volumeThreshold: number;
    errorFilter: (error: any, ...args: TI) => unknown;
    cache: boolean;
    cacheTTL: number;
    cacheGetKey: (...args: TI) => unknown;
    enableSnapshots: boolean;
    coalesce: boolean;
    coalesceTTL: number | false;
    coalesceResetOn: Array<'error' | 'success' | 'timeout'>;
  };

  /** Where results are kept. `get` may return a promise; undefined and null mean a miss. */
  export interface CacheTransport {
    get (key: any): unknown;
    /**
     * @param value a promise of the result
     * @param expiresAt ms as Date.now() counts, 0 for never
     */
    set (key: any, value: any, expiresAt: number): unknown;
    flush (): unknown;
  }

  /** A breaker's state as toJSON() gives it. */
  export interface State {
    name: string;
    enabled: boolean;
    closed: boolean;
    open: boolean;
    halfOpen: boolean;
    warmUp: boolean;
    shutdown: boolean;
    /** When it last opened, ms as Date.now() counts. */
    lastTimerAt: number | undefined;
  }

  /** The arguments of each event's listeners. */
  export interface Events<TI extends unknown[] = unknown[], TR = unknown> {
    /** A call, before anything is decided about it. */
    fire: [args: TI];
    /** The action has resolved; or it has failed with an error that the filter let pass. */
    success: [result: TR, latencyMs: number];
    failure: [error: any, latencyMs: number, args: TI];
    timeout: [error: Error, latencyMs: number, args: TI];
    /** The circuit did not let the call pass. */
    reject: [error: Error];
    /** What the fallback returned (a promise, if it is asynchronous), and why it was called. */
    fallback: [result: any, error: any];
    /** There was no place (option `capacity`). */
    semaphoreLocked: [error: Error, latencyMs: number];
    /** With a `scope`: so many transitions of others were too long ago to be told one by one. */
    missed: [transitions: number];
    open: [];
    /** With how long the circuit was open. */
    halfOpen: [resetTimeoutMs: number];
    close: [];
    shutdown: [];
    healthCheckFailed: [error: any];
    cacheHit: [];
    cacheMiss: [];
    coalesceCacheHit: [];
    coalesceCacheMiss: [];
  }

  export type EventName = keyof Events;

  export type Listener<E extends EventName, TI extends unknown[] = unknown[], TR = unknown> =
    (...args: Events<TI, TR>[E]) => void;
}

export = CircuitBreaker;
