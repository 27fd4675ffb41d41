import { EventEmitter } from 'node:events';
import { OrderBody } from '../clients/midtrans';
import { Sender } from './outbox';
import { SqlClient } from './store';

/** What is used of a MidtransClient. */
export interface PaymentsProvider {
  verifyNotification (notification: unknown): boolean;
  status (id: string, options?: { signal?: AbortSignal | undefined }): Promise<any>;
  createTransaction (body: OrderBody, options?: {
    resume?: boolean | undefined; signal?: AbortSignal | undefined;
  }): Promise<{ token: string; redirect_url: string }>;
}

export interface PaymentsOptions {
  midtrans: PaymentsProvider;
  /** Bytes of a notification's body, default 65536. */
  maxBody?: number | undefined;
  /** Whether GET status is asked before money moves, default true. */
  confirm?: boolean | undefined;
  /** Run through the outbox, once for each transition. */
  hooks?: {
    onPaid?: PaymentHook | undefined; onFailed?: PaymentHook | undefined;
    onRefunded?: PaymentHook | undefined; onTransition?: PaymentHook | undefined;
  } | undefined;
}

export type PaymentHook = (order: PaymentOrder, transition: {
  from: string | null; to: string; transactionId: string | null;
}) => Promise<void> | void;

/** queued: not yet made at the provider. unknown: nobody knows yet whether it was made. */
export type OrderState = 'queued' | 'created' | 'unknown' | 'pending' | 'authorize' | 'paid' |
  'denied' | 'cancelled' | 'expired' | 'failed' | 'partially_refunded' | 'refunded' |
  'partially_charged_back' | 'charged_back';

export interface PaymentOrder {
  orderId: string;
  state: OrderState;
  /** Whole units of the currency's smallest part: rupiah have none in use, so IDR 10000 is
   * 1000000. */
  amountMinor: bigint;
  currency: string;
  token: string | null;
  redirectUrl: string | null;
  transactionId: string | null;
  /** Whether something waits for a person. */
  held: boolean;
  createdAt: Date;
  updatedAt: Date;
  history: Array<{ at: string; from: string | null; to: string; by: string }>;
}

export interface NotificationOutcome {
  /** For the answer: 200, 400, 403, 413 or 503. */
  status: number;
  outcome: 'applied' | 'already_processed' | 'stale' | 'held' | 'forged' | 'invalid' |
    'unavailable';
  orderId?: string | undefined;
  body: { status: string; [name: string]: unknown };
}

export interface PaymentEvent {
  id: string;
  orderId: string | null;
  transactionId: string | null;
  transactionStatus: string | null;
  outcome: NotificationOutcome['outcome'];
  reason: string | null;
  receivedAt: Date;
  body: string;
}

/** Emits 'transition'(order, transition), 'held'(event, reason), 'forged'(event). */
export interface Payments extends EventEmitter {
  /** Records an order; the same id again must have the same amount: ERR_PAYMENT_ORDER. */
  createOrder (order: {
    orderId: string; amountMinor: bigint | number; currency?: string | undefined;
    body?: OrderBody | undefined;
    state?: 'queued' | 'created' | 'unknown' | undefined;
    token?: string | undefined; redirectUrl?: string | undefined;
  }, options?: { client?: SqlClient | undefined }): Promise<PaymentOrder>;
  /** Takes an order in, durably, to be made by the worker when Midtrans answers again. */
  defer (body: OrderBody, options?: { client?: SqlClient | undefined; reason?: unknown }):
    Promise<PaymentOrder>;
  /** Senders for a worker: makes deferred orders and runs hooks. */
  senders (): Record<string, Sender>;
  handleNotification (
    rawBody: Buffer | string, headers?: Record<string, unknown>
  ): Promise<NotificationOutcome>;
  get (orderId: string): Promise<PaymentOrder | undefined>;
  list (filter?: {
    state?: OrderState | undefined; held?: boolean | undefined; search?: string | undefined;
    before?: string | undefined; limit?: number | undefined;
  }): Promise<PaymentOrder[]>;
  events (orderId: string): Promise<PaymentEvent[]>;
  /** Asks Midtrans about orders that stayed pending or unknown for `olderThan` ms. */
  reconcile (options?: { olderThan?: number | undefined; limit?: number | undefined }):
    Promise<{ checked: number; changed: number; failed: number }>;
  /** Ends the holding of an order: applies what was held, or drops it. */
  review (orderId: string, decision: 'apply' | 'dismiss', options: { by: string; reason: string }):
    Promise<PaymentOrder>;
}
