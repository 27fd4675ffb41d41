'use strict';

// A slow and plain model of the core's adaptive limit (native/core/adaptive_limit.h), written from
// the description there. It keeps every sample of a round.

const COHORT_MIN = 20;
const COHORT_MAX = 200;
const ENDED_MAX = 10;
const ROUNDS_MAX = 50;
const QUARTER = 4;
const SMOOTHING = 0.5;
const GRADIENT_MIN = 0.5;
const BASE_MIN = 100;

const sumOf = numbers => numbers.reduce((sum, number) => sum + number, 0);

class AdaptiveLimitModel {
  active = 0;
  /** Latency under little load, in microseconds; 0 while unknown. */
  base = 0;
  /** What happened in each finished round, for tests. */
  rounds = [];
  #probedAt;
  #sinceProbe = 0;

  constructor ({ initial = 20, min = 1, max = 200, tolerance = 1.25 } = {}) {
    Object.assign(this, { exact: initial, min, max, tolerance });
    this.#probedAt = initial;
    this.#begin(1, false);
  }

  get limit () { return Math.floor(this.exact); }

  get isProbing () { return this.round.isProbe; }

  /** How many calls may run now. */
  get places () {
    return this.round.isProbe ? Math.max(this.min, Math.floor(this.exact / QUARTER)) : this.limit;
  }

  /** -1: refused; 0: not in the cohort of this round; else the number of the round. */
  begin () {
    if (this.active >= this.places) return -1;
    this.active++;
    const { round } = this;
    round.peak = Math.max(round.peak, this.active);
    if (round.begun === round.size) return 0;
    round.begun++;
    return round.number;
  }

  /** `outcome`: 'success', 'drop' or 'ignored'. */
  end (ticket, outcome, ms) {
    this.active--;
    const { round } = this;
    round.ended++;
    if (ticket === round.number) {
      round.outcomes.push({ outcome, micros: Math.round(ms * 1000) });
    }
    const enough = round.size - Math.floor(round.size / 10);
    if (round.outcomes.length >= enough || round.ended >= ENDED_MAX * round.size) this.#close();
  }

  #begin (number, isProbe) {
    const size = Math.min(Math.max(this.limit, COHORT_MIN), COHORT_MAX);
    this.round = { number, isProbe, size, begun: 0, ended: 0, peak: 0, outcomes: [] };
  }

  #close () {
    const { number, isProbe, peak, outcomes } = this.round;
    const latencies = outcomes.filter(({ outcome }) => outcome === 'success')
      .map(({ micros }) => micros);
    const drops = outcomes.filter(({ outcome }) => outcome === 'drop').length;
    const count = latencies.length + drops;
    const mean = latencies.length > 0 ? sumOf(latencies) / latencies.length : undefined;
    const isQuiet = isProbe || peak <= this.exact / QUARTER;
    const isUsed = !isProbe && peak > this.exact / 2;
    const isFirst = this.base === 0;

    if (mean !== undefined && (isQuiet || isFirst)) this.base = Math.max(mean, BASE_MIN);
    const allowed = this.tolerance * this.base;
    const isSlow = !isQuiet && mean !== undefined && mean > allowed;
    const dropped = count === 0 ? 0 : drops / count;
    const gradient = isSlow ? Math.max(allowed / mean, GRADIENT_MIN) : 1;
    const room = count > 0 && isUsed ? Math.sqrt(this.exact) * (1 - dropped) : 0;
    const next = this.exact * gradient * (1 - dropped / 2) + room;
    const smooth = this.exact + (next - this.exact) * SMOOTHING;
    this.exact = Math.min(Math.max(smooth, this.min), this.max);

    this.#sinceProbe++;
    if (isQuiet) {
      this.#sinceProbe = 0;
      this.#probedAt = this.exact;
    }
    const hasMoved = this.exact <= this.#probedAt / 2 || this.exact >= this.#probedAt * 2;
    const isDue = isFirst || hasMoved || (isSlow && this.#sinceProbe >= ROUNDS_MAX);
    this.rounds.push({ number, isProbe, mean, dropped, gradient, room, base: this.base,
      limit: this.exact });
    this.#begin(number + 1, isUsed && isDue);
  }
}

module.exports = { AdaptiveLimitModel };
