import { EventEmitter } from 'node:events';
import { SekeringError } from '../base/errors';
import { DeadLetters } from './dead-letters';
import { Deliveries } from './deliveries';
import { Fleet } from './fleet';
import { Idempotency, IdempotencyOptions } from './idempotency';
import { ChannelDefinition, Outbox } from './outbox';
import { Payments, PaymentsOptions } from './payments';

/**
 * Runs SQL: a client of pg within a transaction, or the one that `store.transaction` passes. Rows
 * of the latter, and those of `store.query`, are the same on both engines: numbers for int2, int4
 * and floats, Date for timestamptz, Buffer for bytea, parsed JSON, booleans, and text for all other
 * types, such as bigint and numeric.
 */
export interface SqlClient {
  /** Runs a statement, with `values` for $1, $2 and so on. */
  query (text: string, values?: unknown[]): Promise<{ rows: any[]; rowCount?: number | null }>;
}

export interface StoreOptions {
  /**
   * Of PostgreSQL: `postgres://user:password@host:port/database`, with one host. `@ / ? #` in names
   * and passwords are percent-encoded. What is missing comes from PGHOST, PGPORT, PGUSER,
   * PGPASSWORD and PGDATABASE; `?host=/var/run/postgresql` names the folder of a socket. Needs the
   * package pg.
   */
  url?: string | undefined;
  /**
   * An address of the same database that bypasses a pooler in transaction mode, for one connection
   * that uses LISTEN. Without it, a store behind such a pooler polls every 2 s, and emits the
   * warning ERR_STORE_DEAF.
   */
  directUrl?: string | undefined;
  /**
   * A pool of pg with at least 2 connections, one of which listens. It stays the caller's, and its
   * sessions keep their settings.
   */
  pool?: object | undefined;
  /**
   * A folder for an embedded database, for one process; default 'sekering-data'. Needs
   * @electric-sql/pglite.
   */
  directory?: string | undefined;
  /**
   * Whether the embedded database is in memory and gone at close, default false. Pass at most one
   * of `url`, `pool`, `directory` and `memory: true`.
   */
  memory?: boolean | undefined;
  /**
   * Of all tables, default 'sekering'. 1 to 63 bytes; not information_schema, and nothing that
   * begins with pg_. Stores with different schemas in one database have nothing in common.
   */
  schema?: string | undefined;
  /**
   * Whether to bring the schema up to date when opening, default true. With false, a schema that is
   * not up to date is rejected with ERR_STORE_NOT_MIGRATED; see `migrateStore`.
   */
  migrate?: boolean | undefined;
  /** Of the pool that is made for `url`, 1 to 1000, default 10. One more listens. */
  connections?: number | undefined;
  /** ms for a connection or a statement, 100 to 600000, default 10000. */
  timeout?: number | undefined;
  /** Channels of the outbox besides EMAIL, WHATSAPP and those of payments. */
  channels?: Record<string, ChannelDefinition> | undefined;
  /** Defaults of `store.idempotency`. */
  idempotency?: IdempotencyOptions | undefined;
  /** Parts of `store.payments`: a client of Midtrans, hooks. */
  payments?: PaymentsOptions | undefined;
}

export interface StoreHealth {
  /** Whether the database answers. */
  ok: boolean;
  /** Which database it is. */
  engine: 'postgresql' | 'pglite';
  /** How long its answer took, in ms. */
  latencyMs: number;
  /** Whether a pooler in transaction mode is in front of the database. */
  pooled?: true | undefined;
  /** Why not, without secrets; ERR_STORE_READ_ONLY if it answers but takes no writes. */
  code?: StoreErrorCode | undefined;
  /** The code of the error, if it is not ok. */
  error?: string | undefined;
}

/**
 * Emits 'warning'(error) for faults that heal by themselves, such as a lost connection. An idle
 * store keeps no process alive.
 */
export interface Store extends EventEmitter {
  /** Which database it is. */
  readonly engine: 'postgresql' | 'pglite';
  /** The name of the schema, quoted for SQL. */
  readonly schema: string;
  /** Messages. */
  readonly outbox: Outbox;
  /** Messages that were given up. */
  readonly deadLetters: DeadLetters;
  /** What providers reported about sent messages. */
  readonly deliveries: Deliveries;
  /** Work that is done once for each key. */
  readonly idempotency: Idempotency;
  /** Orders, and notifications of Midtrans. */
  readonly payments: Payments;
  /** Breakers that all hosts share. */
  readonly fleet: Fleet;
  /**
   * Runs `work` in one transaction, which is committed when its promise fulfils, and else rolled
   * back. It is READ COMMITTED unless its first statement asks for more. Rejects as `work` does, or
   * with ERR_STORE_QUERY if a statement in it failed.
   */
  transaction<T> (work: (client: SqlClient) => Promise<T>): Promise<T>;
  /** Runs one statement by itself. */
  query (text: string, values?: unknown[]): Promise<{ rows: any[]; rowCount: number }>;
  /**
   * Listens to a channel of the database, whose name has 1 to 63 bytes. Notifications are lost
   * while the connection is; `onReconnect` tells that this may have happened.
   * @returns stops listening
   */
  listen (channel: string, onPayload: (payload: string) => void,
    onReconnect?: (() => void) | undefined): Promise<() => Promise<void>>;
  /**
   * Applies missing migrations; an open store has none. `migrateStore` is for a role that may.
   * @throws ERR_STORE_SCHEMA_VERSION if a later release has migrated the schema
   */
  migrate (): Promise<{ applied: string[]; version: number }>;
  /** Whether the database answers and takes writes. Never rejects. */
  health (): Promise<StoreHealth>;
  /** Deletes rows past their retention, in batches. */
  cleanUp (options?: RetentionOptions): Promise<Record<string, number>>;
  /**
   * Stops running workers, waits up to `timeout` ms for running statements, and then aborts them.
   * From then on, calls reject with ERR_STORE_CLOSED. It does not wait for messages that are still
   * being sent, nor for work under an idempotency key: these keep their leases and locks, and their
   * outcomes are recorded. Then the connections are closed. This does not keep the process alive.
   */
  close (): Promise<void>;
}

/** Ages in ms after which rows are deleted; false keeps them. */
export interface RetentionOptions {
  /** Sent and cancelled messages, default 7 days. */
  sent?: number | false | undefined;
  /** Dead letters, default 30 days. */
  dead?: number | false | undefined;
  /** Idempotency keys since they were taken, default 24 hours; never before their `ttl` ends. */
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
  /** All payment events, in ms, default false. */
  events?: number | false | undefined;
  /** Minutes of the chart of the whole service, default 7 days. */
  minutes?: number | false | undefined;
  /** Notes of operators, default 365 days. */
  notes?: number | false | undefined;
  /** Breakers of the fleet that are not open, since their last transition; default 90 days. */
  fleet?: number | false | undefined;
  /** Rows of one statement, 1 to 100000, default 1000. */
  batchSize?: number | undefined;
}

export type StoreErrorCode =
  | 'ERR_STORE_CLOSED' | 'ERR_STORE_UNREACHABLE' | 'ERR_STORE_SCHEMA_VERSION'
  | 'ERR_STORE_NOT_MIGRATED' | 'ERR_STORE_READ_ONLY'
  | 'ERR_STORE_POOLER' | 'ERR_STORE_DEAF' | 'ERR_STORE_VALUE'
  | 'ERR_STORE_DIRECTORY_LOCKED' | 'ERR_STORE_QUERY' | 'ERR_STORE_OLD_SNAPSHOT'
  | 'ERR_OUTBOX_MESSAGE' | 'ERR_OUTBOX_LEFT_BEHIND'
  | 'ERR_OUTBOX_CHANNEL' | 'ERR_OUTBOX_TOO_LARGE' | 'ERR_OUTBOX_TEMPLATE'
  | 'ERR_IDEMPOTENCY_MISMATCH'
  | 'ERR_IDEMPOTENCY_IN_PROGRESS' | 'ERR_IDEMPOTENCY_RESULT' | 'ERR_IDEMPOTENCY_LOST'
  | 'ERR_PAYMENT_ORDER';

export class StoreError extends SekeringError {
  /** Stable; for programs. */
  readonly code: StoreErrorCode;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The database's own code if it was the database that refused. */
  readonly sqlState?: string | undefined;
  /** Of ERR_OUTBOX_LEFT_BEHIND: how many messages, and the ids of the first 20. */
  readonly count?: number | undefined;
  /** Of the messages that the error is about. */
  readonly ids?: string[] | undefined;
  /** Of rejected messages: all faults, with paths such as recipient or [3].recipient. */
  readonly faults?: { path: string; message: string }[] | undefined;
}

/**
 * Opens the store, and creates or migrates its schema.
 * @throws ERR_INVALID_OPTION, ERR_MISSING_PEER, ERR_STORE_POOLER behind a pooler in statement
 *   mode, ERR_STORE_READ_ONLY on a standby (retryable), ERR_STORE_NOT_MIGRATED with
 *   `migrate: false`, ERR_STORE_VALUE if values do not come back as they were sent, ERR_STORE_…
 */
export function openStore (options?: StoreOptions): Promise<Store>;

/**
 * Applies the missing migrations and closes the database: for the role that owns the schema, while
 * the role that opens the store may have fewer rights. Takes the options of `openStore`.
 * @throws as openStore; ERR_STORE_SCHEMA_VERSION if a later release has migrated the schema
 */
export function migrateStore (options?: StoreOptions):
Promise<{ applied: string[]; version: number }>;
