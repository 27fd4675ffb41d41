'use strict';

// A model of Midtrans for random histories of orders, written from Midtrans's documentation and not
// from our code: ways of paying, fraud, refunds, chargebacks, several transactions of an order; its
// GET status, which may lag behind; its notifications, which get lost, repeat, come out of order or
// are forged. Afterwards it says what must have become of the order.

const AMOUNT = 1000;
const HOUR_MS = 3_600_000;
const LIFE_HOURS = 24;

/** A generator of numbers that gives the same ones each time. */
function randomOf (seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = max => Math.floor(next() * max);
  return { below, chance: share => next() < share, pick: items => items[below(items.length)] };
}

const CODES = { pending: '201', deny: '202', expire: '407' };
const PRECEDENCE = ['paid', 'partially_charged_back', 'partially_refunded', 'charged_back',
  'refunded', 'authorize', 'pending'];
const ENDED = { cancel: 'cancelled', expire: 'expired', failure: 'failed' };
const FAILED = ['denied', 'cancelled', 'expired', 'failed'];
const KEPT = ['paid', 'partially_charged_back', 'partially_refunded'];
const STATES = ['pending', 'settlement', 'capture', 'deny', 'cancel', 'expire', 'refund',
  'partial_refund', 'chargeback', 'partial_chargeback', 'authorize', 'unheard_of'];

/** What a transaction may do next, as [state, fraud]. */
function nextOf ({ state, fraud, type, rest }) {
  const isCard = type === 'credit_card';
  const returns = [...rest > 0 ? [['partial_refund'], ['refund']] : [],
    ...isCard ? [...rest > 1 ? [['partial_chargeback']] : [], ['chargeback']] : []];
  switch (state) {
    case 'pending': return isCard
      ? [['capture', 'accept'], ['capture', 'challenge'], ['deny', 'deny'], ['expire']]
      : [['settlement'], ['settlement'], ['settlement'], ['cancel'], ['deny'], ['failure']];
    case 'authorize': return [['capture', 'accept'], ['cancel'], ['deny'], ['expire']];
    case 'capture': return fraud === 'challenge'
      ? [['capture', 'accept'], ['deny', 'deny'], ['cancel']] : [['settlement', fraud], ['cancel']];
    case 'settlement': return type === 'bank_transfer' ? [...returns, ['deny']] : returns;
    case 'partial_refund': case 'partial_chargeback': return returns;
    // The bank does not know of the refund: the customer gets the money twice.
    case 'refund': return isCard ? [['chargeback'], ['partial_chargeback']] : [];
    default: return [];
  }
}

const money = amount => `${amount}.00`;

class Midtrans {
  #random;
  #now;
  #isFaithful;
  transactions = [];
  notices = [];
  life = 0;
  isPageOver = false;
  isLagging = true;
  // The transactions that the store has heard of in answer to a question.
  told = new Set();

  constructor (orderId, seed, now = Date.now()) {
    this.orderId = orderId;
    this.#random = randomOf(seed);
    this.#now = now;
    this.hasPage = this.#random.chance(0.7);
    // Midtrans breaks its own rules: a payment arrives after all, an amount differs.
    // Otherwise customers may pay twice.
    this.#isFaithful = this.#random.chance(0.7);
    const odd = this.#random.below(20);
    this.isLate = odd === 0;
    this.isWrong = odd === 1;
    // Merchants refund what a bank has taken back, all of it, although Midtrans documents no state
    // after a chargeback.
    this.isGenerous = odd === 2 || odd === 3;
    // Its answers say only what they are about: no refunds in that of a chargeback, no chargeback
    // in that of a refund, and no amount if all goes back.
    this.isTerse = this.#random.chance(0.25);
    // All that is paid goes back in parts, and the customer pays again.
    this.isReturning = odd === 4 || odd === 5;
    if (!this.isReturning) return;
    this.#isFaithful = this.isTerse = false;
    this.hasPage = true;
  }

  get random () { return this.#random; }

  // ---- What happens at Midtrans ----------------------------------------------------------------

  /** The customer chooses how to pay, on a page of the order. */
  choose (page = this.orderId) {
    const random = this.#random;
    const type = this.isReturning ? 'credit_card' : random.pick(['bank_transfer', 'bank_transfer',
      'qris', 'credit_card', 'credit_card', 'credit_card']);
    const at = this.#now + (this.life * LIFE_HOURS - LIFE_HOURS / 2) * HOUR_MS +
      this.transactions.length * 1000;
    const amount = this.isWrong && random.chance(0.3) ? AMOUNT + 1 : AMOUNT;
    const transaction = {
      id: `${this.orderId}-t${this.transactions.length}`, page, type, amount, rest: amount,
      life: this.life, refunds: [], taken: undefined, snapshots: [], wasPaid: false,
      isBroken: false,
      time: new Date(at + 7 * HOUR_MS).toISOString().slice(0, 19).replace('T', ' '),
    };
    this.transactions.push(transaction);
    const first = type === 'credit_card'
      ? random.pick([['capture', 'accept'], ['capture', 'challenge'], ['deny', 'deny'], ['deny'],
        ['authorize', 'accept'], ['pending']])
      : ['pending'];
    if (this.isReturning) this.#move(transaction, 'settlement', 'accept');
    else this.#move(transaction, ...first);
  }

  /** Something happens to a transaction: by the customer, the merchant, a bank or Midtrans. */
  act () {
    const random = this.#random;
    const transaction = random.pick(this.transactions);
    if (transaction === undefined) return;
    const ended = ['expire', 'cancel'].includes(transaction.state);
    if (this.isLate && ended && random.chance(0.3)) {
      Object.assign(transaction, { isBroken: true, isLate: !transaction.wasPaid });
      this.#move(transaction, 'settlement');
      return;
    }
    if (transaction.isDoubled) return;
    const { state, said } = transaction;
    if (this.isGenerous && state === 'chargeback' && said === undefined) {
      Object.assign(transaction, { isBroken: true, isDoubled: true });
      this.#move(transaction, 'refund');
      return;
    }
    const isBack = this.isReturning && (state === 'settlement' || state === 'partial_refund');
    const next = isBack ? [transaction.refunds.length > 0 ? 'partial_chargeback' : 'partial_refund']
      : random.pick(nextOf(transaction));
    if (next !== undefined) this.#move(transaction, ...next);
  }

  /** The page can no longer be used, and what waits on it has expired. */
  endPage () {
    this.isPageOver = true;
    for (const transaction of this.transactions) {
      if (transaction.state === 'pending') this.#move(transaction, 'expire');
    }
  }

  /** Whether the customer can begin to pay. */
  get isOpen () {
    const mine = this.transactions.filter(({ life }) => life === this.life);
    const closing = this.hasPage ? ['expire', 'cancel', 'failure'] : ['expire', 'cancel'];
    return !this.isPageOver && mine.length < 4 && !mine.some(each => closing.includes(each.state) ||
      (each.wasPaid && (each.state === 'deny' || this.#isFaithful ||
        (this.isReturning && each.rest > 0))));
  }

  /** The id of the expired order is used again. */
  reopen () {
    this.life += 1;
    this.isPageOver = false;
  }

  #move (transaction, state, fraud) {
    const random = this.#random;
    const { refunds } = transaction;
    Object.assign(transaction, { state, fraud });
    if (transaction.isDoubled) {
      const amount = money(AMOUNT - refundedOf(transaction));
      refunds.push({ refund_key: 'double', refund_amount: amount });
    } else if (state === 'partial_refund' || state === 'refund') {
      const isPart = state === 'partial_refund' && transaction.rest > 1;
      const amount = isPart ? 1 + random.below(transaction.rest - 1) : transaction.rest;
      if (amount === transaction.rest) transaction.state = 'refund';
      refunds.push({ refund_key: `k${refunds.length}`, refund_amount: money(amount) });
      transaction.rest -= amount;
    }
    const isChargeback = state === 'chargeback' || state === 'partial_chargeback';
    // More than the customer paid does not count.
    if (isChargeback && transaction.rest === 0) {
      transaction.taken ??= 0;
      const before = Math.max(transaction.taken, transaction.said ?? 0);
      transaction.said = state === 'chargeback' ? AMOUNT
        : Math.min(AMOUNT, before + 1 + random.below(AMOUNT - 1));
    } else if (state === 'partial_chargeback') {
      // All of it may have gone back in parts.
      const isRest = refunds.length > 0 && (this.isReturning || random.chance(0.5));
      const amount = isRest ? transaction.rest : 1 + random.below(transaction.rest - 1);
      transaction.taken = (transaction.taken ?? 0) + amount;
      transaction.rest -= amount;
    }
    if (state === 'chargeback' && transaction.rest > 0) {
      transaction.taken = (transaction.taken ?? 0) + transaction.rest;
      transaction.rest = 0;
    }
    if (ratingOf(transaction) === 'paid') transaction.wasPaid = true;
    const body = this.#show(transaction);
    transaction.snapshots.push(body);
    this.notices.push(body);
  }

  #show (transaction) {
    const { id, page, type, state, fraud, amount, time, refunds, taken } = transaction;
    const { said = taken } = transaction;
    const isChallenge = state === 'capture' && fraud === 'challenge';
    const refunded = refundedOf(transaction);
    const code = isChallenge ? '201' : CODES[state] ?? '200';
    const { isTerse } = this;
    const tellsRefunds = !isTerse || state === 'partial_refund' ||
      (state === 'refund' && this.#random.chance(0.5));
    const tellsTaken = isTerse ? state === 'partial_chargeback'
      // Midtrans need not say how much the last chargeback took: it took what was left.
      : state !== 'chargeback' || this.#random.chance(0.5);
    return {
      order_id: page, transaction_id: id, transaction_status: state, currency: 'IDR',
      payment_type: type, gross_amount: money(amount), status_code: code, transaction_time: time,
      ...fraud !== undefined && { fraud_status: fraud },
      ...refunds.length > 0 && tellsRefunds &&
        { refund_amount: money(refunded), refunds: [...refunds] },
      ...taken !== undefined && tellsTaken && { chargeback_amount: money(said) },
      signature_key: `${page}|${code}|${money(amount)}`,
    };
  }

  // ---- What Midtrans says ----------------------------------------------------------------------

  static isSigned (body) {
    return body.signature_key === `${body.order_id}|${body.status_code}|${body.gross_amount}`;
  }

  /** GET status; undefined: not found. */
  status (id) {
    const random = this.#random;
    const found = this.transactions.findLast(each => each.id === id || each.page === id);
    if (found === undefined || (this.isLagging && random.chance(0.03))) return undefined;
    const { snapshots } = found;
    const isOld = this.isLagging && random.chance(0.25);
    this.told.add(found.id);
    return snapshots[isOld ? random.below(snapshots.length) : snapshots.length - 1];
  }

  /** A notification: any that was sent, or a forged one; undefined if there is none. */
  notice () {
    const random = this.#random;
    const { notices } = this;
    if (notices.length === 0) return undefined;
    const recent = notices.at(-1 - random.below(Math.min(3, notices.length)));
    const body = random.chance(0.6) ? recent : random.pick(notices);
    return random.chance(0.15) ? this.#forge(body) : body;
  }

  #forge (body) {
    const random = this.#random;
    switch (random.below(6)) {
      case 0: return { ...body, signature_key: 'none' };
      case 1: return { ...body, transaction_id: random.pick([`none-${this.orderId}`, '..']) };
      case 2: return { ...body, fraud_status: random.pick(['accept', 'deny', 'challenge']) };
      case 3: return { ...body, transaction_status: 'partial_refund', refund_amount: '999.00' };
      case 4: return {
        ...body, transaction_status: 'partial_chargeback', chargeback_amount: '999.00'
      };
      default: return { ...body, transaction_status: random.pick(STATES) };
    }
  }

  // ---- What must have become of it -------------------------------------------------------------

  /** Whether only a person can decide: Midtrans itself has broken its rules. */
  get needsReview () { return this.transactions.some(each => each.isBroken); }

  /**
   * An order that has failed stays so if what came after all is denied, or if it was paid by what
   * came late from the time before it was opened again, and that was reversed.
   * @param {object} order what has become of it
   * @param {object[]} hooks that heard of it: { hook, transition }
   * @param {{ isReviewed: boolean }} options whether a person has applied all that was held
   * @returns {string[]} what is wrong
   */
  faultsOf ({ state, refundedMinor, chargedBackMinor, held }, hooks, { isReviewed }) {
    const good = this.transactions.filter(({ amount }) => amount === AMOUNT);
    const rated = good.map(each => ({ ...each, rating: ratingOf(each) }));
    const faults = [];
    const expect = (name, found, expected) => {
      if (String(found) !== String(expected)) faults.push(`${name}: ${found}, not ${expected}`);
    };
    const expected = this.#stateOf(rated, hooks);
    const isEitherEnd = FAILED.includes(state) && [...FAILED, 'created'].includes(expected) &&
      (this.isLate || (this.life > 0 && isReversed(hooks)));
    // What is not said cannot be known: which of two partial states came later, how much of all
    // that went back is a refund.
    const isEitherPart = this.isTerse &&
      [state, expected].every(each => each.startsWith('partially'));
    // All went back before a bank took more: the sums, which tell the later state, do not grow.
    const isOver = good.some(({ said, taken }) => said !== undefined && taken > 0) &&
      [state, expected].every(each => ['refunded', 'partially_charged_back'].includes(each));
    const isDoubled = good.some(each => each.isDoubled);
    const isEitherBack = isDoubled &&
      [state, expected].every(each => ['refunded', 'charged_back'].includes(each));
    if (!isEitherEnd && !isEitherPart && !isOver && !isEitherBack) expect('state', state, expected);
    const isVague = this.isTerse || isDoubled;
    const refunded = isVague ? Number(refundedMinor) / 100
      : good.reduce((sum, each) => sum + refundedOf(each), 0);
    const taken = isVague ? Number(chargedBackMinor) / 100
      : good.reduce((sum, each) => sum + (each.taken ?? 0), 0);
    expect('refunded', refundedMinor, refunded * 100);
    expect('charged back', chargedBackMinor, taken * 100);
    faults.push(...this.#faultsOfSum(good, refunded + taken));
    const isDouble = rated.filter(({ rating, said, taken, rest }) =>
      KEPT.includes(rating) && rest > 0 && !(said !== undefined && taken > 0)).length > 1;
    // A person has to know that money went back twice, if the first time was known.
    const isKnown = state === 'charged_back' && refundedMinor === 0n;
    const isMore = good.some(({ said }) => said !== undefined);
    const isTwice = good.some(isSaidTwice) || (isDoubled && !this.isTerse && isKnown) ||
      ((isDoubled || isMore) && held);
    expect('held', held,
      !isReviewed && (isDouble || isTwice || good.length < this.transactions.length));
    return [...faults, ...this.#faultsOfHooks(good, rated, hooks, { refunded, taken })];
  }

  /** Nothing goes back twice; and all has gone back if the last answer does not say how much. */
  #faultsOfSum (good, sum) {
    const returned = good.map(each => Math.min(each.amount,
      refundedOf(each) + (each.taken ?? 0)));
    const most = returned.reduce((total, each) => total + each, 0);
    const least = good.reduce((total, { snapshots }, i) => {
      const { transaction_status: state, ...last } = snapshots.at(-1);
      const isAll = (state === 'chargeback' && last.chargeback_amount === undefined) ||
        (state === 'refund' && last.refund_amount === undefined);
      return total + (isAll ? returned[i] : 0);
    }, 0);
    return sum > most || sum < least ? [`went back: ${sum}, not ${least} to ${most}`] : [];
  }

  #stateOf (rated, hooks) {
    const best = PRECEDENCE.find(state => rated.some(({ rating }) => rating === state));
    if (best !== undefined) return best;
    const ended = rated.findLast(({ life, state }) => life === this.life &&
      (state in ENDED || (state === 'deny' && !this.hasPage)));
    if (ended !== undefined) return ENDED[ended.state] ?? 'denied';
    const isBack = rated.some(each => each.life === this.life && each.wasPaid);
    const names = hooks.map(({ hook }) => hook);
    if (isBack && names.lastIndexOf('onFailed') > names.lastIndexOf('onPaid') &&
      names.includes('onPaid')) return 'denied';
    return this.isPageOver ? 'expired' : 'created';
  }

  #faultsOfHooks (good, rated, hooks, { refunded, taken }) {
    const faults = [];
    const named = name => hooks.filter(({ hook }) => hook === name);
    const check = (isRight, text) => { if (!isRight) faults.push(text); };
    const sum = (name, field) => named(name).reduce((total, { transition }) =>
      total + BigInt(transition[field].amountMinor ?? 0), 0n);
    check(sum('onRefund', 'refund') === BigInt(refunded * 100), 'the sum of onRefund');
    check(sum('onChargeback', 'chargeback') === BigInt(taken * 100), 'the sum of onChargeback');
    const keys = named('onRefund').map(({ transition: { refund, transactionId } }) =>
      `${transactionId} ${refund.key} ${refund.amountMinor}`).toSorted();
    const all = good.flatMap(({ id, refunds }) => refunds.map(each =>
      `${id} ${each.refund_key} ${Number(each.refund_amount) * 100}`)).toSorted();
    const isVague = this.isTerse || good.some(each => each.isDoubled);
    check(isVague || String(keys) === String(all), `onRefund: ${keys}; not ${all}`);
    const isHeard = ({ taken: all, isDoubled }) => all !== undefined && !isDoubled;
    for (const { id, taken: all } of good.filter(isHeard)) {
      check(named('onChargeback').some(({ transition }) => transition.transactionId === id) ||
        (all > 0 && all < AMOUNT && this.isTerse), 'a chargeback, and nobody heard');
    }
    const denied = named('onDenied').map(({ transition }) => transition.transactionId).toSorted();
    const refused = rated.filter(({ rating }) => rating === 'denied').map(({ id }) => id)
      .toSorted();
    check(String(denied) === String(refused), `onDenied: ${denied}; not ${refused}`);
    for (const { transition } of named('onPaid')) {
      const paid = good.find(({ id }) => id === transition.transactionId);
      check(paid?.wasPaid === true, 'onPaid without money');
    }
    if (KEPT.includes(this.#stateOf(rated, hooks))) {
      const isLeft = rated.some(({ rating, rest }) => KEPT.includes(rating) && rest > 0);
      check(named('onPaid').length > 0 || rated.length > 1 || !isLeft, 'paid, and nobody heard');
    }
    faults.push(...this.#faultsOfSequence(good, hooks));
    return faults;
  }

  /**
   * Money comes once, or again after all of it went back; and not after a failure unless Midtrans
   * reversed it.
   */
  #faultsOfSequence (good, hooks) {
    const faults = [];
    const back = new Map();
    const paid = new Set();
    let failed;
    let hasMoney = false;
    let isHeard = false;
    let isOver = this.#isOver(good, paid, back);
    for (const { hook, transition, told } of hooks) {
      const { from, to, transactionId, refund, chargeback } = transition;
      if (hook === 'onPaid') {
        if (hasMoney && isOver === false) faults.push('onPaid twice');
        if (failed !== undefined && !this.#mayReverse(transactionId, failed.told)) {
          faults.push('onPaid after onFailed');
        }
        hasMoney = isHeard = true;
      }
      if (hook === 'onRefund' || hook === 'onChargeback') {
        const amount = Number((refund ?? chargeback).amountMinor ?? 0) / 100;
        back.set(transactionId, (back.get(transactionId) ?? 0) + amount);
      }
      if (hook === 'onFailed') {
        if (failed !== undefined) faults.push('onFailed twice');
        failed = { told };
      }
      if (hook !== 'onTransition') continue;
      const isAgain = to === 'paid' && KEPT.includes(from) && !paid.has(transactionId);
      if (isAgain && isOver === true && !isHeard) faults.push('paid again, and nobody heard');
      if (isHeard || to === 'paid') paid.add(transactionId);
      if (!KEPT.includes(to)) hasMoney = false;
      if (!FAILED.includes(to)) failed = undefined;
      isHeard = false;
      isOver = this.#isOver(good, paid, back);
    }
    return faults;
  }

  /** Whether all the money of an order's payments went back; undefined if that cannot be known. */
  #isOver (good, paid, back) {
    if (this.isTerse || good.some(({ said, isDoubled }) => said !== undefined || isDoubled)) {
      return good.some(({ wasPaid, rest }) => wasPaid && rest === 0) ? undefined : false;
    }
    return paid.size > 0 && [...paid].every(id => (back.get(id) ?? 0) >= AMOUNT);
  }

  /** Whether a transaction could be paid although its order had failed. */
  #mayReverse (transactionId, told) {
    return !this.hasPage || this.isLate || told === undefined || !told.has(transactionId);
  }
}

/** Whether an order has failed after it was paid. */
const isReversed = hooks => KEPT.includes(
  hooks.findLast(({ hook }) => hook === 'onFailed')?.transition.from);

/** The state of an order that has only this transaction. */
function ratingOf ({ state, fraud }) {
  if (state === 'capture' || state === 'settlement') {
    return fraud === undefined || fraud === 'accept' ? 'paid' : 'authorize';
  }
  return {
    pending: 'pending', authorize: 'authorize', deny: 'denied', ...ENDED, refund: 'refunded',
    partial_refund: 'partially_refunded', chargeback: 'charged_back',
    partial_chargeback: 'partially_charged_back',
  }[state];
}

/** Whether Midtrans's last answer says that more went back than was paid. */
function isSaidTwice ({ amount, snapshots }) {
  const { refund_amount: refunded = 0, chargeback_amount: taken = 0 } = snapshots.at(-1);
  return Number(taken) > 0 && Number(refunded) + Number(taken) > amount;
}

const refundedOf = ({ refunds }) =>
  refunds.reduce((sum, { refund_amount: amount }) => sum + Number(amount), 0);

module.exports = { AMOUNT, Midtrans };
