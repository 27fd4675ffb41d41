import { EventEmitter } from 'node:events';
import { OutboxMessage, StoredMessage } from './outbox';
import { SqlClient } from './store';

export interface DeadLetter extends StoredMessage {
  reason: string;
  /** What kind of failure: the error's code, or its class. */
  kind: string;
  diedAt: Date;
}

export interface DeadLetterFilter {
  channel?: string | undefined;
  kind?: string | undefined;
  /** Part of a recipient, a subject or the last error. */
  search?: string | undefined;
}

/** 'retry': try again with all attempts. 'drop': cancel. Or a new message in its place. */
export type RecoveryStrategy = (letter: DeadLetter) =>
  'retry' | 'drop' | 'keep' | OutboxMessage | Promise<'retry' | 'drop' | 'keep' | OutboxMessage>;

/**
 * Emits 'arrival'(letter) for each that this environment puts in, and after each retryMany and
 * recover 'processed'({ durationMs, ... }) with what these resolve with.
 */
export interface DeadLetters extends EventEmitter {
  /**
   * A message that cannot be sent, or one that is waiting, by its id. Its kind is
   * ERR_OUTBOX_GIVEN_UP unless `kind` says otherwise.
   */
  add (message: OutboxMessage | string, reason: string, options?: {
    kind?: string | undefined; client?: SqlClient | undefined;
  }): Promise<DeadLetter>;
  /** Newest first, 100 unless `limit` (1 to 1000) says otherwise; `before` is an id. */
  list (filter?: DeadLetterFilter & {
    before?: string | undefined; limit?: number | undefined;
  }): Promise<DeadLetter[]>;
  get (id: string): Promise<DeadLetter | undefined>;
  count (filter?: DeadLetterFilter): Promise<number>;
  /** By channel and kind. */
  summary (): Promise<Array<{ channel: string; kind: string; count: number }>>;
  /**
   * Gives it all its attempts again, at once. False if it was not there, or a message with its
   * dedupeKey waits already.
   */
  retry (id: string): Promise<boolean>;
  /** `rate`: messages per second, spread over the future. */
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
