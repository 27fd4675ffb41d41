import { EventEmitter } from 'node:events';
import { OrderBody } from '../clients/midtrans';
import { ChannelWorker } from './outbox';
import { SqlClient } from './store';

/** What is used of a MidtransClient. */
export interface PaymentsProvider {
  /** `anyOrder`: accept an order's id that does not fit the shop's own pattern, too. */
  verifyNotification (notification: unknown, options?: { anyOrder?: boolean | undefined }): boolean;
  status (id: string, options?: { signal?: AbortSignal | undefined }): Promise<any>;
  createTransaction (body: OrderBody, options?: {
    resume?: boolean | undefined; signal?: AbortSignal | undefined;
  }): Promise<{ token: string; redirect_url: string }>;
  /** While it is open, deferred orders wait. */
  readonly breaker?: ChannelWorker['breaker'];
}

export interface PaymentsOptions {
  /** Needed for everything but taking orders in and looking them up. */
  midtrans?: PaymentsProvider | undefined;
  /** Bytes of a notification's body, 1024 to 16777216, default 65536. */
  maxBody?: number | undefined;
  /**
   * Whether GET status is asked before anything changes, default true. The signature does not cover
   * the state: without this, whoever has seen one notification can write another one.
   */
  confirm?: boolean | undefined;
  /**
   * Run by a worker that has `senders()`, once for each transition. The process that takes
   * notifications in has to have the same ones: it puts them into the outbox.
   */
  hooks?: PaymentHooks | undefined;
}

export interface PaymentHooks {
  /** The order was paid. */
  onPaid?: PaymentHook | undefined;
  /** It was denied, cancelled, has expired or failed. */
  onFailed?: PaymentHook | undefined;
  /** Money was given back, all or part of it; for each part. */
  onRefunded?: PaymentHook | undefined;
  /** Any transition. */
  onTransition?: PaymentHook | undefined;
}

/**
 * `order` is as it is when the hook runs. A hook that rejects, or whose process dies, is run again
 * with the same `transition.id`; hooks of one order run one after the other.
 */
export type PaymentHook = (
  order: PaymentOrder, transition: PaymentTransition, context: { signal: AbortSignal }
) => Promise<void> | void;

export interface PaymentTransition {
  /** Names this transition, and no other one. */
  id: string;
  from: OrderState;
  to: OrderState;
  transactionId: string | null;
}

/**
 * queued: not yet asked for at the provider. unknown: nobody knows yet whether it was made.
 * created: its page is there. authorize: money is reserved, or its capture in doubt. Of several
 * transactions (the id of an order that expired may be used again), the one that says most about
 * money counts.
 */
export type OrderState = 'queued' | 'created' | 'unknown' | 'pending' | 'authorize' | 'paid' |
  'denied' | 'cancelled' | 'expired' | 'failed' | 'partially_refunded' | 'refunded' |
  'partially_charged_back' | 'charged_back';

export interface PaymentOrder {
  orderId: string;
  state: OrderState;
  /** Hundredths of the currency's unit, whether it has them or not: IDR 10000 is 1000000n. */
  amountMinor: bigint;
  /** What has been given back of it. */
  refundedMinor: bigint;
  currency: string;
  /** Of the payment page. */
  token: string | null;
  redirectUrl: string | null;
  /** The transaction that its state comes from. */
  transactionId: string | null;
  /** Whether something waits for a person: see `events` for what, and `review`. */
  held: boolean;
  createdAt: Date;
  updatedAt: Date;
  /** The last 100, oldest first. `by`: order, midtrans, notification, reconcile, review:NAME. */
  history: Array<{
    at: string; from: OrderState | null; to: OrderState; by: string; reason?: string;
  }>;
}

/** unknown_order: it is signed, but its order is not ours. Nobody has to decide anything. */
export type PaymentOutcome = 'applied' | 'already_processed' | 'stale' | 'held' | 'unknown_order' |
  'forged' | 'invalid' | 'unavailable';

export interface NotificationOutcome {
  /** For the answer: 200, 400, 403, 413 or 503. */
  status: number;
  outcome: PaymentOutcome;
  orderId?: string | undefined;
  /** `{ status: outcome }` */
  body: { status: string };
}

export interface PaymentEvent {
  id: string;
  source: 'notification' | 'status';
  orderId: string | null;
  transactionId: string | null;
  transactionStatus: string | null;
  outcome: Exclude<PaymentOutcome, 'already_processed'> | 'dismissed';
  /**
   * Why it was held: edge (the state machine does not know it), amount, currency, contradicted
   * (Midtrans says something else), not_found (Midtrans knows of no such transaction),
   * other_transaction, other_order, paid_twice; in rows of older releases unknown_order. Why it was
   * forged: signature, other_order. Why invalid: too_large, not_json, or the name of a field.
   */
  reason: string | null;
  /** How often it came; for samples (forged, invalid), how many its row has stood for. */
  times: number;
  receivedAt: Date;
  lastReceivedAt: Date;
  /** As it came; for samples, the first 4096 bytes. */
  body: string;
}

/**
 * Emits, once what it tells of is committed: 'transition'(order, transition),
 * 'held'(event, reason), 'forged'(sample, count), and 'warning'(error) for whatever was answered
 * with 503 or left for later. 'forged' is emitted for the first 20 immediately, then at most once a
 * second: `count` is how many there were since the last one. 'notification'(outcome) is emitted for
 * each notification, immediately.
 */
export interface Payments extends EventEmitter {
  /**
   * Takes an order in and makes its page at Midtrans. If that cannot be now, the order is left to
   * the worker: `queued`. The same order again gives the same page.
   * @throws MidtransError when Midtrans refuses it; then it has failed. ERR_PAYMENT_ORDER: the id
   *   is another order's. ERR_STORE_…: it was not taken in, and Midtrans not asked.
   */
  open (body: OrderBody, options?: {
    signal?: AbortSignal | undefined;
    /** ms for each request to Midtrans, where that is less than its client's. */
    timeout?: number | undefined;
  }): Promise<{ order: PaymentOrder; queued: boolean; error?: unknown }>;
  /** Takes an order in, durably, to be made by the worker when Midtrans answers again. */
  defer (body: OrderBody, options?: {
    client?: SqlClient | undefined;
    /** The error because of which; if it is `ambiguous`, the order is unknown. */
    reason?: unknown;
  }): Promise<PaymentOrder>;
  /**
   * Records an order that is made elsewhere, default as 'created'; 'queued' leaves it to the worker
   * and needs a body. The same id again must have the same amount (else ERR_PAYMENT_ORDER) and adds
   * what is known by now. Within `client` no 'transition' is emitted.
   */
  createOrder (order: {
    orderId: string; amountMinor: bigint | number; currency?: string | undefined;
    body?: OrderBody | undefined;
    state?: 'queued' | 'created' | 'unknown' | undefined;
    token?: string | undefined; redirectUrl?: string | undefined;
  }, options?: { client?: SqlClient | undefined }): Promise<PaymentOrder>;
  /** For a worker's `channels`: MIDTRANS_ORDER makes deferred orders, PAYMENT_HOOK runs hooks. */
  senders (): Record<'MIDTRANS_ORDER' | 'PAYMENT_HOOK', ChannelWorker>;
  /**
   * What to do with a notification of Midtrans's, and what to answer. Never rejects for what is in
   * it. @param rawBody as it came, or as an object from a parser, since Midtrans signs fields
   */
  handleNotification (
    rawBody: Uint8Array | string | object, headers?: Record<string, unknown>
  ): Promise<NotificationOutcome>;
  /** Records the notifications that were only counted; the store does so when it closes. */
  close (): Promise<void>;
  get (orderId: string): Promise<PaymentOrder | undefined>;
  /** Newest first, 100 unless `limit` (1 to 1000) says otherwise; `before` is an order's id. */
  list (filter?: {
    state?: OrderState | undefined; held?: boolean | undefined;
    /** Part of an order's or a transaction's id. */
    search?: string | undefined;
    before?: string | undefined; limit?: number | undefined;
  }): Promise<PaymentOrder[]>;
  /** The last 1000 about an order, oldest first. */
  events (orderId: string): Promise<PaymentEvent[]>;
  /**
   * Events about any order, or about none that we have, newest first, 100 unless `limit` (1 to
   * 1000) says otherwise; `before` is an event's id.
   */
  listEvents (filter?: {
    outcome?: PaymentEvent['outcome'] | undefined;
    before?: string | undefined; limit?: number | undefined;
  }): Promise<PaymentEvent[]>;
  /**
   * Asks Midtrans about up to `limit` (1 to 10000, default 100) orders that have not changed for
   * `olderThan` ms (default 900000). One that Midtrans knows nothing of stays as it is until its
   * page can no longer be used (24 hours, or `page_expiry` of its body): then it has expired.
   */
  reconcile (options?: { olderThan?: number | undefined; limit?: number | undefined }):
    Promise<{ checked: number; changed: number; failed: number }>;
  /**
   * Ends the holding of an order. 'apply': whatever Midtrans says now of what was held becomes
   * true, with its amount; an order that nobody recorded is created from its notifications
   * (unknown_order). 'dismiss': it is dropped.
   * @returns the order, if there is one
   */
  review (orderId: string, decision: 'apply' | 'dismiss', options: { by: string; reason: string }):
    Promise<PaymentOrder | undefined>;
}
