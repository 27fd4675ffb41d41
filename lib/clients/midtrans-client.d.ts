import CircuitBreaker = require('../primitives/breaker');
import retry = require('../primitives/retry');

declare namespace midtransClient {
  interface Config {
    /** Whether to use Midtrans's production instead of its sandbox. Default false. */
    isProduction?: boolean | undefined;
    /** For Iris: the API key. */
    serverKey?: string | undefined;
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
    status_code: string;
    status_message: string;
    transaction_id: string;
    order_id: string;
    gross_amount: string;
    payment_type: string;
    transaction_status: string;
    fraud_status: string;
    [name: string]: any;
  }

  interface SnapTransaction {
    token: string;
    redirect_url: string;
    [name: string]: any;
  }

  interface ApiConfig {
    isProduction: boolean;
    /** Hidden from util.inspect and JSON. */
    serverKey: string;
    clientKey: string;
    get (): { isProduction: boolean; serverKey: string; clientKey: string };
    /** Changes the named settings only. */
    set (options?: Config): void;
    getCoreApiBaseUrl (): string;
    getSnapApiBaseUrl (): string;
    getIrisApiBaseUrl (): string;
  }

  /** A request as interceptors see it. */
  interface RequestConfig {
    method: string;
    url: string;
    headers: Record<string, any>;
    /**
     * An object, text, bytes (Buffer, ArrayBuffer or a view) or URLSearchParams. FormData, Blobs
     * and streams are rejected with ERR_NOT_SUPPORT.
     */
    data: any;
    params: any;
    /** ms; 0: no limit. */
    timeout: number;
    [name: string]: any;
  }

  /** An answer: the part of an axios response that is supported. */
  interface Response {
    status: number;
    statusText: string;
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
    eject (id: number): void;
    clear (): void;
  }

  /** Replaces the axios instance. */
  interface Http {
    (config: RequestConfig): Promise<Response>;
    defaults: {
      /** ms for one request; 0: no limit. */
      timeout: number;
      /** Sent with each request: those of `common`, of the method, and of `headers` itself. */
      headers: Record<'common' | 'get' | 'post' | 'patch', Record<string, any>> &
        Record<string, any>;
      [name: string]: any;
    };
    interceptors: { request: Interceptors<RequestConfig>; response: Interceptors<Response> };
    /** Another one, with copies of these defaults under its own, and without interceptors. */
    create (config?: Partial<RequestConfig> & { baseURL?: string | undefined }): Http;
  }

  interface HttpClient {
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
    statusb2b (id?: Id): Promise<Answer>;
    approve (id?: Id): Promise<Answer>;
    deny (id?: Id): Promise<Answer>;
    cancel (id?: Id): Promise<Answer>;
    expire (id?: Id): Promise<Answer>;
    /** Can be retried if it has a `refund_key`. */
    refund (id?: Id, parameter?: Parameter): Promise<Answer>;
    refundDirect (id?: Id, parameter?: Parameter): Promise<Answer>;
    /** Asks for the status of the notification's transaction. The signature is not checked. */
    notification (notification?: Parameter): Promise<Answer>;
  }

  interface Client {
    apiConfig: ApiConfig;
    httpClient: HttpClient;
    transaction: Transaction;
    /** The breaker of the host that the client currently calls. */
    readonly breaker: CircuitBreaker<any, any>;
  }

  interface Snap extends Client {}

  class Snap {
    /** @throws ERR_MISSING_PEER without the package undici, ERR_INVALID_OPTION */
    constructor (options?: Config | null, protection?: Protection);
    createTransaction (parameter?: Parameter): Promise<SnapTransaction>;
    createTransactionToken (parameter?: Parameter): Promise<string>;
    createTransactionRedirectUrl (parameter?: Parameter): Promise<string>;
  }

  interface CoreApi extends Client {}

  class CoreApi {
    /** @throws ERR_MISSING_PEER without the package undici, ERR_INVALID_OPTION */
    constructor (options?: Config | null, protection?: Protection);
    charge (parameter?: Parameter): Promise<Answer>;
    capture (parameter?: Parameter): Promise<Answer>;
    cardRegister (parameter?: Parameter): Promise<Answer>;
    cardToken (parameter?: Parameter): Promise<Answer>;
    cardPointInquiry (tokenId: Id): Promise<Answer>;
    linkPaymentAccount (parameter?: Parameter): Promise<Answer>;
    getPaymentAccount (accountId: Id): Promise<Answer>;
    unlinkPaymentAccount (accountId: Id): Promise<Answer>;
    createSubscription (parameter?: Parameter): Promise<any>;
    getSubscription (subscriptionId: Id): Promise<any>;
    disableSubscription (subscriptionId: Id): Promise<any>;
    enableSubscription (subscriptionId: Id): Promise<any>;
    updateSubscription (subscriptionId: Id, parameter?: Parameter): Promise<any>;
  }

  interface Iris extends Client {}

  class Iris {
    /** @throws ERR_MISSING_PEER without the package undici, ERR_INVALID_OPTION */
    constructor (options?: Config | null, protection?: Protection);
    ping (): Promise<string>;
    createBeneficiaries (parameter?: Parameter): Promise<any>;
    updateBeneficiaries (aliasName: Id, parameter?: Parameter): Promise<any>;
    getBeneficiaries (): Promise<any>;
    createPayouts (parameter?: Parameter): Promise<any>;
    approvePayouts (parameter?: Parameter): Promise<any>;
    rejectPayouts (parameter?: Parameter): Promise<any>;
    getPayoutDetails (referenceNo: Id): Promise<any>;
    getTransactionHistory (parameter?: Parameter): Promise<any>;
    getTopupChannels (): Promise<any>;
    getBalance (): Promise<any>;
    getFacilitatorBankAccounts (): Promise<any>;
    getFacilitatorBalance (bankAccountId: Id): Promise<any>;
    getBeneficiaryBanks (): Promise<any>;
    validateBankAccount (parameter?: Parameter): Promise<any>;
  }

  /** The settings of all calls to Snap BI. */
  class SnapBiConfig {
    static isProduction: boolean;
    static snapBiClientId: string | null;
    /** PEM. */
    static snapBiPrivateKey: string | null;
    static snapBiClientSecret: string | null;
    static snapBiPartnerId: string | null;
    static snapBiChannelId: string | null;
    /** PEM; to check notifications. */
    static snapBiPublicKey: string | null;
    /** Does nothing here. */
    static enableLogging: boolean;
    static readonly SNAP_BI_SANDBOX_BASE_URL: string;
    static readonly SNAP_BI_PRODUCTION_BASE_URL: string;
    static getBaseUrl (): string;
  }

  /**
   * A call to Snap BI. It resolves with the body of the answer, even of an error; if there is no
   * answer, with `{ message, status }`.
   */
  class SnapBi {
    constructor (paymentMethod: string);
    static directDebit (): SnapBi;
    static va (): SnapBi;
    static qris (): SnapBi;
    static notification (): SnapBi;
    static readonly ACCESS_TOKEN: string;
    static readonly PAYMENT_HOST_TO_HOST: string;
    static readonly CREATE_VA: string;
    static readonly QRIS_PAYMENT: string;
    static readonly DEBIT_STATUS: string;
    static readonly VA_STATUS: string;
    static readonly QRIS_STATUS: string;
    static readonly DEBIT_REFUND: string;
    static readonly QRIS_REFUND: string;
    static readonly DEBIT_CANCEL: string;
    static readonly VA_CANCEL: string;
    static readonly QRIS_CANCEL: string;
    paymentMethod: string;
    apiPath: string;
    body: any;
    /** Hidden from util.inspect and JSON. */
    accessToken: string;
    timeStamp: string;
    withAccessTokenHeader (headers: Record<string, any>): this;
    withTransactionHeader (headers: Record<string, any>): this;
    withAccessToken (accessToken: string): this;
    withBody (body: any): this;
    withSignature (signature: string): this;
    withTimeStamp (timeStamp: string): this;
    withDeviceId (deviceId: string): this;
    withDebugId (debugId: string): this;
    /** In ms; default 10000. */
    withTimeout (timeout: number | null): this;
    withNotificationPayload (payload: any): this;
    withNotificationUrlPath (path: string): this;
    /** Sets it in SnapBiConfig, like the next four methods. */
    withPrivateKey (key: string): this;
    withClientId (id: string): this;
    withClientSecret (secret: string): this;
    withPartnerId (id: string): this;
    withChannelId (id: string): this;
    createPayment (externalId: string): Promise<any>;
    cancel (externalId: string): Promise<any>;
    refund (externalId: string): Promise<any>;
    getStatus (externalId: string): Promise<any>;
    getAccessToken (): Promise<any>;
    createConnection (externalId?: string | null): Promise<any>;
    /** @throws Error without a public key */
    isWebhookNotificationVerified (): boolean;
    static getSymmetricSignatureHmacSh512 (
      accessToken: string, requestBody: any, method: string, path: string, clientSecret: string,
      timeStamp: string
    ): string;
    static getAsymmetricSignatureSha256WithRsa (
      clientId: string, timeStamp: string, privateKey: string
    ): string;
    buildSnapBiTransactionHeader (
      externalId: string | null, timeStamp: string
    ): Record<string, any>;
    buildAccessTokenHeader (timeStamp: string): Record<string, any>;
    setupCreatePaymentApiPath (paymentMethod: string): string;
    setupRefundApiPath (paymentMethod: string): string;
    setupCancelApiPath (paymentMethod: string): string;
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
