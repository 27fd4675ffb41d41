import { IncomingMessage, ServerResponse } from 'node:http';
import CircuitBreaker = require('../primitives/breaker');
import { BreakerGroup } from '../primitives/group';

export interface BreakerMiddlewareOptions {
  /** Paths of an application, 1 to 1000; '/api' is '/api' and everything below it, in any case.
   * The longest match applies. */
  prefixes: string[];
  /** Of each prefix's breaker. `timeout` limits the time until the response begins, default
   * 10000 ms: then it is 504, and later output of the handler is discarded. */
  breaker?: Omit<CircuitBreaker.Options, 'fallback' | 'cache' | 'coalesce'> | undefined;
  /** The breakers are named name/prefix. Default 'http'. */
  name?: string | undefined;
  /** Whether a response is a failure. Default: a status from 500. */
  isFailure?: ((res: ServerResponse, req: IncomingMessage) => boolean) | undefined;
}

export interface BreakerMiddleware {
  (req: any, res: any, next: (error?: unknown) => void): void;
  /** By prefix. */
  readonly breakers: BreakerGroup<any, any, any>;
}

/**
 * Express middleware; use it before the routes that it protects. While a prefix's breaker is
 * open, its requests get 503 with problem+json (code EOPENBREAKER) and Retry-After. If a
 * client leaves before the response, nothing is counted.
 *
 * @throws TypeError or RangeError ERR_INVALID_OPTION
 */
export function createBreakerMiddleware (options: BreakerMiddlewareOptions): BreakerMiddleware;
