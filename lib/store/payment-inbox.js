'use strict';

// Notifications on their way in. What changes money is what Midtrans answers when it is asked; the
// notification is the reason to ask.

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { isSegment } = require('../clients/midtrans-input');
const { FINAL_OUTCOMES } = require('./payment-ledger');
const { coarseEvent, readNotification, signedEvent } = require('./payment-notification');
const { Variations } = require('./payment-samples');
const { compare, isKnownState, readTransaction } = require('./payment-states');

// Midtrans waits for 15 s, and wants to be answered within 5.
const STATUS_TIMEOUT_MS = 4000;

const answer = (status, outcome, orderId) => ({
  status, outcome, orderId, body: { status: outcome },
});

class Inbox {
  #database;
  #ledger;
  #book;
  #midtrans;
  #news;
  #maxBody;
  #confirm;
  #emit;
  #samples;
  #variations = new Variations();

  /**
   * @param {object} parts { database, ledger, book, midtrans, news, samples, maxBody, confirm,
   *   emit }
   */
  constructor ({ database, ledger, book, midtrans, news, samples, maxBody, confirm, emit }) {
    this.#samples = samples;
    this.#database = database;
    this.#ledger = ledger;
    this.#book = book;
    this.#midtrans = midtrans;
    this.#news = news;
    this.#maxBody = maxBody;
    this.#confirm = confirm;
    this.#emit = emit;
  }

  /** @param {Buffer} bytes @returns {Promise<object>} a NotificationOutcome; never rejects */
  async take (bytes) {
    const taken = await this.#take(bytes);
    this.#emit('notification', taken.outcome);
    return taken;
  }

  async #take (bytes) {
    const { event, body, fault } = readNotification(bytes, this.#maxBody);
    if (fault !== undefined) {
      await this.#samples.take(event, 'invalid', fault);
      return answer(fault === 'too_large' ? 413 : 400, 'invalid');
    }
    try {
      if (this.#midtrans.verifyNotification(body)) {
        return await this.#takeSigned(signedEvent(event, body), body);
      }
      // The shop's own ids have another form.
      if (this.#midtrans.verifyNotification(body, { anyOrder: true })) {
        return await this.#takeForeign(signedEvent(event, body), body);
      }
    } catch (error) {
      // Whatever it is, it is not the sender's fault: he has to come again.
      this.#emit('warning', error);
      return answer(503, 'unavailable', event.orderId);
    }
    return this.#refuse(event, 'signature');
  }

  async #refuse (event, reason) {
    await this.#samples.take(event, 'forged', reason);
    return answer(403, 'forged');
  }

  async #takeSigned (event, body) {
    if (await this.#ledger.countAgain(this.#database, event.fingerprint)) {
      return answer(200, 'already_processed', event.orderId);
    }
    // True news have few of them, and come again.
    if (!this.#variations.admit(body.signature_key)) {
      return answer(503, 'unavailable', event.orderId);
    }
    if (await this.#ledger.findOrder(this.#database, event.orderId) === undefined) {
      return this.#takeForeign(event, body);
    }
    const claim = readTransaction(body);
    const { truth, fault } = this.#confirm ? await this.#ask(claim, event) : { truth: claim };
    if (fault === 'other_order') return this.#refuse(event, fault);
    const entry = fault === undefined ? event : coarseEvent(event, body, fault);
    const result = await this.#database.transaction(client =>
      this.#enter(client, { event: entry, claim, truth, fault }));
    return this.#tell(result, event);
  }

  /**
   * An order of ours is written down before Midtrans is asked for it, so this one is another
   * system's, or a test. One that is recorded late is looked up by `reconcile`, and the same
   * notification is taken if it comes again.
   */
  async #takeForeign (event, body) {
    const outcome = 'unknown_order';
    await this.#ledger.noteEvent(this.#database, coarseEvent(event, body, outcome), outcome, null);
    return answer(200, outcome, event.orderId);
  }

  /** What Midtrans says of the transaction. */
  async #ask (claim, event) {
    // Midtrans cannot be asked about it.
    if (!isSegment(claim.transactionId)) return { fault: 'not_found' };
    let truth;
    try {
      const body = await this.#status(claim.transactionId);
      if (body === undefined) return { fault: 'not_found' };
      truth = readTransaction(body);
    } catch (error) {
      await this.#ledger.noteEvent(this.#database, event, 'unavailable', error?.code ?? null);
      throw error;
    }
    // Only the order is signed: the transaction is whatever the sender says it is.
    if (truth.orderId !== claim.orderId) return { fault: 'other_order' };
    if (truth.transactionId !== claim.transactionId) return { fault: 'other_transaction' };
    return { truth };
  }

  async #status (id) {
    const controller = new AbortController();
    const timer = clock.setTimer(() => controller.abort(new SekeringError('ETIMEDOUT',
      'Midtrans did not say in time what is true')), STATUS_TIMEOUT_MS, false);
    try {
      return await this.#news.ask(id, { signal: controller.signal });
    } finally {
      clock.clearTimer(timer);
    }
  }

  /** Event and order, in one transaction under the order's lock. */
  async #enter (client, { event, claim, truth, fault }) {
    const order = await this.#ledger.findOrder(client, event.orderId, { lock: true });
    const { id, outcome: before } = await this.#ledger.noteEvent(client, event, 'unavailable');
    if (FINAL_OUTCOMES.includes(before)) return { outcome: 'already_processed' };
    const { changed, move, fault: found } = order !== undefined && truth !== undefined
      ? await this.#book.enter(client, order, truth,
        { by: 'notification', confirmed: this.#confirm })
      : { changed: false, fault: fault ?? 'unknown_order' };
    const { outcome, reason } = this.#conclude({ changed, fault: found, claim, truth });
    if (outcome === 'held' && order !== undefined) {
      await this.#ledger.setHeld(client, order.orderId, true);
    }
    const closed = await this.#ledger.closeEvent(client, id,
      { outcome, reason, orderId: order?.orderId });
    return { outcome, reason, event: closed, move };
  }

  /** What becomes of the notification, when the truth has been entered. */
  #conclude ({ changed, fault, claim, truth }) {
    if (fault !== undefined) return { outcome: 'held', reason: fault };
    if (!isKnownState(claim.state)) return { outcome: 'held', reason: 'edge' };
    const relation = compare(claim, truth);
    if (relation === 'contradicts') return { outcome: 'held', reason: 'contradicted' };
    // The answer may be older than the notification: it has to come again.
    if (relation === 'ahead') return { outcome: 'unavailable', reason: 'unconfirmed' };
    return { outcome: changed ? 'applied' : 'stale', reason: null };
  }

  #tell ({ outcome, reason, event: closed, move }, event) {
    const orderId = closed?.orderId ?? event.orderId;
    if (move !== undefined) this.#emit('transition', move.order, move.transition);
    if (outcome === 'held') this.#emit('held', closed, reason);
    return answer(outcome === 'unavailable' ? 503 : 200, outcome, orderId);
  }
}

module.exports = { Inbox };
