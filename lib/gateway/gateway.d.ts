import { EventEmitter } from 'node:events';
import { MidtransClient, OrderBody } from '../clients/midtrans';
import { SmtpClient } from '../clients/smtp';
import { CloudApiClient, GreenApiClient, SessionPool, WebhookNews } from '../clients/whatsapp';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { LoadShedder } from '../primitives/load-shedder';
import { Wrapped } from '../primitives/policy';
import {
  Enqueued, MessageToMany, OrderState, OutboxMessage, OutboxStats, OutboxWorker, PaymentsOptions,
  RecoveryStrategy, Sender, ChannelWorker, SqlClient, Store
} from '../store';
import { GatewayConfig } from './config';
import { Degradation } from './degradation';
import { Health, HealthCheck, HealthStatus } from './health';

/** The used methods of pino: fields first, then the message. */
export interface Logger {
  /** For details of every step. */
  trace? (fields: object, message: string): void;
  /** For what helps to find a fault. */
  debug? (fields: object, message: string): void;
  /** For what happens in the normal course, such as requests. */
  info? (fields: object, message: string): void;
  /** For passing trouble. */
  warn? (fields: object, message: string): void;
  /** For what needs attention. */
  error? (fields: object, message: string): void;
  /** For what ends the process. */
  fatal? (fields: object, message: string): void;
}

/** The parts that need code. */
export interface GatewayParts {
  /** The values of `env:NAME`, default process.env. */
  env?: Record<string, string | undefined> | undefined;
  /** Replaces pino; it gets no secrets of the configuration. */
  logger?: Logger | undefined;
  /** Your own pool of pg, instead of the section `store`; you close it. */
  pool?: object | undefined;
  /** Run through the outbox, once for each transition of an order. */
  hooks?: PaymentsOptions['hooks'];
  /** Additional channels, or replacements of EMAIL and WHATSAPP. */
  senders?: Record<string, Sender | ChannelWorker> | undefined;
  /** For the health page, the admin API, metrics, events and alerts; you close it. */
  sessions?: SessionPool<any> | undefined;
  /** Additional to database, worker, breakers and those of the clients. */
  checks?: Record<string, HealthCheck | HealthCheck['check']> | undefined;
  /** How the schedule treats dead letters, by kind ('*': all others). By default those
   * caused by an outage within a day are retried when their breaker is closed. */
  recovery?: Record<string, RecoveryStrategy> | undefined;
  /** By upstream: answers if there is neither a copy nor a default. */
  fallbacks?: Record<string, (...argsAndError: any[]) => unknown> | undefined;
  /** Ends the wait for a database that cannot be reached: createGateway rejects with its reason. */
  signal?: AbortSignal | undefined;
}

export type OrderAnswer = {
  /** It is stored, and Midtrans has made its page. */
  queued: false; orderId: string; state: OrderState;
  /** For snap.js, and the address of the page. */
  token: string | null; redirectUrl: string | null;
} | {
  /** It is stored, and will be made when Midtrans answers. */
  queued: true; orderId: string; state: OrderState; error: unknown;
};

export interface ReliabilityReport {
  /** ISO 8601 */
  generatedAt: string;
  /** Since this gateway was started. */
  uptimeMs: number;
  /** The result of all checks. */
  status: HealthStatus;
  /** The degradation level, since when, and whether a person set it. */
  level: { name: string; index: number; since: string; reason: string; manual: boolean };
  /** The result of each check, by name. */
  services: Record<string, string>;
  /** Of each breaker's window; `opened` since the start, in this process. */
  breakers: Array<{
    /** Of the window: calls and failures. */
    name: string; state: 'closed' | 'open' | 'half-open'; fires: number; failures: number;
    /**
     * Of the window: rejected calls, percentage of failures, latencies in ms; null without calls.
     */
    rejects: number; errorRate: number; p50Ms: number | null; p95Ms: number | null;
    /** Latency in ms, null without calls; how often it has opened since the gateway was started. */
    p99Ms: number | null; opened: number;
  }>;
  /** Messages by channel and status. */
  outbox: OutboxStats | { error: string };
  /** Messages of this process since it was started. */
  worker: { sent: number; retried: number; dead: number };
  /** Payment notifications that a person must decide. */
  payments: { held: number } | { error: string };
  /** What was given up. */
  deadLetters: {
    /** All of them, and by channel and kind. */
    total: number; summary: Array<{ channel: string; kind: string; count: number }>;
  } | { error: string };
  /** The last run of each job. */
  schedule: Array<{
    /** When it was due, when it began, how long it took in ms (null: it still runs), its error. */
    job: string; slot: Date; startedAt: Date; durationMs: number | null; error: string | null;
  }> | { error: string };
}

export interface Schedule {
  /** Begins to wait for the next run of each job. */
  start (): void;
  /** Starts no more jobs, and waits for those that run. */
  stop (): Promise<void>;
  /** The next run of each job; null if it never runs. */
  next (): Record<string, Date | null>;
  /** The last run of each job, in any process of the fleet. */
  last (): Promise<Array<{
    /** When it was due, when it began, how long it took in ms (null: it still runs), its error. */
    job: string; slot: Date; startedAt: Date; durationMs: number | null; error: string | null;
  }>>;
  /** Runs a job now, unless it already runs somewhere. Returns whether it did. */
  run (job: string): Promise<boolean>;
}

export interface GatewayEvents {
  /** A breaker has changed its state. */
  breaker: [{ name: string; state: 'open' | 'half-open' | 'closed' }];
  /** The degradation level has changed. */
  level: [{ from: string; to: string; reason: string; by: string }];
  /** An order waits for Midtrans. */
  queued: [order: { orderId: string; state: OrderState }, error: unknown];
  /** Something else answered instead of Midtrans (a queue) or an upstream. */
  fallback: [{ name: string; by: string; error: unknown }];
  /** Needs attention: a rejected key, a held payment, a dead letter, a
   * message that a provider could not deliver. */
  alert: [{ service: string; kind: string; [detail: string]: unknown }];
  /** The content of a webhook of WhatsApp, when its statuses are stored. */
  whatsapp: [news: WebhookNews];
  /** A job has ended in this process. */
  job: [{ job: string; durationMs: number; result?: unknown; error?: unknown }];
}

export interface Gateway extends EventEmitter {
  /** As it was read, with all defaults. */
  readonly config: Readonly<GatewayConfig<number>>;
  /** Everything that is kept. */
  readonly store: Store;
  /** Those with a section. They retry as [retry] says; the outbox retries what the gateway itself
   * sends. */
  readonly clients: {
    /** undefined without the section `midtrans`. */
    readonly midtrans?: MidtransClient;
    /** undefined without the section `smtp`. */
    readonly smtp?: SmtpClient;
    /** undefined without the section `whatsapp`. */
    readonly whatsapp?: CloudApiClient | GreenApiClient;
  };
  /**
   * By name: database, midtrans, smtp (or each relay, as in `smtp.1`), whatsapp, and the
   * upstreams.
   */
  readonly breakers: Record<string, CircuitBreaker<any, any>>;
  /** The clients and the upstreams by name, whose retries `createMetrics` counts. */
  readonly retries: Record<string, EventEmitter | { readonly stats: retry.Stats }>;
  /** The level of this gateway. */
  readonly degradation: Degradation;
  /** Its checks. */
  readonly health: Health;
  /** Its jobs. */
  readonly schedule: Schedule;
  /** Sends its messages. */
  readonly worker: OutboxWorker;
  /** The instances that were passed to createGateway; undefined without. */
  readonly sessions: SessionPool<any> | undefined;
  /**
   * What refuses requests while the event loop is late, for your own routes, too: messages have
   * priority 0, questions about orders 4, orders 8. undefined if `server.maxLoopDelay` is false.
   */
  readonly shedder: LoadShedder | undefined;
  /** Whether it has been started, and not been stopped. */
  readonly running: boolean;
  /** Orders. */
  readonly payments: {
    /**
     * Stores an order durably, and makes its payment page. If Midtrans is down, the
     * order is `queued`: at once while its breaker is open, otherwise after at most
     * `retry.fallback.maxWait` for each request that it takes. The same order again returns
     * the same page.
     * @throws MidtransError if Midtrans rejects it; ERR_INVALID_INPUT; ERR_GATEWAY_NO_CLIENT
     *   without a section midtrans; ERR_PAYMENT_ORDER if another order has this id; ERR_STORE_…
     *   and EOPENBREAKER if the database is down: it was not stored, and Midtrans was not called
     */
    createOrder (body: OrderBody, options?: { signal?: AbortSignal | undefined }):
      Promise<OrderAnswer>;
  };
  /**
   * Enqueues messages; durable when it resolves, or, with `client`, at its commit.
   * @throws ERR_OUTBOX_CHANNEL if this gateway has no sender for the channel; ERR_OUTBOX_MESSAGE
   *   if it can never be sent, ERR_OUTBOX_TEMPLATE, ERR_OUTBOX_TOO_LARGE, with all `faults`;
   *   ERR_STORE_…
   */
  notify (message: OutboxMessage, options?: { client?: SqlClient }): Promise<Enqueued>;
  notify (message: MessageToMany, options?: { client?: SqlClient }): Promise<Enqueued[]>;
  notify (
    messages: Array<OutboxMessage | MessageToMany>, options?: { client?: SqlClient }
  ): Promise<Enqueued[]>;
  /**
   * Protects a function as in the section `upstreams.name`: retries, breaker, time limit; then an
   * old response, the default, or the fallback of that name. Old responses are stored under the
   * name of the function and its arguments, unless there is a `key`. `signal` finds the caller's
   * signal, which may carry a deadline, in the arguments.
   * @throws ERR_INVALID_OPTION if there is no such section
   */
  upstream<A extends any[], R> (
    name: string, fn: (...args: A) => R, options?: {
      /** Names the old response that belongs to these arguments. */
      key?: ((...args: A) => unknown) | undefined;
      /** Finds the caller's signal in the arguments. */
      signal?: ((...args: A) => AbortSignal | null | undefined) | undefined;
    }
  ): Wrapped<A, any>;
  /** The reliability report, as data. */
  report (options?: { format?: 'json' | undefined }): Promise<ReliabilityReport>;
  /** The reliability report, as a page. */
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
 * Makes a gateway from a configuration or the name of a TOML file, and opens its store. Nothing
 * runs before start().
 * @throws ERR_CONFIG, ERR_STORE_…, ERR_MISSING_PEER, ERR_INVALID_OPTION
 */
export function createGateway (
  config?: GatewayConfig | string, parts?: GatewayParts): Promise<Gateway>;
