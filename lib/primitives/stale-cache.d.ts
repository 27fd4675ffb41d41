export interface CacheEntry<T = unknown> {
  value: T;
  /** When it was kept, ms as Date.now() counts. */
  storedAt: number;
}

/** A Map, or anything else that keeps entries; promises are allowed. */
export interface CacheStore {
  get (key: any): unknown;
  set (key: any, entry: any): unknown;
  delete (key: any): unknown;
}

export interface StaleCacheOptions {
  /** ms for which a copy is fresh. Default 900000. */
  ttl?: number | undefined;
  /**
   * ms, counted from when it was kept, for which a copy may still be answered when nothing newer is
   * to be had; at least ttl. Default 86400000.
   */
  staleTtl?: number | undefined;
  /** Copies in memory, 1 to 1000000; the least recently used one makes room. Default 1000. */
  max?: number | undefined;
  /** Where copies are kept instead. */
  store?: CacheStore | undefined;
  /** Which failures may be answered with an old copy. Default all. */
  staleIf?: ((error: any) => boolean) | undefined;
}

export interface Copy<T> {
  value: T;
  stale: boolean;
  ageMs: number;
}

export interface FetchedCopy<T> extends Copy<T> {
  /** Why a stale copy was answered. */
  error?: unknown;
}

export interface StaleCache<V = any> {
  readonly ttl: number;
  readonly staleTtl: number;
  /** The copy of `key`, fresh or not; undefined when there is none. */
  get (key: unknown): Promise<Copy<V> | undefined>;
  /** Keeps a copy. */
  set (key: unknown, value: V): Promise<void>;
  /** Forgets a copy. */
  delete (key: unknown): Promise<void>;
  /** A fresh copy; else what `load` gets, which is kept; else, when that fails, an old copy. */
  fetch<T extends V> (
    key: unknown,
    load: (context: { signal: AbortSignal }) => T | PromiseLike<T>,
    options?: { signal?: AbortSignal | undefined }
  ): Promise<FetchedCopy<T>>;
}

/**
 * A cache whose copies outlive their freshness.
 * @throws ERR_INVALID_OPTION
 */
export function staleCache<V = any> (options?: StaleCacheOptions): StaleCache<V>;
