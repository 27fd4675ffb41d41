import { EventEmitter } from 'node:events';
import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');
import { GrowingTimeout } from '../primitives/limits';

/** Options of both clients. */
export interface ApiOptions {
  /** Whether to use Midtrans's production instead of its sandbox. Default false. */
  production?: boolean | undefined;
  /** The same as `production`: the name that midtrans-client uses. Default false. */
  isProduction?: boolean | undefined;
  /** Time limit of one request in ms, default 10000; false: no limit. */
  timeout?: number | GrowingTimeout | false | undefined;
  /** Overrides retryPresets.payment; false: one attempt. */
  retry?: Omit<retry.Options, 'signal' | 'attemptTimeout'> | false | null | undefined;
  /**
   * Overrides presets.midtrans, without its time limit; or a breaker;
   * false: none.
   */
  breaker?: CircuitBreaker<any, any> | CircuitBreaker.Options | false | null | undefined;
  /** Sent with each call. */
  headers?: MidtransHeaders | undefined;
  /** To each address, 1 to 10000, default 64. */
  connections?: number | undefined;
  /** An undici dispatcher to use for all requests. */
  dispatcher?: object | undefined;
}

export interface MidtransOptions extends ApiOptions {
  /** The key of the server; with it anybody could forge payments. */
  serverKey: string;
  /** For cardRegister and cardToken. */
  clientKey?: string | undefined;
  /** Other addresses, for tests and proxies. */
  baseUrls?: { snap?: string | undefined; core?: string | undefined } | undefined;
  /**
   * The format of your order ids; a notification with another id is not verified. Default: any that
   * Midtrans takes.
   */
  orderIdPattern?: RegExp | undefined;
}

export interface IrisOptions extends ApiOptions {
  /** The key of the creator of payouts. */
  apiKey: string;
  /** The key for approvePayouts and rejectPayouts. Default: apiKey. */
  approverKey?: string | undefined;
  /** The key that signs the notifications of payouts: for verifyNotification. */
  merchantKey?: string | undefined;
  /** Another address, for tests and proxies. */
  baseUrls?: { iris?: string | undefined } | undefined;
}

/** Names in any case. X-Override-Notification replaces the URLs that are set in the dashboard. */
export type MidtransHeaders = {
  /** 1 to 3 http or https URLs, in an array or separated by commas. */
  'X-Override-Notification'?: string | string[] | undefined;
  /** 1 to 3 http or https URLs, in an array or separated by commas. */
  'X-Append-Notification'?: string | string[] | undefined;
} & { [name: `X-${string}` | `x-${string}`]: string | string[] | undefined };

/** Headers of one call. */
export type MidtransCallHeaders = MidtransHeaders & {
  /** Snap and Core: at most 46 characters. Default: a new one for each call. */
  'Idempotency-Key'?: string | undefined;
  /** Iris: at most 100 characters. Default: a new one for each call. */
  'X-Idempotency-Key'?: string | undefined;
};

export interface CallOptions {
  /**
   * Ends the call at once: with the reason, or, if a request may have been
   * executed, with ERR_MIDTRANS_UNKNOWN_OUTCOME.
   */
  signal?: AbortSignal | undefined;
  /**
   * Whether an earlier call with the same input may have succeeded: then its outcome is checked
   * before anything is sent. Default false.
   */
  resume?: boolean | undefined;
  /** Time limit of each request of this call in ms. Default, and at most: the client's. */
  timeout?: number | undefined;
  /** Sent with this call; they override those of the client. */
  headers?: MidtransCallHeaders | undefined;
  /**
   * Sends one request without retries and past the breaker, which neither stops nor counts it: for
   * look-ups that others may cause. Only for calls that read. Default false.
   */
  once?: boolean | undefined;
}

export interface RequestOptions extends CallOptions {
  /**
   * What to do if it is unknown whether the request was executed. 'read': it changes nothing, so
   * send it again (default for GET). 'idempotent': repeating it does no harm, so send it again.
   * 'never': reject with ERR_MIDTRANS_UNKNOWN_OUTCOME (default for all others).
   */
  again?: 'read' | 'idempotent' | 'never' | undefined;
}

export interface MidtransRequestOptions extends RequestOptions {
  /** The API to call, default 'core'. */
  api?: 'core' | 'snap' | undefined;
}

export type MidtransMethod = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
export type Query = Record<string, string | number | boolean | null | undefined>;

export interface OrderBody {
  /** Which order, and how much. */
  transaction_details: {
    /** 1 to 50 characters of A-Z a-z 0-9 - _ ~ . */
    order_id: string | number;
    /** An integer, or text ('10000', '10000.00'); the sum of item_details if there are any. */
    gross_amount: number | string;
    [name: string]: unknown;
  };
  /** What is bought. Its sum, prices times quantities, must be the gross_amount. */
  item_details?: Array<{
    /** Per piece, negative for a discount; how many. */
    price: number | string; quantity: number | string; [name: string]: unknown;
  }> | undefined;
  [name: string]: unknown;
}

export interface ChargeBody extends OrderBody {
  /** Such as bank_transfer, qris, gopay or credit_card. */
  payment_type: string;
}

export interface RefundBody {
  /** The same key is the same refund. Default: a new one for each call. */
  refund_key?: string | undefined;
  /** An integer. Default: the whole remaining amount. */
  amount?: number | string | undefined;
  /** Why, for Midtrans's dashboard. */
  reason?: string | undefined;
  [name: string]: unknown;
}

/** An answer of Core. */
export interface Transaction {
  /** Of Midtrans, such as "200" or "404"; not that of HTTP. */
  status_code: string;
  /** What Midtrans says about it, for people. */
  status_message?: string;
  /** Midtrans's id of the transaction. */
  transaction_id?: string;
  /** The shop's id. */
  order_id?: string;
  /** Such as "150000.00". */
  gross_amount?: string;
  /** How it is paid, such as bank_transfer, qris or credit_card. */
  payment_type?: string;
  /** Such as pending, settlement, expire, deny. */
  transaction_status?: string;
  /** accept, challenge or deny; of cards only. */
  fraud_status?: string;
  [name: string]: any;
}

export interface Alert {
  /** The key was not accepted; or it is unknown whether a call was executed. */
  kind: 'unauthorized' | 'unknown-outcome';
  /** Because of which a person must act. */
  error: MidtransError;
}

export interface MidtransEvents {
  /** Needs attention. */
  alert: [Alert];
  /** Another attempt follows, in `delay` ms. */
  retry: [{
    /** The method of the client. */
    operation: string;
    /** The order that the request is about. */
    orderId: string | undefined;
    /** The attempt that failed, from 1. */
    attempt: number;
    /** Why it failed. */
    error: MidtransError;
    /** ms until the next attempt. */
    delay: number;
  }];
}

export interface Confirmed {
  /** The answer of GET status. */
  transaction: Transaction;
  /** Of the transaction, as Midtrans says. */
  state: string;
  /** Whether the shop has the money. */
  paid: boolean;
  /** Of the order, without fees. */
  amount: number | undefined;
}

export interface Payout {
  /** The name at the bank. */
  beneficiary_name: string;
  /** The number of the account. */
  beneficiary_account: string | number;
  /** The code of a bank, as getBeneficiaryBanks lists it. */
  beneficiary_bank: string;
  /** An integer of at least 1. */
  amount: number | string;
  /** Shown to the recipient. */
  notes?: string | undefined;
  [name: string]: unknown;
}

export interface Subscription {
  /** Midtrans's id. */
  id: string;
  /** Such as active or inactive. */
  status: string;
  [name: string]: any;
}

// Only declarations marked with `export` are exported.
export {};

declare class ApiClient extends EventEmitter {
  protected constructor ();
  /** The breaker of all calls; share or watch it. */
  readonly breaker: CircuitBreaker<any, any> | undefined;

  /**
   * Closes the connections when their requests are done. No new requests begin: a call that waits
   * for its next attempt rejects with ESHUTDOWN, or as unknown if it may have succeeded.
   */
  close (): Promise<void>;

  on<E extends keyof MidtransEvents> (
    event: E, listener: (...args: MidtransEvents[E]) => void): this;
  once<E extends keyof MidtransEvents> (
    event: E, listener: (...args: MidtransEvents[E]) => void): this;
}

/**
 * A client of Midtrans (Snap and Core). It checks what a call may have done before it sends it
 * again. If that stays unknown, the error has `ambiguous: true`.
 */
export class MidtransClient extends ApiClient {
  /**
   * Needs the package undici.
   * @throws ERR_INVALID_OPTION, ERR_MISSING_PEER
   */
  constructor (options: MidtransOptions);

  /**
   * Snap: makes a payment page. If its answer is lost, the order is sent again with the same
   * order_id, for which Snap makes only one page; if that page already exists, its token is lost:
   * ERR_MIDTRANS_UNKNOWN_OUTCOME with `tokenLost`.
   */
  createTransaction (body: OrderBody, options?: CallOptions): Promise<{
    /** For snap.js, and the address of the page. */
    token: string; redirect_url: string; [name: string]: any;
  }>;
  /** Snap: makes a payment page, and resolves with its token. */
  createTransactionToken (body: OrderBody, options?: CallOptions): Promise<string>;
  /** Snap: makes a payment page, and resolves with its address. */
  createTransactionRedirectUrl (body: OrderBody, options?: CallOptions): Promise<string>;
  /** Core: charges an order. */
  charge (body: ChargeBody, options?: CallOptions): Promise<Transaction>;
  /** Core: captures an authorized amount. */
  capture (
    body: { transaction_id: string; gross_amount: number | string; [name: string]: unknown },
    options?: CallOptions
  ): Promise<Transaction>;
  /** Core: the state of a transaction, by its id or its order's. */
  status (id: string | number, options?: CallOptions): Promise<Transaction>;
  /** Core: the states of the transactions of a B2B order. */
  statusb2b (id: string | number, options?: CallOptions): Promise<Transaction>;
  /** Accepts a card payment that is in doubt. */
  approve (id: string | number, options?: CallOptions): Promise<Transaction>;
  /** Rejects a card payment that is in doubt. */
  deny (id: string | number, options?: CallOptions): Promise<Transaction>;
  /** Cancels a transaction that is not settled. */
  cancel (id: string | number, options?: CallOptions): Promise<Transaction>;
  /** Ends a pending transaction. */
  expire (id: string | number, options?: CallOptions): Promise<Transaction>;
  /** Core: refunds money. */
  refund (id: string | number, body?: RefundBody, options?: CallOptions): Promise<Transaction>;
  /** Core: the same, for payment methods that are refunded online. */
  directRefund (
    id: string | number, body?: RefundBody, options?: CallOptions): Promise<Transaction>;

  /** Core: registers a card. Needs client_key, here or as the option clientKey. */
  cardRegister (query: Query, options?: CallOptions): Promise<Transaction>;
  /** Core: a token of a card. Needs client_key, here or as the option clientKey. */
  cardToken (query: Query, options?: CallOptions): Promise<Transaction>;
  /** The points of a card. */
  cardPointInquiry (tokenId: string, options?: CallOptions): Promise<Transaction>;

  /** Links an account, for example of GoPay. Never sent again if the outcome is unknown. */
  linkPaymentAccount (body: object, options?: CallOptions): Promise<Transaction>;
  /** An account that a customer has linked. */
  getPaymentAccount (id: string, options?: CallOptions): Promise<Transaction>;
  /** If the answer was lost: the answer of getPaymentAccount. */
  unlinkPaymentAccount (id: string, options?: CallOptions): Promise<Transaction>;

  /** Never sent again if the outcome is unknown: a lost subscription cannot be found. */
  createSubscription (
    body: { amount: number | string; [name: string]: unknown }, options?: CallOptions
  ): Promise<Subscription>;
  /** One subscription. */
  getSubscription (id: string, options?: CallOptions): Promise<Subscription>;
  /** If the answer was lost: the answer of getSubscription. */
  disableSubscription (id: string, options?: CallOptions): Promise<any>;
  /** If the answer was lost: the answer of getSubscription. */
  enableSubscription (id: string, options?: CallOptions): Promise<any>;
  /** If the answer was lost: the answer of getSubscription. */
  cancelSubscription (id: string, options?: CallOptions): Promise<any>;
  /** Changes a subscription. */
  updateSubscription (id: string, body: object, options?: CallOptions): Promise<any>;

  /**
   * Any other call. `path` is the whole path, such as '/v2/charge'. The body of a GET becomes its
   * query.
   */
  request (
    method: MidtransMethod, path: string, body?: object | null, options?: MidtransRequestOptions
  ): Promise<any>;
  /** Whether Midtrans answers and accepts the key; does not use the breaker. */
  ping (options?: { signal?: AbortSignal | undefined }): Promise<{ ok: true; latencyMs: number }>;

  /**
   * Whether the signature of a notification is valid. It does not cover the state. `anyOrder`:
   * also accept an order id that does not match `orderIdPattern`.
   */
  verifyNotification (notification: unknown, options?: { anyOrder?: boolean | undefined }): boolean;
  /** Verifies a notification, and asks Midtrans for the status. */
  confirmNotification (notification: unknown, options?: CallOptions): Promise<Confirmed>;
}

/**
 * A client of Iris, for payouts. Each call of createPayouts has its own X-Idempotency-Key, which
 * all its attempts send: two equal calls make two payouts.
 */
export class IrisClient extends ApiClient {
  /**
   * Needs the package undici.
   * @throws ERR_INVALID_OPTION, ERR_MISSING_PEER
   */
  constructor (options: IrisOptions);

  /**
   * Makes payouts. If the answer is lost, the client looks for them in the history. If equal
   * payouts are listed, the outcome is unknown. To repeat such a call, pass the key of the error:
   * `{ resume: true, headers: { 'X-Idempotency-Key': error.idempotencyKey } }`.
   */
  createPayouts (body: { payouts: Payout[]; [name: string]: unknown }, options?: CallOptions):
    Promise<{ payouts: Array<{ status: string; reference_no: string }>; [name: string]: any }>;
  /** With the approver's key. If the answer is lost, the payouts are looked up. */
  approvePayouts (
    body: { reference_nos: string[]; otp?: string | undefined; [name: string]: unknown },
    options?: CallOptions
  ): Promise<any>;
  /** With the approver's key. If the answer is lost, the payouts are looked up. */
  rejectPayouts (
    body: { reference_nos: string[]; reject_reason?: string | undefined; [name: string]: unknown },
    options?: CallOptions
  ): Promise<any>;
  /**
   * Whether a notification is Midtrans's. It covers all of the body.
   * @param rawBody as it came: its bytes, or their text in UTF-8; not a parsed object
   * @param signature the header Iris-Signature: SHA-512 of the body and `merchantKey`, in hex
   * @returns false also if there is no signature
   * @throws ERR_INVALID_OPTION: no `merchantKey`, or another kind of body
   */
  verifyNotification (rawBody: Uint8Array | string, signature: string | undefined): boolean;
  /** One payout. */
  getPayoutDetails (referenceNo: string, options?: CallOptions): Promise<any>;
  /** Dates as YYYY-MM-DD. */
  getTransactionHistory (
    query?: { from_date?: string | undefined; to_date?: string | undefined },
    options?: CallOptions
  ): Promise<any[]>;

  /** Adds accounts that payouts may go to. */
  createBeneficiaries (body: object, options?: CallOptions): Promise<any>;
  /** Changes one of these accounts. */
  updateBeneficiaries (aliasName: string, body: object, options?: CallOptions): Promise<any>;
  /** All accounts that payouts may go to. */
  getBeneficiaries (options?: CallOptions): Promise<any[]>;
  /** The banks that they may be at. */
  getBeneficiaryBanks (options?: CallOptions): Promise<any>;
  /** The owner of an account: `{ bank, account }`. */
  validateBankAccount (query: Query, options?: CallOptions): Promise<any>;

  /** How the balance can be filled up. */
  getTopupChannels (options?: CallOptions): Promise<any[]>;
  /** What can be paid out. */
  getBalance (options?: CallOptions): Promise<{ balance: string; [name: string]: any }>;
  /** The bank accounts of a facilitator. */
  getFacilitatorBankAccounts (options?: CallOptions): Promise<any[]>;
  /** What can be paid out from one of them. */
  getFacilitatorBalance (bankAccountId: string, options?: CallOptions): Promise<any>;

  /** Any other call. `path` is what follows /iris/api/v1. */
  request (
    method: MidtransMethod, path: string, body?: object | null, options?: RequestOptions
  ): Promise<any>;
  /** Whether Iris answers; does not use the breaker. */
  ping (options?: { signal?: AbortSignal | undefined }): Promise<{ ok: true; latencyMs: number }>;
}

export type MidtransErrorCode =
  | 'ERR_MIDTRANS_UNKNOWN_OUTCOME' | 'ERR_MIDTRANS_UNAUTHORIZED' | 'ERR_MIDTRANS_NOT_FOUND'
  | 'ERR_MIDTRANS_CONFLICT' | 'ERR_MIDTRANS_CANNOT_MODIFY' | 'ERR_MIDTRANS_REFUSED'
  | 'ERR_MIDTRANS_RATE_LIMITED' | 'ERR_MIDTRANS_SERVER' | 'ERR_MIDTRANS_TIMEOUT'
  | 'ERR_MIDTRANS_NETWORK' | 'ERR_MIDTRANS_RESPONSE' | 'ERR_MIDTRANS_IN_FLIGHT'
  | 'ERR_MIDTRANS_SIGNATURE';

export class MidtransError extends Error {
  private constructor ();
  /** Stable; for programs. */
  readonly code: MidtransErrorCode;
  /** The method of the client. */
  readonly operation: string | undefined;
  /** The order that the request was about. */
  readonly orderId: string | undefined;
  /** undefined if there was no answer. */
  readonly httpStatus: number | undefined;
  /** Midtrans's own code, or that of HTTP if there is none. */
  readonly statusCode: string | undefined;
  /** What Midtrans found wrong with the request. */
  readonly validationMessages: string[];
  /** Whether the call may be sent again as it is. */
  readonly retryable: boolean;
  /** Whether the call may have been executed. */
  readonly ambiguous: boolean;
  /** Of a refund: the key to send it again with. */
  readonly refundKey?: string;
  /** For a call of Iris with an unknown outcome: its X-Idempotency-Key. */
  readonly idempotencyKey?: string;
  /** Snap knows the order, but its token was lost. */
  readonly tokenLost?: true;
  /** ms that Midtrans asks to wait. */
  readonly retryAfter?: number;
  /** The body of the answer; inspect and JSON do not show it. */
  readonly response: any;
  /** Without secrets. */
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
  /** The members of a transaction or notification that decide. */
  status_code?: unknown; transaction_status?: unknown; fraud_status?: unknown;
} | null | undefined): boolean;

/** The amount of the order, without fees that Midtrans may have added; undefined if unknown. */
export function amountOf (transaction: object | null | undefined): number | undefined;
