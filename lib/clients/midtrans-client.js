'use strict';

// `sekering/midtrans-client`, the drop-in for Midtrans's official client: its classes and methods.

const crypto = require('node:crypto');

const { isA, messageOf, read } = require('../base/foreign');
const { HttpClient, MidtransError, segment } = require('./midtrans-client-http');

// ---- Settings ----------------------------------------------------------------------------------

const SETTINGS = ['isProduction', 'serverKey', 'clientKey'];

class ApiConfig {
  static CORE_SANDBOX_BASE_URL = 'https://api.sandbox.midtrans.com';
  static CORE_PRODUCTION_BASE_URL = 'https://api.midtrans.com';
  static SNAP_SANDBOX_BASE_URL = 'https://app.sandbox.midtrans.com/snap/v1';
  static SNAP_PRODUCTION_BASE_URL = 'https://app.midtrans.com/snap/v1';
  static IRIS_SANDBOX_BASE_URL = 'https://app.sandbox.midtrans.com/iris/api/v1';
  static IRIS_PRODUCTION_BASE_URL = 'https://app.midtrans.com/iris/api/v1';

  // Neither inspect nor JSON shows it.
  #serverKey = '';

  constructor (options = {}) {
    this.isProduction = false;
    this.clientKey = '';
    this.set(options);
  }

  get serverKey () { return this.#serverKey; }

  set serverKey (value) { this.#serverKey = value; }

  get () {
    const { isProduction, serverKey, clientKey } = this;
    return { isProduction, serverKey, clientKey };
  }

  set (options) {
    for (const name of SETTINGS) {
      const value = options?.[name];
      if (value !== undefined) this[name] = value;
    }
  }

  getCoreApiBaseUrl () {
    return this.isProduction ? ApiConfig.CORE_PRODUCTION_BASE_URL : ApiConfig.CORE_SANDBOX_BASE_URL;
  }

  getSnapApiBaseUrl () {
    return this.isProduction ? ApiConfig.SNAP_PRODUCTION_BASE_URL : ApiConfig.SNAP_SANDBOX_BASE_URL;
  }

  getIrisApiBaseUrl () {
    return this.isProduction ? ApiConfig.IRIS_PRODUCTION_BASE_URL : ApiConfig.IRIS_SANDBOX_BASE_URL;
  }
}

// ---- The clients -------------------------------------------------------------------------------

class Client {
  constructor (options, protection) {
    this.apiConfig = new ApiConfig(options);
    this.httpClient = new HttpClient(this, protection);
    this.transaction = new Transaction(this);
  }
}

const ask = ({ apiConfig, httpClient }, method, url, ...parameters) =>
  httpClient.request(method, apiConfig.get().serverKey, url, ...parameters);

class MidtransNotificationError extends Error {}

class Transaction {
  constructor (parent = {}) {
    this.parent = parent;
  }

  status (id = '') { return this.#ask('get', id, 'status', null); }
  statusb2b (id = '') { return this.#ask('get', id, 'status/b2b', null); }
  approve (id = '') { return this.#ask('post', id, 'approve', null); }
  deny (id = '') { return this.#ask('post', id, 'deny', null); }
  cancel (id = '') { return this.#ask('post', id, 'cancel', null); }
  expire (id = '') { return this.#ask('post', id, 'expire', null); }
  refund (id = '', parameter = {}) { return this.#ask('post', id, 'refund', parameter); }

  refundDirect (id = '', parameter = {}) {
    return this.#ask('post', id, 'refund/online/direct', parameter);
  }

  async notification (notification = {}) {
    let body = notification;
    if (typeof notification === 'string' || isA(notification, String)) {
      try {
        body = JSON.parse(notification);
      } catch (error) {
        throw new MidtransNotificationError('fail to parse `notification` string as JSON. Use ' +
          `JSON string or Object as \`notification\`. with message:${messageOf(error)}`);
      }
    }
    return this.status(body.transaction_id);
  }

  #ask (method, id, action, parameter) {
    const { parent } = this;
    return ask(parent, method,
      `${parent.apiConfig.getCoreApiBaseUrl()}/v2/${segment(id)}/${action}`, parameter);
  }
}

class Snap extends Client {
  get breaker () { return this.httpClient.breakerOf(this.apiConfig.getSnapApiBaseUrl()); }

  createTransaction (parameter = {}) {
    return ask(this, 'post', `${this.apiConfig.getSnapApiBaseUrl()}/transactions`, parameter);
  }

  async createTransactionToken (parameter = {}) {
    return (await this.createTransaction(parameter)).token;
  }

  async createTransactionRedirectUrl (parameter = {}) {
    return (await this.createTransaction(parameter)).redirect_url;
  }
}

class CoreApi extends Client {
  get breaker () { return this.httpClient.breakerOf(this.apiConfig.getCoreApiBaseUrl()); }

  charge (parameter = {}) { return this.#ask('post', '/v2/charge', parameter); }
  capture (parameter = {}) { return this.#ask('post', '/v2/capture', parameter); }
  cardRegister (parameter = {}) { return this.#ask('get', '/v2/card/register', parameter); }
  cardToken (parameter = {}) { return this.#ask('get', '/v2/token', parameter); }

  cardPointInquiry (tokenId) {
    return this.#ask('get', `/v2/point_inquiry/${segment(tokenId)}`, null);
  }

  linkPaymentAccount (parameter = {}) { return this.#ask('post', '/v2/pay/account', parameter); }

  getPaymentAccount (accountId) {
    return this.#ask('get', `/v2/pay/account/${segment(accountId)}`, null);
  }

  unlinkPaymentAccount (accountId) {
    return this.#ask('post', `/v2/pay/account/${segment(accountId)}/unbind`, null);
  }

  createSubscription (parameter = {}) { return this.#ask('post', '/v1/subscriptions', parameter); }

  getSubscription (id) { return this.#ask('get', `/v1/subscriptions/${segment(id)}`, null); }

  disableSubscription (id) {
    return this.#ask('post', `/v1/subscriptions/${segment(id)}/disable`, null);
  }

  enableSubscription (id) {
    return this.#ask('post', `/v1/subscriptions/${segment(id)}/enable`, null);
  }

  updateSubscription (id, parameter = {}) {
    return this.#ask('patch', `/v1/subscriptions/${segment(id)}`, parameter);
  }

  #ask (method, path, parameter) {
    return ask(this, method, this.apiConfig.getCoreApiBaseUrl() + path, parameter);
  }
}

class Iris extends Client {
  get breaker () { return this.httpClient.breakerOf(this.apiConfig.getIrisApiBaseUrl()); }

  ping () { return this.#ask('get', '/ping'); }
  createBeneficiaries (parameter = {}) { return this.#ask('post', '/beneficiaries', parameter); }

  updateBeneficiaries (aliasName, parameter = {}) {
    return this.#ask('patch', `/beneficiaries/${segment(aliasName)}`, parameter);
  }

  getBeneficiaries () { return this.#ask('get', '/beneficiaries'); }
  createPayouts (parameter = {}) { return this.#ask('post', '/payouts', parameter); }
  approvePayouts (parameter = {}) { return this.#ask('post', '/payouts/approve', parameter); }
  rejectPayouts (parameter = {}) { return this.#ask('post', '/payouts/reject', parameter); }
  getPayoutDetails (referenceNo) { return this.#ask('get', `/payouts/${segment(referenceNo)}`); }

  // The parameters are in the body of a GET.
  getTransactionHistory (parameter = {}) {
    return this.#ask('get', '/statements', null, parameter);
  }

  getTopupChannels () { return this.#ask('get', '/channels'); }
  getBalance () { return this.#ask('get', '/balance'); }
  getFacilitatorBankAccounts () { return this.#ask('get', '/bank_accounts'); }

  getFacilitatorBalance (bankAccountId) {
    return this.#ask('get', `/bank_accounts/${segment(bankAccountId)}/balance`);
  }

  getBeneficiaryBanks () { return this.#ask('get', '/beneficiary_banks'); }

  validateBankAccount (parameter = {}) {
    return this.#ask('get', '/account_validation', parameter);
  }

  #ask (method, path, ...parameters) {
    return ask(this, method, this.apiConfig.getIrisApiBaseUrl() + path, ...parameters);
  }
}

// ---- Snap BI -----------------------------------------------------------------------------------

class SnapBiConfig {
  static isProduction = false;
  static snapBiClientId = null;
  static snapBiPartnerId = null;
  static snapBiChannelId = null;
  static snapBiPublicKey = null;
  /** Does nothing: the official client's log contains signatures and tokens. */
  static enableLogging = false;
  static SNAP_BI_SANDBOX_BASE_URL = 'https://merchants.sbx.midtrans.com';
  static SNAP_BI_PRODUCTION_BASE_URL = 'https://merchants.midtrans.com';

  // Neither inspect nor JSON shows them.
  static #privateKey = null;
  static #clientSecret = null;

  static get snapBiPrivateKey () { return SnapBiConfig.#privateKey; }

  static set snapBiPrivateKey (value) { SnapBiConfig.#privateKey = value; }

  static get snapBiClientSecret () { return SnapBiConfig.#clientSecret; }

  static set snapBiClientSecret (value) { SnapBiConfig.#clientSecret = value; }

  static getBaseUrl () {
    return this.isProduction ? this.SNAP_BI_PRODUCTION_BASE_URL : this.SNAP_BI_SANDBOX_BASE_URL;
  }
}

const ACCESS_TOKEN = '/v1.0/access-token/b2b';
const BI_PATHS = {
  createPayment: {
    directDebit: '/v1.0/debit/payment-host-to-host',
    va: '/v1.0/transfer-va/create-va',
    qris: '/v1.0/qr/qr-mpm-generate',
  },
  getStatus: {
    directDebit: '/v1.0/debit/status',
    va: '/v1.0/transfer-va/status',
    qris: '/v1.0/qr/qr-mpm-query',
  },
  refund: { directDebit: '/v1.0/debit/refund', qris: '/v1.0/qr/qr-mpm-refund' },
  cancel: {
    directDebit: '/v1.0/debit/cancel',
    va: '/v1.0/transfer-va/delete-va',
    qris: '/v1.0/qr/qr-mpm-cancel',
  },
};

const hashOf = value =>
  crypto.createHash('sha256').update(JSON.stringify(value)).digest('hex').toLowerCase();

let biClient;

/** Resolves with the body, even of an error, or with what went wrong. It never rejects. */
async function askBi (path, headers, data, timeout) {
  biClient ??= new HttpClient();
  try {
    const response = await biClient.http_client({
      method: 'post', url: SnapBiConfig.getBaseUrl() + path, headers, data,
      timeout: timeout ?? undefined,
    });
    return response.data;
  } catch (error) {
    const response = read(error, 'response');
    if (response !== undefined) return response.data;
    return { message: messageOf(error), status: read(error, 'code') || 500 };
  }
}

class SnapBi {
  #accessToken = '';

  constructor (paymentMethod) {
    this.paymentMethod = paymentMethod;
    this.apiPath = '';
    this.accessTokenHeader = [];
    this.transactionHeader = [];
    this.body = {};
    this.deviceId = '';
    this.debugId = '';
    this.timeStamp = new Date().toISOString();
    this.timeout = null;
    this.signature = '';
    this.notificationUrlPath = '';
    this.notificationPayload = {};
  }

  static directDebit () { return new SnapBi('directDebit'); }
  static va () { return new SnapBi('va'); }
  static qris () { return new SnapBi('qris'); }
  static notification () { return new SnapBi(''); }

  get accessToken () { return this.#accessToken; }

  set accessToken (value) { this.#accessToken = value; }

  withAccessTokenHeader (headers) {
    return this.#with('accessTokenHeader', { ...this.accessTokenHeader, ...headers });
  }

  withTransactionHeader (headers) {
    return this.#with('transactionHeader', { ...this.transactionHeader, ...headers });
  }

  withAccessToken (accessToken) { return this.#with('accessToken', accessToken); }
  withBody (body) { return this.#with('body', body); }
  withSignature (signature) { return this.#with('signature', signature); }
  withTimeStamp (timeStamp) { return this.#with('timeStamp', timeStamp); }
  withDeviceId (deviceId) { return this.#with('deviceId', deviceId); }
  withDebugId (debugId) { return this.#with('debugId', debugId); }
  withTimeout (timeout) { return this.#with('timeout', timeout); }
  withNotificationPayload (payload) { return this.#with('notificationPayload', payload); }
  withNotificationUrlPath (path) { return this.#with('notificationUrlPath', path); }

  // As in the official client, these change the settings of all instances.
  withPrivateKey (key) { return this.#withShared('snapBiPrivateKey', key); }
  withClientId (id) { return this.#withShared('snapBiClientId', id); }
  withClientSecret (secret) { return this.#withShared('snapBiClientSecret', secret); }
  withPartnerId (id) { return this.#withShared('snapBiPartnerId', id); }
  withChannelId (id) { return this.#withShared('snapBiChannelId', id); }

  async createPayment (externalId) { return this.#call('createPayment', externalId); }
  async cancel (externalId) { return this.#call('cancel', externalId); }
  async refund (externalId) { return this.#call('refund', externalId); }
  async getStatus (externalId) { return this.#call('getStatus', externalId); }

  async getAccessToken () {
    return askBi(ACCESS_TOKEN, this.buildAccessTokenHeader(this.timeStamp),
      { grant_type: 'client_credentials' }, this.timeout);
  }

  async createConnection (externalId = null) {
    if (!this.accessToken) {
      const answer = await this.getAccessToken();
      if (!answer.accessToken) return answer;
      this.accessToken = answer.accessToken;
    }
    return askBi(this.apiPath, this.buildSnapBiTransactionHeader(externalId, this.timeStamp),
      this.body, this.timeout);
  }

  isWebhookNotificationVerified () {
    const { snapBiPublicKey: key } = SnapBiConfig;
    if (key === null || key === undefined) {
      throw new Error("The public key is null, You need to set the public key from SnapBiConfig.'" +
        '\nFor more details, contact support at support@midtrans.com if you have any questions.');
    }
    const signed =
      `POST:${this.notificationUrlPath}:${hashOf(this.notificationPayload)}:${this.timeStamp}`;
    return crypto.createVerify('SHA256').update(signed, 'utf8')
      .verify(key, this.signature, 'base64');
  }

  static getSymmetricSignatureHmacSh512 (
    accessToken, requestBody, method, path, clientSecret, timeStamp
  ) {
    const signed =
      `${method.toUpperCase()}:${path}:${accessToken}:${hashOf(requestBody)}:${timeStamp}`;
    return crypto.createHmac('sha512', clientSecret).update(signed).digest('base64');
  }

  static getAsymmetricSignatureSha256WithRsa (clientId, xTimeStamp, privateKey) {
    return crypto.sign('RSA-SHA256', Buffer.from(`${clientId}|${xTimeStamp}`), privateKey)
      .toString('base64');
  }

  buildSnapBiTransactionHeader (externalId, timeStamp) {
    return {
      'Content-Type': 'application/json',
      Accept: 'application/json',
      'X-PARTNER-ID': SnapBiConfig.snapBiPartnerId,
      'X-EXTERNAL-ID': externalId,
      'X-DEVICE-ID': this.deviceId,
      'CHANNEL-ID': SnapBiConfig.snapBiChannelId,
      'debug-id': this.debugId,
      Authorization: `Bearer ${this.accessToken}`,
      'X-TIMESTAMP': timeStamp,
      'X-SIGNATURE': SnapBi.getSymmetricSignatureHmacSh512(this.accessToken, this.body, 'post',
        this.apiPath, SnapBiConfig.snapBiClientSecret, timeStamp),
      ...this.transactionHeader,
    };
  }

  buildAccessTokenHeader (timeStamp) {
    return {
      'Content-Type': 'application/json',
      Accept: 'application/json',
      'X-CLIENT-KEY': SnapBiConfig.snapBiClientId,
      'X-SIGNATURE': SnapBi.getAsymmetricSignatureSha256WithRsa(
        SnapBiConfig.snapBiClientId, timeStamp, SnapBiConfig.snapBiPrivateKey),
      'X-TIMESTAMP': timeStamp,
      'debug-id': this.debugId,
      ...this.accessTokenHeader,
    };
  }

  setupCreatePaymentApiPath (method) { return this.#pathOf('createPayment', method); }
  setupRefundApiPath (method) { return this.#pathOf('refund', method); }
  setupCancelApiPath (method) { return this.#pathOf('cancel', method); }
  setupGetStatusApiPath (method) { return this.#pathOf('getStatus', method); }

  #with (name, value) {
    this[name] = value;
    return this;
  }

  #withShared (name, value) {
    SnapBiConfig[name] = value;
    return this;
  }

  #pathOf (action, method) {
    const paths = BI_PATHS[action];
    if (!Object.hasOwn(paths, method)) {
      throw new Error(`Payment method not implemented: ${method}`);
    }
    return paths[method];
  }

  #call (action, externalId) {
    this.apiPath = this.#pathOf(action, this.paymentMethod);
    return this.createConnection(externalId);
  }
}

Object.assign(SnapBi, {
  ACCESS_TOKEN,
  PAYMENT_HOST_TO_HOST: BI_PATHS.createPayment.directDebit,
  CREATE_VA: BI_PATHS.createPayment.va,
  QRIS_PAYMENT: BI_PATHS.createPayment.qris,
  DEBIT_STATUS: BI_PATHS.getStatus.directDebit,
  VA_STATUS: BI_PATHS.getStatus.va,
  QRIS_STATUS: BI_PATHS.getStatus.qris,
  DEBIT_REFUND: BI_PATHS.refund.directDebit,
  QRIS_REFUND: BI_PATHS.refund.qris,
  DEBIT_CANCEL: BI_PATHS.cancel.directDebit,
  VA_CANCEL: BI_PATHS.cancel.va,
  QRIS_CANCEL: BI_PATHS.cancel.qris,
});

module.exports = { Snap, CoreApi, Iris, MidtransError, SnapBiConfig, SnapBi };
