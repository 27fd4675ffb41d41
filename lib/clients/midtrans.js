'use strict';

// sekering/midtrans: clients of Midtrans (Snap, Core and Iris) that never move money twice because
// a call failed.

const { isRegExp } = require('node:util/types');

const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const { isA } = require('../base/foreign');
const { is, oneOf, optionsOf } = require('../base/options');
const { Faults } = require('./client-error');
const { MidtransError } = require('./midtrans-errors');
const {
  bodyOf, isSignedAccount, isSignedPayout, isSignedTransaction
} = require('./midtrans-notices');
const requests = require('./midtrans-requests');
const {
  advance, amountOf, canMove, isFinalState, isPaid, transactionStates
} = require('./midtrans-states');
const {
  CALL, MidtransTransport, TRANSPORT, baseUrlsOption, keyOption
} = require('./midtrans-transport');

// ---- Options -----------------------------------------------------------------------------------

const OPTIONS = optionsOf({
  serverKey: keyOption('of the account', { required: true }),
  clientKey: keyOption('of the account, for tokens of cards'),
  baseUrls: baseUrlsOption('snap', 'core'),
  ...TRANSPORT,
  orderIdPattern: is.where("the form of this shop's own order ids", 'a regular expression',
    isRegExp),
});

const PING = optionsOf({ signal: is.signal('ends the call') });
const VERIFY = optionsOf({
  anyOrder: is.boolean('whether to accept ids that do not fit orderIdPattern', { default: false }),
});

// ---- The clients -------------------------------------------------------------------------------

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];
const PATH_CHARACTERS_MAX = 2000;

const REQUEST = CALL.with({
  again: is.oneOf('what to do when it is unknown whether it was carried out',
    ['read', 'idempotent', 'never']),
});

/** Rejects a path that could lead elsewhere. */
function readPath (path) {
  const fits = typeof path === 'string' && path.length <= PATH_CHARACTERS_MAX &&
    /^\/[!-~]+$/.test(path) && !/[#\\]|\/\/|\/(?:\.|%2e){1,2}(?:[/?]|$)/i.test(path);
  if (!fits) throw invalidOption('path', 'a path such as /v2/charge', path);
  return path;
}

/** What the clients of all APIs have in common. */
class ApiClient extends Emitter {
  #transport;
  #defaults;

  /** `defaults` are default parameters of each query. */
  constructor (settings, { defaults, ...more }) {
    super();
    this.#transport = new MidtransTransport(settings,
      { ...more, tell: (event, details) => this.emit(event, details) });
    this.#defaults = defaults;
    this.breaker = this.#transport.breaker;
  }

  /** Closes the connections once their requests are done, and ends calls that wait to try again. */
  async close () {
    await this.#transport.close();
  }

  /** The call of an endpoint. `decide(request, options)` may change the request. */
  async _call (name, input, options, decide) {
    const request = requests.checkedRequest(name, input, this.#defaults);
    const checked = CALL.read(options);
    decide?.(request, checked);
    return this.#transport.call(request, checked);
  }

  /** Asks once, without the breaker. */
  async _ping (name, id, options) {
    const { signal } = PING.read(options);
    const began = performance.now();
    const request = { ...requests.requestOf(name, { id }), operation: 'ping' };
    await this.#transport.look(request, { signal });
    return { ok: true, latencyMs: performance.now() - began };
  }

  /** Any request. `options` are those of `table`; `api` and `prefix` say where it goes. */
  async _request (table, options, { api, prefix = '', method, path, body }) {
    const faults = new Faults('request');
    const verb = typeof method === 'string' ? method.toUpperCase() : method;
    const isGet = faults.note('method', () => oneOf('method', verb, METHODS)) === 'GET';
    const text = faults.note('path', () => readPath(path));
    const given = body ?? undefined;
    if (isGet && given !== undefined && text?.includes('?')) {
      faults.add('path', 'no query (the body of a GET becomes its query)', path);
    }
    // Wrong options alone have an error of their own.
    const read = () => table.read(options);
    const { again, ...more } = (faults.isEmpty ? read() : faults.note('options', read)) ?? {};
    const content = requests.contentOf(faults, prefix + text, given, isGet);
    return this.#transport.call({
      operation: 'request', api: more.api ?? api, method: verb,
      again: again ?? (isGet ? 'read' : 'never'), ...content,
    }, more);
  }
}

/** Adds a method for each of these endpoints. The last argument is the options of the call. */
function addCalls (Client, names) {
  for (const name of names) {
    const takes = requests.ENDPOINTS[name].takes;
    const hasId = takes.includes('id');
    const hasBody = takes.includes('body') || takes.includes('query');
    const method = {
      async [name] (...args) {
        const input = {};
        if (hasId) input.id = args.shift();
        if (hasBody) input.body = args.shift();
        return this._call(name, input, args[0]);
      },
    }[name];
    Object.defineProperty(Client.prototype, name,
      { value: method, configurable: true, writable: true, enumerable: false });
  }
}

// No order has this id. That Midtrans says so shows that it is up and accepts our key.
const PING_ID = 'sekering-ping';

const MIDTRANS_REQUEST = REQUEST.with({
  api: is.oneOf('where it goes', ['core', 'snap'], { default: 'core' }),
});

/**
 * Snap and Core.
 *
 * If the answer of createTransaction is lost, GET status cannot tell whether there is a page before
 * the customer has chosen how to pay. So the order is sent again with the same order_id, for which
 * Snap makes only one page: no money moves twice. If Snap says that the order_id is taken, the page
 * exists but its token is lost: ERR_MIDTRANS_UNKNOWN_OUTCOME with `tokenLost`. Another call may
 * have made that page; only a caller who knows that none did may use another order_id.
 */
class MidtransClient extends ApiClient {
  #isSigned;
  #isAccount;

  constructor (options) {
    const settings = OPTIONS.read(options);
    const { serverKey, clientKey, orderIdPattern } = settings;
    super({ ...settings, keys: { main: serverKey } },
      { defaults: clientKey === undefined ? undefined : { client_key: clientKey } });
    // Without the flags that make a pattern remember.
    const pattern = orderIdPattern && new RegExp(orderIdPattern, orderIdPattern.flags
      .replace(/[gy]/g, ''));
    this.#isSigned = (body, anyOrder) =>
      isSignedTransaction(body, serverKey, anyOrder ? undefined : pattern);
    this.#isAccount = body => isSignedAccount(body, serverKey);
  }

  async createTransactionToken (body, options) {
    return (await this.createTransaction(body, options)).token;
  }

  async createTransactionRedirectUrl (body, options) {
    return (await this.createTransaction(body, options)).redirect_url;
  }

  /** Whether Midtrans answers and accepts the key. */
  async ping (options) {
    return this._ping('status', PING_ID, options);
  }

  /** What has no method of its own. */
  async request (method, path, body, options) {
    return this._request(MIDTRANS_REQUEST, options, { method, path, body });
  }

  // ---- Notifications ---------------------------------------------------------------------------

  /**
   * Whether the signature of a notification about a transaction or a linked account is right. For a
   * transaction it covers the order, the status code and the amount, but NOT the state: ask GET
   * status before you change the state of an order, as confirmNotification does.
   */
  verifyNotification (notification, options) {
    const { anyOrder } = VERIFY.read(options);
    const body = bodyOf(notification);
    // An account's signature must not authenticate an order that somebody has added to the body.
    return body.order_id === undefined ? this.#isAccount(body) : this.#isSigned(body, anyOrder);
  }

  /** Verifies a notification and asks Midtrans what is true. */
  async confirmNotification (notification, options) {
    CALL.read(options);
    const body = bodyOf(notification);
    if (!this.#isSigned(body, false)) throw this.#forged('is not signed by Midtrans', body);
    const transaction = await this.status(body.transaction_id ?? body.order_id, options);
    if (transaction.order_id !== body.order_id) {
      throw this.#forged('names a transaction of another order', body);
    }
    return {
      transaction,
      state: transaction.transaction_status,
      paid: isPaid(transaction),
      amount: amountOf(transaction),
    };
  }

  #forged (what, body) {
    const orderId = typeof body?.order_id === 'string' ? body.order_id.slice(0, 50) : undefined;
    return new MidtransError('ERR_MIDTRANS_SIGNATURE', `A notification ${what}`,
      { operation: 'notification', orderId });
  }
}

addCalls(MidtransClient, Object.keys(requests.ENDPOINTS)
  .filter(name => requests.ENDPOINTS[name].api !== 'iris'));

const IRIS = optionsOf({
  apiKey: keyOption('of the creator', { required: true }),
  approverKey: keyOption('for approvals and rejections; without it they use apiKey'),
  merchantKey: keyOption('which signs the notifications of payouts'),
  baseUrls: baseUrlsOption('iris'),
  ...TRANSPORT,
});

/**
 * Iris: payouts. A call has its own X-Idempotency-Key, which is the same for all attempts. Before
 * it is sent again, its payouts are looked for in the history.
 */
class IrisClient extends ApiClient {
  #merchantKey;

  constructor (options) {
    const settings = IRIS.read(options);
    const { apiKey: main, approverKey: approver, merchantKey } = settings;
    super({ ...settings, keys: { main, approver } }, { name: 'iris' });
    this.#merchantKey = merchantKey;
  }

  /**
   * Whether the header Iris-Signature of a notification is right. It covers the bytes as they came,
   * all of them.
   */
  verifyNotification (rawBody, signature) {
    if (this.#merchantKey === undefined) {
      throw invalidOption('merchantKey', 'the key that signs notifications', undefined);
    }
    const isRaw = typeof rawBody === 'string' || isA(rawBody, Uint8Array);
    if (!isRaw) throw invalidOption('rawBody', 'the body as it came, as bytes or text', rawBody);
    return isSignedPayout(rawBody, signature, this.#merchantKey);
  }

  async createPayouts (body, options) {
    return this._call('createPayouts', { body }, options, (request, { resume, headers }) => {
      if (!resume) return;
      if (headers?.['x-idempotency-key'] === undefined) {
        throw invalidOption('headers', 'the X-Idempotency-Key of the earlier call', headers);
      }
      // The caller names the earlier call by its key, and Midtrans repeats its earlier answer.
      request.again = 'idempotent';
    });
  }

  /** Whether Iris answers. */
  async ping (options) {
    return this._ping('irisPing', undefined, options);
  }

  /** What has no method of its own. */
  async request (method, path, body, options) {
    return this._request(REQUEST, options,
      { api: 'iris', prefix: '/iris/api/v1', method, path, body });
  }
}

addCalls(IrisClient, Object.keys(requests.ENDPOINTS).filter(name =>
  requests.ENDPOINTS[name].api === 'iris' && name !== 'irisPing' && name !== 'createPayouts'));

module.exports = {
  IrisClient, MidtransClient, MidtransError, advance, amountOf, canMove, isFinalState, isPaid,
  transactionStates,
};
