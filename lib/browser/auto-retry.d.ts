/** An element or a selector. */
export type Container = unknown;

export interface AutoRetryTexts {
  /**
   * While it waits: the next attempt, how many there are, the seconds left. Default: in English.
   */
  waiting?: ((n: number, tries: number, seconds: number) => string) | undefined;
  /** During an attempt. Default: in English. */
  trying?: string | undefined;
  /** When all attempts have failed. Default: in English. */
  failed?: string | undefined;
  /** Of the button. */
  button?: string | undefined;
}

export interface AutoRetryOptions {
  /** Where progress and button are shown: an element or a selector. Default: the page's body. */
  container?: Container;
  /** How many automatic retries, default 3. */
  tries?: number | undefined;
  /** ms between retries, default 5000. */
  interval?: number | undefined;
  /** Texts in another language. Default: in English. */
  text?: AutoRetryTexts | undefined;
  /** Ends everything, with its reason. */
  signal?: AbortSignal | undefined;
  /** True: a call has already failed, so it begins by waiting. Default false. */
  failed?: boolean | undefined;
}

/**
 * Calls `task` until it returns a value, or a Response that is ok, and resolves with it. It retries
 * by itself, with a line and a bar that show the progress, and then shows a button. A 4xx response
 * (except 408 and 429) shows the button at once.
 */
export function autoRetry<T> (
  task: (context: { signal: AbortSignal | undefined }) => T | PromiseLike<T>,
  options?: AutoRetryOptions
): Promise<T>;

/** For a page that is itself the error: reloads it when the server works again. */
export function retryPage (options?: Omit<AutoRetryOptions, 'failed'>): Promise<void>;

/** Says in `container` that its content is a copy, so many ms old; returns the notice. */
export function staleNotice (
  container: Container, ageMs: number, text?: (minutes: number) => string): any;
