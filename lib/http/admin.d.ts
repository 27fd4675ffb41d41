import { EventEmitter } from 'node:events';
import { RequestListener } from 'node:http';
import { SessionPool } from '../clients/whatsapp';
import { Health } from '../gateway/health';
import CircuitBreaker = require('../primitives/breaker');
import { Store } from '../store';

/** Gives access to the admin API, with `Authorization: Bearer …`. */
export interface AdminToken {
  /** 16 to 512 ASCII characters without spaces. */
  token?: string | undefined;
  /** Instead of the token: its SHA-256 as 64 hexadecimal digits. */
  sha256?: string | undefined;
  /** 1 to 64 printable characters, for the audit log. */
  name: string;
  /**
   * 'monitor' may see metrics and the detailed health pages, 'read' the admin API too; 'operate'
   * may also make changes.
   */
  role: 'monitor' | 'read' | 'operate';
}

/** Who may see pages that are for monitors: metrics, and health pages with details. */
export interface PageAccess {
  /**
   * 'public' (the default of a router that you mount yourself): everybody. 'token': callers with a
   * token; while `tokens` is empty, programs on this machine (a loopback address, a name of this
   * machine in `Host`, and no header of a proxy). 'off': nobody; the pages are not there.
   */
  access?: 'public' | 'token' | 'off' | undefined;
  /** At most 100. Requests without a valid one are limited, as those of the admin API. */
  tokens?: AdminToken[] | undefined;
}

/**
 * A request over a limit gets 429. A request with a valid token counts only for this token:
 * requests without one never delay or block it, wherever they come from.
 */
export interface AdminRateLimit {
  /** Requests with one token per interval, 1 to 1000000, default 600; Infinity: no limit. */
  requests?: number | undefined;
  /**
   * Requests with a wrong token or none per interval, from an IPv4 address or a /64 network of
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
  /** When it was asked for. */
  at: Date;
  /** Name of the token. */
  actor: string;
  /** The role of the token. */
  role: 'monitor' | 'read' | 'operate';
  /** The address that asked. */
  address: string;
  /** Such as 'breaker.reset', 'degradation.set', 'dlq.retry'; 'refused' because of the role. */
  action: string;
  /** What was changed, such as a breaker's name; null if it is one thing. */
  target: string | null;
  /** Why, as the operator wrote; null without. */
  reason: string | null;
  /** 'done', 'not found', 'refused', or 'failed: ' and a code. */
  result: string;
  /** Further parameters of the change. */
  detail: any;
}

export interface AuditOptions {
  /** Entries are kept in its table admin_audit until `store.cleanUp` deletes them. */
  store?: Pick<Store, 'query' | 'schema'> | undefined;
  /** Gets each entry; its texts are one line each, without control characters. */
  log?: ((entry: AuditEntry) => void) | undefined;
  /** Entries kept in memory, 1 to 100000, default 1000. */
  size?: number | undefined;
}

export interface Audit {
  /** Adds an entry. If the store is down, it is only in memory and in the log. */
  record (entry: {
    /** Who. */
    actor: { name: string; role: string; address: string };
    /** What was asked for, of what, and why. */
    action: string; target?: string | null | undefined; reason?: string | null | undefined;
    /** What became of it, and further parameters. */
    result: string; detail?: unknown;
  }): Promise<AuditEntry>;
  /**
   * Newest first; `limit` is 1 to 1000, default 100; `before` is an id. `stored` is
   * false for entries from memory: without a store, or while the database is down.
   */
  list (filter?: { before?: string | undefined; limit?: number | undefined }):
    Promise<{ stored: boolean; entries: AuditEntry[] }>;
}

export function createAudit (options?: AuditOptions): Audit;

/** The used part of a Degradation. */
export interface DegradationControl extends EventEmitter {
  /** Everything at once, as JSON. */
  snapshot (): any;
  /** null: the rules decide again. */
  setLevel (level: string | null, options: { reason: string; by: string }): unknown;
}

export interface EventStreamOptions {
  /** Default: all breakers of this thread. New ones are found within a second. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  /** Its changes become events. Default: none. */
  degradation?: DegradationControl | undefined;
  /** Its dead letters, payments and deliveries become events. Default: none. */
  store?: Store | undefined;
  /** Their troubles become events, with a message for the operator. */
  sessions?: SessionPool<any> | undefined;
  /**
   * Events of each kind that are kept for readers that reconnect with Last-Event-ID, 1 to 10000,
   * default 100.
   */
  history?: number | undefined;
  /**
   * Readers at once, 1 to 10000, default 64; more get 503. If all places are taken, the token
   * with the most readers loses its oldest one to a token that would still have fewer.
   */
  maxClients?: number | undefined;
  /** A reader that falls behind by more bytes is disconnected, from 1024, default 262144. */
  maxBuffer?: number | undefined;
  /** ms between heartbeats, 10 to 3600000, default 15000. */
  heartbeat?: number | undefined;
}

/**
 * Server-sent events: breaker, degradation, dead-letter, delivery-failed, payment, payment-held,
 * payment-released, session; and reset if more were missed than are kept. All data has `at`, as in
 * Date.now().
 */
export interface EventStream {
  /** Readers now. */
  readonly clients: number;
  /** Sends an event to all readers. */
  publish (type: string, data: object): void;
  /** Answers a request. Check its rights first. */
  handle: RequestListener;
  /** Ends all streams and removes all listeners. */
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

/** The last 150 samples, five minutes by default; 2.4 kB for each breaker. */
export interface BreakerHistory {
  /**
   * Of the breakers that GET /circuit-breakers shows with this filter, by `key`: errorRate in
   * percent and latencies in ms of the window at each time of `at`; null if there were no
   * calls.
   */
  read (filter: { state?: string | undefined; search?: string | undefined;
    /** At most so many breakers. */
    limit?: number | undefined }): {
    /** The times of the samples, as in Date.now(). */
    at: number[];
    /** By key: one value for each time; null if there were no calls. */
    breakers: Record<string, Record<'errorRate' | 'p50' | 'p95' | 'p99', Array<number | null>>>;
  };
  /** Ends the samples. */
  close (): void;
}

/** @throws TypeError or RangeError ERR_INVALID_OPTION */
export function createBreakerHistory (options?: BreakerHistoryOptions): BreakerHistory;

export interface AdminOptions {
  /** At most 100. Without any, every request is rejected. */
  tokens?: AdminToken[] | undefined;
  /** Default: 600 requests with one token a minute, 20 without a valid one. */
  rateLimit?: AdminRateLimit | undefined;
  /** Default: all breakers of this thread. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  /** Its instances can be reset by their ids. */
  sessions?: Pick<SessionPool<any>, 'reset'> | undefined;
  /** Default: none; its addresses answer 404. */
  store?: Store | undefined;
  /** Default: none; its addresses answer 404. */
  degradation?: DegradationControl | undefined;
  /** Served at /admin/reliability/events. */
  events?: Pick<EventStream, 'handle'> | undefined;
  /** For /admin/reliability/breaker-history; without it, charts begin when the page is opened. */
  history?: Pick<BreakerHistory, 'read'> | undefined;
  /**
   * For /admin/reliability/service: orders, messages and errors of the whole service. An
   * application of createApp has it.
   */
  service?: { read (): Promise<unknown> } | undefined;
  /** Its report is at /admin/reliability/health. */
  health?: Pick<Health, 'check'> | undefined;
  /** An object for 'json', a page for 'html'. */
  report?: ((options: { format: 'json' | 'html' }) => unknown) | undefined;
  /** Default: a new one, in the store if there is one. */
  audit?: Audit | undefined;
  /** Gets the entries of that audit log. */
  log?: ((entry: AuditEntry) => void) | undefined;
  /** Gets the error of each answer 500; default: a process warning. */
  onError?: ((error: unknown, req: any) => void) | undefined;
}

/**
 * Express router of /admin/reliability/… and /reset-circuit-breaker/:id. GET reads, POST changes.
 * Parameters of a change can be in a JSON body or in the query.
 * @throws TypeError or RangeError ERR_INVALID_OPTION; ERR_MISSING_PEER without express
 */
export function createAdminRouter (options?: AdminOptions): any;

/**
 * Express router of the dashboard at /dashboard/; needs an admin router mounted at the same place.
 * @throws ERR_MISSING_PEER without express
 */
export function createDashboardRouter (): any;
