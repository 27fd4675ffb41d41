export interface DeadlineContext {
  /** Aborts at the deadline, and when the caller aborts. It carries the deadline. */
  signal: AbortSignal;
}

export interface DeadlineOptions {
  /**
   * The caller's. When it aborts, the call ends with its reason. If it carries an earlier deadline,
   * that one stays. Default: none.
   */
  signal?: AbortSignal | undefined;
}

/**
 * Calls `fn({ signal })` and waits for it, until the deadline at most: then it rejects with code
 * EDEADLINE. Pass the signal on: whatever gets it knows how much time is left.
 *
 * @param end ms from now, or a Date; Infinity for no deadline
 * @param fn does the work
 * @throws ERR_INVALID_OPTION
 */
export function withDeadline<T> (
  end: number | Date, fn: (context: DeadlineContext) => T | PromiseLike<T>,
  options?: DeadlineOptions
): Promise<T>;

/**
 * How long until the deadline that a signal carries, in ms; 0 after it, Infinity without one.
 * @throws ERR_INVALID_OPTION
 */
export function timeLeft (signal: AbortSignal | undefined): number;

/**
 * Headers that tell another service how long its caller waits: `grpc-timeout` with the time that is
 * left, such as `1500m` for 1500 ms. Empty if the signal carries no deadline.
 * @throws ERR_INVALID_OPTION
 */
export function deadlineHeaders (signal: AbortSignal | undefined): { 'grpc-timeout'?: string };

/**
 * How long the sender of a request waits, in ms, as its header `grpc-timeout` says; undefined
 * without this header.
 * @param headers those of a request of Node.js, or of fetch
 * @throws ERR_INVALID_INPUT if the value cannot be read
 */
export function readDeadlineHeaders (
  headers: Record<string, string | string[] | undefined> |
    { get (name: string): string | null }
): number | undefined;
