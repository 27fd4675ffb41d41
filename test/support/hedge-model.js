'use strict';

// What hedged calls must do, as plainly as it can be said. Time goes by in half milliseconds, and
// in each of them everything is looked at.

const KEPT = 500; // Half of the latencies that count.
const EXACT_MS = 64;
const OCTAVE_CELLS = 32;

/** The value that stands for all latencies of its cell, found by counting through the cells. */
function cellOf (ms) {
  if (ms < EXACT_MS) return ms;
  let [from, width] = [EXACT_MS, 2];
  for (;;) {
    for (let i = 0; i < OCTAVE_CELLS; i++, from += width) {
      if (ms < from + width) return from + Math.floor((width - 1) / 2);
    }
    width *= 2;
  }
}

/** The delay that follows from all latencies so far. */
function delayAfter (latencies, { quantile, min, max }) {
  const current = latencies.length === 0 ? 0 : (latencies.length - 1) % KEPT + 1;
  const last = latencies.slice(-current - KEPT).toSorted((a, b) => a - b);
  if (last.length < Math.max(20, Math.ceil(1 / (1 - quantile)))) return max;
  const rank = Math.ceil(quantile * last.length);
  return Math.min(Math.max(cellOf(last[rank - 1]), min), max);
}

class HedgeModel {
  now = 0;
  calls = [];
  stats = { calls: 0, hedges: 0, wins: 0, denied: 0 };
  #latencies = [];
  #delay;
  #maxHedges;
  #budget;
  #tenths = 0;

  /** `budget`: { ratio, max } with a ratio in whole tenths; or null. */
  constructor ({ delay, maxHedges, budget }) {
    this.#delay = delay;
    this.#maxHedges = maxHedges;
    this.#budget = budget;
  }

  get delay () {
    return typeof this.#delay === 'number' ? this.#delay
      : delayAfter(this.#latencies, this.#delay);
  }

  /** A call. `plans` says of each attempt how long it takes, ms, and whether it fails. */
  call (plans) {
    this.stats.calls += 1;
    if (this.#budget !== null) {
      const { ratio, max } = this.#budget;
      this.#tenths = Math.min(this.#tenths + Math.round(ratio * 10), max * 10);
    }
    const call = {
      plans, attempts: [], outcome: 'pending', startedAt: this.now, delay: this.delay,
      hedgeAt: this.now + this.delay,
    };
    this.calls.push(call);
    this.#attempt(call);
  }

  abort (index) {
    const call = this.calls[index];
    if (call.outcome !== 'pending') return;
    call.outcome = 'aborted';
    this.#end(call, 'aborted');
  }

  advance (ms) {
    for (const end = this.now + ms; this.now < end;) {
      this.now += 0.5;
      for (const call of this.calls) this.#look(call);
    }
  }

  /** What can be seen of all calls. */
  view () {
    return this.calls.map(({ outcome, attempts }) =>
      ({ outcome, attempts: attempts.map(({ startedAt, state }) => [startedAt, state]) }));
  }

  #attempt (call) {
    const plan = call.plans[call.attempts.length];
    call.attempts.push({ startedAt: this.now, endsAt: this.now + plan.ms, plan, state: 'runs' });
  }

  #look (call) {
    if (call.outcome !== 'pending') return;
    if (call.hedgeAt === this.now) this.#hedge(call);
    call.attempts.forEach((attempt, number) => {
      if (attempt.state !== 'runs' || attempt.endsAt !== this.now) return;
      attempt.state = 'over';
      if (attempt.plan.fails) this.#failed(call);
      else this.#answered(call, number);
    });
  }

  #hedge (call) {
    if (this.#budget !== null) {
      if (this.#tenths < 10) {
        this.stats.denied += 1;
        return;
      }
      this.#tenths -= 10;
    }
    this.stats.hedges += 1;
    this.#attempt(call);
    if (call.attempts.length <= this.#maxHedges) call.hedgeAt += call.delay;
  }

  #answered (call, number) {
    call.outcome = `answer ${number}`;
    if (number > 0) this.stats.wins += 1;
    if (number === 0 || call.attempts[0].state === 'runs') {
      this.#latencies.push(Math.round(this.now - call.startedAt));
    }
    this.#end(call, 'overtaken');
  }

  #failed (call) {
    if (call.attempts.some(({ state }) => state === 'runs')) return;
    call.outcome = 'error 0';
  }

  #end (call, state) {
    for (const attempt of call.attempts) if (attempt.state === 'runs') attempt.state = state;
  }
}

module.exports = { HedgeModel, delayAfter };
