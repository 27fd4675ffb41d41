'use strict';

// What Midtrans says about transactions: its notifications, and its answers when we ask. A
// notification only makes us ask; the answer is what changes an order. Whatever contradicts the
// order is held until a person reviews it.

const { createHash } = require('node:crypto');

const { now } = require('../base/clock');
const { withDeadline } = require('../base/deadline');
const { SekeringError } = require('../base/errors');
const { read } = require('../base/foreign');
const { isObject } = require('../clients/client-error');
const {
  foreignKindOf, isSignedPayout, noticeOf, signedOf, withTexts
} = require('../clients/midtrans-notices');
const { isIncomingId, isSegment } = require('../clients/midtrans-requests');
const { RateLimiter } = require('../primitives/limits');
const { FINAL_OUTCOMES, HOOK_CHANNEL } = require('./payment-ledger');
const { PaymentSamples } = require('./payment-samples');
const {
  conclude, differenceOf, isAhead, isLasting, isOwn, readTransaction
} = require('./payment-states');
const { StoreError } = require('./store-errors');

// Midtrans waits for 15 s, and wants to be answered within 5.
const STATUS_TIMEOUT_MS = 4000;
const REFUNDS_MAX = 1000;

// How many notifications of our orders with the same signature are examined. Anybody who has seen
// one can change its unsigned parts. Genuine notifications are few, and Midtrans sends them again.
const VARIATIONS = { limit: 100, interval: 3_600_000 };
const ALLOWANCES_MAX = 100_000;
const OTHER_VARIATIONS = { limit: 10_000, interval: 3_600_000 };

// How often Midtrans is asked about what is no order of ours, and how many at once may be asked
// about what anybody can send; the client has 64 connections.
const QUESTIONS = { limit: 100, interval: 10_000 };
const GUESSING_MAX = 8;
// How often the application is told that a parser has changed the bytes of a payout.
const LOSSES = { limit: 1, interval: 3_600_000 };
// How long Midtrans's answer may be behind its notification.
const BEHIND_MS = 3_600_000;
// How much is passed on of what nobody can verify, and anybody can send.
const UNVERIFIED = { limit: 100, interval: 3_600_000 };
const UNVERIFIED_BYTES_MAX = 4096;
// A message of the outbox may be eight times as long; a payout is in it twice, and its quotes are
// escaped.
const NOTICE_BYTES_MAX = 32_768;

// ---- Reading -----------------------------------------------------------------------------------

const text = (value, pattern) => typeof value === 'string' && pattern.test(value);
const optional = (value, pattern) => value === undefined || value === null || text(value, pattern);

// Each field that we act on, and its grammar. The client checks the signature: if that is wrong,
// the notification is forged.
const GRAMMAR = {
  // These may belong to another system of the same account.
  order_id: isIncomingId,
  transaction_id: isIncomingId,
  status_code: value => text(value, /^\d{3}$/),
  gross_amount: value => text(value, /^\d{1,15}\.\d{2}$/),
  transaction_status: value => text(value, /^[a-z_]{1,32}$/),
  fraud_status: value => optional(value, /^[a-z_]{1,32}$/),
  currency: value => optional(value, /^[A-Z]{3}$/),
  refunds: value => value === undefined || value === null ||
    (Array.isArray(value) && value.length <= REFUNDS_MAX),
};

function parse (bytes) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return undefined;
  }
}

function faultOf (body) {
  if (!isObject(body)) return 'not_json';
  return Object.keys(GRAMMAR).find(name => !GRAMMAR[name](body[name]));
}

/**
 * Reads a notification. Nothing in it is believed yet.
 * @param {Buffer} bytes
 * @param {number} maxBody
 * @returns {{ event: object, body?: object, notice?: object, fault?: string }} notice: of noticeOf,
 *   if it is not about a transaction; fault: why it is not a notification: 'too_large', 'not_json',
 *   or the name of a field
 */
function readNotification (bytes, maxBody) {
  const event = {
    source: 'notification', orderId: null, transactionId: null, transactionStatus: null, bytes,
  };
  if (bytes.length > maxBody) return { event, fault: 'too_large' };
  const given = parse(bytes);
  const notice = noticeOf(given);
  if (notice !== undefined) return { event, body: given, notice };
  const body = isObject(given) ? withTexts(given) : given;
  const fault = faultOf(body);
  if (fault !== undefined) return { event, fault };
  Object.assign(event, {
    orderId: body.order_id, transactionId: body.transaction_id,
    transactionStatus: body.transaction_status,
  });
  return { event, body };
}

/** Whether an answer of GET status has what we need. */
const isStatus = body => isIncomingId(body?.transaction_id) && isIncomingId(body.order_id) &&
  typeof body.transaction_status === 'string';

/** An answer of GET status as an event, with the fingerprint of the notification about it. */
const statusEvent = body => ({
  source: 'status', fingerprint: fingerprintOf(body), orderId: body.order_id,
  transactionId: body.transaction_id, transactionStatus: body.transaction_status,
  bytes: Buffer.from(JSON.stringify(body)),
});

const sha256 = data => createHash('sha256').update(data).digest('hex');

/** The same for all copies of one event. */
function fingerprintOf (body) {
  const refunds = (body.refunds ?? null) && sha256(JSON.stringify(body.refunds));
  // Two partial chargebacks differ in nothing else.
  const amounts = [body.refund_amount, body.chargeback_amount];
  const parts = [body.order_id, body.transaction_id, body.transaction_status,
    body.fraud_status ?? null, String(body.status_code), String(body.gross_amount), refunds,
    ...amounts.some(amount => amount !== undefined) ? amounts : []];
  return `signed:${sha256(JSON.stringify(parts))}`;
}

/**
 * A fingerprint of the signed fields alone. Anybody who has seen a notification can change the
 * other fields, but it must stay the same event.
 * @param {string} why
 */
function coarseFingerprint (body, why) {
  const parts = [body.order_id, String(body.status_code), String(body.gross_amount)];
  return `${why}:${sha256(JSON.stringify(parts))}`;
}

/**
 * Why Midtrans's answer may be behind its notification, which then has to come again; undefined if
 * it is not.
 */
function behind (body, found) {
  if (found === undefined) return 'not_found';
  return isAhead(readTransaction(body), readTransaction(found)) ? 'unconfirmed' : undefined;
}

/** The same for all copies of a notice that is not about an order of ours. */
const noticeFingerprint = (...parts) => `notice:${sha256(JSON.stringify(parts))}`;

/**
 * So many per key and interval. An entry stays until its interval ends, so a flood of other keys
 * cannot renew the allowance of one. Keys for which there is no room share one.
 */
class Allowances {
  // In the order in which they end.
  #entries = new Map();
  #others = new RateLimiter(OTHER_VARIATIONS);

  /**
   * @param {string} key
   * @param {() => boolean} [isFree] asked before anything is noted
   * @returns {boolean} whether one more may be examined now
   */
  admit (key, isFree = () => true) {
    const time = now();
    for (const [old, { end }] of this.#entries) {
      if (end > time) break;
      this.#entries.delete(old);
    }
    const entry = this.#entries.get(key);
    if (entry?.count >= VARIATIONS.limit || !isFree()) return false;
    if (entry !== undefined) entry.count += 1;
    else if (this.#entries.size >= ALLOWANCES_MAX) return this.#others.tryTake();
    else this.#entries.set(key, { count: 1, end: time + VARIATIONS.interval });
    return true;
  }
}

// ---- The inbox ---------------------------------------------------------------------------------

const answer = (status, outcome, orderId) => ({
  status, outcome, orderId,
  body: { status: outcome, ...orderId !== undefined && { order_id: orderId } },
});

const busy = ({ orderId }) => answer(503, 'unavailable', orderId ?? undefined);

class PaymentInbox {
  #context;
  #samples;
  #signatures = new Allowances();
  #questions = new RateLimiter(QUESTIONS);
  #subscriptions = new Allowances();
  #guesses = new RateLimiter(QUESTIONS);
  #guessing = 0;
  #unverified = new RateLimiter(UNVERIFIED);
  #losses = new RateLimiter(LOSSES);

  /** @param {object} context of Payments */
  constructor (context) {
    this.#context = context;
    this.#samples = new PaymentSamples(context);
  }

  /** Writes the samples that wait. */
  async close () { await this.#samples.close(); }

  /**
   * Takes a notification, and says how to answer it.
   * @param {Buffer} bytes
   * @param {{ signature?: string, isParsed?: boolean }} [how] signature: the header Iris-Signature;
   *   isParsed: the bytes are made of a parsed body
   * @returns {Promise<object>} a NotificationOutcome; never rejects
   */
  async take (bytes, how = {}) {
    const taken = await this.#take(bytes, how);
    this.#context.emit('notification', taken.outcome);
    return taken;
  }

  async #take (bytes, how) {
    const { midtrans, maxBody, emit } = this.#context;
    const { event, body, notice, fault } = readNotification(bytes, maxBody);
    if (fault !== undefined) return this.#refuse(event, fault);
    try {
      if (notice !== undefined) return await this.#takeNotice(event, body, { ...notice, ...how });
      if (midtrans.verifyNotification(body)) {
        return await this.#takeSigned({ ...event, fingerprint: fingerprintOf(body) }, body);
      }
      // An order id that does not match the shop's pattern belongs to another system.
      if (midtrans.verifyNotification(body, { anyOrder: true })) {
        return await this.#takeForeign(event, body);
      }
    } catch (error) {
      // Whatever failed, it is not the sender's fault: Midtrans has to send it again.
      emit('warning', error);
      return answer(503, 'unavailable', event.orderId ?? undefined);
    }
    return this.#reject(event, 'signature');
  }

  async #refuse (event, fault) {
    await this.#samples.add(event, 'invalid', fault);
    return answer(fault === 'too_large' ? 413 : 400, 'invalid');
  }

  async #reject (event, reason) {
    await this.#samples.add(event, 'forged', reason);
    return answer(403, 'forged');
  }

  async #takeSigned (event, body) {
    const { ledger, confirm, emit } = this.#context;
    const { fingerprint, orderId } = event;
    if (await ledger.countAgain(fingerprint)) return answer(200, 'already_processed', orderId);
    if (await ledger.get(orderId) === undefined) return this.#takeForeign(event, body);
    if (!this.#signatures.admit(body.signature_key.toLowerCase())) return busy(event);
    const claim = readTransaction(body);
    const { truth, fault, answered } = confirm ? await this.#confirm(claim, event)
      : { truth: claim };
    if (fault === 'other_order') return this.#reject(event, fault);
    const noted = fault === undefined ? event
      : { ...event, fingerprint: coarseFingerprint(body, fault) };
    const { outcome, held, released, event: closed } = await ledger.change(orderId,
      (client, order) =>
        this.#apply(client, order, { event: noted, claim, truth, fault, answered }));
    if (held !== undefined) emit('held', held, held.reason);
    if (released) await this.#tellReleased(closed.orderId);
    return answer(outcome === 'unavailable' ? 503 : 200, outcome, closed?.orderId ?? orderId);
  }

  // ---- What is about no order of ours ----------------------------------------------------------

  /**
   * We record an order before we ask Midtrans for it, so this one belongs to another system, or is
   * a test. If it is recorded late, `reconcile` finds it, and the notification is accepted if it
   * comes again.
   */
  async #takeForeign (event, body) {
    const { hooks, confirm } = this.#context;
    const coarse = { ...event, fingerprint: coarseFingerprint(body, 'unknown_order') };
    if (hooks.onNotification === undefined) return this.#note(coarse);
    const kind = foreignKindOf(event.orderId);
    const notice = { kind, verified: false, body, signed: signedOf('transaction', body) };
    // The test has no transaction.
    if (kind === 'test') return this.#note(coarse, { ...notice, verified: true });
    if (event.bytes.length > NOTICE_BYTES_MAX) return this.#refuse(event, 'too_large');
    const isFree = () => !confirm || this.#questions.tryTake();
    if (!this.#signatures.admit(body.signature_key.toLowerCase(), isFree)) return busy(event);
    const fingerprint = fingerprintOf(body);
    if (!confirm) return this.#note({ ...event, fingerprint }, notice);
    const { transactionId } = event;
    const found = isSegment(transactionId)
      ? await inTime(signal => this.ask(transactionId, { signal, once: true })) : undefined;
    // Only the order is signed: the transaction is whatever the sender says it is.
    if (found !== undefined && found.order_id !== event.orderId) {
      return this.#reject(event, 'other_order');
    }
    const why = behind(body, found);
    const waiting = { ...event, fingerprint: `behind:${fingerprint}` };
    if (why !== undefined && await this.#isYoung(waiting, why)) return busy(event);
    if (found === undefined) return this.#note(coarse, notice);
    return this.#note({ ...event, fingerprint: noticeFingerprint('transaction', found) },
      { ...notice, verified: 'asked', answer: found });
  }

  /** Notes an event that Midtrans does not confirm, and tells whether that may be still to come. */
  async #isYoung (event, reason) {
    const { database, ledger } = this.#context;
    const { receivedAt, lastReceivedAt } =
      await ledger.noteEvent(database, event, 'unknown_order', reason);
    // Both are the database's time.
    return new Date(lastReceivedAt) - new Date(receivedAt) < BEHIND_MS;
  }

  /** Takes what is not about a transaction. */
  async #takeNotice (event, body, { kind, id, signature, isParsed = false }) {
    const { hooks, midtrans, irisMerchantKey } = this.#context;
    if (kind === 'account') return this.#takeAccount(event, body);
    if (kind === 'payout' && irisMerchantKey !== undefined) {
      if (isSignedPayout(event.bytes, signature, irisMerchantKey)) {
        return this.#note({ ...event, fingerprint: noticeFingerprint(kind, body) },
          { kind, verified: true, body, signed: body });
      }
      // Perhaps the parser has changed the bytes.
      if (isParsed && signature !== undefined) return this.#tellLoss(event);
      return this.#reject(event, 'signature');
    }
    const canAsk = kind === 'subscription' && typeof midtrans.getSubscription === 'function';
    if (canAsk && hooks.onNotification !== undefined && isSegment(id)) {
      return this.#takeSubscription(event, body, id);
    }
    // Another fingerprint than if it were verified, so that it cannot come before the true one.
    return this.#note({ ...event, fingerprint: noticeFingerprint('unverified', body) },
      { kind, verified: false, body });
  }

  async #takeAccount (event, body) {
    const kind = 'account';
    const texts = withTexts(body);
    if (!this.#context.midtrans.verifyNotification(texts)) return this.#reject(event, 'signature');
    const signature = texts.signature_key.toLowerCase();
    if (!this.#signatures.admit(signature)) return busy(event);
    const signed = signedOf(kind, texts);
    // Whatever else is changed, it is the same notice.
    return this.#note({ ...event, fingerprint: noticeFingerprint(kind, signature) },
      { kind, verified: true, body: signed, signed });
  }

  /** Nothing in it is signed: anybody can have us ask, as often as these limits allow. */
  async #takeSubscription (event, body, id) {
    const kind = 'subscription';
    const isFree = () => this.#guessing < GUESSING_MAX && this.#guesses.tryTake();
    if (!this.#subscriptions.admit(id, isFree)) return busy(event);
    this.#guessing += 1;
    let found;
    try {
      found = await inTime(signal => this.#findSubscription(id, signal));
    } finally {
      this.#guessing -= 1;
    }
    if (found === undefined) return this.#reject(event, 'not_found');
    return this.#note({ ...event, fingerprint: noticeFingerprint(kind, found, body) },
      { kind, verified: 'asked', body, answer: found });
  }

  /** Keeps a notice, and leaves it to the hook when it comes for the first time. */
  async #note (event, notice) {
    const { database, hooks, ledger, outbox } = this.#context;
    const { kind, verified } = notice ?? {};
    const isHooked = notice !== undefined && hooks.onNotification !== undefined;
    const taken = answer(200, 'unknown_order', event.orderId ?? undefined);
    const reason = event.orderId === null ? kind : null;
    if (!isHooked) {
      if (verified !== false) await ledger.noteEvent(database, event, 'unknown_order', reason);
      return taken;
    }
    const isAnybodys = verified === false && notice.signed === undefined;
    const max = isAnybodys ? UNVERIFIED_BYTES_MAX : NOTICE_BYTES_MAX;
    if (event.bytes.length > max) return this.#refuse(event, 'too_large');
    if (isAnybodys && !this.#unverified.tryTake()) return busy(event);
    await database.transaction(async client => {
      const { id, times } = await ledger.noteEvent(client, event, 'unknown_order', reason);
      if (times > 1) return;
      await outbox.enqueue({
        channel: HOOK_CHANNEL, recipient: kind, dedupeKey: `payment-notice:${id}`,
        // As text, since JSON of others may have characters that a database cannot store.
        data: { hook: 'onNotification', notice: JSON.stringify({ id, ...notice }) },
      }, { client });
    });
    return taken;
  }

  /** Anybody can make us ask this, so the breaker of the payments hears nothing of it. */
  async #findSubscription (id, signal) {
    try {
      return await this.#context.midtrans.getSubscription(id, { signal, once: true });
    } catch (error) {
      if (read(error, 'code') === 'ERR_MIDTRANS_NOT_FOUND') return undefined;
      throw error;
    }
  }

  /** Has a payout's notice sent again, in case the application is mended until then. */
  #tellLoss (event) {
    if (this.#losses.tryTake()) {
      this.#context.emit('warning', new SekeringError('ERR_WEBHOOK_BODY',
        'A payout is signed as bytes, and a parser has changed them: pass the body as it came, or' +
        ' keep the bytes: express.json({ verify: (req, res, buf) => { req.rawBody = buf } })'));
    }
    return busy(event);
  }

  // ---- Orders of ours --------------------------------------------------------------------------

  /** Asks Midtrans about the transaction of a notification. */
  async #confirm (claim, event) {
    const { database, ledger } = this.#context;
    const { transactionId, orderId } = claim;
    // Such an id cannot be part of a URL.
    if (!isSegment(transactionId)) return { fault: 'not_found' };
    let body;
    let truth;
    try {
      body = await inTime(signal => this.ask(transactionId, { signal }));
      if (body === undefined) return { fault: 'not_found' };
      truth = readTransaction(body);
    } catch (error) {
      await ledger.noteEvent(database, event, 'unavailable', read(error, 'code') ?? null);
      throw error;
    }
    // Only the order is signed: the transaction is whatever the sender says it is.
    if (truth.orderId !== orderId) return { fault: 'other_order' };
    if (truth.transactionId !== transactionId) return { fault: 'other_transaction' };
    return { truth, answered: body };
  }

  /** Notes the event and changes the order, under the order's lock. */
  async #apply (client, order, { event, claim, truth, fault, answered }) {
    const { ledger, confirm } = this.#context;
    const { id, outcome: before } = await ledger.noteEvent(client, event, 'unavailable');
    if (FINAL_OUTCOMES.includes(before)) return { outcome: 'already_processed' };
    const entered = order !== undefined && truth !== undefined
      ? await ledger.enter(client, order, truth, { by: 'notification', confirmed: confirm })
      : { changed: false, fault: fault ?? 'unknown_order' };
    const { changed, move } = entered;
    const { outcome, reason } = conclude({
      changed, fault: entered.fault, claim, truth: entered.truth ?? truth,
    });
    const released = (changed || confirm) && truth !== undefined &&
      await ledger.release(client, order, truth, entered, 'a notification');
    if (outcome === 'held' && order !== undefined) {
      await ledger.setHeld(client, order.orderId, true);
    }
    const closed = await ledger.closeEvent(client, id,
      { outcome, reason, orderId: order?.orderId });
    // The notification may be newer than the answer, which has to be held by itself.
    const noted = outcome === 'unavailable' && entered.fault !== undefined
      ? await this.#noteAnswer(client, order.orderId, answered, entered) : undefined;
    const held = outcome === 'held' ? closed : noted?.isNew ? noted : undefined;
    return { outcome, event: closed, move, held, released: released && held === undefined };
  }

  /** Tells that nothing of an order is held any more. */
  async #tellReleased (orderId) {
    const { ledger, emit } = this.#context;
    emit('released', await ledger.get(orderId));
  }

  // ---- Asking ----------------------------------------------------------------------------------

  /** What Midtrans says about a transaction or order; undefined if it does not know it. */
  async ask (id, options) {
    try {
      const body = await this.#context.midtrans.status(id, { ...options });
      if (isStatus(body)) return body;
    } catch (error) {
      if (read(error, 'code') === 'ERR_MIDTRANS_NOT_FOUND') return undefined;
      throw error;
    }
    throw new SekeringError('ERR_MIDTRANS_RESPONSE', `Midtrans's status of ${id} is unreadable`);
  }

  /**
   * Applies an answer of GET status to an order.
   * @param {string} by who asked
   * @returns {Promise<{ changed: boolean, fault?: string }>}
   */
  async learn (orderId, body, by) {
    const { ledger, emit } = this.#context;
    const truth = readTransaction(body);
    const learnt = await ledger.change(orderId, async (client, order) => {
      const entered = await ledger.enter(client, order, truth, { by, confirmed: true });
      const released = await ledger.release(client, order, truth, entered, 'a look-up');
      const event = await this.#noteAnswer(client, orderId, body, entered);
      return { ...entered, event, released: released && event?.outcome !== 'held' };
    });
    const { changed, fault, event, released } = learnt;
    if (event?.isNew) emit('held', event, fault);
    if (released) await this.#tellReleased(orderId);
    return { changed: changed || released, fault };
  }

  /** An answer that says nothing new is not an event, nor is one that a person has dismissed. */
  async #noteAnswer (client, orderId, body, { changed, fault }) {
    const { ledger } = this.#context;
    if (!changed && fault === undefined) return undefined;
    const { id, outcome: before, reason } =
      await ledger.noteEvent(client, statusEvent(body), 'unavailable');
    if (before === 'dismissed' && !changed) return undefined;
    const isTwice = before === 'held' && isLasting(reason);
    const outcome = fault === undefined && !isTwice ? 'applied' : 'held';
    if (outcome === 'held') await ledger.setHeld(client, orderId, true);
    const event = await ledger.closeEvent(client, id,
      { outcome, reason: isTwice ? reason : fault, orderId });
    return { ...event, isNew: outcome === 'held' && before !== 'held' };
  }

  /**
   * Asks again about the transactions for which an order is held. If Midtrans still does not know
   * one, the notification about it was not Midtrans's.
   * @returns {Promise<boolean>} whether nothing is held any more
   */
  async askAgain (orderId) {
    const { database, ledger } = this.#context;
    const order = await ledger.get(orderId);
    const held = await ledger.eventsWith(database, orderId, ['held']);
    const ids = new Set(held.map(({ transactionId }) => transactionId));
    const missing = new Set();
    let isReleased = false;
    for (const id of ids) {
      const body = isSegment(id) ? await this.ask(id) : undefined;
      if (body?.transaction_id !== id || !isOwn(order, { orderId: body.order_id })) {
        missing.add(id);
      } else {
        isReleased ||= (await this.learn(orderId, body, 'reconcile')).changed;
      }
    }
    const isDecided = ({ reason, transactionId }) => missing.has(transactionId) &&
      (reason === 'not_found' || reason === 'other_transaction');
    const { released } = await ledger.change(orderId, async (client, order) => ({
      released: await ledger.releaseEvents(client, order, 'a look-up', isDecided),
    }));
    if (released) await this.#tellReleased(orderId);
    return released || isReleased;
  }

  // ---- Review ----------------------------------------------------------------------------------

  /**
   * Ends the hold of an order as a person has decided.
   * @param {string} orderId
   * @param {'apply' | 'dismiss'} decision
   * @param {{ by: string, reason: string }} options
   * @returns {Promise<object|undefined>} the order
   */
  async review (orderId, decision, { by, reason }) {
    const { database, ledger } = this.#context;
    const known = await ledger.get(orderId);
    // An order that is not ours could be made from its notifications.
    const outcomes = known === undefined ? ['held', 'unknown_order'] : ['held'];
    const held = await ledger.eventsWith(database, orderId, outcomes);
    checkHeld(orderId, held, known);
    const bodies = decision === 'apply' ? await this.#truths(held, known ?? { orderId }) : [];
    const outcome = decision === 'apply' ? 'applied' : 'dismissed';
    const { order, moves } = await ledger.change(orderId, async (client, locked) => {
      // Somebody else, or Midtrans, may have decided in the meantime.
      const left = await ledger.eventsWith(client, orderId, outcomes);
      checkHeld(orderId, left, locked);
      const ids = new Set(held.map(({ id }) => id));
      const decided = left.filter(({ id }) => ids.has(id));
      const reviewed = locked ?? await this.#adopt(client, orderId, bodies);
      const entered =
        await this.#enterAll(client, reviewed, bodies, { by: `review:${by}`, reason });
      for (const event of decided) {
        await ledger.closeEvent(client, event.id,
          { outcome, reason: `${event.reason}; ${by}: ${reason}` });
      }
      if (reviewed !== undefined) {
        await ledger.setHeld(client, orderId, decided.length < left.length);
      }
      return { order: await ledger.findOrder(client, orderId), moves: entered };
    });
    for (const move of moves) ledger.announce(move);
    return order;
  }

  /**
   * What is true now of each transaction of the held events: of this order, and of its amount or
   * one that an event has shown to the person.
   */
  async #truths (held, order) {
    const bodies = new Map();
    for (const { transactionId, body, source } of held) {
      const mustAsk = this.#context.confirm || source === 'status';
      // Not every id that a notification names can be part of a URL.
      const found = mustAsk && isSegment(transactionId) ? await this.ask(transactionId) : undefined;
      const truth = mustAsk ? found : JSON.parse(body);
      if (truth === undefined) {
        throw new StoreError('ERR_PAYMENT_ORDER',
          `Midtrans knows no transaction ${transactionId}: you can only dismiss this`);
      }
      const { orderId, amountMinor, ...read } = readTransaction(truth);
      // Only the order is signed: a sender can name any transaction.
      if (!isOwn(order, { orderId }) || read.transactionId !== transactionId) {
        throw new StoreError('ERR_PAYMENT_ORDER',
          `Transaction ${transactionId} belongs to another order: you can only dismiss this`);
      }
      const isShown = amountMinor === readTransaction(JSON.parse(body)).amountMinor;
      if (order.state !== undefined && !isShown &&
        differenceOf(order, { amountMinor, ...read }) === 'amount') {
        throw new StoreError('ERR_PAYMENT_ORDER', `Transaction ${transactionId} now has the ` +
          `amount ${read.grossAmount}, which is not that of order ${order.orderId}: you can only ` +
          'dismiss this');
      }
      bodies.set(transactionId, truth);
    }
    return [...bodies.values()];
  }

  /** Makes an order that nobody recorded from what Midtrans says about it. */
  async #adopt (client, orderId, [body]) {
    if (body === undefined) return undefined;
    const { amountMinor, currency } = readTransaction(body);
    const given = { orderId, state: 'created', amountMinor, currency };
    return (await this.#context.ledger.insertOrders(client, [given]))[0];
  }

  async #enterAll (client, locked, bodies, { by, reason }) {
    const moves = [];
    let order = locked;
    for (const body of bodies) {
      const { move, fault } = await this.#context.ledger.enter(client, order, readTransaction(body),
        { by, reason, confirmed: true, force: true });
      if (fault !== undefined) {
        throw new StoreError('ERR_PAYMENT_ORDER',
          `Cannot apply this to order ${order.orderId}: it is still held (${fault})`);
      }
      if (move === undefined) continue;
      moves.push(move);
      order = move.order;
    }
    return moves;
  }
}

/** Whether there is something to decide. The events of a held order may have been deleted since. */
function checkHeld (orderId, events, order) {
  if (events.length > 0 || order?.held) return;
  throw new StoreError('ERR_PAYMENT_ORDER', `No event of order ${orderId} is held`);
}

const late = () => new SekeringError('ETIMEDOUT',
  `Midtrans did not confirm the notification within ${STATUS_TIMEOUT_MS} ms`);

/** Asks Midtrans as long as the sender of a notification may wait. */
const inTime = ask =>
  withDeadline(undefined, STATUS_TIMEOUT_MS, ask, { error: late(), ref: false });

module.exports = { PaymentInbox };
