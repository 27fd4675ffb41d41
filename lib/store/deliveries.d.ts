import { EventEmitter } from 'node:events';
import { MessageStatus as StatusNews } from '../clients/whatsapp';
import { StoredMessage } from './outbox';

/** The last that a provider told of a message that it had taken in. */
export interface Delivery {
  providerMessageId: string;
  /** The message's, as senders get it; null if the provider does not say. */
  reference: string | null;
  status: 'accepted' | 'sent' | 'failed' | 'delivered' | 'read';
  /** When it became so, by the provider's clock. */
  at: Date | null;
  /** The number, as the provider writes it. */
  recipient: string | null;
  /** Why it failed: the provider's code, and its words. */
  errorCode: string | null;
  error: string | null;
  heardAt: Date;
}

/** `id` and `channel` of the message; null of one that is not in the outbox. */
export type FailedDelivery = Delivery & { id: string | null; channel: string | null };

/** Emits 'failed'(delivery), once for each message that a provider could not deliver. */
export interface Deliveries extends EventEmitter {
  /**
   * Takes in what a webhook told. Late and repeated statuses change nothing.
   * @returns how many were news
   */
  record (statuses: StatusNews[]): Promise<number>;
  /**
   * What could not be delivered, newest first, 100 unless `limit` (1 to 1000) says otherwise;
   * `before` is the providerMessageId of one of them.
   */
  failures (options?: { before?: string | undefined; limit?: number | undefined }):
    Promise<FailedDelivery[]>;
  /** By the messages' ids. Of a message that was sent twice, what has arrived counts. */
  of (messages: Array<Pick<StoredMessage, 'id' | 'createdAt' | 'providerMessageId'>>):
    Promise<Map<string, Delivery>>;
}
