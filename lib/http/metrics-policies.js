'use strict';

// Metrics of the parts of policies that count something: hedges, faults, limits, load shedders.
// They are read from the parts when the page is.

const { isA, read } = require('../base/foreign');
const { Chaos } = require('../primitives/chaos');
const { Hedge } = require('../primitives/hedge');
const { AdaptiveLimiter } = require('../primitives/limits');
const { LoadShedder } = require('../primitives/load-shedder');

const MS_PER_SECOND = 1000;
// A user's own part may count nothing.
const CLASSES = { hedge: Hedge, chaos: Chaos, adaptiveLimit: AdaptiveLimiter, shed: LoadShedder };

/** A family of one row for each policy that has the part; `valueOf` gets the part. */
const one = (type, name, help, part, valueOf, aggregator) =>
  ({ type, name, help, part, aggregator, rowsOf: each => [[{}, valueOf(each)]] });

/** A counter of calls of load shedders. */
const shedding = (name, help, valueOf) => ({
  type: 'counter', name, help, part: 'shed',
  rowsOf: ({ stats: { byPriority } }) => Object.entries(byPriority)
    .map(([priority, counts]) => [{ priority }, valueOf(counts)]),
});

const FAMILIES = [
  one('counter', 'hedge_calls_total', 'Calls that could be hedged', 'hedge',
    ({ stats }) => stats.calls),
  one('counter', 'hedges_total', 'Calls that were made once more', 'hedge',
    ({ stats }) => stats.hedges),
  one('counter', 'hedge_wins_total', 'Calls that a hedge has answered', 'hedge',
    ({ stats }) => stats.wins),
  one('counter', 'hedges_denied_total', 'Hedges that the budget did not allow', 'hedge',
    ({ stats }) => stats.denied),
  {
    type: 'counter', name: 'chaos_faults_total', help: 'Faults that were injected', part: 'chaos',
    rowsOf: ({ stats }) => Object.entries(stats.faults).map(([fault, count]) => [{ fault }, count]),
  },
  one('gauge', 'adaptive_limit', 'Calls that may run at once, as found so far', 'adaptiveLimit',
    ({ limit }) => limit),
  one('gauge', 'adaptive_limit_active', 'Calls that run', 'adaptiveLimit',
    ({ active }) => active),
  one('gauge', 'adaptive_limit_queued', 'Calls that wait', 'adaptiveLimit',
    ({ queued }) => queued),
  shedding('load_shedder_calls_total', 'Calls that a load shedder was asked for, by priority',
    ({ calls }) => calls),
  shedding('load_shed_total', 'Calls that a load shedder rejected, by priority',
    ({ shed }) => shed),
  one('gauge', 'load_pressure', '0 to 9: calls of lower priority are rejected', 'shed',
    ({ pressure }) => pressure, 'max'),
  one('gauge', 'load_delay_seconds', 'How late the event loop was, in seconds', 'shed',
    ({ delay }) => delay / MS_PER_SECOND, 'max'),
];

/** Adds the families of the parts that these policies have. */
function addPolicies (factory, policies) {
  const named = Object.entries(policies);
  for (const { type, name, help, part, rowsOf, aggregator } of FAMILIES) {
    const parts = named.map(([label, policy]) => [label, read(policy, part)])
      .filter(([, each]) => isA(each, CLASSES[part]));
    if (parts.length === 0) continue;
    factory.made(type, name, help, () => parts.flatMap(([label, each]) =>
      rowsOf(each).map(([labels, value]) => [{ name: label, ...labels }, value])), aggregator);
  }
}

module.exports = { addPolicies };
