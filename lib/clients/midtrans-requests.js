'use strict';

// The requests of Midtrans's APIs, in one table: where each goes, what it may contain, and what may
// be sent again. What Midtrans would reject or misunderstand is rejected here; what shops pass to
// the official client is accepted, such as amounts as text.

const crypto = require('node:crypto');

const clock = require('../base/clock');
const { messageOf } = require('../base/foreign');
const { Faults, isObject, readInput } = require('./client-error');
const { amountOf } = require('./midtrans-states');

// ---- Input -------------------------------------------------------------------------------------

const ORDER_ID = /^[A-Za-z0-9\-_~.]{1,50}$/;
const ORDER_ID_TEXT = '1 to 50 characters of A-Z a-z 0-9 - _ ~ .';
const TEXT_CHARACTERS_MAX = 255;
const ITEMS_MAX = 10_000;

// As segments of a path, these two name another place.
const isOrderId = value =>
  typeof value === 'string' && ORDER_ID.test(value) && value !== '.' && value !== '..';

// Ids in what Midtrans tells may be of other systems of its account, and of any form.
const INCOMING_ID = /^[^\p{C}\p{Zl}\p{Zp}]{1,255}$/u;
const INCOMING_ID_TEXT = '1 to 255 printable characters, neither . nor ..';

const isIncomingId = value => typeof value === 'string' && INCOMING_ID.test(value);

/** Whether an id can be one segment of a path, once it is encoded: no encoding hides these two. */
const isSegment = value => isIncomingId(value) && value !== '.' && value !== '..';

/** A whole number that may be written as text, "10000" or "10000.00"; undefined if it is none. */
function wholeOf (value) {
  if (typeof value === 'number') return Number.isSafeInteger(value) ? value : undefined;
  if (typeof value !== 'string' || !/^-?\d{1,16}(?:\.0{1,2})?$/.test(value)) return undefined;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : undefined;
}

const isAmount = value => wholeOf(value) >= 1;

/** An id as text: it may be a number. */
const idOf = value => (Number.isSafeInteger(value) && value >= 0 ? String(value) : value);

function checkAmount (faults, path, value) {
  if (!isAmount(value)) faults.add(path, 'an integer of at least 1', value);
}

function checkText (faults, path, value, kind = '', pattern = /./s) {
  const fits = typeof value === 'string' && value.length <= TEXT_CHARACTERS_MAX &&
    pattern.test(value);
  if (!fits) faults.add(path, `1 to ${TEXT_CHARACTERS_MAX} ${kind}characters`, value);
}

function checkItems (faults, items, amount) {
  if (!Array.isArray(items) || items.length > ITEMS_MAX) {
    faults.add('item_details', `an array of at most ${ITEMS_MAX} items`, items);
    return;
  }
  let sum = 0;
  for (const [i, item] of items.entries()) {
    if (!isObject(item)) {
      faults.add(`item_details[${i}]`, 'an object', item);
      continue;
    }
    const { price, quantity } = item;
    // A discount is an item with a negative price.
    if (wholeOf(price) === undefined) faults.add(`item_details[${i}].price`, 'an integer', price);
    if (!isAmount(quantity)) {
      faults.add(`item_details[${i}].quantity`, 'an integer of at least 1', quantity);
    }
    sum += wholeOf(price) * wholeOf(quantity);
  }
  if (items.length > 0 && isAmount(amount) && Number.isFinite(sum) && sum !== wholeOf(amount)) {
    faults.add('transaction_details.gross_amount', `the sum of item_details (${sum})`, amount);
  }
}

function checkOrder (faults, body) {
  const details = body.transaction_details;
  if (!isObject(details)) {
    faults.add('transaction_details', 'an object', details);
    return;
  }
  const { order_id: id, gross_amount: amount } = details;
  if (!isOrderId(idOf(id))) faults.add('transaction_details.order_id', ORDER_ID_TEXT, id);
  checkAmount(faults, 'transaction_details.gross_amount', amount);
  if (body.item_details !== undefined) checkItems(faults, body.item_details, amount);
}

/** Writes an order as Midtrans wants it. `body` is a copy. */
function writeOrder (body) {
  const { transaction_details: details, item_details: items } = body;
  details.order_id = idOf(details.order_id);
  details.gross_amount = wholeOf(details.gross_amount);
  if (items?.length === 0) delete body.item_details;
  for (const item of items ?? []) {
    item.price = wholeOf(item.price);
    item.quantity = wholeOf(item.quantity);
  }
}

const PAYOUTS_MAX = 1000;

function checkPayouts (faults, { payouts }) {
  if (!Array.isArray(payouts) || payouts.length === 0 || payouts.length > PAYOUTS_MAX) {
    faults.add('payouts', `an array of 1 to ${PAYOUTS_MAX} payouts`, payouts);
    return;
  }
  for (const [i, payout] of payouts.entries()) {
    if (!isObject(payout)) {
      faults.add(`payouts[${i}]`, 'an object', payout);
      continue;
    }
    checkAmount(faults, `payouts[${i}].amount`, payout.amount);
    for (const name of ['beneficiary_name', 'beneficiary_account', 'beneficiary_bank']) {
      checkText(faults, `payouts[${i}].${name}`, idOf(payout[name]));
    }
  }
}

/** Iris takes amounts as text. */
function writePayouts ({ payouts }) {
  for (const payout of payouts) {
    payout.amount = String(wholeOf(payout.amount));
    payout.beneficiary_account = idOf(payout.beneficiary_account);
  }
}

const REFERENCES_MAX = 1000;

function checkReferences (faults, { reference_nos: list }) {
  const fits = Array.isArray(list) && list.length >= 1 && list.length <= REFERENCES_MAX &&
    list.every(isSegment);
  if (fits) return;
  faults.add('reference_nos', `an array of 1 to ${REFERENCES_MAX} reference numbers`, list);
}

function checkRefund (faults, { refund_key: key, amount, reason }) {
  if (key !== undefined) checkText(faults, 'refund_key', key, 'printable ', INCOMING_ID);
  if (amount !== undefined) checkAmount(faults, 'amount', amount);
  if (reason !== undefined) checkText(faults, 'reason', reason);
}

/** The body as it will be sent; undefined, and a fault, if it cannot be. */
function toJson (faults, body) {
  try {
    return JSON.stringify(body);
  } catch (error) {
    faults.add('body', `an object that JSON can express (${messageOf(error)})`, body);
    return undefined;
  }
}

// ---- What has become of a call -----------------------------------------------------------------

/** A transaction of this order: ours, unless the amount is another. */
function judgeCharge (amount) {
  return body => {
    // The order_id of a transaction that expired may be used again.
    if (body.transaction_status === 'expire') return 'again';
    const found = amountOf(body);
    return found === undefined || amount === undefined || found === amount ? 'done' : 'conflict';
  };
}

const judgeState = (...states) => () => body =>
  (states.includes(body.transaction_status) ? 'done' : 'again');

/** A refund that is listed. Some methods of payment do not list what they have given back. */
const judgeRefund = ({ refund_key: key }) => body => {
  const { refunds, transaction_status: state } = body;
  if (!Array.isArray(refunds)) return /refund$/.test(state) ? 'unclear' : 'again';
  return refunds.some(refund => refund?.refund_key === key) ? 'done' : 'again';
};

/** An answer that is put together from what was found. */
const answerWith = body => ({ httpStatus: 200, headers: {}, body, text: JSON.stringify(body) });

/** Looks up the outcome with the GET of this name. `isDone(body)`: whether the call was done. */
const lookBy = (name, isDone) => (body, id) => async ask => {
  const answer = await ask(requestOf(name, { id }));
  if (answer === undefined) return { verdict: 'unclear' };
  const verdict = isDone(answer.body);
  return { verdict: verdict === true ? 'done' : verdict || 'again', answer };
};

/** Looks whether a beneficiary is listed. */
const lookForBeneficiary = wanted => async ask => {
  const answer = await ask(requestOf('getBeneficiaries'));
  const found = Array.isArray(answer?.body) && answer.body.some(known =>
    ['alias_name', 'account', 'bank'].every(name => known?.[name] === wanted?.[name]));
  return found ? { verdict: 'done', answer: answerWith({ status: 'created' }) }
    : { verdict: 'again' };
};

/** Looks whether all of these payouts have been approved (or rejected), or none. */
const lookAtPayouts = (states, result) => body => async ask => {
  const list = Array.isArray(body?.reference_nos) ? body.reference_nos.filter(isSegment) : [];
  let moved = 0;
  for (const id of list) {
    const answer = await ask(requestOf('getPayoutDetails', { id }));
    if (states.includes(answer?.body.status)) moved += 1;
  }
  if (moved === 0) return { verdict: 'again' };
  return moved === list.length ? { verdict: 'done', answer: answerWith(result) }
    : { verdict: 'unknown' };
};

const SKEW_MS = 5 * 60 * 1000;
const JAKARTA_MS = 7 * 3600 * 1000;
const dayOf = at => new Date(at + JAKARTA_MS).toISOString().slice(0, 'YYYY-MM-DD'.length);

/**
 * Looks in the history for payouts like these. The history shows no key or id of the caller's, so a
 * listed payout may be ours or an equal one: then the outcome stays unknown. If none is listed, the
 * call is sent again, with its key.
 */
function lookForPayouts (body) {
  const began = clock.wall();
  const { payouts } = body;
  const isLike = ({ beneficiary_account: account, amount, created_at: at }) =>
    !(Date.parse(at) < began - SKEW_MS) && payouts.some(payout =>
      String(payout?.beneficiary_account) === account && wholeOf(payout.amount) === Number(amount));
  return async ask => {
    const answer = await ask(requestOf('getTransactionHistory', {
      body: { from_date: dayOf(began - 86_400_000), to_date: dayOf(clock.wall()) },
    }));
    const list = answer?.body;
    const isAbsent = Array.isArray(list) && Array.isArray(payouts) && list.every(isObject) &&
      !list.some(isLike);
    return { verdict: isAbsent ? 'again' : 'unknown' };
  };
}

const APPROVED = ['approved', 'processed', 'completed', 'failed'];
const REJECTED = ['rejected'];

const hasStatus = pattern => body => pattern.test(body?.status);
const isClosed = body => /^(disabled|expired)$/i.test(body?.account_status);

// ---- The table ---------------------------------------------------------------------------------

const hasCode = body => isObject(body) && body.status_code !== undefined;
const hasToken = body => isObject(body) && typeof body.token === 'string';
const isJson = body => typeof body === 'object' && body !== null;

const orderIn = body => idOf(body?.transaction_details?.order_id);
const amountIn = body => wholeOf(body?.transaction_details?.gross_amount);

const SNAP = ['snap', hasToken];
const CORE = ['core', hasCode];
const CORE_JSON = ['core', isJson]; // Answers of subscriptions have no status_code.
const IRIS = ['iris', isJson];

/**
 * A row. `takes` says what the arguments are: 'id', 'body', both, or 'query'. `again` is as in
 * midtrans-transport.js; `rest` may have { check(faults, body), write(copy): puts a checked body
 * into the form that is sent, order(body, id), judge(body), look(body, id), approver }.
 */
const row = ([api, isAnswer], verb, takes, again, rest) => {
  const [method, path] = verb.split(' ');
  return { api, isAnswer, method, path, takes: takes.split(' '), again, ...rest };
};

const refundRow = path => row(CORE, `POST ${path}`, 'id body', 'lookUp', {
  check: checkRefund, order: (body, id) => id, judge: judgeRefund, optional: true,
  write (body) {
    if (body.amount !== undefined) body.amount = wholeOf(body.amount);
    // Without a refund_key of the caller's, each call is a refund of its own.
    body.refund_key ??= `sekering-${crypto.randomUUID()}`;
  },
});

const changeRow = (operation, judge) => row(CORE, `POST /v2/:id/${operation}`, 'id', 'lookUp',
  { order: (body, id) => id, judge });

const judgeApproval = () => body => (body.fraud_status === 'accept' ? 'done' : 'again');

const ENDPOINTS = {
  // Snap. GET status does not know a page until the customer has chosen how to pay. Nothing relies
  // on Snap honouring the idempotency key; where it does, a lost token comes back.
  createTransaction: row(SNAP, 'POST /snap/v1/transactions', 'body', 'idempotent',
    { check: checkOrder, write: writeOrder, order: orderIn }),

  // Core: transactions.
  charge: row(CORE, 'POST /v2/charge', 'body', 'lookUp', {
    check (faults, body) {
      checkText(faults, 'payment_type', body.payment_type);
      checkOrder(faults, body);
    },
    write: writeOrder, order: orderIn, judge: body => judgeCharge(amountIn(body)),
  }),
  capture: row(CORE, 'POST /v2/capture', 'body', 'lookUp', {
    check (faults, body) {
      if (!isSegment(body.transaction_id)) {
        faults.add('transaction_id', INCOMING_ID_TEXT, body.transaction_id);
      }
      checkAmount(faults, 'gross_amount', body.gross_amount);
    },
    write (body) { body.gross_amount = wholeOf(body.gross_amount); },
    order: body => body?.transaction_id, judge: judgeState('capture', 'settlement'),
  }),
  status: row(CORE, 'GET /v2/:id/status', 'id', 'read', { order: (body, id) => id }),
  statusb2b: row(CORE, 'GET /v2/:id/status/b2b', 'id', 'read', { order: (body, id) => id }),
  approve: changeRow('approve', judgeApproval),
  deny: changeRow('deny', judgeState('deny')),
  cancel: changeRow('cancel', judgeState('cancel')),
  expire: changeRow('expire', judgeState('expire')),
  refund: refundRow('/v2/:id/refund'),
  directRefund: refundRow('/v2/:id/refund/online/direct'),

  // Core: cards and accounts. A card's token can be made again without harm.
  cardRegister: row(CORE, 'GET /v2/card/register', 'query', 'read', { needsClientKey: true }),
  cardToken: row(CORE, 'GET /v2/token', 'query', 'read', { needsClientKey: true }),
  cardPointInquiry: row(CORE, 'GET /v2/point_inquiry/:id', 'id', 'read'),
  linkPaymentAccount: row(CORE, 'POST /v2/pay/account', 'body', 'never'),
  getPaymentAccount: row(CORE, 'GET /v2/pay/account/:id', 'id', 'read'),
  unlinkPaymentAccount: row(CORE, 'POST /v2/pay/account/:id/unbind', 'id', 'lookUp',
    { look: lookBy('getPaymentAccount', isClosed) }),

  // Core: subscriptions. A second one would take the money twice. The caller chooses neither its id
  // nor a unique name, so a lost one cannot be found.
  createSubscription: row(CORE_JSON, 'POST /v1/subscriptions', 'body', 'never', {
    check (faults, body) { checkAmount(faults, 'amount', body.amount); },
    write (body) { body.amount = String(wholeOf(body.amount)); },
  }),
  getSubscription: row(CORE_JSON, 'GET /v1/subscriptions/:id', 'id', 'read'),
  disableSubscription: row(CORE_JSON, 'POST /v1/subscriptions/:id/disable', 'id', 'lookUp',
    { look: lookBy('getSubscription', hasStatus(/^inactive$/)) }),
  enableSubscription: row(CORE_JSON, 'POST /v1/subscriptions/:id/enable', 'id', 'lookUp',
    { look: lookBy('getSubscription', hasStatus(/^active$/)) }),
  cancelSubscription: row(CORE_JSON, 'POST /v1/subscriptions/:id/cancel', 'id', 'lookUp', {
    // If it is not active, it may have been disabled before this call.
    look: lookBy('getSubscription', body =>
      (/^cancell?ed$/.test(body?.status) ? true : body?.status !== 'active' && 'unclear')),
  }),
  updateSubscription: row(CORE_JSON, 'PATCH /v1/subscriptions/:id', 'id body', 'idempotent', {
    check (faults, body) {
      if (body.amount !== undefined) checkAmount(faults, 'amount', body.amount);
    },
    write (body) {
      if (body.amount !== undefined) body.amount = String(wholeOf(body.amount));
    },
  }),

  // Iris: payouts.
  irisPing: row(['iris', (body, text) => text !== ''], 'GET /iris/api/v1/ping', '', 'read'),
  createBeneficiaries: row(IRIS, 'POST /iris/api/v1/beneficiaries', 'body', 'lookUp',
    { look: lookForBeneficiary }),
  updateBeneficiaries: row(IRIS, 'PATCH /iris/api/v1/beneficiaries/:id', 'id body', 'idempotent'),
  getBeneficiaries: row(IRIS, 'GET /iris/api/v1/beneficiaries', '', 'read'),
  createPayouts: row(IRIS, 'POST /iris/api/v1/payouts', 'body', 'lookUp',
    { check: checkPayouts, write: writePayouts, look: lookForPayouts }),
  approvePayouts: row(IRIS, 'POST /iris/api/v1/payouts/approve', 'body', 'lookUp',
    { check: checkReferences, look: lookAtPayouts(APPROVED, { status: 'ok' }), approver: true }),
  rejectPayouts: row(IRIS, 'POST /iris/api/v1/payouts/reject', 'body', 'lookUp',
    { check: checkReferences, look: lookAtPayouts(REJECTED, { status: 'ok' }), approver: true }),
  getPayoutDetails: row(IRIS, 'GET /iris/api/v1/payouts/:id', 'id', 'read'),
  getTransactionHistory: row(IRIS, 'GET /iris/api/v1/statements', 'query', 'read',
    { optional: true }),
  getTopupChannels: row(IRIS, 'GET /iris/api/v1/channels', '', 'read'),
  getBalance: row(IRIS, 'GET /iris/api/v1/balance', '', 'read'),
  getFacilitatorBankAccounts: row(IRIS, 'GET /iris/api/v1/bank_accounts', '', 'read'),
  getFacilitatorBalance: row(IRIS, 'GET /iris/api/v1/bank_accounts/:id/balance', 'id', 'read'),
  getBeneficiaryBanks: row(IRIS, 'GET /iris/api/v1/beneficiary_banks', '', 'read'),
  validateBankAccount: row(IRIS, 'GET /iris/api/v1/account_validation', 'query', 'read'),
};

// ---- Requests ----------------------------------------------------------------------------------

/** `?a=1&b=2` of an object's texts, numbers and booleans; '' if there are none. */
function queryOf (body) {
  const entries = Object.entries(body ?? {}).filter(([, value]) => (value ?? null) !== null);
  const query = new URLSearchParams(entries.map(([name, value]) => [name, String(value)]));
  return query.size === 0 ? '' : `?${query}`;
}

/**
 * The request of a call, with its input unchanged: for input that was checked, or that only
 * Midtrans can check. A call that names no order cannot be looked up, and is never repeated.
 */
function requestOf (name, { id, body } = {}) {
  const {
    api, isAnswer, method, path, takes, again, order, judge, look, approver
  } = ENDPOINTS[name];
  const isQuery = takes.includes('query');
  const orderId = order?.(body, id);
  const request = {
    operation: name, api, method, again, isAnswer, approver,
    orderId: isSegment(orderId) ? orderId : undefined,
    path: path.replace(':id', encodeURIComponent(id)) + (isQuery ? queryOf(body) : ''),
    json: isQuery || body === undefined ? undefined : JSON.stringify(body),
  };
  if (again === 'lookUp') Object.assign(request, { judge: judge?.(body), look: look?.(body, id) });
  if (judge === judgeRefund) request.refundKey = body?.refund_key;
  return request;
}

/**
 * The path and the JSON of a request of the user's own. The body of a GET becomes its query.
 * `faults` may have some already; they are thrown with those of the body.
 */
function contentOf (faults, path, body, isGet) {
  if (body === undefined) {
    faults.throwIfAny();
    return { path };
  }
  if (isGet) return { path: path + queryOf(readQuery(faults, {}, body)) };
  return { path, json: JSON.stringify(readBodyOf(faults, {}, body)) };
}

/** Checks a body, and puts it into the form that is sent. Throws all faults of the call. */
function readBodyOf (faults, { check, write }, body, defaults) {
  return readInput(faults, 'body', () => {
    let json;
    if (isObject(body)) {
      check?.(faults, body);
      json = toJson(faults, body);
    } else {
      faults.add('body', 'an object', body);
    }
    faults.throwIfAny();
    const copy = { ...defaults, ...JSON.parse(json) };
    write?.(copy);
    return copy;
  });
}

/** Checks the body of the call of this name, and makes JSON of it. */
const readBody = (call, body) =>
  JSON.stringify(readBodyOf(new Faults(call), ENDPOINTS[call], body));

/** Checks a query, whose values are texts, numbers or booleans. */
function readQuery (faults, { needsClientKey }, query, defaults) {
  return readInput(faults, 'query', () => {
    if (!isObject(query)) faults.add('query', 'an object', query);
    const copy = { ...defaults, ...query };
    for (const [name, value] of Object.entries(copy)) {
      const fits = value === undefined || value === null || typeof value === 'boolean' ||
        Number.isFinite(value) ||
        (typeof value === 'string' && value.length <= TEXT_CHARACTERS_MAX);
      if (!fits) faults.add(name, `a text of at most ${TEXT_CHARACTERS_MAX} characters`, value);
    }
    if (needsClientKey && typeof copy.client_key !== 'string') {
      const { client_key: key } = copy;
      faults.add('client_key', 'a text, unless the client has the option clientKey', key);
    }
    faults.throwIfAny();
    return copy;
  });
}

/** The request of a call, whose arguments are checked. `defaults` are defaults of its query. */
function checkedRequest (name, { id, body }, defaults) {
  const endpoint = ENDPOINTS[name];
  const { takes, optional } = endpoint;
  const input = {};
  const faults = new Faults(name);
  if (takes.includes('id')) {
    input.id = idOf(id);
    if (!isSegment(input.id)) faults.add('id', INCOMING_ID_TEXT, id);
  }
  const given = body === undefined && optional ? {} : body;
  if (takes.includes('body')) input.body = readBodyOf(faults, endpoint, given);
  if (takes.includes('query')) input.body = readQuery(faults, endpoint, given, defaults);
  faults.throwIfAny();
  return requestOf(name, input);
}

module.exports = {
  ENDPOINTS, ORDER_ID, checkedRequest, contentOf, isIncomingId, isOrderId, isSegment, readBody,
  requestOf,
};
