import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { Sender } from '../store';

export interface TracingOptions {
  /** Of OpenTelemetry; default: the one that is registered globally. */
  tracerProvider?: any;
}

/**
 * Spans carry names, numbers and the codes of errors (`error.type`): no arguments, no results and
 * no words of errors. They are active while what they are around runs.
 */
export interface Tracing {
  /** Runs `fn` in a span, which is an error's when it rejects. */
  span<T> (
    name: string, attributes: Record<string, string | number | boolean>,
    fn: (span: any) => T | PromiseLike<T>
  ): Promise<T>;
  /** A function that calls the breaker, each call in a span. */
  breaker<TI extends unknown[], TR> (breaker: CircuitBreaker<TI, TR>): (...args: TI) => Promise<TR>;
  /** retry() in a span, and in it one for each attempt. */
  retry<T> (
    name: string,
    fn: (bail: (reason?: any) => void, attempt: number) => T | PromiseLike<T>,
    options?: retry.Options
  ): Promise<T>;
  /** A sender for a worker, each attempt to send in a span. */
  sender (send: Sender): Sender;
}

/** @throws SekeringError ERR_MISSING_PEER without the package @opentelemetry/api */
export function createTracing (options?: TracingOptions): Tracing;
