import { EventEmitter } from 'node:events';
import CircuitBreaker = require('./breaker');

/**
 * A breaker per key, made on demand, limited in number, evicted when idle. `K` is the type of the
 * keys: any key of a Map.
 */
export class BreakerGroup<TI extends unknown[] = unknown[], TR = unknown, K = unknown>
  extends EventEmitter {
  /**
   * @param action called with the arguments after the key
   * @throws TypeError or RangeError with code ERR_INVALID_OPTION
   */
  constructor (
    action: (...args: TI) => TR | PromiseLike<TR>, options?: BreakerGroup.Options<TI>);

  /** What each breaker calls. */
  action (...args: TI): TR | PromiseLike<TR>;
  /** The option, else the name of the action, else 'group'. */
  readonly name: string;
  /** Breakers that it keeps. */
  readonly max: number;
  /** ms */
  readonly idleTtl: number;
  /** How many breakers there are. */
  readonly size: number;

  /**
   * Calls the action with `args` through the breaker of `key`. If none can be made (a shared one
   * whose region is full, or whose name is too long), it rejects; `get` throws.
   */
  fire (key: K, ...args: TI): Promise<TR>;
  /**
   * The breaker of `key`, made if there is none. A breaker that you keep may be evicted to make
   * room or because it is idle. Then `isShutdown` is true, its listeners get no changes of state.
   * Calls through it go to the current breaker of its key, and `stats` are those of that breaker.
   * Calls in flight end as they would have. After the group was shut down, calls reject with
   * ESHUTDOWN.
   */
  get (key: K): BreakerGroup.Member<TI, TR, K>;
  /** Whether there is a breaker for `key` now. */
  has (key: K): boolean;
  /** Closes the breaker of `key` and clears its counts; false if there is none. */
  reset (key: K): boolean;
  /** The keys that have a breaker. */
  keys (): K[];
  /** The keys with their breakers. */
  entries (): Array<[K, BreakerGroup.Member<TI, TR, K>]>;
  /** Shuts down and drops all breakers. */
  shutdown (): void;

  /** The events of all breakers, with the key first. */
  on<E extends CircuitBreaker.EventName> (
    event: E, listener: BreakerGroup.Listener<E, TI, TR, K>): this;
  once<E extends CircuitBreaker.EventName> (
    event: E, listener: BreakerGroup.Listener<E, TI, TR, K>): this;
  off<E extends CircuitBreaker.EventName> (
    event: E, listener: BreakerGroup.Listener<E, TI, TR, K>): this;
  addListener<E extends CircuitBreaker.EventName> (
    event: E, listener: BreakerGroup.Listener<E, TI, TR, K>): this;
  removeListener<E extends CircuitBreaker.EventName> (
    event: E, listener: BreakerGroup.Listener<E, TI, TR, K>): this;
  prependListener<E extends CircuitBreaker.EventName> (
    event: E, listener: BreakerGroup.Listener<E, TI, TR, K>): this;
  prependOnceListener<E extends CircuitBreaker.EventName> (
    event: E, listener: BreakerGroup.Listener<E, TI, TR, K>): this;
}

export namespace BreakerGroup {
  /** The options of each breaker, and two more. A breaker's name is `<name>/<key>`. */
  interface Options<TI extends unknown[] = any[]> extends CircuitBreaker.Options<TI> {
    /**
     * Breakers at once, 1 to 1000000; beyond that, the least recently used one that is not open
     * is evicted, and an open one only if all are open. Default 10000.
     */
    max?: number | undefined;
    /**
     * A breaker that is not open is evicted when idle for so many ms, from 1. Default 600000.
     */
    idleTtl?: number | undefined;
  }

  type Member<TI extends unknown[] = unknown[], TR = unknown, K = unknown> =
    CircuitBreaker<TI, TR> & { readonly key: K };

  type Listener<
    E extends CircuitBreaker.EventName, TI extends unknown[] = unknown[], TR = unknown, K = unknown
  > = (key: K, ...args: CircuitBreaker.Events<TI, TR>[E]) => void;
}
