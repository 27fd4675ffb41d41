import { SqlClient } from './store';

export interface IdempotencyOptions {
  /** ms that a result is kept, default 3600000, at most 366 days. */
  ttl?: number | undefined;
  /**
   * ms after which the key of a holder that died is free, 1000 to 86400000, default 60000. A
   * living holder extends its lock for as long as it works. Keep it well above the longest time
   * that the process or the database may stall: otherwise the work may be done twice.
   */
  lockTimeout?: number | undefined;
  /**
   * ms to wait for the same key in flight, default 0: ERR_IDEMPOTENCY_IN_PROGRESS at once, with
   * `retryAfterMs`, the time until its lock ends at the latest.
   */
  wait?: number | undefined;
  /** Whether a rejection is stored (name, message, code) and replayed, default false. */
  storeFailures?: boolean | undefined;
}

export interface IdempotencyCall extends IdempotencyOptions {
  /** What the request says, as JSON; another one under the same key is ERR_IDEMPOTENCY_MISMATCH. */
  payload?: unknown;
  /**
   * Whether the work runs in a transaction that commits together with its result, default false:
   * then what it changes through `client` is changed exactly once, whenever a process dies.
   */
  transaction?: boolean | undefined;
}

export interface IdempotencyContext {
  /**
   * Aborts when the lock is lost, or expires while the database does not answer: another process
   * may be doing the same work.
   */
  signal: AbortSignal;
  /** A fencing token: larger than that of every earlier holder. A bigint as a decimal string. */
  token: string;
  /** Only with `transaction: true`. */
  client: SqlClient;
}

export interface IdempotencyRecord {
  status: 'in_progress' | 'done';
  /** Whether `response` is an error: `{ name, message, code }`. */
  failed: boolean;
  response: any;
  createdAt: Date;
  expiresAt: Date;
}

export interface Idempotency {
  /** SHA-256 of a payload, in hexadecimal, whatever the order of its members (RFC 8785). */
  keyOf (payload: unknown): string;
  /**
   * Calls `work` once per key (1 to 512 characters); everybody else gets its result.
   *
   * The result is JSON of at most 4 Mi characters, or undefined. What JSON cannot express (a Date,
   * a bigint, a class's instance) is ERR_IDEMPOTENCY_RESULT, for this call and the replays: the
   * work is not done again. A holder that lost its lock gets what the one after it has stored, or
   * ERR_IDEMPOTENCY_LOST.
   */
  run<T> (
    key: string, work: (context: IdempotencyContext) => Promise<T> | T, options?: IdempotencyCall
  ): Promise<{ value: T; replayed: boolean }>;
  /** What is stored under a key, unless it has expired. */
  get (key: string): Promise<IdempotencyRecord | undefined>;
  /** Frees a key. Whether it was there. */
  forget (key: string): Promise<boolean>;
}
