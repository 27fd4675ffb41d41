import CircuitBreaker = require('./breaker');

/**
 * A breaker without an action of its own: use its run() or wrap(). `fire(fn, ...args)` calls
 * `fn(...args)`.
 */
export type NamedCircuitBreaker =
  CircuitBreaker<[fn: (...args: any[]) => any, ...args: any[]], any>;

/**
 * The breaker of this name in this thread; created if there is none. It exists until its
 * shutdown(): for names that come from requests, use a BreakerGroup.
 * @param options such as `presets.midtrans`. If the breaker exists, they must have the same values
 *   as the options that it was made from (functions must be identical). Without options: the
 *   existing breaker, or a new one with the defaults.
 * @throws SekeringError ERR_OPTIONS_MISMATCH, whose `options` lists the names of the options that
 *   differ; TypeError or RangeError ERR_INVALID_OPTION
 */
export function getCircuitBreaker (
  name: string, options?: CircuitBreaker.Options): NamedCircuitBreaker;
/**
 * The breakers that getCircuitBreaker has created in this thread. `breakers()` lists all breakers.
 */
export function circuitBreakers (): NamedCircuitBreaker[];
/** Closes the breaker of this name and clears its counts; false if there is none. */
export function resetCircuitBreaker (name: string): boolean;
/** Closes all breakers of getCircuitBreaker and clears their counts. */
export function resetCircuitBreakers (): void;
