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

/** A logger with the methods of pino: fields first, then the message. */
export interface Logger {
  trace? (fields: object, message: string): void;
  debug? (fields: object, message: string): void;
  info? (fields: object, message: string): void;
  warn? (fields: object, message: string): void;
  error? (fields: object, message: string): void;
  fatal? (fields: object, message: string): void;
}

/** What a file cannot hold. */
export interface GatewayParts {
  /** Where `env:NAME` is looked up, default process.env. */
  env?: Record<string, string | undefined> | undefined;
  /** Replaces pino. Secrets of the configuration are redacted before it gets them. */
  logger?: Logger | undefined;
  /** A pool of pg, in place of the section `store`. The gateway does not close it. */
  pool?: object | undefined;
  /** Called through the outbox, once for each transition of an order. */
  hooks?: PaymentsOptions['hooks'];
  /** Further channels, or replacements for EMAIL and WHATSAPP. */
  senders?: Record<string, Sender | ChannelWorker> | undefined;
  /** For the health page, the admin API, metrics, events and alerts. It is not closed. */
  sessions?: SessionPool<any> | undefined;
  /** Further checks, beside database, worker, breakers and those of the clients. */
  checks?: Record<string, HealthCheck | HealthCheck['check']> | undefined;
  /** What the schedule does with dead letters, by kind ('*': all others). Default: those caused by
   * an outage are retried within a day, when their breaker has closed. */
  recovery?: Record<string, RecoveryStrategy> | undefined;
  /** By upstream: the last fallback, after an old answer and the default. */
  fallbacks?: Record<string, (...argsAndError: any[]) => unknown> | undefined;
}

export type OrderAnswer = {
  queued: false; orderId: string; state: OrderState;
  token: string | null; redirectUrl: string | null;
} | {
  /** It is stored, and will be created when Midtrans answers. */
  queued: true; orderId: string; state: OrderState; error: unknown;
};

export interface ReliabilityReport {
  /** ISO 8601 */
  generatedAt: string;
  uptimeMs: number;
  status: HealthStatus;
  level: { name: string; index: number; since: string; reason: string; manual: boolean };
  services: Record<string, string>;
  /** Figures of each breaker's window; `opened`: since the start, in this process. */
  breakers: Array<{
    name: string; state: 'closed' | 'open' | 'half-open'; fires: number; failures: number;
    rejects: number; errorRate: number; p50Ms: number | null; p95Ms: number | null;
    p99Ms: number | null; opened: number;
  }>;
  outbox: OutboxStats | { error: string };
  worker: { sent: number; retried: number; dead: number };
  /** Payment notifications that wait for a review. */
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
  /** Starts no more jobs, and waits for those that run. */
  stop (): Promise<void>;
  /** The next run of each job; null for a job without one. */
  next (): Record<string, Date | null>;
  /** The last run of each job, in any process of the fleet. */
  last (): Promise<Array<{
    job: string; slot: Date; startedAt: Date; durationMs: number | null; error: string | null;
  }>>;
  /** Runs a job now, unless it is running anywhere. Resolves with whether it ran. */
  run (job: string): Promise<boolean>;
}

export interface GatewayEvents {
  breaker: [{ name: string; state: 'open' | 'half-open' | 'closed' }];
  level: [{ from: string; to: string; reason: string; by: string }];
  /** An order waits for Midtrans. */
  queued: [order: { orderId: string; state: OrderState }, error: unknown];
  /** A fallback answered in place of Midtrans (the queue) or of an upstream. */
  fallback: [{ name: string; by: string; error: unknown }];
  /** Needs attention: a rejected key, a held payment, a dead letter, or a message that a provider
   * could not deliver. */
  alert: [{ service: string; kind: string; [detail: string]: unknown }];
  /** The content of a WhatsApp webhook, after its statuses have been stored. */
  whatsapp: [news: WebhookNews];
  job: [{ job: string; durationMs: number; result?: unknown; error?: unknown }];
}

export interface Gateway extends EventEmitter {
  readonly config: Readonly<GatewayConfig>;
  readonly store: Store;
  /** Clients with a section. They retry as [retry] says; the outbox retries what the gateway itself
   * sends. */
  readonly clients: {
    readonly midtrans?: MidtransClient;
    readonly smtp?: SmtpClient;
    readonly whatsapp?: CloudApiClient | GreenApiClient;
  };
  /** By name: database, midtrans, smtp, whatsapp, and the upstreams. */
  readonly breakers: Record<string, CircuitBreaker<any, any>>;
  /** The clients and upstreams by name, for the option `retries` of `createMetrics`. */
  readonly retries: Record<string, EventEmitter | { readonly stats: retry.Stats }>;
  readonly degradation: Degradation;
  readonly health: Health;
  readonly schedule: Schedule;
  readonly worker: OutboxWorker;
  readonly sessions: SessionPool<any> | undefined;
  readonly running: boolean;
  readonly payments: {
    /**
     * Stores an order, and makes its payment page. If Midtrans cannot be asked now, the answer is
     * `queued`: at once while its breaker is open, otherwise after `retry.fallback.maxWait` at most
     * for each request that it takes. The same order again gets the same page.
     * @throws MidtransError when Midtrans refuses it; ERR_INVALID_INPUT; ERR_GATEWAY_NO_CLIENT
     *   without a section midtrans; ERR_PAYMENT_ORDER when another order has the id; ERR_STORE_…
     *   and EOPENBREAKER when the database is down: it was not stored, and Midtrans was not asked
     */
    createOrder (body: OrderBody, options?: { signal?: AbortSignal | undefined }):
      Promise<OrderAnswer>;
  };
  /**
   * Puts messages into the outbox. They are durable when it resolves or, with `client`, at the
   * commit.
   * @throws ERR_OUTBOX_CHANNEL when this gateway has no sender for the channel; ERR_OUTBOX_MESSAGE
   *   when it can never be sent, ERR_OUTBOX_TEMPLATE, ERR_OUTBOX_TOO_LARGE, with all `faults`;
   *   ERR_STORE_…
   */
  notify (message: OutboxMessage, options?: { client?: SqlClient }): Promise<Enqueued>;
  notify (messages: OutboxMessage[], options?: { client?: SqlClient }): Promise<Enqueued[]>;
  /**
   * Protects a function as the section `upstreams.name` says: with retries, a breaker and a time
   * limit, and then an old answer, the default, or the fallback of that name.
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
   * everything. The outcome of a message that takes longer cannot be recorded: another process
   * sends it again when its lease has expired. */
  stop (options?: { timeout?: number | undefined }): Promise<void>;

  on<E extends keyof GatewayEvents> (
    event: E, listener: (...args: GatewayEvents[E]) => void): this;
  once<E extends keyof GatewayEvents> (
    event: E, listener: (...args: GatewayEvents[E]) => void): this;
}

/**
 * Makes a gateway from a configuration, or from the TOML file with this path, and opens its store.
 * Nothing runs before start().
 * @throws ERR_CONFIG, ERR_STORE_…, ERR_MISSING_PEER, ERR_INVALID_OPTION
 */
export function createGateway (
  config?: GatewayConfig | string, parts?: GatewayParts): Promise<Gateway>;
