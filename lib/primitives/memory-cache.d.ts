/** A cache in memory: the default `cacheTransport` of a breaker. */
declare class MemoryCache {
  /** @param maxEntries a new one beyond that replaces the oldest; default 16,777,215 */
  constructor (maxEntries?: number);

  readonly maxEntries: number;
  /** The value, or undefined when there is none that is still good. */
  get (key: unknown): unknown;
  /** @param expiresAt ms as Date.now() counts; 0 (default) for never */
  set (key: unknown, value: unknown, expiresAt?: number): void;
  delete (key: unknown): void;
  flush (): void;
}

export = MemoryCache;
