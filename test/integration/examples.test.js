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
    'open',
    "order-1 { queued: true, error: '503 Service Unavailable' }",
    "order-2 { queued: true, error: 'Breaker is open' }",
    "order-3 { queued: true, error: 'Breaker is open' }",
    'halfOpen',
    'close',
    "order-4 { token: 'token-of-order-4' }",
    "order-1 { token: 'token-of-order-1' }",
    "order-2 { token: 'token-of-order-2' }",
    "order-3 { token: 'token-of-order-3' }"
  ],
  'migrate-from-opossum.js': [
    "{ id: 7, name: 'Sari' }",
    'from the cache',
    "{ id: 7, name: 'Sari' }",
    'No such profile',
    '{ fires: 3, successes: 2, failures: 0, cacheHits: 1, closed: true }'
  ],
  'retry.js': [
    'attempt 1 failed: Service Unavailable',
    'attempt 2 failed: Service Unavailable',
    'settlement',
    'given up: Not found',
    'attempt 1 failed: Service Unavailable',
    'attempt 2 failed: Service Unavailable',
    'settlement'
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
