'use strict';

// What must hold of work under idempotency keys. A trigger of the database writes down each state
// of each key. A call knows which states its key had between its beginning and its end: each answer
// must fit one of them.

const { isDeepStrictEqual } = require('node:util');

/** Statements that make the table of states, `history`, which no code of ours writes. */
const HISTORY = schema => [`
  CREATE TABLE ${schema}.history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key text, fingerprint text, token bigint,
    failed boolean, response text, state text)`, `
  CREATE INDEX ON ${schema}.history (key, id)`, `
  CREATE FUNCTION ${schema}.note() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      it ${schema}.idempotency_store := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    BEGIN
      INSERT INTO ${schema}.history (key, fingerprint, token, failed, response, state)
      VALUES (it.key, it.fingerprint, it.token, it.failed, it.response, CASE
        WHEN TG_OP = 'DELETE' OR it.expires_at <= clock_timestamp() THEN 'free'
        WHEN it.status = 'done' THEN 'done'
        WHEN it.locked_until > clock_timestamp() THEN 'held' ELSE 'lapsed' END);
      RETURN NULL;
    END $$`, `
  CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON ${schema}.idempotency_store
    FOR EACH ROW EXECUTE FUNCTION ${schema}.note()`, `
  CREATE TABLE ${schema}.effects (key text, token bigint)`];

const NOTHING = { state: 'free' };

class Model {
  faults = [];
  calls = [];
  confirmations = [];
  /** Keys of which results were deleted or have expired. */
  emptied = new Set();
  /** Whether answers of the database may have been lost. */
  isUpset = () => false;

  fault (text) { this.faults.push(text); }

  /**
   * @param {object[]} history all states of all keys, in their order
   * @param {{ key: string, token: string }[]} effects of transactions that were committed
   * @returns {string[]} what is wrong
   */
  check (history, effects) {
    const keys = new Map(history.map(({ key }) => [key, []]));
    for (const state of history) keys.get(state.key).push(state);
    this.byToken = new Map(this.calls.filter(({ token }) => token !== undefined)
      .map(call => [call.token, call]));
    const begun = this.calls.filter(({ token }) => token !== undefined);
    if (begun.length > this.byToken.size) this.fault('two holders have the same token');
    for (const states of keys.values()) this.#checkKey(states);
    for (const call of this.calls) {
      for (const fault of this.#faultsOf(call, keys.get(call.key) ?? [])) {
        this.fault(`call ${call.id}, ${call.key}: ${fault}`);
      }
    }
    for (const confirmation of this.confirmations) {
      const { call } = confirmation;
      for (const fault of this.#faultsOfConfirmation(confirmation, keys.get(call.key) ?? [])) {
        this.fault(`confirm of call ${call.id}, ${call.key}: ${fault}`);
      }
    }
    this.#checkEffects(history, effects);
    return this.faults;
  }

  // ---- The states of a key ---------------------------------------------------------------------

  #checkKey (states) {
    let before = NOTHING;
    let highest = 0n;
    for (const state of states) {
      const isClaim = state.token !== before.token;
      const fault = isClaim ? this.#faultOfClaim(before, state, highest)
        : this.#faultOfChange(before, state);
      if (fault !== undefined) this.fault(`${state.key}, state ${state.id}: ${fault}`);
      if (isClaim) highest = BigInt(state.token);
      before = state;
    }
  }

  #faultOfClaim (before, { key, state, token, fingerprint }, highest) {
    if (state !== 'held') return `a claim makes it ${state}`;
    if (BigInt(token) <= highest) return `token ${token} after ${highest}`;
    if (before.state === 'held') return 'taken from its holder';
    if (before.state === 'done') return 'its result is overwritten';
    if (before.state === 'lapsed' && before.fingerprint !== fingerprint) {
      return 'another request takes it from a holder that may have done its work';
    }
    const call = this.byToken.get(token);
    if (call !== undefined) return call.key === key ? undefined : 'the token is of another key';
    const mayBeLost = this.isUpset() || this.calls.some(each => each.isKilled && each.key === key);
    return mayBeLost ? undefined : 'claimed, and no work begins';
  }

  #faultOfChange (before, after) {
    const { key, token, state, failed, response } = after;
    const call = this.byToken.get(token);
    if (before.state === 'free') return `${state}, although it was free`;
    if (before.state === 'done') {
      return state === 'free' && this.emptied.has(key) ? undefined : `done, and then ${state}`;
    }
    if (state === 'free') {
      const isFailure = call?.plan !== undefined && call.plan !== 'value' && !isKept(call);
      // Its transaction was lost, maybe before the work could begin.
      const isRolledBack = (call === undefined || call.options.transaction) && this.isUpset();
      return isFailure || isRolledBack || this.emptied.has(key) ? undefined : 'freed by nobody';
    }
    if (state !== 'done') return undefined;
    if (call?.plan === undefined) return 'done before the work has ended';
    if (!isOwn(call, failed, response)) return `not what its holder returned: ${response}`;
    return !failed || isKept(call) ? undefined : 'a failure is stored';
  }

  // ---- What callers hear -----------------------------------------------------------------------

  /** The states that a key had from one moment to another. */
  #window (states, { from, to }) {
    const first = states.findLast(({ id }) => BigInt(id) <= from) ?? NOTHING;
    return [first, ...states.filter(({ id }) => BigInt(id) > from && BigInt(id) <= to)];
  }

  /** Of those, the ones that a holder had, and whether another one has followed. */
  #own (window, token) {
    const own = window.filter(state => state.token === token);
    const last = window.at(-1);
    const isLost = own.length > 0 &&
      (last.token !== token || own.some(({ state }) => state === 'free'));
    return { own, isLost, isDone: own.some(({ state }) => state === 'done') };
  }

  * #faultsOf (call, states) {
    const { answer, token, isKilled } = call;
    if (isKilled) return;
    if (answer === undefined) {
      yield 'never answered';
      return;
    }
    const window = this.#window(states, call);
    const own = this.#own(window, token);
    if (token !== undefined && own.own.length === 0) yield 'work without a claim';
    const isFine = 'error' in answer ? this.#mayFail(call, window, own)
      : this.#mayReturn(call, window, own);
    if (!isFine) yield `${JSON.stringify(answer)} fits none of ${JSON.stringify(window)}`;
  }

  #mayReturn ({ answer: { value, replayed }, fingerprint, token, plan }, window, { isDone }) {
    const text = JSON.stringify(value);
    if (!replayed) return plan === 'value' && value.token === token && isDone;
    return window.some(({ state, failed, response, fingerprint: its }) =>
      state === 'done' && !failed && its === fingerprint && response === text);
  }

  #mayFail (call, window, { own, isLost, isDone }) {
    const { answer: { error }, fingerprint, token } = call;
    const isSame = state => state.fingerprint === fingerprint;
    switch (error.code) {
      case 'ERR_IDEMPOTENCY_MISMATCH':
        return token === undefined &&
          window.some(state => !isSame(state) && state.state !== 'free');
      case 'ERR_IDEMPOTENCY_IN_PROGRESS':
        return token === undefined && !call.isPatient && error.retryAfterMs >= 0 &&
          window.some(state => isSame(state) && state.state === 'held');
      case 'ERR_IDEMPOTENCY_LOST':
        // If the answer to storing was lost, and then the result was deleted, nobody can know.
        return token !== undefined && isLost &&
          (!isDone || (this.isUpset() && this.emptied.has(call.key)));
      case 'E_WORK': case 'ERR_IDEMPOTENCY_RESULT': {
        const isReplay = window.some(({ state, failed, response, ...its }) => state === 'done' &&
          failed && isSame(its) && JSON.parse(response).message === error.message);
        if (isReplay) return true;
        if (!isOwn(call, true, JSON.stringify(error))) return false;
        const isFreed = own.some(({ state }) => state === 'free');
        return !isKept(call) && (isFreed || isLost || this.isUpset());
      }
      default:
        return error.retryable === true && this.isUpset();
    }
  }

  * #faultsOfConfirmation (confirmation, states) {
    const { call, answer } = confirmation;
    if (call.isKilled || answer === undefined) return;
    const window = this.#window(states, confirmation);
    const isMine = ({ token, state }) =>
      token === call.token && (state === 'held' || state === 'lapsed');
    if (answer.code === undefined) {
      if (!isMine(window[0])) yield 'confirmed, although it was lost';
      const isExtended = window.some(state => isMine(state) && state.state === 'held');
      if (!isExtended && !call.options.transaction) yield 'confirmed, but not extended';
    } else if (answer.code === 'ERR_IDEMPOTENCY_LOST') {
      if (window.every(isMine)) yield 'lost to nobody';
      // Work that does not wait for the answer may have ended before that.
      if (!answer.isAborted && !answer.hasEnded) yield 'lost, and the signal does not tell';
    } else if (!answer.retryable || !this.isUpset()) {
      yield answer.code;
    }
  }

  /** What a transaction changes is committed if, and only if, its result is. */
  #checkEffects (history, effects) {
    const expected = history.filter(({ state, failed, token }) => state === 'done' && !failed &&
      this.byToken.get(token)?.options.transaction).map(({ token }) => token);
    const found = effects.map(({ token }) => token);
    if (!isDeepStrictEqual(expected.toSorted(), found.toSorted())) {
      this.fault(`effects of ${found}, not of ${expected}`);
    }
  }

  /** What became of each call, for a person. */
  story () {
    return this.calls.map(({ begun, settled, host, ...call }) => JSON.stringify(call,
      (_, value) => (typeof value === 'bigint' ? String(value) : value)));
  }
}

/** Whether the failure of a call is stored. */
const isKept = ({ plan, options }) =>
  (plan === 'odd' ? !options.transaction : options.storeFailures);

/** Whether a result is what the work of this call ended with. */
function isOwn ({ plan, token }, failed, response) {
  if (!failed) return plan === 'value' && JSON.parse(response)?.token === token;
  const { code, message } = JSON.parse(response);
  return plan === 'odd' ? code === 'ERR_IDEMPOTENCY_RESULT'
    : plan === 'fail' && code === 'E_WORK' && message === `failed ${token}`;
}

module.exports = { HISTORY, Model };
