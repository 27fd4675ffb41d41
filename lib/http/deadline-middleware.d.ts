export interface DeadlineMiddlewareOptions {
  /**
   * The longest time that a request may have in ms, from 1; also for requests that do not say how
   * long their sender waits. Default Infinity: these have no deadline.
   */
  max?: number | undefined;
}

export interface DeadlineMiddleware {
  (req: any, res: any, next: (error?: unknown) => void): void;
}

/**
 * Express middleware that reads the header `grpc-timeout` of requests. `req.deadlineSignal` is then
 * an AbortSignal that carries the deadline and aborts at it; undefined without a deadline. A
 * request without time is passed on as an error with code EDEADLINE, one whose header cannot be
 * read with ERR_INVALID_INPUT: problemHandler answers 504 and 400.
 *
 * @throws TypeError or RangeError ERR_INVALID_OPTION
 */
export function createDeadlineMiddleware (options?: DeadlineMiddlewareOptions): DeadlineMiddleware;
