import { SqlClient } from './store';

export interface IdempotencyOptions {
  /** How long a result is kept in ms, default 3600000, at most 366 days. */
  ttl?: number | undefined;
  /**
   * ms after which the key of a process that died is free, 1000 to 86400000, default 60000. A
   * living process extends its lock as long as it works. Keep this well above the longest time that
   * the process or the database may stall: otherwise the work may be done twice.
   */
  lockTimeout?: number | undefined;
  /**
   * ms to wait for the same key in flight, default 0. Then ERR_IDEMPOTENCY_IN_PROGRESS, with
   * `retryAfterMs`: the time until its lock ends at the latest.
   */
  wait?: number | undefined;
  /** Whether a rejection is stored (name, message, code) and replayed, default false. */
  storeFailures?: boolean | undefined;
}

export interface IdempotencyCall extends IdempotencyOptions {
  /** What the request says, as JSON. Another one with the same key: ERR_IDEMPOTENCY_MISMATCH. */
  payload?: unknown;
  /**
   * Whether the work runs in a transaction that commits its result as well, default false. Then
   * what it changes through `client` is changed exactly once, even if a process dies.
   */
  transaction?: boolean | undefined;
}

export interface IdempotencyContext {
  /**
   * Aborts if the lock is lost, or if it expires while the database does not answer: another
   * process may be doing the same work. A process that stood still learns this only afterwards: see
   * `confirm`.
   */
  signal: AbortSignal;
  /** A fencing token, larger than that of every earlier holder: a bigint as a decimal string. */
  token: string;
  /**
   * Extends the lock now: after it, the work has another `lockTimeout`. Call it before each step
   * that must not be done twice, since `signal` aborts only after a process that stood still has
   * asked the database. Rejects with ERR_IDEMPOTENCY_LOST if another process may have the key, or
   * with an error of the store if the database does not answer: stop the work then. With
   * `transaction: true`, nobody else gets the key until the transaction ends.
   */
  confirm (): Promise<void>;
  /** Only with `transaction: true`. */
  client: SqlClient;
}

export interface IdempotencyRecord {
  /** Whether the work under the key has ended. */
  status: 'in_progress' | 'done';
  /** Whether `response` is an error: `{ name, message, code }`. */
  failed: boolean;
  /** What the work returned, as JSON. */
  response: any;
  /** When the work began. */
  createdAt: Date;
  /** After this time the key is free. */
  expiresAt: Date;
}

export interface Idempotency {
  /** SHA-256 of a payload, in hexadecimal. The order of members does not matter (RFC 8785). */
  keyOf (payload: unknown): string;
  /**
   * Calls `work` once per key (1 to 512 characters); all other calls get its result.
   *
   * The result is JSON of at most 4 Mi characters, or undefined. For a result that JSON cannot
   * express (a Date, a bigint, a class's instance) this call and all replays reject with
   * ERR_IDEMPOTENCY_RESULT; the work is not done again. A call that lost its lock gets the result
   * of the next holder, or ERR_IDEMPOTENCY_LOST.
   */
  run<T> (
    key: string, work: (context: IdempotencyContext) => Promise<T> | T, options?: IdempotencyCall
  ): Promise<{ value: T; replayed: boolean }>;
  /** What is stored for a key, unless it has expired. */
  get (key: string): Promise<IdempotencyRecord | undefined>;
  /** Frees a key. Resolves with whether it was there. */
  forget (key: string): Promise<boolean>;
}
