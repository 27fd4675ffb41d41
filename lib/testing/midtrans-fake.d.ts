/** The method of the client; `irisPing` is the ping of IrisClient. */
export type MidtransOperation =
  | 'createTransaction' | 'charge' | 'capture' | 'status' | 'statusb2b' | 'approve' | 'deny'
  | 'cancel' | 'expire' | 'refund' | 'directRefund'
  | 'cardRegister' | 'cardToken' | 'cardPointInquiry'
  | 'linkPaymentAccount' | 'getPaymentAccount' | 'unlinkPaymentAccount'
  | 'createSubscription' | 'getSubscription' | 'disableSubscription' | 'enableSubscription'
  | 'cancelSubscription' | 'updateSubscription'
  | 'irisPing' | 'createBeneficiaries' | 'updateBeneficiaries' | 'getBeneficiaries'
  | 'createPayouts' | 'approvePayouts' | 'rejectPayouts' | 'getPayoutDetails'
  | 'getTransactionHistory' | 'getTopupChannels' | 'getBalance' | 'getFacilitatorBankAccounts'
  | 'getFacilitatorBalance' | 'getBeneficiaryBanks' | 'validateBankAccount';

/** How often a fault strikes. */
export interface FaultFrequency {
  /** Strikes each n-th time only, default 1. */
  every?: number | undefined;
  /** Stops after so many strikes. */
  times?: number | undefined;
}

export interface MidtransFault extends FaultFrequency {
  /**
   * hang: never answers. reset: cuts the connection before anything is made. error: a JSON error.
   * late-error: makes the order, then answers with an error. html: the error page of a proxy. slow:
   * makes the order late. drop: makes the order, then cuts without an answer. mute: makes the order
   * and never answers. business: an error in the body with HTTP 200 (Core only). in-flight: HTTP
   * 202, an earlier request is still in progress.
   */
  kind: 'hang' | 'reset' | 'error' | 'late-error' | 'html' | 'slow' | 'drop' | 'mute' | 'business'
    | 'in-flight';
  /** HTTP status of error, late-error, business (default 500) and html (default 502). */
  status?: number | undefined;
  /** Of slow, ms; default 3000. */
  delayMs?: number | undefined;
  /** Strikes this call only. */
  on?: MidtransOperation | undefined;
  /** Of the answer, such as Retry-After. */
  headers?: Record<string, string> | undefined;
}

export type MidtransFaults =
  | MidtransFault | MidtransFault['kind'] | Array<MidtransFault | MidtransFault['kind']> | null;

export interface MidtransOrder {
  /** The shop's id. */
  orderId: string;
  /** In IDR. */
  grossAmount: number;
  /** Of its payment page. */
  token: string;
  /** The address of its payment page. */
  redirectUrl: string;
  /** When it was made, as in Date.now(). */
  at: number;
  /** What was sent. */
  body: any;
}

export interface MidtransTransaction {
  /** Midtrans's own id. */
  transaction_id: string;
  /** The shop's id. */
  order_id: string;
  /** In IDR: '10000.00'. */
  gross_amount: string;
  /** Such as 'bank_transfer'. */
  payment_type: string;
  /** Such as 'pending' or 'settlement'. */
  transaction_status: string;
  /** accept, challenge or deny; of cards only. */
  fraud_status?: string;
  /** How often the order was charged. */
  charges: number;
  /** The notifications about it. */
  history: any[];
  [name: string]: any;
}

export interface MidtransNotificationOptions {
  /** How many times each is sent, default 1. */
  repeat?: number | undefined;
  /** Default 'sent'. */
  order?: 'sent' | 'reversed' | 'shuffled' | undefined;
  /** Whether only the newest is sent. Default false. */
  latest?: boolean | undefined;
  /** What is wrong with them, default nothing. The signature does not cover the status. */
  forge?: 'signature' | 'status' | 'amount' | 'order' | undefined;
}

export interface MidtransFake {
  /** Where it listens. */
  readonly url: string;
  /** What goes wrong now. */
  readonly fault: MidtransFault['kind'] | null;
  /** All Snap orders by order_id, oldest first. */
  readonly orders: Map<string, MidtransOrder>;
  /** The transactions of Core by order_id. */
  readonly transactions: Map<string, MidtransTransaction>;
  /** Subscriptions, linked accounts, beneficiaries and payouts of Iris, by their ids. */
  readonly subscriptions: Map<string, any>;
  /** Linked accounts. */
  readonly accounts: Map<string, any>;
  /** Beneficiaries of Iris. */
  readonly beneficiaries: Map<string, any>;
  /** Set `status` to change the state of one. */
  readonly payouts: Map<string, any>;
  /** How many there were since it was started. */
  readonly counts: Record<'requests' | 'created' | 'refused' | 'unauthorized' | 'faulted', number>;
  /** The newest requests, oldest first. */
  readonly log: Array<{
    /** What was asked. */
    method: string; path: string; query: Record<string, string>;
    /** The text is the body. */
    headers: Record<string, string>; text: string;
  }>;
  /** Sets what goes wrong from now on; of several faults the first that fits. null: nothing. */
  set (fault: MidtransFaults): void;
  /**
   * Simulates a customer who chooses a payment method on the page of a Snap order; default
   * 'bank_transfer'.
   */
  choose (orderId: string, paymentType?: string): void;
  /** Moves a transaction to a state, default 'settlement'. */
  settle (orderId: string, state?: string): void;
  /** The signed notifications of a transaction. */
  notifications (orderId: string, options?: MidtransNotificationOptions): any[];
  /** Sends them to `url`, one after another. */
  notify (url: string, orderId: string, options?: MidtransNotificationOptions): Promise<Array<{
    /** What was sent, and the answer. */
    body: any; status: number; text: string;
  }>>;
  /**
   * Sends the notification of the button "Test notification URL" of Midtrans's dashboard: signed,
   * about an order that does not exist. `orderId`: for example another system's id.
   */
  notifyTest (url: string, options?: { orderId?: string | undefined }): Promise<{
    /** What was sent, and the answer. */
    body: any; status: number; text: string;
  }>;
  /** Stops listening, and cuts all connections. */
  close (): Promise<void>;
}

export interface MidtransFakeOptions {
  /** 0 (default) takes a free one. */
  port?: number | undefined;
  /** Default '127.0.0.1'. */
  host?: string | undefined;
  /** Default 'SB-Mid-server-fake'. */
  serverKey?: string | undefined;
  /** The key of the creator of payouts, default 'IRIS-creator-fake'. */
  irisKey?: string | undefined;
  /** The key of the approver of payouts, default 'IRIS-approver-fake'. */
  irisApproverKey?: string | undefined;
  /** What goes wrong from the beginning. Default: nothing. */
  fault?: MidtransFaults | undefined;
  /** Delay of each answer, ms; default 0. */
  latencyMs?: number | [min: number, max: number] | undefined;
  /** How many orders it makes, default 1,000,000. */
  ordersMax?: number | undefined;
  /** True: errors of Core have their own HTTP status instead of 200. Default false. */
  trueStatus?: boolean | undefined;
  /** False: an order can be charged more than once. Default true. */
  uniqueOrders?: boolean | undefined;
  /** False: Idempotency-Key and X-Idempotency-Key are ignored. Default true. */
  idempotency?: boolean | undefined;
  /** True: payouts are in the history before they are approved. Default false. */
  listQueued?: boolean | undefined;
  /** Rupiah that are added to each amount, like automatic fees. Default 0. */
  fees?: number | undefined;
}

/** Starts a Midtrans server (Snap, Core and Iris) on loopback. */
export function startMidtransFake (options?: MidtransFakeOptions): Promise<MidtransFake>;
