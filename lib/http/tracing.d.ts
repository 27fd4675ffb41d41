import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { Sender } from '../store';

export interface TracingOptions {
  /** Of OpenTelemetry; default: the globally registered one. */
  tracerProvider?: any;
}

/**
 * Spans have names, numbers and error codes (`error.type`), but no arguments, results or
 * error messages. A span is active while its function runs.
 */
export interface Tracing {
  /** Runs `fn` in a span; if it rejects, the span has the status error. */
  span<T> (
    name: string, attributes: Record<string, string | number | boolean>,
    fn: (span: any) => T | PromiseLike<T>
  ): Promise<T>;
  /** Returns a function that calls the breaker, each call in a span. */
  breaker<TI extends unknown[], TR> (breaker: CircuitBreaker<TI, TR>): (...args: TI) => Promise<TR>;
  /** Runs retry() in a span, with a span for each attempt. */
  retry<T> (
    name: string,
    fn: (bail: (reason?: any) => void, attempt: number) => T | PromiseLike<T>,
    options?: retry.Options
  ): Promise<T>;
  /** Returns a sender for a worker, with a span for each attempt. */
  sender (send: Sender): Sender;
}

/** @throws SekeringError ERR_MISSING_PEER without the package @opentelemetry/api */
export function createTracing (options?: TracingOptions): Tracing;
