/** A cache in memory: the default `cacheTransport` of a breaker. */
declare class MemoryCache<Value = unknown, Key = unknown> {
  /**
   * @param maxEntries how many are kept, default 16777215; a new one beyond that replaces the
   *   oldest
   * @throws ERR_INVALID_OPTION
   */
  constructor (maxEntries?: number | null);

  /** The entries by key; times as in Date.now(). */
  readonly cache: Map<Key, { readonly value: Value; readonly expiresAt: number }>;
  /** Entries that it keeps; 0: none. */
  maxEntries: number;

  /** The value; undefined if there is none, or if it has expired. */
  get (key: Key): Value | undefined;

  /** @param expiresAt a time as in Date.now(); 0 (the default) for never */
  set (key: Key, value: Value, expiresAt?: number): void;

  /** Removes an entry. */
  delete (key: Key): void;

  /** Removes all entries. */
  flush (): void;
}

export = MemoryCache;
