import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import { SmtpRelay } from '../clients/smtp';
import { OutboxWorker, Store } from '../store';

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy';

/**
 * The result of a check. False, a rejection and a timeout mean unhealthy. The
 * members besides `status` are shown as `details`: put no secrets there.
 */
export type CheckAnswer = void | boolean | null |
  { status?: HealthStatus | undefined; [detail: string]: unknown };

export interface HealthCheck {
  /** Rejects, or returns a status, if something is wrong. */
  check: (context: { signal: AbortSignal }) => CheckAnswer | Promise<CheckAnswer>;
  /** True: if this fails, the program is unhealthy, otherwise degraded. Default false. */
  critical?: boolean | undefined;
  /** True: while this check fails, the program is not ready. Default: the value of `critical`. */
  ready?: boolean | undefined;
  /** Time limit in ms, 1 to 86400000, default 5000. A check that ignores its signal and hangs is
   * not called again until it settles or ten times its time limit has passed. The limit does not
   * keep the process alive. */
  timeout?: number | undefined;
}

export interface HealthOptions {
  /** Names of 1 to 64 letters, digits, dots, dashes or underscores. */
  checks?: Record<string, HealthCheck | HealthCheck['check']> | undefined;
  /** How long a result is reused, ms, 0 to 86400000, default 30000. */
  cacheMs?: number | undefined;
  /** True: if any check fails, the program is unhealthy. Readiness does not change. Default
   * false. */
  strict?: boolean | undefined;
}

export interface CheckResult {
  /** What the check found. */
  status: HealthStatus;
  /** Whether the program is unhealthy when this check fails. */
  critical: boolean;
  /** How long the check took, in ms. */
  responseTimeMs: number;
  /** ISO 8601 */
  checkedAt: string;
  /** The code of the error, never its message. */
  error?: string | undefined;
  /** What the check returned besides its status. */
  details?: Record<string, unknown> | undefined;
}

export interface HealthReport {
  /** The worst of the checks, as far as they are critical. */
  status: HealthStatus;
  /** By name. */
  checks: Record<string, CheckResult>;
}

export interface Health extends EventEmitter {
  /**
   * Runs checks that did not run within `cacheMs`; concurrent callers share a run. If a check takes
   * more than 50 ms, its last result is shown (with its time in `checkedAt`). Never rejects.
   */
  check (): Promise<HealthReport>;
  /** Whether the program runs; calls no check. */
  live (): { status: 'alive'; uptimeMs: number };
  /**
   * Whether the program can take requests: no check with `ready` fails, and it is not draining.
   * Results are at most 500 ms old, and a check that does not settle within 1.5 s has failed. So an
   * outage is noticed within 2 s. Concurrent callers share a run.
   */
  ready (): Promise<{ ready: boolean; draining: boolean; failing: string[] }>;
  /** From now on it is not ready: for a program that is about to stop. */
  drain (): void;

  /** Emitted after each run of a check; `error` is the thrown error, for a log. */
  on (event: 'check', listener: (
    result: CheckResult & { name: string }, error: unknown) => void): this;
  on (event: 'status', listener: (change: { from: HealthStatus; to: HealthStatus }) => void): this;
}

/** @throws TypeError or RangeError ERR_INVALID_OPTION */
export function createHealth (options?: HealthOptions): Health;

/** Ready-made checks; change one with `{ ...healthChecks.smtp(client), timeout: 8000 }`. */
export const healthChecks: {
  /** Critical. */
  database (store: Pick<Store, 'health'>): HealthCheck;
  /** Of a MidtransClient, or a WhatsApp client of the Cloud API. */
  ping (client: {
    /** Asks the upstream for something harmless. */
    ping (options?: { signal?: AbortSignal | undefined }): Promise<unknown>;
  }): HealthCheck;
  /**
   * Connects, logs in and disconnects, within 4 s. With several relays: degraded if that fails with
   * some of them, and `relays` has 'ok' or the error's code for each name.
   */
  smtp (client: {
    /** Connects, logs in and disconnects. */
    verify (options?: { timeout?: number | undefined }): Promise<unknown>;
    /** If there are several. */
    readonly relays?: SmtpRelay[] | undefined;
  }): HealthCheck;
  /** @param options.silence maximum ms since it last read the database, default 60000 */
  worker (
    worker: Pick<OutboxWorker, 'running' | 'lastBeat' | 'inFlight'>,
    options?: { silence?: number | undefined }
  ): HealthCheck;
  /** Degraded while one of them is open. */
  breakers (list: () => CircuitBreaker<any, any>[]): HealthCheck;
};
