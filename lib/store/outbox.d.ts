import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import { BackoffOptions } from '../primitives/backoff';
import { SqlClient } from './store';

export type MessageStatus = 'PENDING' | 'SENDING' | 'RETRYING' | 'SENT' | 'DLQ' | 'CANCELLED';

export interface OutboxMessage {
  /** EMAIL, WHATSAPP, or a registered one. */
  channel: string;
  /** An address, a number or an order id. 1 to 512 characters on one line. */
  recipient: string;
  /** At most 1000 characters on one line. With a template, it is filled in like one. */
  subject?: string | undefined;
  /** The text. At most 256 KiB. */
  body?: string | undefined;
  /** The HTML version. At most 256 KiB. */
  html?: string | undefined;
  /**
   * Or a Mustache template. A string, such as Hi {{name}}, is filled in from `data` when the
   * message is sent, without escaping. The parts of an object are filled in when the message is
   * enqueued, and values in `html` are escaped. At most 256 KiB each, and 1048576 characters when
   * filled in.
   */
  template?: string | MessageTemplate | undefined;
  /** JSON, at most 256 KiB: values of the template, or data for the channel's sender. */
  data?: unknown;
  /**
   * No second message with this key is stored until the first is final. At most 255 characters.
   * With a list of recipients, each message has this key with `#` and a hash of its recipient.
   */
  dedupeKey?: string | undefined;
  /**
   * Messages of a channel with the same key are sent one after another, never two at once, in
   * the order of their ids, whatever their priority. At most 255 characters.
   */
  orderKey?: string | undefined;
  /** -100 to 100, default 0; higher ones first. */
  priority?: number | undefined;
  /** ms before the first attempt, default 0. */
  delay?: number | undefined;
  /** 1 to 100, default 5 or the channel's. */
  maxAttempts?: number | undefined;
}

/** A message to 1 to 1000 recipients, each of which gets its own message. */
export type MessageToMany = Omit<OutboxMessage, 'recipient'> & { recipient: string[] };

/** Parts of a message that are filled in from its `data`. */
export interface MessageTemplate {
  subject?: string | undefined;
  /** Becomes `body`. */
  text?: string | undefined;
  html?: string | undefined;
}

export interface Enqueued {
  /** A bigint as a decimal string. */
  id: string;
  /** Whether a message with the same dedupeKey was already waiting; then `id` is its id. */
  duplicate: boolean;
}

export interface AttemptError {
  attempt: number;
  at: string;
  name: string;
  code?: string | undefined;
  message: string;
}

/** A row of the outbox. */
export interface StoredMessage {
  id: string;
  channel: string;
  recipient: string;
  subject: string | null;
  body: string | null;
  html: string | null;
  template: string | null;
  data: any;
  status: MessageStatus;
  attemptCount: number;
  maxAttempts: number;
  nextRetryAt: Date;
  lastError: string | null;
  errorHistory: AttemptError[];
  dedupeKey: string | null;
  orderKey: string | null;
  priority: number;
  providerMessageId: string | null;
  createdAt: Date;
  sentAt: Date | null;
}

/** The message for a sender, with its template filled in. */
export interface OutgoingMessage extends StoredMessage {
  /** The same at every attempt: use it as the Message-ID or the provider's reference. */
  reference: string;
}

export type Sender = (
  message: OutgoingMessage, context: { signal: AbortSignal; attempt: number }
) => Promise<{ providerMessageId?: string | undefined } | string | void>;

export interface ChannelDefinition {
  maxAttempts?: number | undefined;
  /** Delay after attempt n (1, 2 …), default min(1 s * 2^n, 60 s): 2, 4, 8, 16 s. */
  backoff?: BackoffOptions | undefined;
  /** The form in which a recipient is stored and sent to; called before `validate`. */
  normalize?: ((recipient: string) => string) | undefined;
  /**
   * What all forms of one recipient have in common, such as the address in Ann <ann@b.co>. Default:
   * the stored form. A list may have each recipient once, and a `dedupeKey` counts for each.
   */
  identify?: ((recipient: string) => string) | undefined;
  /**
   * Throws to reject a message when it is enqueued. If the error has `faults`
   * ([{ path, message }]), they become part of the ERR_OUTBOX_MESSAGE that lists all faults.
   * `message` has one recipient. `body`, `subject` and `html` are the texts that will be sent, with
   * the template filled in; undefined if they are invalid.
   */
  validate?: ((message: OutboxMessage, text: {
    body: string | undefined; subject?: string | null | undefined; html?: string | null | undefined;
  }) => void) | undefined;
}

export interface ChannelWorker {
  send: Sender;
  /**
   * While it is open the channel waits, and no attempt is counted. While it is half open, the
   * channel sends one message at a time. The worker only watches it: `send` must fire it.
   */
  breaker?: CircuitBreaker<any, any> | undefined;
  /** Messages in flight, 1 to 1000, default 5. */
  concurrency?: number | undefined;
  /** Messages per `interval` ms. */
  rate?: { limit: number; interval: number } | undefined;
  /**
   * Time limit of one attempt in ms, default 30000. Then its signal aborts, and the attempt fails
   * when the sender ends. A sender that ignores the signal gets the same time again,
   * in which it may still succeed; after that the message is retried, even if it still runs.
   */
  timeout?: number | undefined;
}

export interface WorkerOptions {
  channels: Record<string, Sender | ChannelWorker>;
  /** Messages in flight of all channels, 1 to 10000, default 20. */
  concurrency?: number | undefined;
  /**
   * Further messages that were sent but whose outcome is not yet recorded, 0 to
   * 10000, default 0. More is faster if sending takes no time, but all are sent again if the worker
   * is killed.
   */
  unsettled?: number | undefined;
  /**
   * How many messages are claimed at once, 1 to 1000, default 500. A worker claims what it has room
   * for and can send in 100 ms.
   */
  batchSize?: number | undefined;
  /** A dead worker's messages return after so many ms, 1000 to 3600000, default 30000. */
  leaseMs?: number | undefined;
  /**
   * ms between polls, 10 to 3600000, default 1000; new messages are also announced. A channel that
   * has found nothing for ten polls is polled less often: see the guide.
   */
  pollInterval?: number | undefined;
}

/**
 * `warning` reports passing trouble, and, with ERR_OUTBOX_LEFT_BEHIND, messages
 * that were still being sent when `stop` ended (`count` and `ids`).
 *
 * Events: 'sent'(message), 'retry'(message, error, delayMs), 'dead'(letter, error?),
 * 'paused'(channel), 'resumed'(channel), 'idle'(), 'fenced'(message), 'warning'(error).
 */
export interface OutboxWorker extends EventEmitter {
  start (): Promise<void>;
  /**
   * Finishes what is in flight for up to `timeout` ms (default 10000), and releases what it has
   * not begun. Then it aborts the signals of what is still being sent. If a sender ignores its
   * signal, the worker keeps the message: it extends the lease and records the outcome as long
   * as the process lives, but does not keep the process alive. A `warning` (ERR_OUTBOX_LEFT_BEHIND)
   * names these messages. Call `stop` again to wait for them. After `start` they still count
   * as in flight.
   */
  stop (options?: { timeout?: number | undefined }): Promise<void>;
  readonly running: boolean;
  readonly inFlight: number;
  /** When it last read the database successfully, as in performance.now(). */
  readonly lastBeat: number;
  stats (): {
    sent: number; retried: number; dead: number; fenced: number;
    channels: Record<string, { inFlight: number; paused: boolean }>;
  };
}

export interface OutboxStats {
  /** Rows by channel and status. SENT and CANCELLED may be estimates, see `sampled`. */
  channels: Record<string, Record<MessageStatus, number>>;
  waiting: number;
  /** Age of the oldest message that is due, in ms; 0 if none. */
  oldestMs: number;
  /**
   * Whether SENT and CANCELLED are estimates from 16 MiB of the table. They are if it is larger, so
   * that a larger table takes no longer. Always false with `exact`.
   */
  sampled: boolean;
}

export interface Outbox {
  /**
   * Durable when its promise resolves; with `client`, when that transaction commits. Of an array
   * (at most 10000) all are stored or none. Rejects with ERR_OUTBOX_CHANNEL, ERR_OUTBOX_MESSAGE,
   * ERR_OUTBOX_TEMPLATE, ERR_OUTBOX_TOO_LARGE, each with all `faults`, or an error of the database.
   */
  enqueue (message: OutboxMessage, options?: { client?: SqlClient }): Promise<Enqueued>;
  /** Resolves with one result for each recipient, in the same order. */
  enqueue (message: MessageToMany, options?: { client?: SqlClient }): Promise<Enqueued[]>;
  enqueue (
    messages: Array<OutboxMessage | MessageToMany>, options?: { client?: SqlClient }
  ): Promise<Enqueued[]>;
  registerChannel (name: string, definition?: ChannelDefinition): void;
  readonly channels: string[];
  get (id: string): Promise<StoredMessage | undefined>;
  /** Newest first; `before` is an id. */
  list (filter?: {
    status?: MessageStatus | undefined; channel?: string | undefined; search?: string | undefined;
    before?: string | undefined; limit?: number | undefined;
  }): Promise<StoredMessage[]>;
  /** Cancels a waiting message. Returns whether it was still waiting. */
  cancel (id: string): Promise<boolean>;
  /** `exact` reads the whole table, however large it is. Default false. */
  stats (options?: { exact?: boolean | undefined }): Promise<OutboxStats>;
  createWorker (options: WorkerOptions): OutboxWorker;
}
