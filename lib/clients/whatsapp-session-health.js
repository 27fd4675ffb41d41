'use strict';

// How a pool of sessions is doing, in figures.

// How much an instance that is open, that is down, that fails, takes from the health.
const WEIGHTS = { open: 50, down: 30, failing: 20 };

function stateOf (breaker) {
  if (breaker?.opened) return 'open';
  return breaker?.halfOpen ? 'half-open' : 'closed';
}

/**
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

module.exports = { healthOf, stateOf };
