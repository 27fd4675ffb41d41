import { IncomingMessage, ServerResponse } from 'node:http';
import CircuitBreaker = require('../primitives/breaker');
import { BreakerGroup } from '../primitives/group';

export interface BreakerMiddlewareOptions {
  /** Paths of an application, 1 to 1000; '/api' is '/api' and all below it, whatever the case.
   * The longest that fits counts. */
  prefixes: string[];
  /** Of each prefix's breaker. `timeout` is until the answer begins, default 10000 ms: it is
   * answered 504, and what the handler writes later goes nowhere. */
  breaker?: Omit<CircuitBreaker.Options, 'fallback' | 'cache' | 'coalesce'> | undefined;
  /** Of the breakers, which are called name/prefix. Default 'http'. */
  name?: string | undefined;
  /** Whether an answer is a failure. Default: a status from 500. */
  isFailure?: ((res: ServerResponse, req: IncomingMessage) => boolean) | undefined;
}

export interface BreakerMiddleware {
  (req: any, res: any, next: (error?: unknown) => void): void;
  /** By prefix. */
  readonly breakers: BreakerGroup<any, any, any>;
}

/**
 * Express middleware, to be used before the routes that it protects. While a prefix's breaker is
 * open its requests are answered 503 with problem+json (code EOPENBREAKER) and Retry-After. A
 * client that leaves before the answer counts for nothing.
 *
 * @throws TypeError or RangeError ERR_INVALID_OPTION
 */
export function createBreakerMiddleware (options: BreakerMiddlewareOptions): BreakerMiddleware;
