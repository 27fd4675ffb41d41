'use strict';

// The jobs of a gateway's schedule.

const clock = require('../base/clock');

const DAY_MS = 86_400_000;
const LETTERS_MAX = 500;
// An order that was left alone this long is asked about.
const RECONCILE_MS = 600_000;
// A letter is given new attempts by itself for a day; then a person decides.
const RECOVER_MS_MAX = DAY_MS;

const PASSING = new Set(['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'EAI_AGAIN',
  'ENOTFOUND', 'ECONNECTION', 'ESOCKET', 'EDNS', 'TimeoutError']);
const PASSING_PATTERN = /^ERR_.*_(TIMEOUT|NETWORK|SERVER|RATE_LIMITED|UNAVAILABLE)$/;

const isPassing = kind => PASSING.has(kind) || PASSING_PATTERN.test(kind);

/** The breaker that a channel's messages go through. */
const BREAKERS = { EMAIL: 'smtp', WHATSAPP: 'whatsapp', MIDTRANS_ORDER: 'midtrans' };

/** What died of an outage gets all its attempts again once that is over, unless it has arrived. */
function passingAgain (breakers, deliveries) {
  return async letter => {
    const age = clock.wall() - letter.createdAt.getTime();
    const breaker = breakers[BREAKERS[letter.channel]];
    const isBack = breaker === undefined || breaker.closed;
    if (!isPassing(letter.kind) || !isBack || age >= RECOVER_MS_MAX) return 'keep';
    const delivery = (await deliveries.of([letter])).get(letter.id);
    return delivery === undefined || delivery.status === 'failed' ? 'retry' : 'keep';
  };
}

function stateOf (breaker) {
  if (breaker.opened) return 'open';
  return breaker.halfOpen ? 'half-open' : 'closed';
}

/**
 * @param {object} gateway
 * @param {Record<string, Function>} [strategies] of dead letters, by kind, before ours
 * @returns {Record<string, { pattern: string | false, run: Function }>}
 */
function jobsOf (gateway, strategies) {
  const { config, store, breakers, log } = gateway;
  const { schedule } = config;
  const keep = schedule.retentionDays * DAY_MS;
  const audit = schedule.auditRetentionDays * DAY_MS;
  const runs = {
    deadLetters: () => store.deadLetters.recover(
      { '*': passingAgain(breakers, store.deliveries), ...strategies }, { limit: LETTERS_MAX }),
    breakers: () => {
      const states = Object.fromEntries(
        Object.entries(breakers).map(([name, breaker]) => [name, stateOf(breaker)]));
      const troubled = Object.keys(states).filter(name => states[name] !== 'closed');
      if (troubled.length > 0) log.warn({ states }, 'Breakers are not closed');
      return states;
    },
    health: async () => {
      const { status } = await gateway.health.check();
      return { status };
    },
    report: async () => {
      const report = await gateway.report();
      log.info({ report }, 'Reliability report');
      return report;
    },
    cleanUp: () => store.cleanUp({
      sent: keep, dead: keep, deliveries: keep, foreignEvents: keep, audit
    }),
    ...config.midtrans !== undefined && {
      reconcile: () => store.payments.reconcile({ olderThan: RECONCILE_MS })
    },
  };
  return Object.fromEntries(Object.entries(runs)
    .map(([name, run]) => [name, { pattern: schedule[name], run }]));
}

module.exports = { jobsOf, stateOf };
