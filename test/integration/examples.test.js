'use strict';

// Every example runs, ends by itself soon, and prints what it says it shows.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const FOLDER = path.join(__dirname, '..', '..', 'examples');

const EXPECTED = {
  'three-lines.js': [
    'open: calls are refused at once from now on',
    'order-1: connect ECONNREFUSED (order order-1)',
    'order-2: EOPENBREAKER'
  ],
  'fallback-queue.js': [
    ...[1, 2, 3, 4].map(i => `order-${i} { queued: true, error: '503 Service Unavailable' }`),
    'open',
    "order-5 { queued: true, error: '503 Service Unavailable' }",
    "order-6 { queued: true, error: 'Breaker is open' }",
    'halfOpen',
    'close',
    ...[7, 1, 2, 3, 4, 5, 6].map(i => `order-${i} { token: 'token-of-order-${i}' }`)
  ],
  'migrate-from-opossum.js': [
    "{ id: 7, name: 'Sari' }",
    'from the cache',
    "{ id: 7, name: 'Sari' }",
    'No such profile',
    '{ fires: 3, successes: 2, failures: 0, cacheHits: 1, closed: true }'
  ],
  'game-day.js': [
    'the prices of today',
    'the prices of yesterday (Timed out after 20ms)',
    'the prices of yesterday (503 Service Unavailable)',
    'the prices of yesterday (Timed out after 20ms)',
    'the prices of yesterday (Breaker is open)',
    '{ calls: 3, faults: { hangs: 2, fails: 1 } }',
    'the prices of today'
  ],
  'retry.js': [
    'attempt 1 failed: Service Unavailable',
    'attempt 2 failed: Service Unavailable',
    'settlement',
    'given up: Not found',
    'attempt 1 failed: Service Unavailable',
    'attempt 2 failed: Service Unavailable',
    'settlement'
  ],
  'film-payments.js': [
    'alert: midtrans open',
    ...[1, 2, 3, 4, 5].map(i => `order-${i} 202 [ 'queued', 'error' ]`),
    'refund 503 ERR_DEGRADED 60',
    'alert: midtrans close',
    'the queued orders have their pages',
    "order-6 201 [ 'token' ]",
    'mail to ani@example.com: Your film'
  ],
  'streaming-pages.js': [
    '/movies/popular: movies of /movies/popular [1 requests]',
    '/movies/popular: movies of /movies/popular [0 requests]',
    '/movies/0: There is no such page. [1 requests]',
    'monitoring: Bad Gateway',
    '/movies/popular: movies of /movies/popular (may be outdated: 21 minutes old) [4 requests]',
    'monitoring: Bad Gateway',
    '/movies/popular: movies of /movies/popular (may be outdated: 21 minutes old) [4 requests]',
    'monitoring: Bad Gateway',
    '/movies/popular: movies of /movies/popular (may be outdated: 21 minutes old) [4 requests]',
    'monitoring: Bad Gateway',
    '/movies/popular: movies of /movies/popular (may be outdated: 21 minutes old) [4 requests]',
    'monitoring: Bad Gateway',
    'monitoring: the breaker is open',
    '/movies/popular: movies of /movies/popular (may be outdated: 21 minutes old) [4 requests]',
    '/movies/popular: movies of /movies/popular (may be outdated: 21 minutes old) [0 requests]',
    '/movies/new: Please wait, we try again. [0 requests]',
    '/movies/popular: movies of /movies/popular [1 requests]'
  ],
  'whatsapp-server.js': [
    "{ status: 200, body: { sent: 'MSG1' } }",
    'shop-2: the breaker is open',
    '{ status: 503, body: { circuit_breaker: true } }',
    "{ status: 200, body: { sent: 'MSG2' } }",
    'open 15',
    '{ instances: 2, score: 65 }',
    'shop-2: the breaker is closed',
    '200',
    "{ status: 200, body: { sent: 'MSG3' } }"
  ],
  'api-client.js': [
    "/films [1 requests] call { path: '/films' }",
    '/films/none [1 requests] none HTTP 404 null',
    "/films [4 requests] fallback HTTP 503 { path: '/films' }",
    'the breaker is open',
    '/rates [1 requests] fallback Breaker is open { rates: {} }',
    '/films/7 [0 requests] fallback Breaker is open { readOnly: true }',
    '{ attempts: 9, successRate: 0.2, maxRetriesReached: 1 }'
  ],
  'messaging.js': [
    'to +6281200000001: The answer to "When do you open?"',
    'level MODERATE (down: ai)',
    'to +6281200000002: A colleague will answer you soon.',
    'to +6281200000003: We are busy.',
    "{ queued: true, kind: 'DOWN_WHATSAPP', attemptCount: 1 }",
    'to +6281200000004: We are busy.',
    "healthy [ { name: 'ai', closed: true }, { name: 'whatsapp', closed: true } ]"
  ]
};

test('each example has its output below', () => {
  // What cluster.js prints differs from run to run: it has a test of its own.
  const examples = fs.readdirSync(FOLDER)
    .filter(name => name.endsWith('.js') && name !== 'cluster.js');
  expect(Object.keys(EXPECTED).sort()).toEqual(examples.sort());
});

test.each(Object.keys(EXPECTED))('%s', name => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [path.join(FOLDER, name)], {
    encoding: 'utf8', timeout: 100_000, env: { ...process.env, NO_COLOR: '1' }
  });
  expect(stderr).toBe('');
  expect(stdout.trimEnd().split('\n')).toEqual(EXPECTED[name]);
  expect(status).toBe(0);
});
