import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');

declare namespace midtransClient {
  interface Config {
    /** Whether to use Midtrans's production instead of its sandbox. Default false. */
    isProduction?: boolean | undefined;
    /** For Iris: the API key. */
    serverKey?: string | undefined;
    /** The key for pages; it is not secret. */
    clientKey?: string | undefined;
  }

  /** Options that the official client does not have. */
  interface Protection {
    /** Time limit of one request in ms, default 10000; false: no limit. */
    timeout?: number | false | undefined;
    /** Overrides retryPresets.payment with `retries: 2`; false: one attempt. */
    retry?: Omit<retry.Options, 'signal' | 'attemptTimeout'> | false | null | undefined;
    /**
     * Overrides presets.midtrans (except its time limit), or a breaker; false: none. Default: all
     * clients in the thread share a breaker for each host of Midtrans.
     */
    breaker?: CircuitBreaker<any, any> | CircuitBreaker.Options | false | null | undefined;
    /** An undici dispatcher for all requests. Default: a proxy set in the environment, if any. */
    dispatcher?: object | undefined;
  }

  /** Parameters of a call: an object, or a string of JSON. */
  type Parameter = object | string;

  /** An id of an order, or of what the method is about. */
  type Id = string | number;

  /** An answer of Midtrans. */
  interface Answer {
    /** As text, such as '200' or '201'; Midtrans also sends errors this way. */
    status_code: string;
    /** In words, for people. */
    status_message: string;
    /** Midtrans's own id of the payment. */
    transaction_id: string;
    /** The shop's id of the order. */
    order_id: string;
    /** In IDR, as text with two digits: '10000.00'. */
    gross_amount: string;
    /** Such as 'bank_transfer', 'qris' or 'credit_card'. */
    payment_type: string;
    /** Such as 'pending', 'settlement', 'deny', 'expire' or 'refund'. */
    transaction_status: string;
    /** Of cards: 'accept', 'challenge' or 'deny'. */
    fraud_status: string;
    [name: string]: any;
  }

  interface SnapTransaction {
    /** Of the payment page, for snap.js. */
    token: string;
    /** The address of the payment page. */
    redirect_url: string;
    [name: string]: any;
  }

  interface ApiConfig {
    /** Whether Midtrans's production is used, not its sandbox. */
    isProduction: boolean;
    /** Hidden from util.inspect and JSON. */
    serverKey: string;
    /** The key for pages; it is not secret. */
    clientKey: string;
    /** A copy of all settings. */
    get (): { isProduction: boolean; serverKey: string; clientKey: string };
    /** Changes the named settings only. */
    set (options?: Config): void;
    /** The address of the Core API, of the sandbox or of production. */
    getCoreApiBaseUrl (): string;
    /** The address of Snap. */
    getSnapApiBaseUrl (): string;
    /** The address of Iris. */
    getIrisApiBaseUrl (): string;
  }

  /** A request as interceptors see it. */
  interface RequestConfig {
    /** Such as 'GET', in any case. */
    method: string;
    /** With its host. */
    url: string;
    /** By name. Authorization is among them. */
    headers: Record<string, any>;
    /**
     * An object, text, bytes (Buffer, ArrayBuffer or a view) or URLSearchParams. FormData, Blobs
     * and streams are rejected with ERR_NOT_SUPPORT.
     */
    data: any;
    /** The query, by name. */
    params: any;
    /** ms; 0: no limit. */
    timeout: number;
    [name: string]: any;
  }

  /** An answer: the part of an axios response that is supported. */
  interface Response {
    /** The HTTP status. */
    status: number;
    /** The words after the status. */
    statusText: string;
    /** By name, in lower case. */
    headers: Record<string, any>;
    /** The parsed JSON, or the text if it is not JSON. */
    data: any;
    /** As it was sent. Of an error's response it is not enumerable, so that no log shows it. */
    config: RequestConfig;
  }

  /** Called before or after each call, however often it is retried. */
  interface Interceptors<T> {
    /** Returns an id for `eject`. */
    use (
      fulfilled?: ((value: T) => T | Promise<T>) | null, rejected?: ((error: any) => any) | null
    ): number;
    /** Removes one, by its id. */
    eject (id: number): void;
    /** Removes all. */
    clear (): void;
  }

  /** Replaces the axios instance. */
  interface Http {
    (config: RequestConfig): Promise<Response>;
    /** What requests have that do not say otherwise. */
    defaults: {
      /** ms for one request; 0: no limit. */
      timeout: number;
      /** Sent with each request: those of `common`, of the method, and of `headers` itself. */
      headers: Record<'common' | 'get' | 'post' | 'patch', Record<string, any>> &
        Record<string, any>;
      [name: string]: any;
    };
    /** Functions that see each request and each answer. */
    interceptors: { request: Interceptors<RequestConfig>; response: Interceptors<Response> };
    /** Another one, with copies of these defaults under its own, and without interceptors. */
    create (config?: Partial<RequestConfig> & { baseURL?: string | undefined }): Http;
  }

  interface HttpClient {
    /** Sends the requests. */
    http_client: Http;
    /**
     * Any request. For a GET, `first` is the query and `second` the body; for other methods it is
     * the other way round.
     */
    request (
      method: string, serverKey: string, url: string, first?: Parameter | null,
      second?: Parameter | null
    ): Promise<any>;
  }

  interface Transaction {
    /** `id`: of the transaction or of its order. It is encoded, unless it already is. */
    status (id?: Id): Promise<Answer>;
    /** The status for business customers. */
    statusb2b (id?: Id): Promise<Answer>;
    /** Accepts a card payment that fraud detection challenges. */
    approve (id?: Id): Promise<Answer>;
    /** Rejects a card payment that fraud detection challenges. */
    deny (id?: Id): Promise<Answer>;
    /** Cancels a payment that is not settled. */
    cancel (id?: Id): Promise<Answer>;
    /** Ends a pending payment. */
    expire (id?: Id): Promise<Answer>;
    /** Can be retried if it has a `refund_key`. */
    refund (id?: Id, parameter?: Parameter): Promise<Answer>;
    /** A refund that goes through the bank at once. Can be retried if it has a `refund_key`. */
    refundDirect (id?: Id, parameter?: Parameter): Promise<Answer>;
    /** Asks for the status of the notification's transaction. The signature is not checked. */
    notification (notification?: Parameter): Promise<Answer>;
  }

  interface Client {
    /** The settings, which may change at any time. */
    apiConfig: ApiConfig;
    /** Sends the requests. */
    httpClient: HttpClient;
    /** What is asked of one payment. */
    transaction: Transaction;
    /** The breaker of the host that the client currently calls. */
    readonly breaker: CircuitBreaker<any, any>;
  }

  interface Snap extends Client {}

  class Snap {
    /** @throws ERR_MISSING_PEER without the package undici, ERR_INVALID_OPTION */
    constructor (options?: Config | null, protection?: Protection);
    /** Makes a payment page. */
    createTransaction (parameter?: Parameter): Promise<SnapTransaction>;
    /** Makes a payment page, and resolves with its token. */
    createTransactionToken (parameter?: Parameter): Promise<string>;
    /** Makes a payment page, and resolves with its address. */
    createTransactionRedirectUrl (parameter?: Parameter): Promise<string>;
  }

  interface CoreApi extends Client {}

  class CoreApi {
    /** @throws ERR_MISSING_PEER without the package undici, ERR_INVALID_OPTION */
    constructor (options?: Config | null, protection?: Protection);
    /** Charges a customer. */
    charge (parameter?: Parameter): Promise<Answer>;
    /** Takes the amount of a card that was authorized. */
    capture (parameter?: Parameter): Promise<Answer>;
    /** Registers a card, by the query of `parameter`. */
    cardRegister (parameter?: Parameter): Promise<Answer>;
    /** A token for a card, by the query of `parameter`. */
    cardToken (parameter?: Parameter): Promise<Answer>;
    /** The points of a card, by its token. */
    cardPointInquiry (tokenId: Id): Promise<Answer>;
    /** Links an account, such as one of GoPay. */
    linkPaymentAccount (parameter?: Parameter): Promise<Answer>;
    /** A linked account. */
    getPaymentAccount (accountId: Id): Promise<Answer>;
    /** Ends the link with an account. */
    unlinkPaymentAccount (accountId: Id): Promise<Answer>;
    /** Charges that repeat. */
    createSubscription (parameter?: Parameter): Promise<any>;
    /** A subscription, by its id. */
    getSubscription (subscriptionId: Id): Promise<any>;
    /** Pauses a subscription. */
    disableSubscription (subscriptionId: Id): Promise<any>;
    /** Continues a subscription. */
    enableSubscription (subscriptionId: Id): Promise<any>;
    /** Changes a subscription. */
    updateSubscription (subscriptionId: Id, parameter?: Parameter): Promise<any>;
  }

  interface Iris extends Client {}

  class Iris {
    /** @throws ERR_MISSING_PEER without the package undici, ERR_INVALID_OPTION */
    constructor (options?: Config | null, protection?: Protection);
    /** Resolves with 'pong'. */
    ping (): Promise<string>;
    /** Adds somebody who can be paid. */
    createBeneficiaries (parameter?: Parameter): Promise<any>;
    /** Changes somebody who can be paid, by the alias. */
    updateBeneficiaries (aliasName: Id, parameter?: Parameter): Promise<any>;
    /** Those who can be paid. */
    getBeneficiaries (): Promise<any>;
    /** Asks for payouts, which an approver has to approve. */
    createPayouts (parameter?: Parameter): Promise<any>;
    /** Approves payouts; needs the key of an approver. */
    approvePayouts (parameter?: Parameter): Promise<any>;
    /** Rejects payouts; needs the key of an approver. */
    rejectPayouts (parameter?: Parameter): Promise<any>;
    /** A payout, by its reference number. */
    getPayoutDetails (referenceNo: Id): Promise<any>;
    /** What came in and went out, between two dates. */
    getTransactionHistory (parameter?: Parameter): Promise<any>;
    /** Where money can be paid in. */
    getTopupChannels (): Promise<any>;
    /** What there is to pay out. */
    getBalance (): Promise<any>;
    /** The bank accounts of a facilitator. */
    getFacilitatorBankAccounts (): Promise<any>;
    /** The balance of one of these accounts. */
    getFacilitatorBalance (bankAccountId: Id): Promise<any>;
    /** The banks that payouts can go to. */
    getBeneficiaryBanks (): Promise<any>;
    /** Whether an account exists, and whose it is. */
    validateBankAccount (parameter?: Parameter): Promise<any>;
  }

  /** The settings of all calls to Snap BI. */
  class SnapBiConfig {
    /** Whether production is used, not the sandbox. Default false. */
    static isProduction: boolean;
    /** The client id, which Midtrans gives. */
    static snapBiClientId: string | null;
    /** PEM. */
    static snapBiPrivateKey: string | null;
    /** The secret that requests are signed with. */
    static snapBiClientSecret: string | null;
    /** The partner id, which Midtrans gives. */
    static snapBiPartnerId: string | null;
    /** The channel id, which Midtrans gives. */
    static snapBiChannelId: string | null;
    /** PEM; to check notifications. */
    static snapBiPublicKey: string | null;
    /** Does nothing here. */
    static enableLogging: boolean;
    /** The address of the sandbox. */
    static readonly SNAP_BI_SANDBOX_BASE_URL: string;
    /** The address of production. */
    static readonly SNAP_BI_PRODUCTION_BASE_URL: string;
    /** The address that is used. */
    static getBaseUrl (): string;
  }

  /**
   * A call to Snap BI. It resolves with the body of the answer, even of an error; if there is no
   * answer, with `{ message, status }`.
   */
  class SnapBi {
    constructor (paymentMethod: string);
    /** A call about direct debits. */
    static directDebit (): SnapBi;
    /** A call about virtual accounts. */
    static va (): SnapBi;
    /** A call about QRIS. */
    static qris (): SnapBi;
    /** To check a notification. */
    static notification (): SnapBi;
    /** The path for access tokens. */
    static readonly ACCESS_TOKEN: string;
    /** The path for direct debits. */
    static readonly PAYMENT_HOST_TO_HOST: string;
    /** The path for virtual accounts. */
    static readonly CREATE_VA: string;
    /** The path for QRIS. */
    static readonly QRIS_PAYMENT: string;
    /** The path for the status of direct debits. */
    static readonly DEBIT_STATUS: string;
    /** The path for the status of virtual accounts. */
    static readonly VA_STATUS: string;
    /** The path for the status of QRIS. */
    static readonly QRIS_STATUS: string;
    /** The path for refunds of direct debits. */
    static readonly DEBIT_REFUND: string;
    /** The path for refunds of QRIS. */
    static readonly QRIS_REFUND: string;
    /** The path that cancels direct debits. */
    static readonly DEBIT_CANCEL: string;
    /** The path that cancels virtual accounts. */
    static readonly VA_CANCEL: string;
    /** The path that cancels QRIS payments. */
    static readonly QRIS_CANCEL: string;
    /** 'directDebit', 'va', 'qris' or ''. */
    paymentMethod: string;
    /** The path of the last call. */
    apiPath: string;
    /** What is sent. */
    body: any;
    /** Hidden from util.inspect and JSON. */
    accessToken: string;
    /** Of the call, in ISO 8601. */
    timeStamp: string;
    /** Adds headers to the request for an access token. */
    withAccessTokenHeader (headers: Record<string, any>): this;
    /** Adds headers to the call itself. */
    withTransactionHeader (headers: Record<string, any>): this;
    /** Uses this access token, and asks for none. */
    withAccessToken (accessToken: string): this;
    /** What is sent. */
    withBody (body: any): this;
    /** The signature of a notification. */
    withSignature (signature: string): this;
    /** The time of the call, or of a notification, in ISO 8601. */
    withTimeStamp (timeStamp: string): this;
    /** Sets 'X-DEVICE-ID'. */
    withDeviceId (deviceId: string): this;
    /** Sets 'debug-id'. */
    withDebugId (debugId: string): this;
    /** In ms; default 10000. */
    withTimeout (timeout: number | null): this;
    /** The body of a notification. */
    withNotificationPayload (payload: any): this;
    /** The path that a notification was sent to. */
    withNotificationUrlPath (path: string): this;
    /** Sets it in SnapBiConfig, like the next four methods. */
    withPrivateKey (key: string): this;
    /** Sets it in SnapBiConfig. */
    withClientId (id: string): this;
    /** Sets it in SnapBiConfig. */
    withClientSecret (secret: string): this;
    /** Sets it in SnapBiConfig. */
    withPartnerId (id: string): this;
    /** Sets it in SnapBiConfig. */
    withChannelId (id: string): this;
    /** Makes a payment. `externalId`: 'X-EXTERNAL-ID', for each call another one. */
    createPayment (externalId: string): Promise<any>;
    /** Cancels the payment in `body`. */
    cancel (externalId: string): Promise<any>;
    /** Refunds the payment in `body`. */
    refund (externalId: string): Promise<any>;
    /** The status of the payment in `body`. */
    getStatus (externalId: string): Promise<any>;
    /** Asks for an access token, which later calls use. */
    getAccessToken (): Promise<any>;
    /** Sends the call; without an access token, asks for one first. */
    createConnection (externalId?: string | null): Promise<any>;
    /** @throws Error without a public key */
    isWebhookNotificationVerified (): boolean;
    /** The signature of a call. */
    static getSymmetricSignatureHmacSh512 (
      accessToken: string, requestBody: any, method: string, path: string, clientSecret: string,
      timeStamp: string
    ): string;
    /** The signature of a request for an access token. */
    static getAsymmetricSignatureSha256WithRsa (
      clientId: string, timeStamp: string, privateKey: string
    ): string;
    /** The headers of a call. */
    buildSnapBiTransactionHeader (
      externalId: string | null, timeStamp: string
    ): Record<string, any>;
    /** The headers of a request for an access token. */
    buildAccessTokenHeader (timeStamp: string): Record<string, any>;
    /** The path for payments with this method. */
    setupCreatePaymentApiPath (paymentMethod: string): string;
    /** The path for refunds with this method. */
    setupRefundApiPath (paymentMethod: string): string;
    /** The path that cancels payments with this method. */
    setupCancelApiPath (paymentMethod: string): string;
    /** The path for the status with this method. */
    setupGetStatusApiPath (paymentMethod: string): string;
  }

  class MidtransError extends Error {
    constructor (
      message?: string, httpStatusCode?: number | string | null, ApiResponse?: any,
      rawHttpClientData?: any
    );
    /** The HTTP status; if that is 200, the body's status_code, as text. null: no answer. */
    httpStatusCode: number | string | null;
    /** The body of the answer; null if there was none. */
    ApiResponse: any;
    /** The answer ({ status, headers, data, … }), or the error if there was none. */
    rawHttpClientData: any;
    /** The same codes as in `sekering/midtrans`, or those of the breaker. */
    code?: string;
    /** Whether the same call may succeed later. */
    retryable?: boolean;
    /** Whether the call may have been executed. */
    ambiguous?: boolean;
    /** The order that the request was about, if it was about one. */
    orderId?: string;
    /** Snap knows the order, but its token was lost. */
    tokenLost?: true;
    /** How long Midtrans asks to wait, in ms. */
    retryAfter?: number;
    /** For a payout with an unknown outcome: the X-Idempotency-Key that it was sent with. */
    idempotencyKey?: string;
  }
}

export = midtransClient;
