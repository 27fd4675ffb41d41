import { EventEmitter } from 'node:events';
import { SekeringError } from '../base/errors';
import { DeadLetters } from './dead-letters';
import { Deliveries } from './deliveries';
import { Fleet } from './fleet';
import { Idempotency, IdempotencyOptions } from './idempotency';
import { ChannelDefinition, Outbox } from './outbox';
import { Payments, PaymentsOptions } from './payments';

/**
 * Whatever runs SQL: a client of pg's within a transaction, or what `store.transaction` hands over.
 * The latter's rows, and those of `store.query`, are the same on both engines: numbers for int2,
 * int4 and floats, Date for timestamptz, Buffer for bytea, parsed JSON, booleans, and text for all
 * other types, such as bigint and numeric.
 */
export interface SqlClient {
  query (text: string, values?: unknown[]): Promise<{ rows: any[]; rowCount?: number | null }>;
}

export interface StoreOptions {
  /** PostgreSQL, `postgres://user:password@host:port/database`; needs the package pg. */
  url?: string | undefined;
  /**
   * A pool of pg's, of at least 2 connections, one of which listens; it stays the caller's, and its
   * sessions keep their settings.
   */
  pool?: object | undefined;
  /** Embedded: a folder for one process, default 'sekering-data'; needs @electric-sql/pglite. */
  directory?: string | undefined;
  /** 'memory': embedded, and gone at close. Of these four at most one is given. */
  store?: 'memory' | undefined;
  /** Schema for all tables, default 'sekering'. */
  schema?: string | undefined;
  /** Whether to bring the schema up to date when opening, default true; see `migrate()`. */
  migrate?: boolean | undefined;
  /** Connections of the pool made for `url`, 1 to 1000, default 10; one more listens. */
  connections?: number | undefined;
  /** ms after which a connection or a statement is given up, 100 to 600000, default 10000. */
  timeout?: number | undefined;
  /** Channels of the outbox besides EMAIL, WHATSAPP and those that payments need. */
  channels?: Record<string, ChannelDefinition> | undefined;
  idempotency?: IdempotencyOptions | undefined;
  payments?: PaymentsOptions | undefined;
}

export interface StoreHealth {
  ok: boolean;
  engine: 'postgresql' | 'pglite';
  latencyMs: number;
  /** Why not, without secrets. */
  error?: string | undefined;
}

/**
 * Emits 'warning'(error) for what heals by itself, such as a lost connection. An open store that is
 * idle keeps no process alive.
 */
export interface Store extends EventEmitter {
  readonly engine: 'postgresql' | 'pglite';
  /** The schema's name as it stands in SQL, quoted. */
  readonly schema: string;
  readonly outbox: Outbox;
  readonly deadLetters: DeadLetters;
  readonly deliveries: Deliveries;
  readonly idempotency: Idempotency;
  readonly payments: Payments;
  readonly fleet: Fleet;
  /**
   * Runs `work` in one transaction, READ COMMITTED unless its first statement asks for more:
   * committed when its promise fulfils, else rolled back. Rejects
   * with what `work` rejected with, or with ERR_STORE_QUERY if a statement had failed in it.
   */
  transaction<T> (work: (client: SqlClient) => Promise<T>): Promise<T>;
  /** One statement by itself. */
  query (text: string, values?: unknown[]): Promise<{ rows: any[]; rowCount: number }>;
  /**
   * Hears what is notified on a channel of the database, of at most 63 bytes. What is notified
   * while the connection is lost is lost as well; `onReconnect` says that this may have happened.
   * @returns what ends it
   */
  listen (channel: string, onPayload: (payload: string) => void,
    onReconnect?: (() => void) | undefined): Promise<() => Promise<void>>;
  /** Applies the migrations that are missing. ERR_STORE_SCHEMA_VERSION if a later release did. */
  migrate (): Promise<{ applied: string[]; version: number }>;
  /** Asks the database for as little as can be; never rejects. */
  health (): Promise<StoreHealth>;
  /** Deletes what retention no longer keeps, in batches. */
  cleanUp (options?: RetentionOptions): Promise<Record<string, number>>;
  /**
   * Waits for what is under way, up to `timeout` ms, and cuts it off then. It does not wait for
   * messages that a worker is still sending, so stop workers first: otherwise the outcome cannot be
   * recorded, and the message returns when its lease ends.
   */
  close (): Promise<void>;
}

/** Ages in ms after which rows are deleted; false keeps them. */
export interface RetentionOptions {
  /** Sent and cancelled messages, default 7 days. */
  sent?: number | false | undefined;
  /** Dead letters, default 30 days. */
  dead?: number | false | undefined;
  /** Idempotency keys past their expiry, default 24 hours. */
  idempotency?: number | false | undefined;
  /** What providers told of messages, since they last did; default 30 days. */
  deliveries?: number | false | undefined;
  /** Entries of the audit log, default 365 days. */
  audit?: number | false | undefined;
  /**
   * Notifications about no order of ours (unknown_order, forged, invalid), counted from when they
   * last came; default 30 days.
   */
  foreignEvents?: number | false | undefined;
  /** All payment events, default false. */
  events?: number | false | undefined;
  /** Rows of one statement, 1 to 100000, default 1000. */
  batchSize?: number | undefined;
}

export type StoreErrorCode =
  | 'ERR_STORE_CLOSED' | 'ERR_STORE_UNREACHABLE' | 'ERR_STORE_SCHEMA_VERSION'
  | 'ERR_STORE_POOLER' | 'ERR_STORE_VALUE'
  | 'ERR_STORE_DIRECTORY_LOCKED' | 'ERR_STORE_QUERY' | 'ERR_STORE_OLD_SNAPSHOT'
  | 'ERR_OUTBOX_MESSAGE' | 'ERR_OUTBOX_LEFT_BEHIND'
  | 'ERR_OUTBOX_CHANNEL' | 'ERR_OUTBOX_TOO_LARGE' | 'ERR_OUTBOX_TEMPLATE'
  | 'ERR_IDEMPOTENCY_MISMATCH'
  | 'ERR_IDEMPOTENCY_IN_PROGRESS' | 'ERR_IDEMPOTENCY_RESULT' | 'ERR_IDEMPOTENCY_LOST'
  | 'ERR_PAYMENT_ORDER';

export class StoreError extends SekeringError {
  readonly code: StoreErrorCode;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The database's own code, where it was the database that refused. */
  readonly sqlState?: string | undefined;
  /** Of ERR_OUTBOX_LEFT_BEHIND: how many messages, and the ids of the first 20. */
  readonly count?: number | undefined;
  readonly ids?: string[] | undefined;
  /** Of rejected messages: all faults, with paths such as recipient or [3].recipient. */
  readonly faults?: { path: string; message: string }[] | undefined;
}

/**
 * Opens the store, and makes or migrates its schema.
 * @throws ERR_INVALID_OPTION, ERR_MISSING_PEER, ERR_STORE_…: ERR_STORE_POOLER behind a pooler in
 *   transaction or statement mode, ERR_STORE_VALUE when values do not come back as they were sent
 */
export function openStore (options?: StoreOptions): Promise<Store>;
