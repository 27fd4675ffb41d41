import { EventEmitter } from 'node:events';
import { OutboxMessage, Page, PageFilter, StoredMessage, Summary } from './outbox';
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
  /** When it was given up. */
  diedAt: Date;
}

export interface DeadLetterFilter {
  /** Only of this channel. Default: all. */
  channel?: string | undefined;
  /** Only of this kind, such as ERR_OUTBOX_GIVEN_UP. Default: all. */
  kind?: string | undefined;
  /** Part of a recipient, a subject or the last error. */
  search?: string | undefined;
  /** Only what came at this time or later, in ms as Date.now() has it. Default: all. */
  since?: number | undefined;
  /** Only what came before this time, in ms as Date.now() has it. Default: all. */
  until?: number | undefined;
}

/**
 * 'retry': with a fresh attempt count. 'drop': cancel it. Or a new message that replaces it. One
 * that throws, or does not answer within 30 seconds, counts as failed: the letter stays.
 */
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
    /** What kind of failure it is, and the transaction in which it is added. */
    kind?: string | undefined; client?: SqlClient | undefined;
  }): Promise<DeadLetter>;
  /** A page of the letters that fit, newest first. */
  list (filter?: DeadLetterFilter & PageFilter & {
    /** Whether with texts, data and errors. Default true. */
    content?: true | undefined;
  }): Promise<Page<DeadLetter>>;
  /** The same without content. */
  list (filter: DeadLetterFilter & PageFilter & {
    /** Whether with texts, data and errors. */
    content: false;
  }): Promise<Page<Summary<DeadLetter>>>;
  /** undefined if there is no such letter. */
  get (id: string): Promise<DeadLetter | undefined>;
  /** How many there are that fit. */
  count (filter?: DeadLetterFilter): Promise<number>;
  /** By channel and kind. Counts of many thousands may be estimates, see OutboxStats.sampled. */
  summary (): Promise<Array<{ channel: string; kind: string; count: number }>>;
  /**
   * Retries it at once, with a fresh attempt count. False if there is none, or if a message with
   * its dedupeKey is waiting.
   */
  retry (id: string): Promise<boolean>;
  /** `rate`: messages per second. */
  retryMany (filter?: DeadLetterFilter & {
    /** Only these; at most so many; so many messages per second. */
    ids?: string[] | undefined; limit?: number | undefined; rate?: number | undefined;
  }): Promise<{ retried: number }>;
  /** Applies a strategy by kind ('*' for all others) to up to `limit` letters. */
  recover (strategies: Record<string, RecoveryStrategy>, options?: {
    /** At most so many. */
    limit?: number | undefined;
  }): Promise<{ retried: number; dropped: number; replaced: number; kept: number; failed: number }>;
  /** Deletes letters for good. */
  purge (filter?: DeadLetterFilter & {
    /** Only these; only those that died more than so many ms ago. */
    ids?: string[] | undefined; olderThan?: number | undefined;
  }): Promise<number>;
}
