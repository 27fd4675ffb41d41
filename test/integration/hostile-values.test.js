'use strict';

// Errors and results that cannot be read: each call settles, with that very value where it
// rejects, fallbacks answer, retries make all of their attempts, and the process lives on.

const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');

const { ERRORS } = require('../support/hostile');

const ACTOR = path.join(__dirname, '..', 'support', 'hostile-actor.js');

test('calls settle whatever is thrown or returned', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', ACTOR]);
  const { calls, found } = JSON.parse(stdout);
  expect(found).toEqual([]);
  expect(calls).toBeGreaterThan(50 * ERRORS.length);
});
