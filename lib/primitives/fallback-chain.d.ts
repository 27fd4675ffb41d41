import { StaleCache, StaleCacheOptions } from './stale-cache';

/** A strategy returns this to decline. */
export type Declined = symbol & { readonly declined: true };

interface Conditional {
  /** False declines the error. */
  when?: ((error: any, ...args: any[]) => unknown) | undefined;
  /** For reports; default: the kind. */
  name?: string | undefined;
}

export interface ValueStrategy<T = any> extends Conditional {
  /** The answer. */
  value: T;
}

export interface UseStrategy<T = any> extends Conditional {
  /** Called with the call's arguments and the error. */
  use: (...argsAndError: any[]) => T;
}

export interface CacheStrategy<T = any> extends Conditional {
  /** Copies that may be old; filled by policy() and execute(). */
  cache: StaleCache<T> | StaleCacheOptions;
  /** The key of a copy. Default: the call's key, or its arguments as JSON. */
  key?: ((...args: any[]) => unknown) | undefined;
}

export interface QueueStrategy extends Conditional {
  /** A function called like `use`, or an object whose enqueue or push gets the call's arguments. */
  queue:
    | ((...argsAndError: any[]) => unknown)
    | { enqueue (...args: any[]): unknown }
    | { push (...args: any[]): unknown };
}

/** The answer of a queue strategy. */
export interface Queued {
  /** Tells it from a real answer. */
  queued: true;
  /** Because of which it was queued. */
  error: any;
  /** The result of the queue, if any. */
  job?: any;
}

export type Strategy = ((...argsAndError: any[]) => unknown) | ValueStrategy | UseStrategy |
  CacheStrategy | QueueStrategy;

/** The answer of a strategy. */
export type StrategyValue<S> =
  S extends (...args: any[]) => infer R ? Exclude<Awaited<R>, Declined>
    : S extends { use: (...args: any[]) => infer R } ? Exclude<Awaited<R>, Declined>
      : S extends { queue: any } ? Queued
        : S extends { cache: StaleCache<infer V> } ? V
          : S extends { cache: any } ? any
            : S extends { value: infer V } ? V
              : never;

export interface ChainCall {
  /** The arguments for the strategies. Default: none. */
  args?: readonly unknown[] | undefined;
  /** Under which a cache looks for an old answer. Default: made of the arguments. */
  key?: unknown;
}

export interface FallbackChain<T = any> {
  /** Works as a breaker's fallback. Rejects with the error when all strategies decline or fail. */
  (...argsAndError: any[]): Promise<T>;
  /** The same, with the name of the strategy. */
  answer (error: unknown, call?: ChainCall): Promise<{
    /** The answer, which strategy gave it, whether it is old, and how old in ms. */
    value: T; by: string; stale: boolean; ageMs: number;
  }>;
  /** Stores a copy in the chain's caches. */
  remember (value: unknown, call?: ChainCall): Promise<void>;
  /** Calls fn and remembers its result; falls back if it fails. */
  execute<A extends readonly any[], R> (
    fn: (...args: A) => R, call?: { args?: A | undefined; key?: unknown }
  ): Promise<Awaited<R> | T>;
}

/**
 * A list of strategies for a call that failed, tried in order; the first that does not decline
 * answers. If all decline or fail, the call rejects with its own error.
 * @throws ERR_INVALID_OPTION
 */
export function fallbackChain<const S extends readonly Strategy[]> (
  strategies: S,
  options?: { onError?: ((error: unknown, name: string) => void) | undefined }
): FallbackChain<StrategyValue<S[number]>>;

export namespace fallbackChain {
  export const declined: Declined;
}
