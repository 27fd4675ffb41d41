'use strict';

// The core's adaptive limit against a slow and plain model, step by step, on both engines.

const native = require('../../lib/base/native');
const { loadWasm } = require('../../lib/base/wasm');
const { AdaptiveLimitModel } = require('../support/adaptive-limit-model');
const { Dice, seedsOf } = require('../support/random');

const ENDS = ['success', 'drop', 'ignored'];
const SEEDS = 60;
const STEPS = 6000;

/** Random bounds: fixed, narrow and wide ones. */
function rulesOf (dice) {
  const min = dice.pick([1, 1, 2, dice.between(1, 40)]);
  const max = min + dice.pick([0, 1, dice.between(1, 30), dice.between(100, 800)]);
  return {
    initial: dice.between(min, Math.min(max, min + 100)), min, max,
    tolerance: dice.pick([1, 1.25, 1.5, 3]),
  };
}

/** What the upstream is like for a while: its latency, how it varies, and how calls end. */
function weatherOf (dice) {
  const base = dice.pick([0, 0.02, 0.3, 5, 50, 2000]);
  const capacity = dice.pick([1, 5, 40, Infinity]);
  const spread = dice.pick([0, 0, 0.1, 2]);
  return {
    // How many callers there are.
    callers: dice.pick([1, 3, 10, 50, 2000]),
    latency: running => base * Math.max(1, running / capacity) * (1 + spread * dice.next()),
    outcome: dice.pick([() => 0, () => 0, () => 1, () => 2, () => dice.below(3),
      () => (dice.chance(0.05) ? 1 : 0)]),
    // Whether calls end in the order in which they began.
    isFair: dice.chance(0.5),
  };
}

/** Plays a seed. Returns the first difference, if there is one. */
function play (engine, seed) {
  const dice = new Dice(seed);
  const rules = rulesOf(dice);
  const model = new AdaptiveLimitModel(rules);
  const handle = engine.createAdaptiveLimit(rules.initial, rules.min, rules.max, rules.tolerance);
  const running = [];
  let weather;
  const check = (step, real, expected) => {
    const seen = [real, engine.adaptiveLimit(handle), engine.adaptiveActive(handle),
      engine.adaptiveBaseLatency(handle)];
    const said = [expected, model.limit, model.active, Math.trunc(model.base) / 1000];
    return seen.every((value, i) => value === said[i]) ? undefined
      : { seed, step, rules, seen, said };
  };
  let difference;
  for (let step = 0; step < STEPS && difference === undefined; step++) {
    if (step % 500 === 0) weather = weatherOf(dice);
    if (running.length < weather.callers && (running.length === 0 || dice.chance(0.55))) {
      const ticket = engine.beginAdaptive(handle);
      difference = check(step, ticket, model.begin());
      if (ticket !== -1) running.push(ticket);
    } else {
      const ms = weather.latency(running.length);
      const end = weather.outcome();
      const [ticket] = running.splice(weather.isFair ? 0 : dice.below(running.length), 1);
      model.end(ticket, ENDS[end], ms);
      difference = check(step, engine.endAdaptive(handle, ticket, end, ms), true);
    }
  }
  engine.destroyAdaptiveLimit(handle);
  return { difference, rounds: model.rounds };
}

describe.each([...new Map([[native.engine, native], ['wasm', loadWasm()]])])('%s', (_, engine) => {
  test('each step is as in the model', () => {
    const kinds = { probes: 0, slow: 0, grown: 0, dropped: 0, atMin: 0 };
    const seeds = seedsOf(SEEDS);
    for (const seed of seeds) {
      const { difference, rounds } = play(engine, seed);
      expect(difference).toBeUndefined();
      for (const { isProbe, gradient, room, dropped, limit } of rounds) {
        kinds.probes += isProbe ? 1 : 0;
        kinds.slow += gradient < 1 ? 1 : 0;
        kinds.grown += room > 0 ? 1 : 0;
        kinds.dropped += dropped > 0 ? 1 : 0;
        kinds.atMin += limit === 1 ? 1 : 0;
      }
    }
    if (seeds.length < SEEDS) return;
    // The sequences lead everywhere.
    for (const count of Object.values(kinds)) expect(count).toBeGreaterThan(20);
  });
});
