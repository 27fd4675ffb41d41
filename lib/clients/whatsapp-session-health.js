'use strict';

// How a pool of sessions is doing, in figures.

const { operatorMessage } = require('./whatsapp-session-errors');

// How much an instance that is open, that is down, that fails, takes from the health.
const WEIGHTS = { open: 50, down: 30, failing: 20 };

function stateOf (breaker) {
  if (breaker?.opened) return 'open';
  return breaker?.halfOpen ? 'half-open' : 'closed';
}

/**
 * The health is 100 less 50 times the share of open breakers, less 30 times that of instances which
 * are wanted and not connected, less 20 times that of the failures which would open every breaker.
 * @param {Map<string, Session>} sessions
 * @param {BreakerGroup} breakers
 * @param {number} failureCount that opens a breaker
 * @param {{ activations: number, retries: number }} counts so far
 */
function healthOf (sessions, breakers, failureCount, { activations, retries }) {
  const total = sessions.size;
  let active = 0;
  let connecting = 0;
  let down = 0;
  for (const session of sessions.values()) {
    if (session.isOpen) active += 1;
    else if (session.isConnecting) connecting += 1;
    else if (session.wanted) down += 1;
  }
  let open = 0;
  let failures = 0;
  for (const [, breaker] of breakers.entries()) {
    if (breaker.opened) open += 1;
    failures += breaker.stats.failures;
  }
  const share = count => Math.min(count / Math.max(total, 1), 1);
  const score = 100 - WEIGHTS.open * share(open) - WEIGHTS.down * share(down) -
    WEIGHTS.failing * share(failures / failureCount);
  return {
    total_instances: total,
    active_connections: active,
    connecting,
    circuit_breaker_activations: activations,
    total_retry_attempts: retries,
    total_recent_failures: failures,
    health_score: Math.round(score),
  };
}

/** One instance, with its breaker if it has one. */
function describe (session, breaker) {
  const { id, state, isOpen, lastError } = session;
  return {
    id,
    state,
    connected: isOpen,
    circuit_breaker: stateOf(breaker),
    recent_failures: breaker?.stats.failures ?? 0,
    last_error: lastError === undefined ? null : operatorMessage(lastError, id),
  };
}

module.exports = { describe, healthOf };
