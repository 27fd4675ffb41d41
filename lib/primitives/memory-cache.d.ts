/** A cache in memory: the default `cacheTransport` of a breaker. */
declare class MemoryCache<Value = unknown, Key = unknown> {
  /**
   * @param maxEntries how many are kept, 16777215 unless given; a new one beyond that replaces the
   *   oldest
   * @throws ERR_INVALID_OPTION
   */
  constructor (maxEntries?: number | null);

  readonly cache: Map<Key, { readonly value: Value; readonly expiresAt: number }>;
  maxEntries: number;

  /** The value; undefined only when there is none, or none that is still good. */
  get (key: Key): Value | undefined;

  /** @param expiresAt ms of the calendar, as Date.now() counts; 0 (the default) for never */
  set (key: Key, value: Value, expiresAt?: number): void;

  delete (key: Key): void;

  /** Removes all. */
  flush (): void;
}

export = MemoryCache;
