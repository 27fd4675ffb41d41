'use strict';

// A Midtrans server (Snap, Core and Iris) for tests and demonstrations: real HTTP on loopback. It
// keeps what it makes, and can fail like the real one.

const crypto = require('node:crypto');

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { is, optionsOf } = require('../base/options');
const {
  ADDRESS, FREQUENCY, HttpFake, answer, answerPage, cutOff, delay, parse, pause, randomBetween,
  readBody,
} = require('./fake-server');
const { AccountLedger } = require('./midtrans-accounts');
const {
  CoreLedger, NOTIFY_OPTIONS, notificationsOf, sendNotifications, testNotificationOf,
} = require('./midtrans-core');

const ORDER_ID = /^[A-Za-z0-9\-_~.]{1,50}$/;
const LOG_MAX = 1000;

/** Each call: its name, who answers it, and where it goes. */
const ROUTES = [
  ['createTransaction', 'snap', 'POST /snap/v1/transactions'],
  ['charge', 'core', 'POST /v2/charge'],
  ['capture', 'core', 'POST /v2/capture'],
  ['status', 'core', 'GET /v2/:id/status'],
  ['statusb2b', 'core', 'GET /v2/:id/status/b2b'],
  ['approve', 'core', 'POST /v2/:id/approve'],
  ['deny', 'core', 'POST /v2/:id/deny'],
  ['cancel', 'core', 'POST /v2/:id/cancel'],
  ['expire', 'core', 'POST /v2/:id/expire'],
  ['refund', 'core', 'POST /v2/:id/refund'],
  ['directRefund', 'core', 'POST /v2/:id/refund/online/direct'],
  ['cardRegister', 'account', 'GET /v2/card/register'],
  ['cardToken', 'account', 'GET /v2/token'],
  ['cardPointInquiry', 'account', 'GET /v2/point_inquiry/:id'],
  ['linkPaymentAccount', 'account', 'POST /v2/pay/account'],
  ['getPaymentAccount', 'account', 'GET /v2/pay/account/:id'],
  ['unlinkPaymentAccount', 'account', 'POST /v2/pay/account/:id/unbind'],
  ['createSubscription', 'account', 'POST /v1/subscriptions'],
  ['getSubscription', 'account', 'GET /v1/subscriptions/:id'],
  ['disableSubscription', 'account', 'POST /v1/subscriptions/:id/disable'],
  ['enableSubscription', 'account', 'POST /v1/subscriptions/:id/enable'],
  ['cancelSubscription', 'account', 'POST /v1/subscriptions/:id/cancel'],
  ['updateSubscription', 'account', 'PATCH /v1/subscriptions/:id'],
  ['irisPing', 'iris', 'GET /iris/api/v1/ping'],
  ['createBeneficiaries', 'iris', 'POST /iris/api/v1/beneficiaries'],
  ['updateBeneficiaries', 'iris', 'PATCH /iris/api/v1/beneficiaries/:id'],
  ['getBeneficiaries', 'iris', 'GET /iris/api/v1/beneficiaries'],
  ['createPayouts', 'iris', 'POST /iris/api/v1/payouts'],
  ['approvePayouts', 'iris', 'POST /iris/api/v1/payouts/approve'],
  ['rejectPayouts', 'iris', 'POST /iris/api/v1/payouts/reject'],
  ['getPayoutDetails', 'iris', 'GET /iris/api/v1/payouts/:id'],
  ['getTransactionHistory', 'iris', 'GET /iris/api/v1/statements'],
  ['getTopupChannels', 'iris', 'GET /iris/api/v1/channels'],
  ['getBalance', 'iris', 'GET /iris/api/v1/balance'],
  ['getFacilitatorBankAccounts', 'iris', 'GET /iris/api/v1/bank_accounts'],
  ['getFacilitatorBalance', 'iris', 'GET /iris/api/v1/bank_accounts/:id/balance'],
  ['getBeneficiaryBanks', 'iris', 'GET /iris/api/v1/beneficiary_banks'],
  ['validateBankAccount', 'iris', 'GET /iris/api/v1/account_validation'],
].map(([operation, api, verb]) => {
  const [method, path] = verb.split(' ');
  return { operation, api, method, pattern: new RegExp(`^${path.replace(':id', '([^/]+)')}$`) };
});
const OPERATIONS = ROUTES.map(({ operation }) => operation);
const APPROVALS = ['approvePayouts', 'rejectPayouts'];
const FAULT_STATUS_DEFAULT = { 'error': 500, 'late-error': 500, 'html': 502, 'business': 500 };
const SERVER_TROUBLE = "Sorry, we've encountered an unexpected error";
const UNAUTHORIZED = 'Access denied due to unauthorized transaction, ' +
  'please check client or server key';

const OPTIONS = optionsOf({
  ...ADDRESS,
  serverKey: is.text('clients log in with it', {
    pattern: /./s, expected: 'a non-empty string', default: 'SB-Mid-server-fake',
  }),
  irisKey: is.text('the creator of payouts logs in with it', {
    pattern: /./s, expected: 'a non-empty string', default: 'IRIS-creator-fake',
  }),
  irisApproverKey: is.text('the approver of payouts logs in with it', {
    pattern: /./s, expected: 'a non-empty string', default: 'IRIS-approver-fake',
  }),
  fault: is.any('what goes wrong from the start'),
  latencyMs: delay('before each answer'),
  ordersMax: is.integer('how many orders it makes', { min: 1, default: 1_000_000 }),
  trueStatus: is.boolean('errors of Core have their own HTTP status, not 200', { default: false }),
  uniqueOrders: is.boolean('false: an order can be charged more than once', { default: true }),
  idempotency: is.boolean('false: keys of idempotency are ignored', { default: true }),
  listQueued: is.boolean('payouts are in the history before they are approved', {
    default: false,
  }),
  fees: is.integer('added to each amount', { min: 0, default: 0 }),
});

const FAULT = optionsOf({
  ...FREQUENCY,
  kind: is.oneOf('what happens',
    ['hang', 'reset', 'error', 'late-error', 'html', 'slow', 'drop', 'mute', 'business',
      'in-flight'],
    { required: true }),
  status: is.integer('HTTP status of error, late-error, business (500) and html (502)',
    { min: 400, max: 599 }),
  delayMs: is.ms('of slow', { default: 3000 }),
  on: is.oneOf('strikes this call only', OPERATIONS),
  headers: is.object('of the answer, such as Retry-After'),
});

/** A string stands for a kind. */
function readFault (given) {
  const fault = FAULT.read(typeof given === 'string' ? { kind: given } : given, 'fault');
  return { ...fault, status: fault.status ?? FAULT_STATUS_DEFAULT[fault.kind] };
}

/** The status and the body of the error that a fault causes. */
function faultAnswer ({ kind, status }, call) {
  if (kind === 'in-flight') {
    return [202, { status_code: '202', status_message: 'The request is being processed' }];
  }
  if (call?.api === 'iris') return [status, { error_message: SERVER_TROUBLE, errors: [] }];
  if (call === undefined || call.api === 'snap') {
    return [status, { error_messages: [SERVER_TROUBLE] }];
  }
  const body = { status_code: String(status), status_message: SERVER_TROUBLE };
  return [kind === 'business' ? 200 : status, body];
}

/** An order in its normal form: Midtrans accepts numbers as ids, and amounts as text. */
function readOrder (body) {
  const details = body?.transaction_details;
  if (typeof details !== 'object' || details === null) return body;
  const { order_id: id, gross_amount: amount } = details;
  const isNumber = typeof amount === 'string' && amount.trim() !== '' && Number.isFinite(+amount);
  return { ...body, transaction_details: {
    ...details, order_id: typeof id === 'number' ? String(id) : id,
    gross_amount: isNumber ? Number(amount) : amount
  } };
}

/** What is wrong with the body of a Snap request, in Midtrans's words; empty if nothing is. */
function faultsOfOrder (body) {
  const details = body?.transaction_details;
  const orderId = details?.order_id;
  const amount = details?.gross_amount;
  const items = body?.item_details;
  const faults = [];
  if (orderId === undefined || orderId === '') {
    faults.push('transaction_details.order_id is required');
  } else if (typeof orderId !== 'string' || !ORDER_ID.test(orderId)) {
    faults.push('transaction_details.order_id is not valid');
  }
  if (amount === undefined) faults.push('transaction_details.gross_amount is required');
  else if (!Number.isInteger(amount)) {
    faults.push('transaction_details.gross_amount is not a number');
  } else if (amount < 1) {
    faults.push('transaction_details.gross_amount must be greater than or equal to 1');
  } else if (Array.isArray(items) && items.length > 0 && sumOf(items) !== amount) {
    faults.push('transaction_details.gross_amount is not equal to the sum of item_details');
  }
  return faults;
}

function sumOf (items) {
  return items.reduce((sum, item) => sum + item?.price * item?.quantity, 0);
}

/** The call that a request makes: { operation, api, id }; undefined if it is none. */
function callOf (method, path) {
  for (const route of ROUTES) {
    const match = route.method === method && route.pattern.exec(path);
    if (match) return { ...route, id: match[1] && decoded(match[1]) };
  }
  return undefined;
}

const isKnownPath = path => ROUTES.some(({ pattern }) => pattern.test(path));

function decoded (text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

class MidtransFake extends HttpFake {
  /** All orders by order_id, oldest first: at most `ordersMax`. */
  orders = new Map();

  /** `requests` is the sum of the others, and of requests in flight or left hanging. */
  counts = { requests: 0, created: 0, refused: 0, unauthorized: 0, faulted: 0 };

  /** The newest requests, oldest first: { method, path, query, headers, text }. */
  log = [];

  #core;
  #accounts;
  #options;
  #credentials;

  constructor (options) {
    super(readFault, options.fault);
    this.#options = options;
    const { serverKey, irisKey, irisApproverKey } = options;
    this.#credentials = { midtrans: [serverKey], iris: [irisKey, irisApproverKey],
      approver: [irisApproverKey] };
    this.#core = new CoreLedger({ ...options, faultsOfOrder });
    this.#accounts = new AccountLedger(options);
  }

  get subscriptions () { return this.#accounts.subscriptions; }
  get accounts () { return this.#accounts.accounts; }
  get beneficiaries () { return this.#accounts.beneficiaries; }
  get payouts () { return this.#accounts.payouts; }

  /**
   * The transactions of Core by order_id. `charges` counts how often an order was charged,
   * `history` holds the notifications about it.
   */
  get transactions () {
    return this.#core.transactions;
  }

  /** A customer chooses a payment method on the page of a Snap order. Now Core knows the order. */
  choose (orderId, paymentType = 'bank_transfer') {
    const order = this.orders.get(orderId);
    if (order === undefined) throw invalidOption('orderId', 'the id of an order', orderId);
    this.#core.handle('charge', undefined, { ...order.body, payment_type: paymentType });
  }

  /** Moves a transaction to a state. */
  settle (orderId, state = 'settlement') {
    this.#core.move(this.#transactionOf(orderId), state);
  }

  /** The signed notifications of a transaction. */
  notifications (orderId, options) {
    const checked = NOTIFY_OPTIONS.read(options);
    return notificationsOf(this.#transactionOf(orderId).history, this.#options.serverKey, checked);
  }

  /** Sends the notifications to `url`, one after another. */
  async notify (url, orderId, options) {
    return sendNotifications(url, this.notifications(orderId, options));
  }

  /**
   * Sends the notification of the button "Test notification URL" of Midtrans's dashboard. It is
   * signed, and its order does not exist.
   */
  async notifyTest (url, options) {
    const body = testNotificationOf(this.#options.serverKey, options);
    return (await sendNotifications(url, [body]))[0];
  }

  #transactionOf (orderId) {
    const transaction = this.#core.find(orderId);
    if (transaction === undefined) throw invalidOption('orderId', 'a transaction', orderId);
    return transaction;
  }

  async _serve (request, response) {
    this.counts.requests += 1;
    const [path, search] = request.url.split('?', 2);
    const query = Object.fromEntries(new URLSearchParams(search));
    const call = callOf(request.method, path);
    const fault = this._strike(({ on }) => on === undefined || on === call?.operation);
    // Reads the body first, as a server does: the caller has sent all of it before the fault.
    const bytes = await readBody(request);
    if (bytes === undefined) return this.#refuse(response, 413, 'Request body is too large');
    const text = bytes.toString('utf8');
    this.#note(request, path, query, text);
    switch (fault?.kind) {
      case 'hang': return;
      case 'reset': return cutOff(request.socket);
      case 'error': case 'business': case 'in-flight':
        return answer(response, ...faultAnswer(fault, call), fault.headers);
      case 'html': return answerPage(response, fault.status);
    }
    const { latencyMs } = this.#options;
    const [status, body] = await this.#execute(call, { request, query, text },
      fault?.kind === 'slow' ? fault.delayMs : randomBetween(latencyMs));
    switch (fault?.kind) {
      case 'mute': return;
      case 'drop': return cutOff(request.socket);
      case 'late-error': return answer(response, ...faultAnswer(fault, call), fault.headers);
    }
    answer(response, status, body);
  }

  #note ({ method, headers }, path, query, text) {
    this.log.push({ method, path, query, headers, text });
    if (this.log.length > LOG_MAX) this.log.shift();
  }

  async #execute (call, { request, query, text }, latencyMs) {
    if (call === undefined) {
      return isKnownPath(request.url.split('?', 1)[0]) ? this.#refusal(405, 'Method not allowed')
        : this.#refusal(404, 'Not found');
    }
    const { api, operation, id } = call;
    if (!this.#isAuthorized(call, request.headers.authorization)) {
      this.counts.unauthorized += 1;
      if (api === 'snap') return [401, { error_messages: [UNAUTHORIZED] }];
      if (api === 'iris') return [401, { error_message: UNAUTHORIZED }];
      return [401, { status_code: '401', status_message: UNAUTHORIZED }];
    }
    const body = text === '' ? {} : parse(text) ?? undefined;
    if (api === 'core') return this.#coreAnswer(call, request, readOrder(body), latencyMs);
    await pause(latencyMs);
    if (api === 'snap') return this.#create(readOrder(body));
    const carryOut = () => this.#accounts.handle(operation, { id, body, query });
    const ignoresKey = api !== 'iris' || request.method === 'GET' || !this.#options.idempotency;
    const key = ignoresKey ? undefined : request.headers['x-idempotency-key'];
    return this.#accounts.once(key, `${operation} ${text}`, carryOut);
  }

  async #coreAnswer ({ operation, id, method }, request, body, latencyMs) {
    const key = method === 'POST' ? request.headers['idempotency-key'] : undefined;
    const before = this.#core.begin(key, body);
    if (before === 'in-flight') return faultAnswer({ kind: 'in-flight' });
    if (before !== undefined) return [200, before];
    await pause(latencyMs);
    const result = this.#core.handle(operation, id, body);
    this.#core.end(key, body, result);
    const code = Number(result.status_code);
    // 407 is the code of an expired transaction, not of an error.
    return [this.#options.trueStatus && code >= 400 && code !== 407 ? code : 200, result];
  }

  #isAuthorized ({ operation, api }, header = '') {
    const who = APPROVALS.includes(operation) ? 'approver' : api === 'iris' ? 'iris' : 'midtrans';
    const given = Buffer.from(header);
    return this.#credentials[who].some(key => {
      const expected = Buffer.from(`Basic ${Buffer.from(`${key}:`).toString('base64')}`);
      return given.length === expected.length && crypto.timingSafeEqual(given, expected);
    });
  }

  #create (body) {
    if (body === undefined) return this.#refusal(400, 'Request body is not valid JSON');
    const faults = faultsOfOrder(body);
    if (faults.length > 0) return this.#refusal(400, ...faults);
    const orderId = body.transaction_details.order_id;
    if (this.orders.has(orderId)) {
      return this.#refusal(400, 'transaction_details.order_id has already been taken');
    }
    if (this.orders.size >= this.#options.ordersMax) {
      return this.#refusal(500, 'The ledger is full');
    }
    const token = crypto.randomUUID();
    const order = {
      orderId,
      grossAmount: body.transaction_details.gross_amount,
      token,
      redirectUrl: `${this.url}/snap/v4/redirection/${token}`,
      at: clock.wall(),
      body
    };
    this.orders.set(orderId, order);
    this.counts.created += 1;
    return [201, { token, redirect_url: order.redirectUrl }];
  }

  #refusal (status, ...messages) {
    this.counts.refused += 1;
    return [status, { error_messages: messages }];
  }

  #refuse (response, status, message) {
    response.shouldKeepAlive = false;
    answer(response, ...this.#refusal(status, message));
  }
}

/**
 * Starts a Midtrans server: Snap, Core and Iris. A card whose token_id begins with `deny` or
 * `challenge` is denied or challenged; other payment methods wait for `settle`.
 */
async function startMidtransFake (options) {
  const checked = OPTIONS.read(options);
  return new MidtransFake(checked)._listen(checked);
}

module.exports = { startMidtransFake };
