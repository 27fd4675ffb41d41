'use strict';

// Options by name: figures that services in production have settled on. Times are milliseconds.

const { oneOf } = require('../base/options');

const presets = deepFreeze({
  // Payment gateway. Its rule is "five requests failed", so the first four failures do not open it.
  // The other presets with a percentage have the same threshold: one failed call of one is 100 %,
  // but not an outage.
  midtrans: {
    timeout: 10000,
    errorThresholdPercentage: 50,
    volumeThreshold: 5,
    resetTimeout: 60000,
    rollingCountTimeout: 10000,
    rollingCountBuckets: 10,
  },
  // Mail relay: slower to judge, slower to come back.
  smtp: {
    timeout: 5000,
    errorThresholdPercentage: 60,
    volumeThreshold: 5,
    resetTimeout: 120000,
    rollingCountTimeout: 30000,
    rollingCountBuckets: 30,
  },
  // WhatsApp gateway.
  whatsapp: {
    timeout: 8000,
    errorThresholdPercentage: 70,
    volumeThreshold: 5,
    resetTimeout: 300000,
    rollingCountTimeout: 60000,
    rollingCountBuckets: 60,
  },
  database: {
    timeout: 3000,
    errorThresholdPercentage: 50,
    volumeThreshold: 5,
    resetTimeout: 10000,
    rollingCountTimeout: 5000,
    rollingCountBuckets: 5,
  },
  // Pages and their API; retryPresets.pageFetch, whose attempts have a timeout each, goes inside.
  movieApi: { timeout: 0, consecutiveFailures: 5, resetTimeout: 300000 },
  // One socket session per customer; one breaker each (BreakerGroup). After its cool-down the
  // session starts anew, without a probe.
  whatsappSession: {
    failureCount: 15,
    rollingCountTimeout: 300000,
    resetTimeout: 600000,
    successThreshold: 0,
  },
  apiClient: {
    consecutiveFailures: 5,
    resetTimeout: 60000,
    successThreshold: 3,
  },
  // Messaging back end: also opens on half of the last 100 calls.
  messaging: {
    timeout: 30000,
    errorThresholdPercentage: 50,
    consecutiveFailures: 5,
    resetTimeout: 60000,
    successThreshold: 3,
    slidingWindowSize: 100,
    minimumCalls: 10,
  },
  greenApi: {
    timeout: 30000,
    consecutiveFailures: 5,
    resetTimeout: 60000,
    successThreshold: 3,
  },
  // Language models.
  aiProvider: {
    timeout: 30000,
    consecutiveFailures: 3,
    resetTimeout: 120000,
    successThreshold: 3,
  },
  databaseService: {
    timeout: 30000,
    consecutiveFailures: 10,
    resetTimeout: 30000,
    successThreshold: 3,
  },
});

// An error without a status may have any cause. It is retried, as retry() does by default.
const unlessStatusSays = (...statuses) => ({ statuses, otherwise: true });
const PASSING = unlessStatusSays('5xx', 429, 408);

const retryPresets = deepFreeze({
  payment: {
    retries: 5,
    factor: 2,
    minTimeout: 1000,
    maxTimeout: 60000,
    randomize: true,
    shouldRetry: PASSING,
  },
  email: {
    retries: 3,
    factor: 2,
    minTimeout: 1000,
    maxTimeout: 60000,
    randomize: true,
    shouldRetry: PASSING,
  },
  statusCheck: {
    retries: 5,
    factor: 2,
    minTimeout: 2000,
    maxTimeout: 30000,
    randomize: true,
    shouldRetry: PASSING,
  },
  // Waits 1, 2 and 4 s; each attempt is given longer than the one before it. No 4xx is retried.
  pageFetch: {
    retries: 3,
    factor: 2,
    minTimeout: 1000,
    maxTimeout: 4000,
    randomize: false,
    attemptTimeout: { initial: 15000, increment: 5000 },
    shouldRetry: unlessStatusSays('5xx'),
  },
  apiClient: {
    retries: 3,
    factor: 2,
    minTimeout: 1000,
    maxTimeout: 30000,
    randomize: false,
    jitter: 0.1,
    shouldRetry: unlessStatusSays(429, 500, 502, 503, 504),
  },
  // min(1 s * 2^n, 60 s) after attempt n: 2, 4, 8 and 16 s. Five attempts in all: a message that
  // fails the fifth is a dead letter.
  outbox: {
    retries: 4,
    factor: 2,
    minTimeout: 2000,
    maxTimeout: 60000,
    randomize: false,
    shouldRetry: PASSING,
  },
});

const profiles = deepFreeze({
  // Conservative: the presets' own time limits, which are the longest. A few calls alone do not
  // open a circuit, and an upstream that recovers does not get all calls at once.
  production: {
    breaker: { volumeThreshold: 5, rampUp: 10000 },
    retry: { maxRetryTime: 120000 },
  },
  // Lenient thresholds, so that a developer's own mistakes do not open the circuit, and short time
  // limits.
  development: {
    breaker: { timeout: 3000, volumeThreshold: 20, resetTimeout: 5000 },
    retry: { retries: 2, minTimeout: 200, maxTimeout: 2000 },
  },
  // As short as can be, and the same in every run.
  testing: {
    breaker: { timeout: 1000, resetTimeout: 100 },
    retry: { retries: 1, minTimeout: 1, maxTimeout: 10, randomize: false },
  },
});

function deepFreeze (object) {
  for (const value of Object.values(object)) {
    if (typeof value === 'object') deepFreeze(value);
  }
  return Object.freeze(object);
}

/** The options of a breaker preset. */
function preset (name) {
  return presets[oneOf('preset', name, Object.keys(presets))];
}

/**
 * Options to lay over those of every breaker and every retry of a deployment:
 * `{ ...presets.midtrans, ...profile('testing').breaker }`.
 */
function profile (name) {
  return profiles[oneOf('profile', name, Object.keys(profiles))];
}

module.exports = { preset, presets, profile, profiles, retryPresets };
