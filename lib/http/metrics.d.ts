import { EventEmitter } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { Degradation, Health } from '../gateway';
import { OutboxWorker, Store } from '../store';

export interface MetricsOptions {
  /** Prefix of all names: letters, digits and underscores. Default ''. */
  prefix?: string | undefined;
  /** A Registry of prom-client; default: one of its own. */
  registry?: any;
  /** Default: all live breakers of this thread. New ones are found every second. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  /** Functions made by retryable(), and clients that emit 'retry' with its `delay` in ms, by the
   * name of their label. */
  retries?: Record<string, { readonly stats: retry.Stats } | EventEmitter> | undefined;
  /** A gateway, or what else emits 'fallback'({ name, error }). */
  fallbacks?: EventEmitter | undefined;
  worker?: OutboxWorker | undefined;
  store?: Partial<Pick<Store,
    'outbox' | 'deadLetters' | 'deliveries' | 'payments' | 'query' | 'schema'>> | undefined;
  degradation?: Degradation | undefined;
  /** Reading the metrics runs its checks, unless their answers are still cached. */
  health?: Health | undefined;
  /** Values of a label, 1 to 10000, default 200. Later values become 'other'. */
  maxNames?: number | undefined;
}

export interface Metrics {
  /** The registry of prom-client. */
  readonly registry: any;
  /** Answers with all metrics of the registry; for Express or node:http. */
  readonly handler: (req: IncomingMessage, res: ServerResponse) => Promise<void>;
  /** An Express 5 router with GET /metrics. */
  router (): any;
  /** Stops listening, and removes its metrics from the registry. */
  close (): void;
}

/**
 * Metrics for Prometheus. Counters count what happens in this process, also for shared breakers, so
 * the counts of all processes add up. Values that all processes see (states, the level, rows of the
 * store) have the aggregator 'max' of prom-client; without an AggregatorRegistry, take
 * `max by (...)` of them.
 *
 * @throws TypeError or RangeError ERR_INVALID_OPTION
 * @throws SekeringError ERR_MISSING_PEER without the package prom-client
 */
export function createMetrics (options?: MetricsOptions): Metrics;
