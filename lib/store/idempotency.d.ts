export interface IdempotencyOptions {
  /** ms that a result is kept, default 3600000. */
  ttl?: number | undefined;
  /** ms after which the key of a holder that died is free, default 60000. */
  lockTimeout?: number | undefined;
  /** ms to wait for the same key in flight, default 0: ERR_IDEMPOTENCY_IN_PROGRESS at once. */
  wait?: number | undefined;
  /** Whether a rejection is stored and replayed, default false. */
  storeFailures?: boolean | undefined;
}

export interface IdempotencyCall extends IdempotencyOptions {
  /** What the request says; another payload under the same key is ERR_IDEMPOTENCY_MISMATCH. */
  payload?: unknown;
}

export interface Idempotency {
  /** SHA-256 of a payload, whatever the order of its members. */
  keyOf (payload: unknown): string;
  /** Calls `work` once per key; everybody else gets its result (JSON). */
  run<T> (key: string, work: () => Promise<T>, options?: IdempotencyCall):
    Promise<{ value: T; replayed: boolean }>;
  get (key: string): Promise<{
    status: 'in_progress' | 'done'; response: any; createdAt: Date; expiresAt: Date;
  } | undefined>;
  forget (key: string): Promise<boolean>;
}
