import { EventEmitter } from 'node:events';
import { OutboxMessage, StoredMessage } from './outbox';
import { SqlClient } from './store';

/** `lastError` is the message of the last attempt's error, if there was an attempt. */
export interface DeadLetter extends StoredMessage {
  /**
   * Why it is dead: 'Max retries (5) exceeded', 'Permanent failure' (its error is not retryable), a
   * text about a crash of its workers or an unknown channel, or the reason that was passed to
   * `add`.
   */
  reason: string;
  /** The kind of failure: the error's code or class. */
  kind: string;
  diedAt: Date;
}

export interface DeadLetterFilter {
  channel?: string | undefined;
  kind?: string | undefined;
  /** Part of a recipient, a subject or the last error. */
  search?: string | undefined;
}

/** 'retry': with a fresh attempt count. 'drop': cancel it. Or a new message that replaces it. */
export type RecoveryStrategy = (letter: DeadLetter) =>
  'retry' | 'drop' | 'keep' | OutboxMessage | Promise<'retry' | 'drop' | 'keep' | OutboxMessage>;

/**
 * Emits 'arrival'(letter) for each letter that this thread adds, and after each retryMany and
 * recover 'processed'({ durationMs, ... }) with their result.
 */
export interface DeadLetters extends EventEmitter {
  /**
   * Adds a message that cannot be sent, or gives up a waiting one, by its id. The default kind is
   * ERR_OUTBOX_GIVEN_UP.
   */
  add (message: OutboxMessage | string, reason: string, options?: {
    kind?: string | undefined; client?: SqlClient | undefined;
  }): Promise<DeadLetter>;
  /** Newest first; `limit` is 1 to 1000, default 100; `before` is an id. */
  list (filter?: DeadLetterFilter & {
    before?: string | undefined; limit?: number | undefined;
  }): Promise<DeadLetter[]>;
  get (id: string): Promise<DeadLetter | undefined>;
  count (filter?: DeadLetterFilter): Promise<number>;
  /** By channel and kind. */
  summary (): Promise<Array<{ channel: string; kind: string; count: number }>>;
  /**
   * Retries it at once, with a fresh attempt count. False if there is none, or if a message with
   * its dedupeKey is waiting.
   */
  retry (id: string): Promise<boolean>;
  /** `rate`: messages per second. */
  retryMany (filter?: DeadLetterFilter & {
    ids?: string[] | undefined; limit?: number | undefined; rate?: number | undefined;
  }): Promise<{ retried: number }>;
  /** Applies a strategy by kind ('*' for all others) to up to `limit` letters. */
  recover (strategies: Record<string, RecoveryStrategy>, options?: {
    limit?: number | undefined;
  }): Promise<{ retried: number; dropped: number; replaced: number; kept: number; failed: number }>;
  /** Deletes letters for good. */
  purge (filter?: DeadLetterFilter & {
    ids?: string[] | undefined; olderThan?: number | undefined;
  }): Promise<number>;
}
