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
  /** Becomes `subject`. */
  subject?: string | undefined;
  /** Becomes `body`. */
  text?: string | undefined;
  /** Becomes `html`; values in it are escaped. */
  html?: string | undefined;
}

export interface Enqueued {
  /** A bigint as a decimal string. */
  id: string;
  /** Whether a message with the same dedupeKey was already waiting; then `id` is its id. */
  duplicate: boolean;
}

export interface AttemptError {
  /** From 1. */
  attempt: number;
  /** When, in ISO 8601. */
  at: string;
  /** The name of the error's class. */
  name: string;
  /** The code of the error, if it had one. */
  code?: string | undefined;
  /** The error's message. */
  message: string;
  /**
   * How many earlier errors of the message were no longer kept when this one was added. Missing:
   * none.
   */
  omitted?: number | undefined;
  /** Whether the message died with it, and was then retried from the dead letters. */
  retried?: true | undefined;
}

/** A row of the outbox. */
export interface StoredMessage {
  /** A bigint as a decimal string; later messages have larger ones. */
  id: string;
  /** EMAIL, WHATSAPP, or a registered one. */
  channel: string;
  /** In the normal form of its channel. */
  recipient: string;
  /** null if there is none. */
  subject: string | null;
  /** The text; null if there is none, or a template instead. */
  body: string | null;
  /** null if there is none. */
  html: string | null;
  /** A template that is filled in when the message is sent; else null. */
  template: string | null;
  /** For the template or the sender. */
  data: any;
  /** Where it is on its way. */
  status: MessageStatus;
  /** Attempts so far. */
  attemptCount: number;
  /** After so many it becomes a dead letter. */
  maxAttempts: number;
  /** Not before this time. */
  nextRetryAt: Date;
  /** The message of the last error; null if there was none. */
  lastError: string | null;
  /**
   * The errors of its attempts, oldest first: the last 100. Those before it was retried as a dead
   * letter are among them.
   */
  errorHistory: AttemptError[];
  /** null if there is none. */
  dedupeKey: string | null;
  /** null if there is none. */
  orderKey: string | null;
  /** -100 to 100; higher ones first. */
  priority: number;
  /** The provider's id, once it was sent; else null. */
  providerMessageId: string | null;
  /** When it was enqueued. */
  createdAt: Date;
  /** null if it was not sent. */
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
  /** Of messages that set none, 1 to 100, default 5. */
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
    /** The texts that will be sent. */
    body: string | undefined; subject?: string | null | undefined; html?: string | null | undefined;
  }) => void) | undefined;
}

export interface ChannelWorker {
  /** Sends one message; a rejection is a failed attempt. */
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
  /** How the messages of each channel are sent. */
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
  /**
   * About how many bytes of messages are held at once (claimed, and not over), 1024 to 2^30,
   * default 2^24 (16 MiB). A claim brings a sixteenth of that, and one message more.
   */
  heldBytes?: number | undefined;
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
  /** Begins to claim messages. */
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
  /** Whether it has been started, and not been stopped. */
  readonly running: boolean;
  /** Messages that are being sent. */
  readonly inFlight: number;
  /** When it last read the database successfully, as in performance.now(). */
  readonly lastBeat: number;
  /** Since the worker was made. */
  stats (): {
    /** Messages by outcome; fenced: another worker had taken them over. */
    sent: number; retried: number; dead: number; fenced: number;
    /** By name. */
    channels: Record<string, { inFlight: number; paused: boolean }>;
  };
}

export interface OutboxStats {
  /** Rows by channel and status. Some may be estimates, see `sampled`. */
  /** Messages that wait for an attempt. */
  waiting: number;
  /** Age of the oldest message that is due, in ms; 0 if none. */
  oldestMs: number;
  /**
   * Whether SENT and CANCELLED are estimates from 6 MiB of the table, because it is larger, and
   * also the other counts of channels that have many: thousands, or fewer where channels are many.
   * Always false with `exact`.
   */
  sampled: boolean;
}

/**
 * A page of a list, newest first. However many rows there are, it looks at 10,000 of them at most
 * and has about 16 MiB at most: it may hold fewer than asked for, or none, and not be the last one.
 */
export type Page<T> = T[] & {
  /** The `before` of the next page. Undefined: this is the last one. */
  readonly next?: string | undefined;
};

/** Which part of a list is meant. */
export interface PageFilter {
  /** Only what came at this time or later, in ms as Date.now() has it. Default: all. */
  since?: number | undefined;
  /** Only what came before this time, in ms as Date.now() has it. Default: all. */
  until?: number | undefined;
  /** Only before this id: `next` of the page before. Default: from the newest. */
  before?: string | undefined;
  /** At most so many, 1 to 1000, default 100. */
  limit?: number | undefined;
}

export interface MessageFilter extends PageFilter {
  /** With this status. Default: any. */
  status?: MessageStatus | undefined;
  /** Only of this channel. Default: all. */
  channel?: string | undefined;
  /** Part of a recipient, a subject or the last error. */
  search?: string | undefined;
}

/** A message in a list without content. */
export type Summary<M extends StoredMessage> =
  Omit<M, 'body' | 'html' | 'template' | 'data' | 'errorHistory'> & {
    /** How many errors it has had. */
    errors: number;
  };

export interface Outbox {
  /**
   * Durable when its promise resolves; with `client`, when that transaction commits. Of an array
   * (at most 10000) all are stored or none. Rejects with ERR_OUTBOX_CHANNEL, ERR_OUTBOX_MESSAGE,
   * ERR_OUTBOX_TEMPLATE, ERR_OUTBOX_TOO_LARGE, each with all `faults`, or an error of the database.
   * A call that is too large as a whole (10000 rows, 64 MiB) is refused at once, without `faults`.
   */
  enqueue (message: OutboxMessage, options?: { client?: SqlClient }): Promise<Enqueued>;
  /** Resolves with one result for each recipient, in the same order. */
  enqueue (message: MessageToMany, options?: { client?: SqlClient }): Promise<Enqueued[]>;
  enqueue (
    messages: Array<OutboxMessage | MessageToMany>, options?: { client?: SqlClient }
  ): Promise<Enqueued[]>;
  /** Adds a channel to those that messages can have. */
  registerChannel (name: string, definition?: ChannelDefinition): void;
  /** The names of all channels. */
  readonly channels: string[];
  /** undefined if there is no such message. */
  get (id: string): Promise<StoredMessage | undefined>;
  /** A page of the messages that fit, newest first. */
  list (filter?: MessageFilter & {
    /** Whether with texts, data and errors. Default true. */
    content?: true | undefined;
  }): Promise<Page<StoredMessage>>;
  /** The same without content. */
  list (filter: MessageFilter & {
    /** Whether with texts, data and errors. */
    content: false;
  }): Promise<Page<Summary<StoredMessage>>>;
  /** Cancels a waiting message. Returns whether it was still waiting. */
  cancel (id: string): Promise<boolean>;
  /** `exact` reads the whole table, however large it is. Default false. */
  stats (options?: { exact?: boolean | undefined }): Promise<OutboxStats>;
  /** A worker, which begins with its start(). */
  createWorker (options: WorkerOptions): OutboxWorker;
}
