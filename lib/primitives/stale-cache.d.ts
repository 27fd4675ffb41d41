export interface CacheEntry<T = unknown> {
  /** What was kept. */
  value: T;
  /** When it was stored, as in Date.now(). */
  storedAt: number;
}

/** A Map, or another store of entries; it may return promises. */
export interface CacheStore {
  /** undefined if there is none. */
  get (key: any): unknown;
  /** Keeps an entry under a key. */
  set (key: any, entry: any): unknown;
  /** Removes an entry. */
  delete (key: any): unknown;
}

export interface StaleCacheOptions {
  /** How long a copy is fresh, ms. Default 900000. */
  ttl?: number | undefined;
  /**
   * How long a copy can be used at all, in ms since it was
   * stored; at least ttl. Default 86400000.
   */
  staleTtl?: number | undefined;
  /** Copies in memory, 1 to 1000000; the least recently used one is dropped first. Default 1000. */
  max?: number | undefined;
  /** Stores the copies instead of memory. */
  store?: CacheStore | undefined;
  /** Whether an old copy may answer after this error. Default: always. */
  staleIf?: ((error: any) => boolean) | undefined;
}

export interface Copy<T> {
  /** What was kept, or has been loaded. */
  value: T;
  /** Whether it is older than `ttl`. */
  stale: boolean;
  /** How old it is, in ms. */
  ageMs: number;
}

export interface FetchedCopy<T> extends Copy<T> {
  /** The reason for a stale copy. */
  error?: unknown;
}

export interface StaleCache<V = any> {
  /** How long an answer is fresh, in ms. */
  readonly ttl: number;
  /** How long an old answer may be used, in ms. */
  readonly staleTtl: number;
  /** The copy of `key`, fresh or stale; undefined if there is none. */
  get (key: unknown): Promise<Copy<V> | undefined>;
  /** Stores a copy. */
  set (key: unknown, value: V): Promise<void>;
  /** Deletes a copy. */
  delete (key: unknown): Promise<void>;
  /** A fresh copy; else the result of `load`, which is stored; else, if that fails, an old copy. */
  fetch<T extends V> (
    key: unknown,
    load: (context: { signal: AbortSignal }) => T | PromiseLike<T>,
    options?: { signal?: AbortSignal | undefined }
  ): Promise<FetchedCopy<T>>;
}

/**
 * A cache that answers with an old copy when it cannot get a new one.
 * @throws ERR_INVALID_OPTION
 */
export function staleCache<V = any> (options?: StaleCacheOptions): StaleCache<V>;
