'use strict';

// The Core API of the Midtrans fake: the transactions, the calls that change them, idempotency
// keys as Midtrans treats them, and notifications: signed, repeated, out of order or forged.

const crypto = require('node:crypto');

const clock = require('../base/clock');
const { is, optionsOf } = require('../base/options');

const KEY_CHARACTERS_MAX = 46;
const KEY_LIFE_MS = 5 * 60 * 1000;
const KEYS_MAX = 100_000;
const JAKARTA_MS = 7 * 3600 * 1000;
const ID = /^[A-Za-z0-9\-_~.]{1,64}$/;

// Payment methods that ignore the key.
const WITHOUT_KEY = new Set(['permata', 'cimb_clicks', 'bca_klikbca', 'indomaret']);

const CODES = { pending: '201', deny: '202', failure: '202', expire: '407' };
const MESSAGES = {
  400: 'One or more parameters in the payload is invalid.',
  404: "Transaction doesn't exist.",
  406: 'The request could not be completed due to a conflict with the current state of the ' +
    'target resource, please try again',
  412: 'Transaction status cannot be updated.',
  414: 'Refund rejected due to invalid amount.',
};

const NOTIFY_OPTIONS = optionsOf({
  repeat: is.integer('how often each is sent', { min: 1, max: 1000, default: 1 }),
  order: is.oneOf('the order of sending', ['sent', 'reversed', 'shuffled'], { default: 'sent' }),
  latest: is.boolean('only the newest', { default: false }),
  forge: is.oneOf('what is wrong with them', ['signature', 'status', 'amount', 'order']),
});
const NOTIFY_TIMEOUT_MS = 15_000; // As long as Midtrans waits.

const TEST_OPTIONS = optionsOf({
  orderId: is.text('of the test notification', {
    default: 'payment_notif_test_G123456789_1b2c3d4e-5f60-7a8b-9c0d-1e2f3a4b5c6d',
  }),
});

/** The time as Midtrans writes it, in GMT+7. */
const timeOf = at => new Date(at + JAKARTA_MS).toISOString().slice(0, 19).replace('T', ' ');
const money = amount => `${amount}.00`;

class Refusal {
  constructor (code, ...validation) {
    this.body = {
      status_code: String(code), status_message: MESSAGES[code],
      ...validation.length > 0 && { validation_messages: validation }, id: crypto.randomUUID()
    };
  }
}

/** The state of a new charge. */
function outcomeOf (body) {
  if (body.payment_type !== 'credit_card') return { transaction_status: 'pending' };
  const token = String(body.credit_card?.token_id ?? '');
  if (token.startsWith('deny')) return { transaction_status: 'deny', fraud_status: 'deny' };
  if (token.startsWith('challenge')) {
    return { transaction_status: 'capture', fraud_status: 'challenge' };
  }
  const authorized = body.credit_card?.type === 'authorize';
  return { transaction_status: authorized ? 'authorize' : 'capture', fraud_status: 'accept' };
}

class CoreLedger {
  /** The newest transaction of each order, by order_id. */
  transactions = new Map();
  #byId = new Map();
  #keys = new Map();
  #options;

  /** @param {object} options { uniqueOrders, idempotency, fees, ordersMax, faultsOfOrder } */
  constructor (options) {
    this.#options = options;
  }

  find (id) {
    return this.transactions.get(id) ?? this.#byId.get(id);
  }

  /** A transaction as Midtrans shows it. */
  show (transaction, message = 'Success, transaction is found') {
    const { refunds } = transaction;
    const body = { status_message: message, ...transaction, status_code: codeOf(transaction) };
    for (const own of ['charges', 'history', 'refunds']) delete body[own];
    if (refunds.length > 0) body.refunds = refunds.map(refund => ({ ...refund }));
    return body;
  }

  /** Moves a transaction to a state, and records a notification about it. */
  move (transaction, state, more) {
    Object.assign(transaction, { transaction_status: state }, more);
    if (state === 'settlement') transaction.settlement_time = timeOf(clock.wall());
    transaction.history.push(this.show(transaction, 'midtrans payment notification'));
  }

  // ---- Idempotency -----------------------------------------------------------------------------

  /** @returns undefined to go on, 'in-flight', or the earlier answer */
  begin (key, body) {
    if (!this.#usesKey(key, body)) return undefined;
    const entry = this.#keys.get(key);
    if (entry === undefined || entry.until <= clock.wall()) {
      if (this.#keys.size >= KEYS_MAX) this.#keys.clear();
      this.#keys.set(key, { answer: undefined, until: Infinity });
      return undefined;
    }
    return entry.answer ?? 'in-flight';
  }

  /** Keeps the answer if it is a success. */
  end (key, body, answer) {
    if (!this.#usesKey(key, body)) return;
    const code = Number(answer?.status_code);
    if (code >= 200 && code < 300) {
      this.#keys.set(key, { answer, until: clock.wall() + KEY_LIFE_MS });
    } else {
      this.#keys.delete(key);
    }
  }

  #usesKey (key, body) {
    if (!this.#options.idempotency || key === undefined || key.length > KEY_CHARACTERS_MAX) {
      return false;
    }
    return !WITHOUT_KEY.has(body?.payment_type) && !WITHOUT_KEY.has(body?.bank_transfer?.bank) &&
      !WITHOUT_KEY.has(body?.cstore?.store);
  }

  // ---- Calls -----------------------------------------------------------------------------------

  /** Executes a call. @returns {object} the body of the answer */
  handle (operation, id, body) {
    if (operation === 'charge') return this.#charge(body);
    const target = operation === 'capture' ? body?.transaction_id : id;
    const transaction = ID.test(target ?? '') ? this.find(target) : undefined;
    if (transaction === undefined) return new Refusal(404).body;
    if (operation === 'status') return this.show(transaction);
    if (operation === 'statusb2b') {
      return { status_code: '200', transactions: [this.show(transaction)] };
    }
    if (operation === 'refund' || operation === 'directRefund') {
      return this.#refund(transaction, body ?? {});
    }
    return this.#change(operation, transaction);
  }

  #charge (body) {
    const { faultsOfOrder, uniqueOrders, ordersMax, fees } = this.#options;
    const faults = faultsOfOrder(body);
    if (typeof body?.payment_type !== 'string') faults.push('payment_type is required');
    if (faults.length > 0) return new Refusal(400, ...faults).body;
    const orderId = body.transaction_details.order_id;
    const before = this.transactions.get(orderId);
    const taken = before !== undefined && before.transaction_status !== 'expire';
    if (taken && uniqueOrders) return new Refusal(406).body;
    if (this.transactions.size >= ordersMax) return new Refusal(500).body;
    const transaction = this.#make(orderId, body, fees);
    transaction.charges = taken ? before.charges + 1 : 1;
    this.transactions.set(orderId, transaction);
    this.#byId.set(transaction.transaction_id, transaction);
    const { transaction_status: state, fraud_status: fraud } = outcomeOf(body);
    this.move(transaction, state, fraud && { fraud_status: fraud });
    return this.show(transaction, 'Success, transaction is created');
  }

  #make (orderId, body, fees) {
    const { gross_amount: amount } = body.transaction_details;
    return {
      transaction_id: crypto.randomUUID(),
      order_id: orderId,
      merchant_id: 'G000000000',
      gross_amount: money(amount + fees),
      currency: 'IDR',
      payment_type: body.payment_type,
      transaction_time: timeOf(clock.wall()),
      ...body.payment_type === 'bank_transfer' && {
        va_numbers: [{ bank: body.bank_transfer?.bank ?? 'bca', va_number: '12345678901' }]
      },
      ...fees > 0 && {
        metadata: { extra_info: { gross_amount_info: { original_amount: money(amount) } } }
      },
      refunds: [],
      history: [],
    };
  }

  #change (operation, transaction) {
    const { transaction_status: state, fraud_status: fraud } = transaction;
    const challenged = state === 'capture' && fraud === 'challenge';
    const rules = {
      capture: [state === 'authorize', 'capture'],
      approve: [challenged, 'capture', { fraud_status: 'accept' }],
      deny: [challenged, 'deny', { fraud_status: 'deny' }],
      cancel: [['pending', 'authorize', 'capture'].includes(state), 'cancel'],
      expire: [['pending', 'authorize'].includes(state), 'expire'],
    };
    const [allowed, next, more] = rules[operation];
    if (!allowed) return new Refusal(412).body;
    this.move(transaction, next, more);
    const answer = this.show(transaction, `Success, transaction is changed by ${operation}`);
    // A denial by the merchant is a success of the call.
    return operation === 'deny' ? { ...answer, status_code: '200' } : answer;
  }

  #refund (transaction, { refund_key: given, amount, reason }) {
    const key = given ?? crypto.randomUUID();
    const message = 'Success, refund request is approved';
    const known = transaction.refunds.some(refund => refund.refund_key === key);
    // A refund may be repeated with the same key.
    if (known) return { ...this.show(transaction, message), status_code: '200' };
    const { transaction_status: state } = transaction;
    if (state !== 'settlement' && state !== 'partial_refund') return new Refusal(412).body;
    const total = Number(transaction.gross_amount);
    const left = total - transaction.refunds.reduce((sum, r) => sum + Number(r.refund_amount), 0);
    const wanted = amount ?? left;
    if (!(wanted > 0) || wanted > left) return new Refusal(414).body;
    transaction.refunds.push({
      refund_key: key, refund_amount: money(wanted), reason, created_at: timeOf(clock.wall())
    });
    this.move(transaction, wanted === left ? 'refund' : 'partial_refund');
    return this.show(transaction, message);
  }
}

function codeOf ({ transaction_status: state, fraud_status: fraud }) {
  if (state === 'capture' && fraud === 'challenge') return '201';
  return CODES[state] ?? '200';
}

// ---- Notifications -----------------------------------------------------------------------------

function signatureOf ({ order_id: orderId, status_code: code, gross_amount: amount }, serverKey) {
  return crypto.createHash('sha512').update(`${orderId}${code}${amount}${serverKey}`).digest('hex');
}

/** Signs a body. A forgery keeps the signature of the true body where possible. */
function sign (body, serverKey, forge) {
  const signed = { ...body, signature_key: signatureOf(body, serverKey) };
  switch (forge) {
    case 'signature': return { ...signed, signature_key: '0'.repeat(128) };
    // The signature does not cover these fields, so this forgery verifies.
    case 'status': return { ...signed, transaction_status: 'settlement', fraud_status: 'accept' };
    case 'amount': return { ...signed, gross_amount: `9${signed.gross_amount}` };
    // Moves digits from the order to the amount. This verifies if the order ends with 200.
    case 'order': return {
      ...signed, order_id: signed.order_id.slice(0, -3),
      gross_amount: `${signed.order_id.slice(-3)}${signed.gross_amount}`
    };
    default: return signed;
  }
}

/** The notification that the button "Test notification URL" of Midtrans's dashboard sends. */
function testNotificationOf (serverKey, options) {
  const { orderId } = TEST_OPTIONS.read(options);
  return sign({
    transaction_time: '2023-11-15 18:45:13',
    transaction_status: 'settlement',
    transaction_id: crypto.randomUUID(),
    status_message: 'midtrans payment notification',
    status_code: '200',
    payment_type: 'credit_card',
    order_id: orderId,
    merchant_id: 'G123456789',
    gross_amount: '105000.00',
    fraud_status: 'accept',
    currency: 'IDR',
  }, serverKey);
}

function arrange (bodies, order) {
  if (order === 'reversed') return bodies.toReversed();
  if (order !== 'shuffled') return bodies;
  return bodies.map(body => [Math.random(), body]).toSorted(([a], [b]) => a - b).map(([, b]) => b);
}

/** The signed notifications of a transaction, whose states are `history`, oldest first. */
function notificationsOf (history, serverKey, { repeat, order, forge, latest }) {
  const bodies = (latest ? history.slice(-1) : history)
    .map(body => sign(body, serverKey, forge))
    .flatMap(body => Array.from({ length: repeat }, () => body));
  return arrange(bodies, order);
}

/** Sends notifications, one after another. */
async function sendNotifications (url, bodies) {
  const answers = [];
  for (const body of bodies) {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(NOTIFY_TIMEOUT_MS),
    });
    answers.push({ body, status: response.status, text: await response.text() });
  }
  return answers;
}

module.exports = {
  CoreLedger, NOTIFY_OPTIONS, notificationsOf, sendNotifications, signed: sign, testNotificationOf,
};
