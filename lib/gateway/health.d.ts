import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import { OutboxWorker, Store } from '../store';

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy';

/**
 * What a check answers: false is unhealthy, and so are a rejection and no answer in time. The
 * members beside `status` are shown as `details`: put no secrets there.
 */
export type CheckAnswer = void | boolean | null |
  { status?: HealthStatus | undefined; [detail: string]: unknown };

export interface HealthCheck {
  check: (context: { signal: AbortSignal }) => CheckAnswer | Promise<CheckAnswer>;
  /** Whether all is unhealthy while this is; otherwise all is degraded. Default false. */
  critical?: boolean | undefined;
  /** ms for an answer, 1 to 86400000, default 5000. A check that ignores its signal and hangs is
   * not called again until it settles or ten times as long has passed. */
  timeout?: number | undefined;
}

export interface HealthOptions {
  /** Names of 1 to 64 letters, digits, dots, dashes or underscores. */
  checks?: Record<string, HealthCheck | HealthCheck['check']> | undefined;
  /** ms that an answer is given again, 0 to 86400000, default 30000. */
  cacheMs?: number | undefined;
}

export interface CheckResult {
  status: HealthStatus;
  critical: boolean;
  responseTimeMs: number;
  /** ISO 8601 */
  checkedAt: string;
  /** The code of the error, never its words. */
  error?: string | undefined;
  details?: Record<string, unknown> | undefined;
}

export interface HealthReport {
  status: HealthStatus;
  checks: Record<string, CheckResult>;
}

export interface Health extends EventEmitter {
  /**
   * Asks what was not asked within `cacheMs`; many at once share one answer. What takes longer than
   * 50 ms to answer again is shown as it was last (`checkedAt` says when). Never rejects.
   */
  check (): Promise<HealthReport>;
  /** Whether the program runs at all; asks nobody. */
  live (): { status: 'alive'; uptimeMs: number };
  /** Whether work can be sent here: no critical check fails, and it is not draining. */
  ready (): Promise<{ ready: boolean; draining: boolean; failing: string[] }>;
  /** From now on `ready` says no: for a program that is about to stop. */
  drain (): void;

  /** Each time that a check was really made; `error` is what was thrown, for a log. */
  on (event: 'check', listener: (
    result: CheckResult & { name: string }, error: unknown) => void): this;
  on (event: 'status', listener: (change: { from: HealthStatus; to: HealthStatus }) => void): this;
}

/** @throws TypeError or RangeError ERR_INVALID_OPTION */
export function createHealth (options?: HealthOptions): Health;

/** Checks that are ready to use; `{ ...healthChecks.smtp(client), timeout: 8000 }` changes one. */
export const healthChecks: {
  /** Critical. */
  database (store: Pick<Store, 'health'>): HealthCheck;
  /** Of a MidtransClient, or a WhatsApp client of the Cloud API. */
  ping (client: {
    ping (options?: { signal?: AbortSignal | undefined }): Promise<unknown>;
  }): HealthCheck;
  /** Connects, signs in and leaves, within 4 s. */
  smtp (client: {
    verify (options?: { timeout?: number | undefined }): Promise<unknown>;
  }): HealthCheck;
  /** @param options.silence ms since its last look at the database, default 60000 */
  worker (
    worker: Pick<OutboxWorker, 'running' | 'lastBeat' | 'inFlight'>,
    options?: { silence?: number | undefined }
  ): HealthCheck;
  /** Degraded while one of them is open. */
  breakers (list: () => CircuitBreaker<any, any>[]): HealthCheck;
};
