import { EventEmitter } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { Policy } from '../primitives/policy';
import { Degradation, Health } from '../gateway';
import { OutboxWorker, Store } from '../store';
import { PageAccess } from './admin';

export interface MetricsOptions {
  /** Goes before all names; letters, digits and underscores. Default ''. */
  prefix?: string | undefined;
  /** A Registry of prom-client; default: a new one. */
  registry?: any;
  /** Default: all live breakers of this thread. New ones are found every second. */
  breakers?: (() => CircuitBreaker<any, any>[]) | undefined;
  /** Functions made by retryable(), and clients that emit 'retry' with its `delay` in ms, by
   * label. */
  retries?: Record<string, { readonly stats: retry.Stats } | EventEmitter> | undefined;
  /** Policies whose hedges, faults, adaptive limits and load shedders are shown, by label: 1 to 64
   * letters, digits, dots, dashes or underscores. Default: none. */
  policies?: Record<string, Policy<any>> | undefined;
  /** A gateway, which emits 'fallback'({ name, error }). */
  fallbacks?: EventEmitter | undefined;
  /** Counts its retries. Default: none. */
  worker?: OutboxWorker | undefined;
  /** Counts dead letters, payments, deliveries and messages. Default: none. */
  store?: Partial<Pick<Store,
    'outbox' | 'deadLetters' | 'deliveries' | 'payments' | 'query' | 'schema'>> | undefined;
  /** Shows its level. Default: none. */
  degradation?: Degradation | undefined;
  /** Its checks run whenever metrics are read, as often as its cache allows. */
  health?: Health | undefined;
  /** How many names of each kind become labels, 1 to 10000, default 200; later ones are 'other'. */
  maxNames?: number | undefined;
  /**
   * In a worker of node:cluster: also answers createClusterMetrics() in the primary process, in the
   * format of Prometheus. Default false.
   */
  cluster?: boolean | undefined;
}

export interface Metrics {
  /** The Registry of prom-client. */
  readonly registry: any;
  /** Answers with all metrics of the registry; for Express or node:http. */
  readonly handler: (req: IncomingMessage, res: ServerResponse) => Promise<void>;
  /** An Express 5 router with GET /metrics. */
  router (options?: PageAccess): any;
  /** Removes its listeners, and its metrics from the registry. */
  close (): void;
}

/**
 * Metrics for Prometheus. Counters count the events of this process, also for shared breakers,
 * so they can be added. Values that are the same in all processes (states, the level,
 * rows of the store) have prom-client's aggregator 'max'; without an AggregatorRegistry take
 * `max by (...)`.
 *
 * @throws TypeError or RangeError ERR_INVALID_OPTION
 * @throws SekeringError ERR_MISSING_PEER without the package prom-client
 */
export function createMetrics (options?: MetricsOptions): Metrics;

export interface ClusterMetricsOptions {
  /** How long a worker may take for each part of its page, in ms; default 5000. */
  timeout?: number | undefined;
}

export interface ClusterMetrics {
  /**
   * Answers with the sums of all workers; for Express or node:http. If a worker fails, leaves or
   * takes too long, the answer is 500, since sums without it would look like restarts.
   */
  readonly handler: (req: IncomingMessage, res: ServerResponse) => Promise<void>;
  /** An Express 5 router with GET /metrics. */
  router (options?: PageAccess): any;
  /** Stops listening to the workers. */
  close (): void;
}

/**
 * For the primary process of node:cluster: the metrics of all workers that have
 * `createMetrics({ cluster: true })`, each combined by its aggregator (sums, or the maximum). As
 * prom-client's AggregatorRegistry, but in parts: it never holds up a process for a whole page.
 *
 * @throws TypeError or RangeError ERR_INVALID_OPTION
 */
export function createClusterMetrics (options?: ClusterMetricsOptions): ClusterMetrics;
