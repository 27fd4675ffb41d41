import { EventEmitter } from 'node:events';
import { MidtransClient, OrderBody } from '../clients/midtrans';
import { SmtpClient } from '../clients/smtp';
import { CloudApiClient, GreenApiClient, SessionPool, WebhookNews } from '../clients/whatsapp';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { Wrapped } from '../primitives/policy';
import {
  Enqueued, OrderState, OutboxMessage, OutboxStats, OutboxWorker, PaymentsOptions,
  RecoveryStrategy, Sender, ChannelWorker, SqlClient, Store
} from '../store';
import { GatewayConfig } from './config';
import { Degradation } from './degradation';
import { Health, HealthCheck, HealthStatus } from './health';

/** pino's methods, as far as they are used: fields first, then the message. */
export interface Logger {
  trace? (fields: object, message: string): void;
  debug? (fields: object, message: string): void;
  info? (fields: object, message: string): void;
  warn? (fields: object, message: string): void;
  error? (fields: object, message: string): void;
  fatal? (fields: object, message: string): void;
}

/** What no file can hold. */
export interface GatewayParts {
  /** Where `env:NAME` is looked up, default process.env. */
  env?: Record<string, string | undefined> | undefined;
  /** In place of pino; it gets no secret of the configuration. */
  logger?: Logger | undefined;
  /** A pool of pg's in place of the section `store`; it stays the caller's. */
  pool?: object | undefined;
  /** Run through the outbox, once for each transition of an order. */
  hooks?: PaymentsOptions['hooks'];
  /** Channels besides, or in place of, EMAIL and WHATSAPP. */
  senders?: Record<string, Sender | ChannelWorker> | undefined;
  /** For the health page, the admin API, metrics, events and alerts; it stays the caller's. */
  sessions?: SessionPool<any> | undefined;
  /** Besides database, worker, breakers and the clients'. */
  checks?: Record<string, HealthCheck | HealthCheck['check']> | undefined;
  /** What becomes of dead letters in the schedule, by kind ('*': all others). By default those
   * that died of an outage within a day are sent again when their breaker is closed. */
  recovery?: Record<string, RecoveryStrategy> | undefined;
  /** By upstream: what answers when neither a copy nor a default does. */
  fallbacks?: Record<string, (...argsAndError: any[]) => unknown> | undefined;
}

export type OrderAnswer = {
  queued: false; orderId: string; state: OrderState;
  token: string | null; redirectUrl: string | null;
} | {
  /** It is kept, and will be made once Midtrans answers. */
  queued: true; orderId: string; state: OrderState; error: unknown;
};

export interface ReliabilityReport {
  /** ISO 8601 */
  generatedAt: string;
  uptimeMs: number;
  status: HealthStatus;
  level: { name: string; index: number; since: string; reason: string; manual: boolean };
  services: Record<string, string>;
  /** Of each breaker's window; `opened` since the start, in this process. */
  breakers: Array<{
    name: string; state: 'closed' | 'open' | 'half-open'; fires: number; failures: number;
    rejects: number; errorRate: number; p50Ms: number | null; p95Ms: number | null;
    p99Ms: number | null; opened: number;
  }>;
  outbox: OutboxStats | { error: string };
  worker: { sent: number; retried: number; dead: number };
  /** Notifications of payments that wait for a person. */
  payments: { held: number } | { error: string };
  deadLetters: {
    total: number; summary: Array<{ channel: string; kind: string; count: number }>;
  } | { error: string };
  schedule: Array<{
    job: string; slot: Date; startedAt: Date; durationMs: number | null; error: string | null;
  }> | { error: string };
}

export interface Schedule {
  start (): void;
  /** Begins no more, and waits for those that run. */
  stop (): Promise<void>;
  /** The times that come, by job; null for those that never do. */
  next (): Record<string, Date | null>;
  /** What each job did last, wherever in the fleet it ran. */
  last (): Promise<Array<{
    job: string; slot: Date; startedAt: Date; durationMs: number | null; error: string | null;
  }>>;
  /** Runs a job now, unless it runs already anywhere. Whether it did. */
  run (job: string): Promise<boolean>;
}

export interface GatewayEvents {
  breaker: [{ name: string; state: 'open' | 'half-open' | 'closed' }];
  level: [{ from: string; to: string; reason: string; by: string }];
  /** An order waits for Midtrans. */
  queued: [order: { orderId: string; state: OrderState }, error: unknown];
  /** Something else answered in place of Midtrans (a queue) or of an upstream. */
  fallback: [{ name: string; by: string; error: unknown }];
  /** Somebody has to see to it: a refused key, a payment that is held, a dead letter, a
   * message that a provider could not deliver. */
  alert: [{ service: string; kind: string; [detail: string]: unknown }];
  /** What a webhook of WhatsApp's told, once its statuses are kept. */
  whatsapp: [news: WebhookNews];
  job: [{ job: string; durationMs: number; result?: unknown; error?: unknown }];
}

export interface Gateway extends EventEmitter {
  readonly config: Readonly<GatewayConfig>;
  readonly store: Store;
  /** Those that have a section. They retry as [retry] says; what the gateway itself sends is tried
   * again by the outbox. */
  readonly clients: {
    readonly midtrans?: MidtransClient;
    readonly smtp?: SmtpClient;
    readonly whatsapp?: CloudApiClient | GreenApiClient;
  };
  /** By name: database, midtrans, smtp, whatsapp, and the upstreams. */
  readonly breakers: Record<string, CircuitBreaker<any, any>>;
  /** Whose retries can be counted, by name: the clients and the upstreams. For `createMetrics`. */
  readonly retries: Record<string, EventEmitter | { readonly stats: retry.Stats }>;
  readonly degradation: Degradation;
  readonly health: Health;
  readonly schedule: Schedule;
  readonly worker: OutboxWorker;
  readonly sessions: SessionPool<any> | undefined;
  readonly running: boolean;
  readonly payments: {
    /**
     * Takes an order in, durably, and makes its payment page. If Midtrans cannot be asked now the
     * answer is `queued`: at once while its breaker is open, otherwise after
     * `retry.fallback.maxWait` at most for each request that it takes. The same order again gives
     * the same page.
     * @throws MidtransError when Midtrans refuses it; ERR_INVALID_INPUT; ERR_GATEWAY_NO_CLIENT
     *   without a section midtrans; ERR_PAYMENT_ORDER when the id is another order's; ERR_STORE_…
     *   and EOPENBREAKER when the database is away: it was not taken in, and Midtrans not asked
     */
    createOrder (body: OrderBody, options?: { signal?: AbortSignal | undefined }):
      Promise<OrderAnswer>;
  };
  /**
   * Puts messages into the outbox; durable when it resolves, or, with `client`, at its commit.
   * @throws ERR_OUTBOX_CHANNEL when this gateway has no sender for the channel; ERR_OUTBOX_MESSAGE
   *   for what can never be sent, ERR_OUTBOX_TEMPLATE, ERR_OUTBOX_TOO_LARGE, with all `faults`;
   *   ERR_STORE_…
   */
  notify (message: OutboxMessage, options?: { client?: SqlClient }): Promise<Enqueued>;
  notify (messages: OutboxMessage[], options?: { client?: SqlClient }): Promise<Enqueued[]>;
  /**
   * A function that is protected as the section `upstreams.name` says: retries, breaker, time
   * limit; then an old answer, the default, or the fallback of that name.
   * @throws ERR_INVALID_OPTION when there is no such section
   */
  upstream<A extends any[], R> (
    name: string, fn: (...args: A) => R, options?: { key?: ((...args: A) => unknown) | undefined }
  ): Wrapped<A, any>;
  report (options?: { format?: 'json' | undefined }): Promise<ReliabilityReport>;
  report (options: { format: 'html' }): Promise<string>;
  /** Starts worker, degradation and schedule. */
  start (): Promise<void>;
  /** Finishes what is in flight for up to `timeout` ms (default server.shutdownTimeout), and closes
   * everything. If a message is still being sent after that, its outcome can no longer be recorded,
   * and another process sends it when its lease has ended. */
  stop (options?: { timeout?: number | undefined }): Promise<void>;

  on<E extends keyof GatewayEvents> (
    event: E, listener: (...args: GatewayEvents[E]) => void): this;
  once<E extends keyof GatewayEvents> (
    event: E, listener: (...args: GatewayEvents[E]) => void): this;
}

/**
 * Makes a gateway of a configuration, or of a TOML file of that name, and opens its store. Nothing
 * runs before start().
 * @throws ERR_CONFIG, ERR_STORE_…, ERR_MISSING_PEER, ERR_INVALID_OPTION
 */
export function createGateway (
  config?: GatewayConfig | string, parts?: GatewayParts): Promise<Gateway>;
