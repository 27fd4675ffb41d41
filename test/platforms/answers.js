'use strict';

// What uses.js and scopes.js must find in each runtime, and how their output is read.

const fs = require('node:fs');
const path = require('node:path');

const LIBRARY = path.join(__dirname, '..', '..', 'lib');
const PROGRAM = path.join(__dirname, 'scopes.js');

const ANSWERS = {
  'three lines': 'order-1 is queued',
  'opens, and is tried again': ['EOPENBREAKER', true, 'up', true],
  'timeout': ['ETIMEDOUT', 1],
  'many calls at once': [199_990_000, 20_000, 20_000],
  'drop-ins': ['down', true, 3, 3],
  'retry': 'down',
  'policy': [2, 'instead of down'],
  'a client over HTTP': ['pending', 1],
  'scopes': ['passed', 'process'],
  'worker threads': [[42, 1, true], [42, 1, true], [42, 1, true]],
};
const NO_SCOPES = { ...ANSWERS, scopes: ['passed', 'instance'] };
/** All that a program may say where scopes cannot be had. */
const WARNING = /^\(node:\d+\) \[SEKERING_SCOPE\] .*\n(\(Use `.*\n)?$/;

/** The suites of the drop-ins, and of what they stand on. */
const SUITES = ['breaker-calls', 'breaker-events', 'breaker-states', 'breaker-timeout', 'operation',
  'policy', 'retry'].map(name => `test/unit/${name}.test.js`);

/** What the program found. It warns only of scopes that cannot be had. */
function answersIn ({ code, stdout, stderr }, answers = NO_SCOPES) {
  const pattern = answers.scopes.includes('instance') ? WARNING : /^$/;
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(pattern) });
  return JSON.parse(stdout);
}

async function answerOf (outcome) {
  const { code, stdout, stderr } = await outcome;
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** Checks that threads of a process share things; `start(args)` runs a program to its end. */
async function expectThreadsShare (start) {
  expect(await answerOf(start([PROGRAM, LIBRARY])))
    .toEqual({ scope: 'process', events: ['open', 'close'], there: [true, 3] });
}

/** Checks that two processes do, one of which is killed. They meet in the empty folder `room`. */
async function expectProcessesShare (start, room) {
  fs.mkdirSync(room);
  const first = answerOf(start([PROGRAM, LIBRARY, room, 'first']));
  await start([PROGRAM, LIBRARY, room, 'second']);
  // Whole when it gets its name.
  const killed = path.join(room, 'second.killed');
  fs.writeFileSync(`${killed}~`, '{}');
  fs.renameSync(`${killed}~`, killed);
  expect(await first).toEqual({
    scope: 'host', events: ['open', 'close'], active: 1, atOnce: 2,
    second: {
      code: 'EOPENBREAKER', failures: 3, active: 1, tokens: 2, paid: 1, events: ['open', 'close'],
    },
  });
}

/** Checks what Bun's test runner says of a suite. */
function expectBunPassed ({ code, stderr }) {
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' });
  expect(Number(stderr.match(/^ *(\d+) pass$/m)[1])).toBeGreaterThan(5);
  expect(stderr).toMatch(/^ *0 fail$/m);
}

module.exports = {
  ANSWERS, LIBRARY, NO_SCOPES, SUITES, answerOf, answersIn, expectBunPassed, expectProcessesShare,
  expectThreadsShare
};
