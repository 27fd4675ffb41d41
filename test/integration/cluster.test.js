'use strict';

// The example of a clustered service: one breaker for the host spares a dead upstream.

const { spawnSync } = require('node:child_process');
const path = require('node:path');

const EXAMPLE = path.join(__dirname, '..', '..', 'examples', 'cluster.js');

test('four workers with one breaker call a dead upstream far less than with four', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [EXAMPLE], {
    encoding: 'utf8', timeout: 170_000
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const line = /^scope '(\w+)': (\d+) calls reached .*, (\d+) requests .*; recovered$/gm;
  const runs = Object.fromEntries([...stdout.matchAll(line)].map(([, scope, calls, refused]) =>
    [scope, { calls: Number(calls), refused: Number(refused) }]));
  expect(Object.keys(runs)).toEqual(['instance', 'host']);
  // Ten failures open the circuit, and each further try is one call.
  expect(runs.host.calls).toBeGreaterThanOrEqual(10);
  expect(runs.host.calls).toBeLessThan(runs.instance.calls / 2);
  expect(runs.host.refused).toBeGreaterThan(2 * runs.host.calls);
});
