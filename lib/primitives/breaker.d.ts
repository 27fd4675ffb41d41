import { EventEmitter } from 'node:events';
import MemoryCacheClass = require('./memory-cache');
import { PresetName } from './presets';
import SemaphoreClass = require('./semaphore');
import StatusClass = require('./status');

/**
 * A circuit breaker around `action`. `TI` are the arguments of the action, `TR` is its result;
 * both are inferred. All times are milliseconds.
 */
declare class CircuitBreaker<TI extends unknown[] = unknown[], TR = unknown> extends EventEmitter {
  /**
   * @param action called by fire(); it may be synchronous
   * @throws TypeError or RangeError with code ERR_INVALID_OPTION, also for options in the place of
   *   the action
   */
  constructor (
    action: (...args: TI) => TR | PromiseLike<TR>, options?: CircuitBreaker.Options<TI>);

  /** Whether a breaker made this error: open, timed out, at capacity or shut down. */
  static isOurError (error: unknown): boolean;
  /** A separate window of counts, for the option `status`. */
  static newStatus (options?: CircuitBreaker.StatusOptions): StatusClass;

  /** The function that you gave. */
  action (...args: TI): TR | PromiseLike<TR>;
  /**
   * The options with their defaults. Those that say "Live" may be assigned, and count from the next
   * call on; not with a `scope`.
   * @throws ERR_INVALID_OPTION when a wrong value is assigned
   */
  readonly options: CircuitBreaker.ResolvedOptions<any[]>;
  /** The option, else the name of the action, else a UUID. */
  readonly name: string;
  /** The option, else the name. */
  readonly group: string;
  /** Who shares it. Smaller than the option if that scope cannot be had, unless `strictScope`. */
  readonly scope: 'instance' | 'process' | 'host';
  /** False: calls bypass the breaker. */
  readonly enabled: boolean;
  /** Also true while ramping up. */
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
  /**
   * Calls `fn({ signal })` instead of the action. The signal aborts on timeout, and when the
   * caller's does: then the call rejects at once with its reason and is not counted, unless
   * countsAbort says so.
   */
  run<T> (
    fn: (context: { signal: AbortSignal }) => T | PromiseLike<T>,
    options?: {
      /** The caller's; it ends the call. Default: none. */
      signal?: AbortSignal | undefined;
      /**
       * Whether a call that the caller's signal ended counts as a timeout. Default: at a deadline
       * that the signal carries, if the call had at least half of the breaker's timeout.
       */
      countsAbort?: ((reason: any) => boolean) | undefined;
    }
  ): Promise<T>;
  /**
   * Returns a function that calls `fn` with its arguments and its `this` through this breaker, with
   * the name and length of `fn`. Like run(), it uses neither cache nor coalescing. Only in
   * `sekering`, not in `sekering/opossum`.
   * @throws TypeError ERR_INVALID_OPTION if `fn` is not a function
   */
  wrap<F extends (...args: any[]) => any> (fn: F): CircuitBreaker.Wrapped<F>;
  /** Sets what is called with `(...args, error)` when the action fails or may not be called. */
  fallback (func: ((...args: any[]) => unknown) | CircuitBreaker<any, any>): this;

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

  /** A function that breaker.wrap() has returned for `F`. */
  export type Wrapped<F extends (...args: any[]) => any> =
    (this: ThisParameterType<F>, ...args: Parameters<F>) => Promise<Awaited<ReturnType<F>>>;

  /** This thread's breakers that are in use and not shut down. */
  export function breakers (): CircuitBreaker<any, any>[];

  export interface Options<TI extends unknown[] = any[]> {
    // ---- Calls

    /** A call fails after so many ms; false or 0: no limit. Default 10000. Live. */
    timeout?: number | false | undefined;
    /** How many calls may be in flight, 0 or more. Default: no limit. */
    capacity?: number | undefined;
    /** Called with `(...args, error)` when the action fails or may not be called. */
    fallback?: ((...args: any[]) => unknown) | CircuitBreaker<any, any> | undefined;
    /** Truthy for an error that is not the upstream's fault: the call rejects, but counts as a
     * success. Live. */
    errorFilter?: ((error: any, ...args: TI) => unknown) | undefined;

    // ---- When the circuit opens. Any of these rules may open it.

    /**
     * Opens when failures exceed this share of the fires, 0 to 100. Default 50. Off by default with
     * `consecutiveFailures` or `failureCount`, unless there is a `slidingWindowSize`. Live.
     */
    errorThresholdPercentage?: number | undefined;
    /** With fewer calls in the window, only `consecutiveFailures` opens the circuit. Default 0.
     * Live. */
    volumeThreshold?: number | undefined;
    /** True: no failure opens the circuit in its first `rollingCountTimeout` ms. Default false. */
    allowWarmUp?: boolean | undefined;
    /** Opens after so many failures in a row, over any length of time. Default: off. Live. */
    consecutiveFailures?: number | undefined;
    /** Opens after so many failures in the window. Default: off. Live. */
    failureCount?: number | undefined;
    /** Percentages are of the last so many calls, 1 to 10000, not of the time. Default: off. */
    slidingWindowSize?: number | undefined;
    /** How many calls a decision needs. Default 10, or slidingWindowSize if that is less. */
    minimumCalls?: number | undefined;
    /** A call that takes at least so many ms is slow. Default: off. Live. */
    slowCallDuration?: number | undefined;
    /** Opens when slow calls reach this share of the completed ones, 0 to 100. Default 100.
     * Live. */
    slowCallThresholdPercentage?: number | undefined;

    // ---- How it closes

    /** How long the circuit stays open in ms, or how that grows. Default 30000. Live. */
    resetTimeout?: number | GrowingTime | undefined;
    /** How many calls may probe at once, 1 to 16. Default 1. */
    halfOpenProbes?: number | undefined;
    /**
     * How many probes must succeed before the circuit closes. Default 1. 0: no probe is needed, the
     * circuit closes by itself after resetTimeout and counts anew. Then it is never half open.
     * Live.
     */
    successThreshold?: number | undefined;
    /** ms after closing in which the admitted share of calls grows. Default 0. Live. */
    rampUp?: number | undefined;

    // ---- What is counted

    /** Length of the window in ms. Default 10000. */
    rollingCountTimeout?: number | undefined;
    /** Buckets of the window, 1 to 1000. Default 10. */
    rollingCountBuckets?: number | undefined;
    /** False: latencies are not kept, percentiles and mean are -1. Default true. */
    rollingPercentilesEnabled?: boolean | undefined;
    /** Whether `status` emits `snapshot` each bucket. Default true. */
    enableSnapshots?: boolean | undefined;
    /** Its `rotate` events begin new buckets, not the time. */
    rotateBucketController?: EventEmitter | undefined;
    /** A window to count in, perhaps that of other breakers, or counts to begin with. */
    status?: StatusClass | Partial<StatusClass.Stats> | undefined;
    /** Initial state: the `state` of a breaker's toJSON(). */
    state?: Partial<State> | undefined;

    // ---- Names

    /** Default: the name of the action, or a UUID. */
    name?: string | undefined;
    /** Default: the name. */
    group?: string | undefined;
    /** False: calls bypass the breaker until enable(). Default true. */
    enabled?: boolean | undefined;
    /** The name of a preset; other options override it. */
    preset?: PresetName | undefined;

    // ---- Sharing

    /**
     * Who shares the breaker: nobody, the threads of this process, or the processes of this user on
     * the host. They must use the same `namespace`, `name` and options. Where a scope cannot be had
     * (it needs the binary, on Linux, macOS or Windows, and room in memory), the breaker
     * takes the next smaller one, with a process warning (SEKERING_SCOPE). Default 'instance'.
     */
    scope?: 'instance' | 'process' | 'host' | undefined;
    /**
     * Whether a scope that cannot be had is an error: ERR_SCOPE_UNSUPPORTED or one of ERR_REGION_*.
     * Default false.
     */
    strictScope?: boolean | undefined;
    /** 1 to 64 letters, digits, dots, dashes or underscores. Default 'default'. */
    namespace?: string | undefined;
    /** How many processes must see failures before a circuit with the scope 'host' opens, 1 to 16.
     * Default 'any'. */
    shareTrip?: 'any' | { processes: number } | undefined;

    // ---- Cache and coalescing

    /** Whether results are kept and served, even while the circuit is open. Default false. */
    cache?: boolean | undefined;
    /** How long a result is served, in ms; 0: for ever. Default 0. Live. */
    cacheTTL?: number | undefined;
    /** How many results are kept, from 1; the oldest is dropped first. Default 16777215. */
    cacheSize?: number | undefined;
    /** The key of a call, for cache and coalescing. Default: the arguments as JSON. Live. */
    cacheGetKey?: ((...args: TI) => unknown) | undefined;
    /** Where results are kept instead of memory. */
    cacheTransport?: CacheTransport | undefined;
    /** Whether calls with the same key share one call. Default false. */
    coalesce?: boolean | undefined;
    /** How long a call is shared, ms, even after it settled; 0 or false: for ever. Default: that of
     * `timeout`. Live. */
    coalesceTTL?: number | false | undefined;
    /** How many calls are shared, from 1. Default 16777215. */
    coalesceSize?: number | undefined;
    /** A call that ends so is no longer shared. Default: none. Live. */
    coalesceResetOn?: Array<'error' | 'success' | 'timeout'> | undefined;

    // ---- Cancelling

    /** Aborted when a call times out. */
    abortController?: AbortController | undefined;
    /** Whether an aborted controller is replaced when the circuit becomes half
     * open or closes; also makes the first one. Default false. */
    autoRenewAbortController?: boolean | undefined;

    /** @deprecated without effect; see errorThresholdPercentage */
    maxFailures?: number | undefined;
  }

  export interface GrowingTime {
    /** ms after the first trip. */
    initial: number;
    /** Applies each time the circuit opens again before it has closed, 1 to 1000. Default 2. */
    factor?: number | undefined;
    /** The maximum in ms. Default Infinity. */
    max?: number | undefined;
  }

  /** What `breaker.options` shows. */
  export type ResolvedOptions<TI extends unknown[] = any[]> = Options<TI> & {
    /** ms; false: no limit. */
    timeout: number | false;
    /** ms. */
    resetTimeout: number | GrowingTime;
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

  /** Stores results. `get` may return a promise; undefined and null mean a miss. */
  export interface CacheTransport {
    /** undefined if there is none. */
    get (key: any): unknown;
    /**
     * @param value a promise of the result
     * @param expiresAt a time as in Date.now(), 0 for never
     */
    set (key: any, value: any, expiresAt: number): unknown;
    /** Removes everything. */
    flush (): unknown;
  }

  /** A breaker's state, from toJSON(). */
  export interface State {
    /** The option of this name. */
    name: string;
    /** False after disable(). */
    enabled: boolean;
    /** Whether calls pass. */
    closed: boolean;
    /** Whether calls are rejected. */
    open: boolean;
    /** Whether probes pass. */
    halfOpen: boolean;
    /** Whether it is warming up. */
    warmUp: boolean;
    /** Whether shutdown() was called. */
    shutdown: boolean;
    /** When it last opened, as in Date.now(). */
    lastTimerAt: number | undefined;
  }

  /** The arguments of each event's listeners. */
  export interface Events<TI extends unknown[] = unknown[], TR = unknown> {
    /** A call starts, before anything is decided. */
    fire: [args: TI];
    /** The action resolved, or failed with a filtered error. */
    success: [result: TR, latencyMs: number];
    /** A call failed: error, ms, arguments. */
    failure: [error: any, latencyMs: number, args: TI];
    /** A call took too long: error, ms, arguments. A failure follows. */
    timeout: [error: Error, latencyMs: number, args: TI];
    /** The circuit did not let the call pass. */
    reject: [error: Error];
    /** What the fallback returned (a promise, if it is asynchronous), and the reason. */
    fallback: [result: any, error: any];
    /** `capacity` calls are in flight. */
    semaphoreLocked: [error: Error, latencyMs: number];
    /** With a `scope`: so many transitions had no events, because this thread fell behind. */
    missed: [transitions: number];
    /** Calls are rejected from now on. */
    open: [];
    /** How long the circuit was open. */
    halfOpen: [resetTimeoutMs: number];
    /** Calls pass from now on. */
    close: [];
    /** The breaker is used no more. */
    shutdown: [];
    /** The function of healthCheck() failed. */
    healthCheckFailed: [error: any];
    /** An answer came from the option `cache`. */
    cacheHit: [];
    /** The option `cache` had no answer. */
    cacheMiss: [];
    /** A call shares one in flight. */
    coalesceCacheHit: [];
    /** There was no call in flight to share. */
    coalesceCacheMiss: [];
  }

  export type EventName = keyof Events;

  export type Listener<E extends EventName, TI extends unknown[] = unknown[], TR = unknown> =
    (...args: Events<TI, TR>[E]) => void;
}

export = CircuitBreaker;
