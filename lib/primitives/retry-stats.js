'use strict';

// What a retryable function has done so far.

class RetryStats {
  constructor () {
    this.calls = 0;
    this.attempts = 0;
    this.successes = 0;
    this.failures = 0;
    this.retries = 0;
    this.successfulRetries = 0;
    this.exhausted = 0;
    this.pauses = 0;
    this.pausedMs = 0;
  }

  call () {
    this.calls++;
  }

  begin (attempt) {
    this.attempts++;
    if (attempt > 1) this.retries++;
  }

  succeed (attempt) {
    this.successes++;
    if (attempt > 1) this.successfulRetries++;
  }

  fail () {
    this.failures++;
  }

  exhaust () {
    this.exhausted++;
  }

  pause (ms) {
    this.pauses++;
    this.pausedMs += ms;
  }

  /** The figures at this moment, as a plain object. */
  toJSON () {
    const settled = this.successes + this.failures;
    return {
      calls: this.calls,
      successes: this.successes,
      failures: this.failures,
      successRate: settled === 0 ? 1 : this.successes / settled,
      attempts: this.attempts,
      retries: this.retries,
      successfulRetries: this.successfulRetries,
      failedRetries: this.retries - this.successfulRetries,
      maxRetriesReached: this.exhausted,
      delays: this.pauses,
      totalDelay: this.pausedMs,
      averageDelay: this.pauses === 0 ? 0 : this.pausedMs / this.pauses,
    };
  }
}

module.exports = { RetryStats };
