/** An element, or a selector of one. */
export type Container = unknown;

export interface AutoRetryTexts {
  waiting?: ((n: number, tries: number, seconds: number) => string) | undefined;
  trying?: string | undefined;
  failed?: string | undefined;
  /** Of the button. */
  button?: string | undefined;
}

export interface AutoRetryOptions {
  /** Where progress and button are shown: an element or a selector; default the page's body. */
  container?: Container;
  /** How often it is tried again by itself, default 3. */
  tries?: number | undefined;
  /** ms between the tries, default 5000. */
  interval?: number | undefined;
  text?: AutoRetryTexts | undefined;
  /** Ends it all, with its reason. */
  signal?: AbortSignal | undefined;
  /** Whether there was a failure already, so that it begins with waiting; default false. */
  failed?: boolean | undefined;
}

/**
 * Calls `task` until it gives a value, or a Response that is ok, and resolves with that. It is
 * tried again by itself, with a line and a bar that show how far it is, and then by a button. An
 * answer 4xx (408 and 429 aside) leads to the button at once.
 */
export function autoRetry<T> (
  task: (context: { signal: AbortSignal | undefined }) => T | PromiseLike<T>,
  options?: AutoRetryOptions
): Promise<T>;

/** For a page that is itself the error: loads it again once the server has a better one. */
export function retryPage (options?: Omit<AutoRetryOptions, 'failed'>): Promise<void>;

/** Says in `container` that what it shows is a copy, so many ms old; returns the notice. */
export function staleNotice (
  container: Container, ageMs: number, text?: (minutes: number) => string): any;
