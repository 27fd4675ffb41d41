import { EventEmitter } from 'node:events';
import { OrderBody } from '../clients/midtrans';
import { ChannelWorker, Page, PageFilter } from './outbox';
import { SqlClient } from './store';

/** The part of a MidtransClient that payments use. */
export interface PaymentsProvider {
  /** `anyOrder`: also accept an order's id that does not fit the shop's own pattern. */
  verifyNotification (notification: unknown, options?: { anyOrder?: boolean | undefined }): boolean;
  /** `once`: sends one request past the breaker, because a stranger may have caused the call. */
  status (id: string, options?: {
    /** Aborts the request; `once`: do not retry. */
    signal?: AbortSignal | undefined; once?: boolean | undefined;
  }): Promise<any>;
  /** Optional. Notifications about subscriptions are checked with it. */
  getSubscription?(id: string, options?: {
    /** Aborts the request; `once`: do not retry. */
    signal?: AbortSignal | undefined; once?: boolean | undefined;
  }): Promise<any>;
  /** Makes a page at Midtrans. */
  createTransaction (body: OrderBody, options?: {
    /** Whether an earlier call may have made the page; the signal aborts the request. */
    resume?: boolean | undefined; signal?: AbortSignal | undefined;
  }): Promise<{ token: string; redirect_url: string }>;
  /** While this breaker is open, deferred orders wait. */
  readonly breaker?: ChannelWorker['breaker'];
}

export interface PaymentsOptions {
  /** Without it, orders can only be recorded and read. */
  midtrans?: PaymentsProvider | undefined;
  /**
   * The largest body of a notification in bytes, 1024 to 16777216, default 65536. `maxBody` of
   * createWebhookRouter limits it too: the smaller one counts.
   */
  maxBody?: number | undefined;
  /**
   * Whether Midtrans is asked (GET status) before anything changes, default true. The signature
   * does not cover the state: without this, anybody who has seen one notification can forge others.
   */
  confirm?: boolean | undefined;
  /** The merchant key of Iris. The notifications of payouts are verified with it. */
  irisMerchantKey?: string | undefined;
  /**
   * A worker that has `senders()` runs them, once for each transition. The process that receives
   * notifications needs the same hooks, because it puts their messages into the outbox.
   */
  hooks?: PaymentHooks | undefined;
}

export interface PaymentHooks {
  /** The order was paid. Not called if the shop already had money for it. */
  onPaid?: PaymentHook | undefined;
  /**
   * An attempt to pay was denied; see `transition.attempt`. If the order has a page, customers may
   * try again, for example with another card. Otherwise `onFailed` follows.
   */
  onDenied?: PaymentHook | undefined;
  /**
   * The order can no longer be paid: it was cancelled, has expired or failed, a charge without a
   * page was denied, or a bank took back the payment right after it.
   */
  onFailed?: PaymentHook | undefined;
  /** Called for each refund; see `transition.refund`. */
  onRefund?: PaymentHook | undefined;
  /** All or part of the money was refunded. Two refunds that are reported together count as one. */
  onRefunded?: PaymentHook | undefined;
  /** A bank took back all or part of the money; see `transition.chargeback`. */
  onChargeback?: PaymentHook | undefined;
  /** Any transition. */
  onTransition?: PaymentHook | undefined;
  /**
   * A notification that is not about an order of the store. If the hook rejects, or its process
   * dies, it runs again with the same `notice.id`.
   */
  onNotification?: ((
    notice: PaymentNotice, context: { signal: AbortSignal }
  ) => Promise<void> | void) | undefined;
}

export interface PaymentNotice {
  /**
   * The id of its event. The same content has the same id, until `cleanUp` deletes the event: if
   * the content comes again after that, it has a new id.
   */
  id: string;
  /**
   * What it is about, and the fields of `body`.
   * - account: a linked GoPay account: account_id, account_status, status_code.
   * - subscription: id, name, status, schedule and others; or { subscription, transaction } of one
   *   charge; or a transaction whose order_id begins with SUBS-.
   * - payout: reference_no, amount, status, updated_at, error_code, error_message; or a top-up of
   *   Iris: status ('topup'), order_id, gross_amount.
   * - payment_link: a transaction whose order_id ends with a time.
   * - test: the test notification of Midtrans's dashboard.
   * - unknown_order: any other transaction.
   * - unknown: anything else that Midtrans may have sent.
   */
  kind: 'account' | 'subscription' | 'payout' | 'payment_link' | 'test' | 'unknown_order' |
    'unknown';
  /**
   * true: the signature is right, so `signed` comes from Midtrans. 'asked': Midtrans was asked, so
   * use `answer` and not `body`. false: the state could not be checked, and anybody may have made
   * it up; if it is a transaction, only the fields in `signed` are proved.
   */
  verified: true | false | 'asked';
  /**
   * The body as it came; for an account, only its signed fields. Anybody may have changed the
   * fields that are not in `signed`.
   */
  body: any;
  /**
   * The fields that the signature proves. Account: account_id, account_status, status_code.
   * Transaction: order_id, status_code, gross_amount. Payout: all fields.
   */
  signed?: any;
  /** What Midtrans said about the transaction or the subscription, if it was asked. */
  answer?: any;
}

/**
 * `order` is the order as it is when the hook runs. If the hook rejects, or its process dies, it
 * runs again with the same `transition.id`. The hooks of one order run one after the other.
 */
export type PaymentHook = (
  order: PaymentOrder, transition: PaymentTransition, context: { signal: AbortSignal }
) => Promise<void> | void;

export interface PaymentTransition {
  /** Each transition has its own. Refunds reported together have the same: see `refund.key`. */
  id: string;
  /** The state before. */
  from: OrderState;
  /** The same as `from` if only an attempt was denied, or more money went back. */
  to: OrderState;
  /**
   * The id of the transaction. In `onRefund`, `onChargeback` and `onDenied`: the transaction that
   * was refunded, charged back or denied. Otherwise: as in PaymentOrder.
   */
  transactionId: string | null;
  /**
   * For `onRefund`. `key`: null if Midtrans does not say. `amountMinor`: in hundredths of the
   * currency's unit; null if Midtrans does not say.
   */
  refund?: { key: string | null; amountMinor: bigint | null } | undefined;
  /** In `onChargeback`. `amountMinor`: as in `refund`. */
  chargeback?: { amountMinor: bigint | null } | undefined;
  /** In `onDenied`. `paymentType`: such as 'credit_card'. */
  attempt?: { paymentType: string | null } | undefined;
}

/**
 * - queued: Midtrans has not been called yet.
 * - unknown: Midtrans was called, but it is not known yet whether the page was made.
 * - created: the page was made, and no payment is under way; attempts may have been denied.
 * - authorize: money is reserved, or a capture has been challenged.
 * - denied: a charge without a page was denied.
 *
 * An order can have several transactions: customers may try again, and the id of an expired order
 * can be used again. The order has the state that comes first in this list: paid,
 * partially_charged_back, partially_refunded, charged_back, refunded, authorize, pending. If no
 * transaction has any of them, the newest transaction decides.
 */
export type OrderState = 'queued' | 'created' | 'unknown' | 'pending' | 'authorize' | 'paid' |
  'denied' | 'cancelled' | 'expired' | 'failed' | 'partially_refunded' | 'refunded' |
  'partially_charged_back' | 'charged_back';

export interface PaymentOrder {
  /** The shop's id. */
  orderId: string;
  /** What is known of it. */
  state: OrderState;
  /** Hundredths of the currency's unit, whether it has them or not: IDR 10000 is 1000000n. */
  amountMinor: bigint;
  /** How much was refunded. With fees it may be more than `amountMinor`. */
  refundedMinor: bigint;
  /**
   * How much banks have taken back. A full chargeback counts as all that was left. A partial one
   * counts as 0 unless Midtrans gives its amount (`chargeback_amount`).
   */
  chargedBackMinor: bigint;
  /** Three letters, such as IDR. */
  currency: string;
  /** Of the payment page, as is `redirectUrl`. */
  token: string | null;
  /** The address of the page; null until it exists. */
  redirectUrl: string | null;
  /** The id of the transaction that gives the order its state, or of the latest denied attempt. */
  transactionId: string | null;
  /**
   * Whether a person has to decide. `events` shows about what, and `review` takes the decision. A
   * later answer of Midtrans may decide first; `reconcile` asks for one.
   */
  held: boolean;
  /** When it was recorded. */
  createdAt: Date;
  /** When it last changed. */
  updatedAt: Date;
  /**
   * The last 100 changes, oldest first. `by`: what caused the change: order, midtrans,
   * notification, reconcile or review:NAME.
   */
  history: Array<{
    /** What the person said who decided. */
    at: string; from: OrderState | null; to: OrderState; by: string; reason?: string;
  }>;
}

/**
 * unknown_order: the notification is signed, but is not about an order of the store. Nobody has to
 * decide anything.
 */
export type PaymentOutcome = 'applied' | 'already_processed' | 'stale' | 'held' | 'unknown_order' |
  'forged' | 'invalid' | 'unavailable';

export interface NotificationOutcome {
  /** The HTTP status to answer with: 200, 400, 403, 413 or 503. */
  status: number;
  /** What became of the notification. */
  outcome: PaymentOutcome;
  /** undefined if the notification is invalid. */
  orderId?: string | undefined;
  /**
   * `{ status: outcome, order_id }`, such as `{ status: 'already_processed', order_id: 'FILM-7' }`.
   * Without `order_id` if the notification is invalid or forged.
   */
  body: { status: PaymentOutcome; order_id?: string | undefined };
}

export interface PaymentEvent {
  /** A bigint as a decimal string; later events have larger ones. */
  id: string;
  /** Whether Midtrans sent it, or was asked. */
  source: 'notification' | 'status';
  /** null if it could not be read. */
  orderId: string | null;
  /** null if it could not be read. */
  transactionId: string | null;
  /** null if it could not be read. */
  transactionStatus: string | null;
  /** released: the event was held, until a later answer of Midtrans decided. */
  outcome: Exclude<PaymentOutcome, 'already_processed'> | 'dismissed' | 'released';
  /**
   * - Why it was held: edge (the state cannot follow the earlier one), amount, currency,
   *   contradicted (Midtrans says something else), not_found (Midtrans knows no such transaction),
   *   other_transaction, other_order, paid_twice; in rows of older releases unknown_order.
   * - Why it is forged: signature, other_order, not_found (no such subscription).
   * - Why it is invalid: too_large, not_json, or the name of a field.
   * - For unknown_order: the kind of the notice; or not_found or unconfirmed, if Midtrans's answer
   *   was older than the notification.
   */
  reason: string | null;
  /** How often it came. For samples (forged, invalid): how many events the row stands for. */
  times: number;
  /** When it first came. */
  receivedAt: Date;
  /** When it last came. */
  lastReceivedAt: Date;
  /** The body as it came; for samples, its first 4096 bytes. */
  body: string;
}

/**
 * Emits, after the commit: 'transition'(order, transition), 'held'(event, reason),
 * 'released'(order) when nothing of an order is held any more without anybody's review, and
 * 'forged'(sample, count); and 'warning'(error) for what was answered with 503 or is tried again
 * later. 'forged' is emitted immediately for the first 20, then at most once a second; `count` is
 * how many there were since the last one. 'notification'(outcome) is emitted immediately for each
 * notification.
 */
export interface Payments extends EventEmitter {
  /**
   * Records an order and makes its page at Midtrans. If that is not possible now, the worker makes
   * it later: `queued`. The same order again gives the same page.
   * @throws MidtransError if Midtrans refuses the order, which has then failed. ERR_PAYMENT_ORDER:
   *   another order has the id. ERR_STORE_…: it was not recorded, and Midtrans was not asked.
   */
  open (body: OrderBody, options?: {
    /** Aborts the requests to Midtrans. */
    signal?: AbortSignal | undefined;
    /** ms for each request to Midtrans, if that is less than the client's `timeout`; at least 1. */
    timeout?: number | undefined;
  }): Promise<{ order: PaymentOrder; queued: boolean; error?: unknown }>;
  /** Records an order whose page the worker makes when Midtrans is available. */
  defer (body: OrderBody, options?: {
    /** The transaction in which the order is recorded. */
    client?: SqlClient | undefined;
    /** The error that is the reason; if it is `ambiguous`, the order is unknown. */
    reason?: unknown;
  }): Promise<PaymentOrder>;
  /**
   * Records an order that is made elsewhere, as 'created' by default; 'queued' leaves it to the
   * worker and needs a body. The same id again must have the same amount (else ERR_PAYMENT_ORDER);
   * then what is new is added to the order. `reconcile` expires it 25 hours later unless the body
   * has another `page_expiry`: pass the body of a page that you made yourself. With `client` no
   * 'transition' is emitted.
   *
   * An order with a `body`, a `token` or a `redirectUrl` has a page, on which customers may try
   * again after a denial; a token alone is enough. Pass none of them for an order that you charge
   * directly: then a denial ends it. The token of a card is not the token of a page.
   */
  createOrder (order: {
    /**
     * The id, hundredths of the unit (15000000n is 150,000 rupiah), and three letters, default
     * IDR.
     */
    orderId: string; amountMinor: bigint | number; currency?: string | undefined;
    /** What Midtrans is asked for. Default: none. */
    body?: OrderBody | undefined;
    /** What is known of it, default 'created'. */
    state?: 'queued' | 'created' | 'unknown' | undefined;
    /** Of the page, if it exists. */
    token?: string | undefined; redirectUrl?: string | undefined;
  }, options?: { client?: SqlClient | undefined }): Promise<PaymentOrder>;
  /** For a worker's `channels`: MIDTRANS_ORDER makes deferred orders, PAYMENT_HOOK runs hooks. */
  senders (): Record<'MIDTRANS_ORDER' | 'PAYMENT_HOOK', ChannelWorker>;
  /**
   * Handles a notification of Midtrans, and says what to answer. Whatever the notification
   * contains, it does not reject because of that.
   * @param rawBody the body as it came, or an object from a parser. Payouts need the body as it
   *   came, because their signature covers its bytes; other signatures cover fields
   * @param headers of the request, as an object or Headers; only needed for payouts
   */
  handleNotification (
    rawBody: Uint8Array | string | object, headers?: Record<string, unknown>
  ): Promise<NotificationOutcome>;
  /** Records the notifications that were only counted; the store does so when it closes. */
  close (): Promise<void>;
  /** undefined if there is no such order. */
  get (orderId: string): Promise<PaymentOrder | undefined>;
  /** A page of the orders that fit, newest first. Its `next`, and `before`, are an order's id. */
  list (filter?: PageFilter & {
    /** Only in this state; only those that wait for a person, or only the others. */
    state?: OrderState | undefined; held?: boolean | undefined;
    /** Part of an order's or a transaction's id. */
    search?: string | undefined;
  }): Promise<Page<PaymentOrder>>;
  /** The last 1000 about an order, oldest first. */
  events (orderId: string): Promise<PaymentEvent[]>;
  /** A page of the events about any order, or about an order that we do not have, newest first. */
  listEvents (filter?: {
    /** Only with this outcome. Default: all. */
    outcome?: PaymentEvent['outcome'] | undefined;
    /** Only before this id, `next` of the page before; at most so many, default 100. */
    before?: string | undefined; limit?: number | undefined;
  }): Promise<Page<PaymentEvent>>;
  /**
   * Asks Midtrans about up to `limit` (1 to 10000, default 100) orders that are open or held and
   * have not changed for `olderThan` ms (default 900000). If Midtrans does not know an order, it
   * stays as it is until its page can no longer be used (24 hours, or `page_expiry` of its body);
   * then it expires. The same if all attempts to pay it were denied.
   */
  reconcile (options?: { olderThan?: number | undefined; limit?: number | undefined }):
    Promise<{ checked: number; changed: number; failed: number }>;
  /**
   * Decides about an order that is held. 'apply': what Midtrans says now about the held events is
   * applied, also if they showed another amount than the order's; an order that nobody recorded is
   * created from its notifications (unknown_order). 'dismiss': the held events are dropped.
   * @returns the order, if there is one
   * @throws ERR_PAYMENT_ORDER: nothing is held, or somebody else has decided in the meantime; or
   *   the transaction is another order's, or has an amount that no held event has shown
   */
  review (orderId: string, decision: 'apply' | 'dismiss', options: { by: string; reason: string }):
    Promise<PaymentOrder | undefined>;
}
