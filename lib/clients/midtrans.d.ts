import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { GrowingTimeout } from '../primitives/limits';

export interface MidtransOptions {
  serverKey: string;
  /** Whether to use Midtrans's production instead of its sandbox. Default false. */
  production?: boolean | undefined;
  /** Other addresses, for tests and proxies. */
  baseUrls?: { snap?: string | undefined; core?: string | undefined } | undefined;
  /** Time limit of one request in ms, default 10000; false: no limit. */
  timeout?: number | GrowingTimeout | false | undefined;
  /** Overrides retryPresets.payment; false: one attempt. */
  retry?: Omit<retry.Options, 'signal' | 'attemptTimeout'> | false | null | undefined;
  /**
   * Overrides presets.midtrans, without its time limit; or a breaker;
   * false: none.
   */
  breaker?: CircuitBreaker<any, any> | CircuitBreaker.Options | false | null | undefined;
  /** To each address, 1 to 10000, default 64. */
  connections?: number | undefined;
  /** An undici dispatcher to use for all requests. */
  dispatcher?: object | undefined;
  /** The format of your order ids; a notification with another id is not verified. */
  orderIdPattern?: RegExp | undefined;
}

export interface CallOptions {
  /**
   * Ends the call at once: with the reason, or, if a request may have been
   * executed, with ERR_MIDTRANS_UNKNOWN_OUTCOME.
   */
  signal?: AbortSignal | undefined;
  /**
   * Whether an earlier call with the same input may have succeeded: then its outcome is checked
   * before anything is sent.
   */
  resume?: boolean | undefined;
  /** Time limit of each request of this call in ms, if less than the client's. */
  timeout?: number | undefined;
}

export interface OrderBody {
  transaction_details: {
    /** 1 to 50 characters of A-Z a-z 0-9 - _ ~ . */
    order_id: string;
    /** An integer, the sum of item_details if there are any. */
    gross_amount: number;
    [name: string]: unknown;
  };
  item_details?: Array<{ price: number; quantity: number; [name: string]: unknown }> | undefined;
  [name: string]: unknown;
}

export interface ChargeBody extends OrderBody {
  payment_type: string;
}

export interface RefundBody {
  /** The same key is the same refund. Default: a new one for each call. */
  refund_key?: string | undefined;
  /** An integer. Default: the whole remaining amount. */
  amount?: number | undefined;
  reason?: string | undefined;
  [name: string]: unknown;
}

/** An answer of Core. */
export interface Transaction {
  status_code: string;
  status_message?: string;
  transaction_id?: string;
  order_id?: string;
  gross_amount?: string;
  payment_type?: string;
  transaction_status?: string;
  fraud_status?: string;
  [name: string]: any;
}

export interface Alert {
  /** The key was not accepted; or it is unknown whether a call was executed. */
  kind: 'unauthorized' | 'unknown-outcome';
  error: MidtransError;
}

export interface MidtransEvents {
  /** Needs attention. */
  alert: [Alert];
  /** Another attempt follows, in `delay` ms. */
  retry: [{
    /** The method of the client. */
    operation: string;
    orderId: string | undefined;
    attempt: number;
    error: MidtransError;
    delay: number;
  }];
}

export interface Confirmed {
  /** The answer of GET status. */
  transaction: Transaction;
  state: string;
  paid: boolean;
  /** Of the order, without fees. */
  amount: number | undefined;
}

/**
 * A client of Midtrans (Snap and Core). It checks what a call may have done before it sends it
 * again. If that stays unknown, the error has `ambiguous: true`.
 */
export class MidtransClient extends EventEmitter {
  /**
   * Needs the package undici.
   * @throws ERR_INVALID_OPTION, ERR_MISSING_PEER
   */
  constructor (options: MidtransOptions);
  readonly breaker: CircuitBreaker<any, any> | undefined;

  /**
   * Snap: makes a payment page. If its answer is lost, the order is sent again with the same
   * order_id, for which Snap makes only one page; if that page already exists, its token is lost:
   * ERR_MIDTRANS_UNKNOWN_OUTCOME with `tokenLost`.
   */
  createTransaction (body: OrderBody, options?: CallOptions): Promise<{
    token: string; redirect_url: string; [name: string]: any;
  }>;
  /** Core: charges an order. */
  charge (body: ChargeBody, options?: CallOptions): Promise<Transaction>;
  /** Core: captures an authorized amount. */
  capture (
    body: { transaction_id: string; gross_amount: number; [name: string]: unknown },
    options?: CallOptions
  ): Promise<Transaction>;
  /** Core: the state of a transaction, by its id or its order's. */
  status (id: string, options?: CallOptions): Promise<Transaction>;
  approve (id: string, options?: CallOptions): Promise<Transaction>;
  deny (id: string, options?: CallOptions): Promise<Transaction>;
  cancel (id: string, options?: CallOptions): Promise<Transaction>;
  expire (id: string, options?: CallOptions): Promise<Transaction>;
  /** Core: refunds money. */
  refund (id: string, body?: RefundBody, options?: CallOptions): Promise<Transaction>;
  /** Core: the same, for payment methods that are refunded online. */
  directRefund (id: string, body?: RefundBody, options?: CallOptions): Promise<Transaction>;
  /** Whether Midtrans answers and accepts the key; does not use the breaker. */
  ping (options?: { signal?: AbortSignal | undefined }): Promise<{ ok: true; latencyMs: number }>;

  /**
   * Whether the signature of a notification is valid. It does not cover the state. `anyOrder`:
   * also accept an order id that does not match `orderIdPattern`.
   */
  verifyNotification (notification: unknown, options?: { anyOrder?: boolean | undefined }): boolean;
  /** Verifies a notification, and asks Midtrans for the status. */
  confirmNotification (notification: unknown, options?: CallOptions): Promise<Confirmed>;

  /**
   * Closes the connections when their requests are done. No others begin: a call that
   * waits for its next attempt ends with ESHUTDOWN, or as unknown if it may have succeeded.
   */
  close (): Promise<void>;

  on<E extends keyof MidtransEvents> (
    event: E, listener: (...args: MidtransEvents[E]) => void): this;
  once<E extends keyof MidtransEvents> (
    event: E, listener: (...args: MidtransEvents[E]) => void): this;
}

export type MidtransErrorCode =
  | 'ERR_MIDTRANS_UNKNOWN_OUTCOME' | 'ERR_MIDTRANS_UNAUTHORIZED' | 'ERR_MIDTRANS_NOT_FOUND'
  | 'ERR_MIDTRANS_CONFLICT' | 'ERR_MIDTRANS_CANNOT_MODIFY' | 'ERR_MIDTRANS_REFUSED'
  | 'ERR_MIDTRANS_RATE_LIMITED' | 'ERR_MIDTRANS_SERVER' | 'ERR_MIDTRANS_TIMEOUT'
  | 'ERR_MIDTRANS_NETWORK' | 'ERR_MIDTRANS_RESPONSE' | 'ERR_MIDTRANS_IN_FLIGHT'
  | 'ERR_MIDTRANS_SIGNATURE';

export class MidtransError extends Error {
  private constructor ();
  readonly code: MidtransErrorCode;
  /** The method of the client. */
  readonly operation: string | undefined;
  readonly orderId: string | undefined;
  readonly httpStatus: number | undefined;
  /** Midtrans's own code, or that of HTTP if there is none. */
  readonly statusCode: string | undefined;
  readonly validationMessages: string[];
  /** Whether the call may be sent again as it is. */
  readonly retryable: boolean;
  /** Whether the call may have been executed. */
  readonly ambiguous: boolean;
  /** Of a refund: the key to send it again with. */
  readonly refundKey?: string;
  /** Snap knows the order, but its token was lost. */
  readonly tokenLost?: true;
  /** ms that Midtrans asks to wait. */
  readonly retryAfter?: number;
  /** The body of the answer; inspect and JSON do not show it. */
  readonly response: any;
  toJSON (): Record<string, unknown>;
}

export type TransactionState =
  | 'authorize' | 'pending' | 'capture' | 'settlement' | 'partial_refund' | 'partial_chargeback'
  | 'deny' | 'cancel' | 'expire' | 'failure' | 'refund' | 'chargeback';

export const transactionStates: readonly TransactionState[];

export interface Confirmation {
  /** Whether GET status confirms it. */
  confirmed?: boolean | undefined;
}

/** Whether a transaction may go from one state to the other in one step. */
export function canMove (from: string, to: string, options?: Confirmation): boolean;

/** Whether no state follows this one. */
export function isFinalState (state: string): boolean;

export type Verdict =
  /** There was no known state; this one is taken. */
  | 'first'
  /** The transaction moves to the next state. */
  | 'moved'
  /** It has moved by more than one step; accepted only when confirmed. */
  | 'caught-up'
  /** Nothing new. */
  | 'same'
  /** A late message about a state that it has left. */
  | 'stale'
  /** Possible, but only if GET status confirms it. */
  | 'unconfirmed'
  /** Impossible. */
  | 'refused';

/** The new state after a notification or an answer of GET status. */
export function advance (
  current: string | null | undefined, incoming: string, options?: Confirmation
): { state: TransactionState | undefined; changed: boolean; verdict: Verdict };

/** Whether a status body or a notification says that the money has arrived. */
export function isPaid (transaction: {
  status_code?: unknown; transaction_status?: unknown; fraud_status?: unknown;
} | null | undefined): boolean;

/** The amount of the order, without fees that Midtrans may have added; undefined if unknown. */
export function amountOf (transaction: object | null | undefined): number | undefined;
