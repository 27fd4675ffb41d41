'use strict';

// What the Midtrans fake keeps besides transactions: tokens of cards, linked accounts,
// subscriptions, and Iris with its beneficiaries, payouts and X-Idempotency-Keys.

const crypto = require('node:crypto');

const clock = require('../base/clock');

const RECORDS_MAX = 100_000;
const KEY_CHARACTERS_MAX = 100;
const KEY_LIFE_MS = 24 * 3600 * 1000;
const BALANCE = 1_000_000_000;

const BANKS = [{ code: 'bca', name: 'PT. BANK CENTRAL ASIA TBK.' }];
const CHANNELS = [{ id: 1, virtual_account_type: 'mandiri_bill_key', virtual_account_number: '1' }];
const ACCOUNTS = [{ bank_account_id: 'bca-1', bank_name: 'bca', account_number: '1' }];

const now = () => new Date(clock.wall()).toISOString();
const newId = () => crypto.randomUUID();

/** Adds a record, and drops the oldest if there are too many. */
function add (records, id, record) {
  records.set(id, record);
  if (records.size > RECORDS_MAX) records.delete(records.keys().next().value);
  return record;
}

/** An error answer of Iris. */
const refused = (...errors) =>
  [400, { error_message: 'An error occurred when processing the request', errors }];

class AccountLedger {
  subscriptions = new Map();
  accounts = new Map();
  beneficiaries = new Map();
  payouts = new Map();
  balance = BALANCE;
  #history = [];
  #keys = new Map();
  #listQueued;

  constructor ({ listQueued }) {
    this.#listQueued = listQueued;
  }

  /** Carries out a call. @returns {[status: number, body: unknown]} */
  handle (operation, { id, body = {}, query }) {
    return CALLS[operation].call(this, { id, body, query });
  }

  /**
   * Iris executes each key once, and repeats the first answer when the key comes again.
   * @returns {[status: number, body: unknown]}
   */
  once (key, text, carryOut) {
    if (key === undefined || key.length > KEY_CHARACTERS_MAX) return carryOut();
    const known = this.#keys.get(key);
    if (known !== undefined && known.until > clock.wall()) {
      return known.text === text ? known.answer : refused('idempotency-key is not unique');
    }
    const answer = carryOut();
    if (answer[0] < 300) add(this.#keys, key, { text, answer, until: clock.wall() + KEY_LIFE_MS });
    return answer;
  }

  subscription (id, change) {
    const found = this.subscriptions.get(id);
    if (found === undefined) return [404, { status_message: "Subscription doesn't exist." }];
    if (change === undefined) return [200, { ...found }];
    Object.assign(found, change);
    return [200, { status_message: 'Subscription is updated.' }];
  }

  account (id, change) {
    const found = this.accounts.get(id);
    if (found === undefined) {
      return [200, { status_code: '404', status_message: "Account doesn't exist." }];
    }
    return [200, { status_code: '200', ...Object.assign(found, change) }];
  }

  createPayouts (list) {
    if (!Array.isArray(list) || list.length === 0) return refused('payouts is missing');
    const faults = list.flatMap((payout, i) => (Number(payout?.amount) > 0 &&
      typeof payout.beneficiary_account === 'string' ? [] : [`payouts[${i}] is not valid`]));
    if (faults.length > 0) return refused(...faults);
    return [201, { payouts: list.map(payout => {
      const { beneficiary_bank: bank, amount, ...rest } = payout;
      const made = add(this.payouts, newId().slice(0, 18), {
        ...rest, bank, amount: `${Number(amount)}.0`, reference_no: '', status: 'queued',
        created_at: now(), updated_at: now()
      });
      made.reference_no = [...this.payouts.keys()].at(-1);
      if (this.#listQueued) this.#list(made);
      return { status: made.status, reference_no: made.reference_no };
    }) }];
  }

  decide (references, status) {
    const list = (Array.isArray(references) ? references : []).map(no => this.payouts.get(no));
    if (list.length === 0 || list.some(payout => payout?.status !== 'queued')) {
      return refused('reference_nos are not in the queue');
    }
    for (const payout of list) {
      Object.assign(payout, { status, updated_at: now() });
      if (status !== 'approved') continue;
      this.balance -= Number(payout.amount);
      if (!this.#listQueued) this.#list(payout);
    }
    return [202, { status: 'ok' }];
  }

  history ({ from_date: from = '', to_date: to = '9' }) {
    const dayOf = ({ created_at: at }) =>
      new Date(Date.parse(at) + 7 * 3600 * 1000).toISOString().slice(0, 10);
    return [200, this.#history.filter(entry => dayOf(entry) >= from && dayOf(entry) <= to)];
  }

  #list ({ reference_no: no, beneficiary_name: name, beneficiary_account: account, amount }) {
    this.#history.push({
      reference_no: no, beneficiary_name: name, beneficiary_account: account,
      account: BANKS[0].name, type: 'Payout', amount, status: 'debit', created_at: now()
    });
    if (this.#history.length > RECORDS_MAX) this.#history.shift();
  }
}

const found = record => (record === undefined ? [404, { error_message: 'Not found' }]
  : [200, { ...record }]);

/** Each call, by the method of the client; `this` is the ledger. */
const CALLS = {
  cardRegister: ({ query }) => (query.card_number === undefined
    ? [200, { status_code: '400', validation_messages: ['card_number is required'] }]
    : [200, { status_code: '200', saved_token_id: newId(), transaction_id: newId(),
      masked_card: `${query.card_number.slice(0, 6)}-${query.card_number.slice(-4)}` }]),
  cardToken: ({ query }) => (query.client_key === undefined
    ? [200, { status_code: '400', validation_messages: ['client_key is required'] }]
    : [200, { status_code: '200', token_id: newId() }]),
  cardPointInquiry: () => [200, { status_code: '200', point_balance: 1000 }],

  linkPaymentAccount ({ body }) {
    const { payment_type: type } = body;
    const account = { account_id: newId(), payment_type: type, account_status: 'PENDING' };
    return [201, { status_code: '201', ...add(this.accounts, account.account_id, account) }];
  },
  getPaymentAccount ({ id }) { return this.account(id); },
  unlinkPaymentAccount ({ id }) { return this.account(id, { account_status: 'DISABLED' }); },

  createSubscription ({ body }) {
    if (!(Number(body.amount) > 0)) {
      return [400, { status_message: 'Invalid', validation_messages: ['amount is required'] }];
    }
    const subscription = { id: newId(), ...body, status: 'active', created_at: now() };
    return [200, { ...add(this.subscriptions, subscription.id, subscription) }];
  },
  getSubscription ({ id }) { return this.subscription(id); },
  disableSubscription ({ id }) { return this.subscription(id, { status: 'inactive' }); },
  enableSubscription ({ id }) { return this.subscription(id, { status: 'active' }); },
  cancelSubscription ({ id }) { return this.subscription(id, { status: 'inactive' }); },
  updateSubscription ({ id, body }) { return this.subscription(id, body); },

  irisPing: () => [200, 'pong'],
  createBeneficiaries ({ body }) {
    if (this.beneficiaries.has(body.alias_name)) {
      return refused('alias_name has already been taken');
    }
    add(this.beneficiaries, body.alias_name, { ...body });
    return [201, { status: 'created' }];
  },
  updateBeneficiaries ({ id, body }) {
    const known = this.beneficiaries.get(id);
    if (known === undefined) return found(known);
    Object.assign(known, body);
    return [200, { status: 'updated' }];
  },
  getBeneficiaries () { return [200, [...this.beneficiaries.values()]]; },
  createPayouts ({ body }) { return this.createPayouts(body.payouts); },
  approvePayouts ({ body }) { return this.decide(body.reference_nos, 'approved'); },
  rejectPayouts ({ body }) { return this.decide(body.reference_nos, 'rejected'); },
  getPayoutDetails ({ id }) { return found(this.payouts.get(id)); },
  getTransactionHistory ({ query, body }) { return this.history({ ...body, ...query }); },
  getTopupChannels: () => [200, CHANNELS],
  getBalance () { return [200, { balance: `${this.balance}.0` }]; },
  getFacilitatorBankAccounts: () => [200, ACCOUNTS],
  getFacilitatorBalance () { return [200, { balance: `${this.balance}.0` }]; },
  getBeneficiaryBanks: () => [200, { beneficiary_banks: BANKS }],
  validateBankAccount: ({ query }) => [200, {
    id: newId(), account_name: 'BCA Simulator A', account_no: query.account, bank_name: query.bank
  }],
};

module.exports = { AccountLedger };
