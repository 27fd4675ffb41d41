import { StaleCache, StaleCacheOptions } from './stale-cache';

/** What a strategy returns that does not want to answer. */
export type Declined = symbol & { readonly declined: true };

interface Conditional {
  /** False declines the error. */
  when?: ((error: any, ...args: any[]) => unknown) | undefined;
  /** For reports; that of the kind unless given. */
  name?: string | undefined;
}

export interface ValueStrategy<T = any> extends Conditional {
  value: T;
}

export interface UseStrategy<T = any> extends Conditional {
  /** Called with the call's arguments and then the error. */
  use: (...argsAndError: any[]) => T;
}

export interface CacheStrategy<T = any> extends Conditional {
  /** Copies that may be old; filled by policy() and execute(). */
  cache: StaleCache<T> | StaleCacheOptions;
  /** The key of a copy; the call's, or its arguments as JSON, unless given. */
  key?: ((...args: any[]) => unknown) | undefined;
}

export interface QueueStrategy extends Conditional {
  /** Called like `use`; of an object, enqueue or push is called with the call's arguments. */
  queue:
    | ((...argsAndError: any[]) => unknown)
    | { enqueue (...args: any[]): unknown }
    | { push (...args: any[]): unknown };
}

/** What a queue strategy answers. */
export interface Queued {
  queued: true;
  error: any;
  /** What the queue returned, if anything. */
  job?: any;
}

export type Strategy = ((...argsAndError: any[]) => unknown) | ValueStrategy | UseStrategy |
  CacheStrategy | QueueStrategy;

/** What a strategy may answer. */
export type StrategyValue<S> =
  S extends (...args: any[]) => infer R ? Exclude<Awaited<R>, Declined>
    : S extends { use: (...args: any[]) => infer R } ? Exclude<Awaited<R>, Declined>
      : S extends { queue: any } ? Queued
        : S extends { cache: StaleCache<infer V> } ? V
          : S extends { cache: any } ? any
            : S extends { value: infer V } ? V
              : never;

export interface ChainCall {
  args?: readonly unknown[] | undefined;
  key?: unknown;
}

export interface FallbackChain<T = any> {
  /** As a breaker's fallback. Rejects with the error when all strategies decline or fail. */
  (...argsAndError: any[]): Promise<T>;
  /** The same, and which strategy it was. */
  answer (error: unknown, call?: ChainCall): Promise<{
    value: T; by: string; stale: boolean; ageMs: number;
  }>;
  /** Keeps a copy in the chain's caches. */
  remember (value: unknown, call?: ChainCall): Promise<void>;
  /** Calls fn, remembers what it returns, and falls back when it fails. */
  execute<A extends readonly any[], R> (
    fn: (...args: A) => R, call?: { args?: A | undefined; key?: unknown }
  ): Promise<Awaited<R> | T>;
}

/**
 * Strategies that are asked in turn when a call has failed; the first that does not decline
 * answers. If all decline or fail, the call's own error is what remains.
 * @throws ERR_INVALID_OPTION
 */
export function fallbackChain<const S extends readonly Strategy[]> (
  strategies: S,
  options?: { onError?: ((error: unknown, name: string) => void) | undefined }
): FallbackChain<StrategyValue<S[number]>>;

export namespace fallbackChain {
  export const declined: Declined;
}
