import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import { OutboxWorker, Store } from '../store';

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy';

/**
 * The answer of a check. False means unhealthy, like a rejection and no answer in time. Members
 * beside `status` are shown as `details`: put no secrets there.
 */
export type CheckAnswer = void | boolean | null |
  { status?: HealthStatus | undefined; [detail: string]: unknown };

export interface HealthCheck {
  check: (context: { signal: AbortSignal }) => CheckAnswer | Promise<CheckAnswer>;
  /** If it is unhealthy, everything is unhealthy; otherwise only degraded. Default false. */
  critical?: boolean | undefined;
  /** Time limit in ms, 1 to 86400000, default 5000. A check that hangs despite its signal is not
   * called again before it settles, or ten time limits have passed. */
  timeout?: number | undefined;
}

export interface HealthOptions {
  /** Names of 1 to 64 letters, digits, dots, dashes or underscores. */
  checks?: Record<string, HealthCheck | HealthCheck['check']> | undefined;
  /** ms that an answer is kept, 0 to 86400000, default 30000. */
  cacheMs?: number | undefined;
}

export interface CheckResult {
  status: HealthStatus;
  critical: boolean;
  responseTimeMs: number;
  /** ISO 8601 */
  checkedAt: string;
  /** The code of the error, never its message. */
  error?: string | undefined;
  details?: Record<string, unknown> | undefined;
}

export interface HealthReport {
  status: HealthStatus;
  checks: Record<string, CheckResult>;
}

export interface Health extends EventEmitter {
  /**
   * Runs the checks that did not run within `cacheMs`; simultaneous calls share them. A check that
   * takes longer than 50 ms shows its last answer (see `checkedAt`). Never rejects.
   */
  check (): Promise<HealthReport>;
  /** Whether the program runs at all. Runs no checks. */
  live (): { status: 'alive'; uptimeMs: number };
  /** Whether it can accept work: no critical check fails, and it is not draining. */
  ready (): Promise<{ ready: boolean; draining: boolean; failing: string[] }>;
  /** From now on it is not ready: for a program that is about to stop. */
  drain (): void;

  /** After each run of a check. `error` is what it threw, for a log. */
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
  /** For a MidtransClient, or a WhatsApp client of the Cloud API. */
  ping (client: {
    ping (options?: { signal?: AbortSignal | undefined }): Promise<unknown>;
  }): HealthCheck;
  /** Connects, logs in and disconnects, within 4 s. */
  smtp (client: {
    verify (options?: { timeout?: number | undefined }): Promise<unknown>;
  }): HealthCheck;
  /** @param options.silence ms since it last looked at the database, default 60000 */
  worker (
    worker: Pick<OutboxWorker, 'running' | 'lastBeat' | 'inFlight'>,
    options?: { silence?: number | undefined }
  ): HealthCheck;
  /** Degraded while a breaker is open. */
  breakers (list: () => CircuitBreaker<any, any>[]): HealthCheck;
};
