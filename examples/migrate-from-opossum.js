'use strict';

// Migrating a program from opossum: one line changes, everything else stays the same.

// const CircuitBreaker = require('opossum');
const CircuitBreaker = require('sekering/opossum');

async function getProfile (id) {
  if (id < 0) throw Object.assign(new Error('No such profile'), { statusCode: 404 });
  return { id, name: 'Sari' };
}

const breaker = new CircuitBreaker(getProfile, {
  timeout: 3000,
  errorThresholdPercentage: 50,
  resetTimeout: 30_000,
  cache: true,
  cacheTTL: 10_000,
  // The service is not at fault if a profile does not exist.
  errorFilter: error => error.statusCode === 404
});

breaker.on('cacheHit', () => console.log('from the cache'));
breaker.fallback(() => ({ name: 'unknown' }));

async function main () {
  console.log(await breaker.fire(7));
  console.log(await breaker.fire(7));
  await breaker.fire(-1).catch(error => console.log(error.message));
  const { fires, successes, failures, cacheHits } = breaker.stats;
  console.log({ fires, successes, failures, cacheHits, closed: breaker.closed });
  breaker.shutdown();
}

main();
