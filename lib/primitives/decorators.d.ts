import CircuitBreaker = require('./breaker');
import retryOf = require('./retry');

/**
 * Decorates methods that return promises: public or private, of instances or static. The method
 * keeps its type, its `this`, its name and its length.
 */
export interface PromiseMethodDecorator {
  <This, Method extends (this: This, ...args: any[]) => Promise<any>>(
    method: Method, context: ClassMethodDecoratorContext<This, Method>): Method;
  /** With experimentalDecorators. */
  <Method extends (...args: any[]) => Promise<any>>(
    target: object, name: string | symbol, descriptor: TypedPropertyDescriptor<Method>
  ): TypedPropertyDescriptor<Method>;
}

/** Options of retry(), except `signal`: it would abort the calls of all objects. */
export interface RetryOptions extends Omit<retryOf.Options, 'signal'> {}

/**
 * Calls the method again until it succeeds, as retryable() does. If a breaker inside is open, the
 * call ends at once. Put it above circuitBreaker to send each attempt through the breaker.
 * @throws TypeError or RangeError ERR_INVALID_OPTION
 */
export function retry (options?: RetryOptions | readonly number[]): PromiseMethodDecorator;

/**
 * Calls the method through a breaker, which all objects of the class share.
 * @param breaker a breaker, or the options of one. With a `name`, it is that of
 *   getCircuitBreaker(name, options). Otherwise the method has its own, which is created with the
 *   first object of the class. Its name is `Class.method`; for a private method, `Class` is the
 *   class of that object.
 * @throws TypeError or RangeError ERR_INVALID_OPTION, SekeringError ERR_OPTIONS_MISMATCH
 */
export function circuitBreaker (
  breaker?: CircuitBreaker<any, any> | CircuitBreaker.Options): PromiseMethodDecorator;
