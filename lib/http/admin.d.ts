import { EventEmitter } from 'node:events';
import { RequestListener } from 'node:http';
import { SessionPool } from '../clients/whatsapp';
import { Health } from '../gateway/health';
import CircuitBreaker = require('../primitives/breaker');
import { Store } from '../store';

/** A user of the admin API, who sends `Authorization: Bearer …`. */
export interface AdminToken {
  /** 16 to 512 ASCII characters without spaces. */
  token?: string | undefined;
  /** Instead of the token: its SHA-256 as 64 hexadecimal digits. */
  sha256?: string | undefined;
  /** 1 to 64 printable characters, for the audit log. */
  name: string;
  /** 'operate' includes 'read'. */
  role: 'read' | 'operate';
}

/**
 * A request over a limit gets 429. A request with a valid token counts for this token only:
 * requests without a valid token never delay or block it.
 */
export interface AdminRateLimit {
  /** Requests with one token per interval, 1 to 1000000, default 600; Infinity: no limit. */
  requests?: number | undefined;
  /**
   * Requests without a valid token per interval, from an IPv4 address or a /64 network of
   * IPv6; 1 to 1000000, default 20.
   */
  failures?: number | undefined;
  /** The same, from all addresses together; 1 to 1000000, default 1000. */
  totalFailures?: number | undefined;
  /** ms, default 60000. */
  interval?: number | undefined;
}

export interface AuditEntry {
  /** A decimal string; later entries have larger ones. */
  id: string;
  at: Date;
  /** Name of the token. */
  actor: string;
  role: 'read' | 'operate';
  address: string;
  /** Such as 'breaker.reset', 'degradation.set', 'dlq.retry'; 'refused' if the role forbids it. */
  action: string;
  target: string | null;
  reason: string | null;
  /** 'done', 'not found', 'refused', or 'failed: ' and a code. */
  result: string;
  detail: any;
}

export interface AuditOptions {
  /** Entries are kept in its table admin_audit, until `store.cleanUp` finds them old. */
  store?: Pick<Store, 'query' | 'schema'> | undefined;
  /** Gets each entry. Its texts are single lines without control characters. */
  log?: ((entry: AuditEntry) => void) | undefined;
  /** Entries kept in memory, 1 to 100000, default 1000. */
  size?: number | undefined;
}

export interface Audit {
  record (entry: {
    actor: { name: string; role: string; address: string };
    action: string; target?: string | null | undefined; reason?: string | null | undefined;
    result: string; detail?: unknown;
  }): Promise<AuditEntry>;
  /**
   * Newest first. `limit`: 1 to 1000, default 100; `before`: an id. `stored` is false if these
   * are only what this process remembers: without a store, or while the database is down.
   */
  list (filter?: { before?: string | undefined; limit?: number | undefined }):
    Promise<{ stored: boolean; entries: AuditEntry[] }>;
}

export function createAudit (options?: AuditOptions): Audit;

/** The part of a Degradation that is used. */
export interface DegradationControl extends EventEmitter {
  snapshot (): any;
  setLevel (level: string | null, options: { reason: string; by: string }): unknown;
}

export interface EventStreamOptions {
  /** Default: all breakers of this thread. New ones are found within a second. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  degradation?: DegradationControl | undefined;
  store?: Store | undefined;
  /** Its troubles become events, with a message for the operator. */
  sessions?: SessionPool<any> | undefined;
  /** Events kept for readers that reconnect with Last-Event-ID, 1 to 10000, default 256. */
  history?: number | undefined;
  /**
   * Simultaneous readers, 1 to 10000, default 64; more get 503. When all places are taken, the
   * token with the most readers loses its oldest one to a token that would still have fewer.
   */
  maxClients?: number | undefined;
  /** Bytes that a reader may lag behind before it is disconnected, from 1024, default 262144. */
  maxBuffer?: number | undefined;
  /** ms between signs of life, 10 to 3600000, default 15000. */
  heartbeat?: number | undefined;
}

/**
 * Server-sent events: breaker, degradation, dead-letter, delivery-failed, payment, payment-held,
 * session; and reset if a reader has missed more than is kept. All data has `at`, as Date.now().
 */
export interface EventStream {
  readonly clients: number;
  /** Sends an event to all readers. */
  publish (type: string, data: object): void;
  /** Answers a request. Whether the client may read must have been checked. */
  handle: RequestListener;
  /** Ends all streams, and stops listening. */
  close (): void;
}

/** @throws TypeError or RangeError ERR_INVALID_OPTION */
export function createEventStream (options?: EventStreamOptions): EventStream;

export interface BreakerHistoryOptions {
  /** Default: all breakers of this thread. The first 500 are followed. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  /** ms between samples, 10 to 3600000, default 2000. */
  interval?: number | undefined;
}

/** Figures of the last 150 samples, five minutes by default; 2.4 kB for each breaker. */
export interface BreakerHistory {
  /**
   * The breakers that GET /circuit-breakers shows with this filter, by `key`: errorRate in percent
   * and latencies in ms, for each of the times `at`; null without calls.
   */
  read (filter: { state?: string | undefined; search?: string | undefined;
    limit?: number | undefined }): {
    at: number[];
    breakers: Record<string, Record<'errorRate' | 'p50' | 'p95' | 'p99', Array<number | null>>>;
  };
  close (): void;
}

/** @throws TypeError or RangeError ERR_INVALID_OPTION */
export function createBreakerHistory (options?: BreakerHistoryOptions): BreakerHistory;

export interface AdminOptions {
  /** At most 100. Without any, every request is refused. */
  tokens?: AdminToken[] | undefined;
  rateLimit?: AdminRateLimit | undefined;
  /** Default: all breakers of this thread. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  /** Its instances can be reset by their ids. */
  sessions?: Pick<SessionPool<any>, 'reset'> | undefined;
  store?: Store | undefined;
  degradation?: DegradationControl | undefined;
  /** Served at /admin/reliability/events. */
  events?: Pick<EventStream, 'handle'> | undefined;
  /** For /admin/reliability/breaker-history. Without it, charts begin when the page is opened. */
  history?: Pick<BreakerHistory, 'read'> | undefined;
  /** Its report is at /admin/reliability/health. */
  health?: Pick<Health, 'check'> | undefined;
  /** Returns an object for 'json', a page for 'html'. */
  report?: ((options: { format: 'json' | 'html' }) => unknown) | undefined;
  /** Default: its own one, in the store if there is one. */
  audit?: Audit | undefined;
  /** Gets the entries of that audit log. */
  log?: ((entry: AuditEntry) => void) | undefined;
  /** Gets errors that were answered with 500; default: a process warning. */
  onError?: ((error: unknown, req: any) => void) | undefined;
}

/**
 * Express router of /admin/reliability/… and /reset-circuit-breaker/:id.
 * @throws TypeError or RangeError ERR_INVALID_OPTION; ERR_MISSING_PEER without express
 */
export function createAdminRouter (options?: AdminOptions): any;

/**
 * Express router of the dashboard at /dashboard/; it needs an admin router mounted beside it.
 * @throws ERR_MISSING_PEER without express
 */
export function createDashboardRouter (): any;
