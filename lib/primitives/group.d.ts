import { EventEmitter } from 'node:events';
import CircuitBreaker = require('./breaker');

/** A breaker per key, made on demand, bounded in number, let go when idle. */
export class BreakerGroup<TI extends unknown[] = unknown[], TR = unknown, K = unknown>
  extends EventEmitter {
  constructor (
    action: (...args: TI) => TR | PromiseLike<TR>, options?: BreakerGroup.Options<TI>);

  readonly action: (...args: TI) => TR | PromiseLike<TR>;
  readonly name: string;
  readonly max: number;
  /** ms */
  readonly idleTtl: number;
  /** How many breakers there are. */
  readonly size: number;

  /** Calls the action with `args` through the breaker of `key`. */
  fire (key: K, ...args: TI): Promise<TR>;
  /** The breaker of `key`, made if there is none. */
  get (key: K): CircuitBreaker<TI, TR>;
  has (key: K): boolean;
  /** Closes the breaker of `key` and forgets what it has counted; false if there was none. */
  reset (key: K): boolean;
  keys (): K[];
  entries (): Array<[K, CircuitBreaker<TI, TR>]>;
  shutdown (): void;

  /** The events of all breakers, with the key first. */
  on<E extends keyof CircuitBreaker.Events<TI, TR>> (
    event: E, listener: (key: K, ...args: CircuitBreaker.Events<TI, TR>[E]) => void): this;
  on (event: string | symbol, listener: (...args: any[]) => void): this;
  once<E extends keyof CircuitBreaker.Events<TI, TR>> (
    event: E, listener: (key: K, ...args: CircuitBreaker.Events<TI, TR>[E]) => void): this;
  once (event: string | symbol, listener: (...args: any[]) => void): this;
}

export namespace BreakerGroup {
  interface Options<TI extends unknown[] = any[]> extends CircuitBreaker.Options<TI> {
    /** Breakers kept at once, default 10000. */
    max?: number | undefined;
    /** ms after which a closed breaker that is not used is let go, default 600000. */
    idleTtl?: number | undefined;
  }
}
