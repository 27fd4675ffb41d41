import { EventEmitter } from 'node:events';
import { MessageStatus as StatusNews } from '../clients/whatsapp';
import { Page, StoredMessage } from './outbox';

/** The last delivery status of a message that the provider accepted. */
export interface Delivery {
  /** The provider's id of the message. */
  providerMessageId: string;
  /** The message's, as in the sender; null if the provider does not say. */
  reference: string | null;
  /** The last one that was reported. */
  status: 'accepted' | 'sent' | 'failed' | 'delivered' | 'read';
  /** When it changed, by the provider's clock. */
  at: Date | null;
  /** The number, in the provider's format. */
  recipient: string | null;
  /** Why it failed: the provider's code and message. */
  errorCode: string | null;
  /** The provider's words; null if there was no error. */
  error: string | null;
  /** When the provider's report arrived. */
  heardAt: Date;
}

/** `id` and `channel` of the message; null if it is not in the outbox. */
export type FailedDelivery = Delivery & { id: string | null; channel: string | null };

/** Emits 'failed'(delivery) once for each message that a provider could not deliver. */
export interface Deliveries extends EventEmitter {
  /**
   * Records the statuses of a webhook. Late and repeated statuses change nothing.
   * @returns how many were new
   */
  record (statuses: StatusNews[]): Promise<number>;
  /**
   * Calls `work` with the items that no process has handled in the last 8 days. They count as
   * handled once it succeeds. `keyOf` returns the key of an item; an item without a key is always
   * new. Rejects as `work` does, or with ERR_IDEMPOTENCY_IN_PROGRESS if another process is still
   * handling an item after 5 s.
   */
  handleOnce<T> (
    items: T[], keyOf: (item: T) => string | undefined, work: (fresh: T[]) => Promise<unknown>
  ): Promise<void>;
  /**
   * A page of the messages that could not be delivered, newest first; `limit` is 1 to 1000, default
   * 100; `before` is a providerMessageId, such as `next` of the page before.
   */
  failures (options?: { before?: string | undefined; limit?: number | undefined }):
    Promise<Page<FailedDelivery>>;
  /** By the messages' ids. If a message was sent twice, the delivered one counts. */
  of (messages: Array<Pick<StoredMessage, 'id' | 'createdAt' | 'providerMessageId'>>):
    Promise<Map<string, Delivery>>;
}
