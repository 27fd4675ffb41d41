import { EventEmitter } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { Degradation, Health } from '../gateway';
import { OutboxWorker, Store } from '../store';

export interface MetricsOptions {
  /** Begins all names; letters, digits and underscores. Default ''. */
  prefix?: string | undefined;
  /** A Registry of prom-client; default: one of its own. */
  registry?: any;
  /** Default: all live breakers of this thread. New ones are found every second. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  /** Functions made by retryable(), and clients that emit 'retry' with its `delay` in ms, by the
   * name of their label. */
  retries?: Record<string, { readonly stats: retry.Stats } | EventEmitter> | undefined;
  /** Emits 'fallback'({ name, error }) for what answers in place of something else: a gateway. */
  fallbacks?: EventEmitter | undefined;
  worker?: OutboxWorker | undefined;
  store?: Partial<Pick<Store,
    'outbox' | 'deadLetters' | 'deliveries' | 'payments' | 'query' | 'schema'>> | undefined;
  degradation?: Degradation | undefined;
  /** Its checks are looked at whenever metrics are read, as often as its cache lets. */
  health?: Health | undefined;
  /** Names that become labels, 1 to 10000 of each kind, default 200; later ones are 'other'. */
  maxNames?: number | undefined;
}

export interface Metrics {
  /** Of prom-client. */
  readonly registry: any;
  /** Answers with all metrics of the registry; for Express or node:http. */
  readonly handler: (req: IncomingMessage, res: ServerResponse) => Promise<void>;
  /** An Express 5 router with GET /metrics. */
  router (): any;
  /** Stops listening, and takes its metrics out of the registry. */
  close (): void;
}

/**
 * Metrics for Prometheus. Counters count what happened in this process, also of breakers that are
 * shared, so that those of all processes add up. What all of them see alike (states, the level,
 * rows of the store) has prom-client's aggregator 'max'; without an AggregatorRegistry take
 * `max by (...)` of it.
 *
 * @throws TypeError or RangeError ERR_INVALID_OPTION
 * @throws SekeringError ERR_MISSING_PEER without the package prom-client
 */
export function createMetrics (options?: MetricsOptions): Metrics;
