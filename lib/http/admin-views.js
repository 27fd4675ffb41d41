'use strict';

// What the admin API shows of things: what helps, in names that stay, and no secrets.

const PERCENT = 100;
const BODY_MAX = 8192;

// Whoever has a true signature can make Midtrans's notices up.
const SIGNATURES = /[0-9a-f]{128}/gi;

function stateOf (breaker) {
  if (!breaker.enabled) return 'disabled';
  if (breaker.opened) return 'open';
  return breaker.halfOpen ? 'half-open' : 'closed';
}

/** Of its window: failures in percent of the calls that have ended, and ms; null without calls. */
function figuresOf ({ stats: { successes, failures, latencyMean, percentiles } }) {
  const calls = successes + failures;
  const latency = value => calls > 0 && value >= 0 ? value : null;
  return {
    errorRate: calls === 0 ? null : failures / calls * PERCENT,
    mean: latency(latencyMean),
    p50: latency(percentiles[0.5]),
    p95: latency(percentiles[0.95]),
    p99: latency(percentiles[0.99]),
  };
}

function viewBreaker (breaker) {
  const { stats, options } = breaker;
  const { errorRate, ...latency } = figuresOf(breaker);
  const { lastTimerAt } = breaker.toJSON().state;
  return {
    name: breaker.name,
    group: breaker.group,
    state: stateOf(breaker),
    scope: options.scope ?? 'instance',
    errorRate: errorRate ?? 0,
    fires: stats.fires,
    successes: stats.successes,
    failures: stats.failures,
    timeouts: stats.timeouts,
    rejects: stats.rejects,
    fallbacks: stats.fallbacks,
    latency,
    openedAt: lastTimerAt === undefined ? null : new Date(lastTimerAt),
    windowMs: options.rollingCountTimeout,
    timeoutMs: options.timeout === false ? null : options.timeout,
    threshold: options.errorThresholdPercentage,
  };
}

/** An object without some of its members. */
function without (object, ...names) {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}

/** In a list the texts themselves are left out. */
function viewMessage (message) {
  return {
    ...without(message, 'body', 'data', 'template', 'errorHistory'),
    errors: message.errorHistory?.length ?? 0,
  };
}

// Whoever has the token can pay with it, or see what is to be paid.
function viewOrder (order) {
  return { ...without(order, 'token', 'redirectUrl'), hasToken: order.token != null };
}

function viewEvent (event) {
  const body = String(event.body ?? '').slice(0, BODY_MAX).replace(SIGNATURES, '(signature)');
  return { ...event, body };
}

/** JSON in which amounts, which are bigints, are text. */
const toJson = value => JSON.stringify(value,
  (_key, member) => typeof member === 'bigint' ? String(member) : member);

module.exports = {
  figuresOf, stateOf, toJson, viewBreaker, viewEvent, viewMessage, viewOrder, without,
};
