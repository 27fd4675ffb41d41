import { IncomingMessage, ServerResponse } from 'node:http';
import CircuitBreaker = require('../primitives/breaker');
import { BreakerGroup } from '../primitives/group';

export interface BreakerMiddlewareOptions {
  /** Paths of an application, 1 to 1000. '/api' means '/api' and everything below it, in any case.
   * The longest match counts. */
  prefixes: string[];
  /** Options of the breakers. `timeout`: until the answer begins, default 10000 ms. After that,
   * the answer is 504, and whatever the handler writes later is dropped. */
  breaker?: Omit<CircuitBreaker.Options, 'fallback' | 'cache' | 'coalesce'> | undefined;
  /** Breakers are called name/prefix. Default 'http'. */
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
 * client that leaves before the answer is not counted.
 *
 * @throws TypeError or RangeError ERR_INVALID_OPTION
 */
export function createBreakerMiddleware (options: BreakerMiddlewareOptions): BreakerMiddleware;
