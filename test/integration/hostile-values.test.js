'use strict';

// Values that cannot be read, as errors, results, arguments, options and results of callbacks. Each
// call settles, fallbacks answer, retries make all their attempts, and the process goes on. Invalid
// input is rejected with an error of ours.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');

const { ERRORS } = require('../support/hostile');

const ACTOR = path.join(__dirname, '..', 'support', 'hostile-actor.js');
const ENTRANCES = path.join(__dirname, '..', 'support', 'hostile-entrances.js');
const BYTES_MAX = 64 << 20;

test('calls settle whatever is thrown or returned', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', ACTOR]);
  const { calls, found } = JSON.parse(stdout);
  expect(found).toEqual([]);
  expect(calls).toBeGreaterThan(50 * ERRORS.length);
});

// Beginnings of names. They divide the functions into parts that take similar times.
const PARTS = ['^[:A-F]', '^[G-Za-l]', '^new ', '^(?!new )[m-z]'];

test.each(PARTS)('every function copes with hostile values: %s', async part => {
  const { stdout } = await promisify(execFile)(process.execPath,
    ['--no-warnings', ENTRANCES, part], { maxBuffer: BYTES_MAX });
  const { calls, faults } = JSON.parse(stdout.trim().split('\n').at(-1));
  expect(faults).toEqual([]);
  expect(calls).toBeGreaterThan(1000);
}, 900_000);
