'use strict';

// What is measured: sekering, and its peers. SEKERING_BENCH_OURS puts another module with the same
// API in sekering's place.

const fs = require('node:fs');
const path = require('node:path');

const cockatiel = require('cockatiel');
const Opossum = require('opossum');
const asyncRetry = require('async-retry');

const PEERS = ['opossum', 'cockatiel', 'async-retry', 'p-retry'];

const { CircuitBreaker, retry } =
  require(process.env.SEKERING_BENCH_OURS ?? path.join(__dirname, '..', '..', 'lib'));

/** A cockatiel policy over a sampling breaker, with its timeout inside when asked for. */
function cockatielPolicy (timeoutMs) {
  const breaker = cockatiel.circuitBreaker(cockatiel.handleAll, {
    halfOpenAfter: 30_000,
    breaker: new cockatiel.SamplingBreaker({ threshold: 0.5, duration: 10_000 })
  });
  if (timeoutMs === undefined) return breaker;
  return cockatiel.wrap(breaker,
    cockatiel.timeout(timeoutMs, cockatiel.TimeoutStrategy.Aggressive));
}

const loadPRetry = async () => (await import('p-retry')).default;

function versions () {
  // Read as a file: not every package exports its package.json.
  const modules = path.join(__dirname, '..', '..', 'node_modules');
  const read = name => fs.readFileSync(path.join(modules, name, 'package.json'), 'utf8');
  return Object.fromEntries(PEERS.map(name => [name, JSON.parse(read(name)).version]));
}

module.exports = {
  CircuitBreaker, Opossum, retry, asyncRetry, loadPRetry, cockatielPolicy, versions
};
