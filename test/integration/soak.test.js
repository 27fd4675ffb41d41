'use strict';

// Days of a busy service in virtual time: what is in use does not grow. `npm run test:chaos` runs a
// month of it.

const path = require('node:path');

const { cleanEnv, run } = require('../support/sandbox');

const ACTOR = path.join(__dirname, '..', 'support', 'soak-actor.js');
// The least that shows growth from one day to another; the first day fills what has a bound.
const DAYS = process.env.SEKERING_SOAK_DAYS ?? '2';
// Which customers have breakers at midnight differs.
const GROWTH_MAX = 1.1;

jest.setTimeout(1_200_000);

test('breakers, retries, limits and caches need no more memory from day to day', async () => {
  const { code, stdout, stderr } = await run(process.execPath, ['--expose-gc', ACTOR, DAYS],
    { env: cleanEnv({ SEKERING_ENGINE: 'native' }) });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const [first, ...others] = JSON.parse(stdout);
  expect(others.length).toBe(DAYS - 1);
  expect(others.at(-1) / first).toBeLessThan(GROWTH_MAX);
});
