'use strict';

// Three kinds of tests: `unit` runs in one process and opens no sockets; `integration` starts
// servers and processes; `services` is what stands on a database.
// test/support/test.js runs the last two beside each other, so they should take about as long.

const SERVICES = [
  'dead-letters', 'deploy', 'gateway*', 'http-*', 'idempotency*', 'outbox*', 'payment*',
  'shared-level', 'store-*'
].join('|');

module.exports = {
  watchman: false,
  // What hangs is found out all the same, and a slow machine is no fault. (Jest reads this here
  // only: in a project it is accepted and ignored.)
  testTimeout: 180_000,
  reporters: ['default', '<rootDir>/test/support/end-reporter.js'],
  projects: [
    project('unit', '{unit,types}/**/*'),
    project('integration', `integration/!(${SERVICES})`),
    project('services', `integration/@(${SERVICES})`),
  ],
};

function project (displayName, files) {
  return {
    displayName,
    testEnvironment: 'node',
    testMatch: [`<rootDir>/test/${files}.test.js`],
    modulePathIgnorePatterns: ['<rootDir>/(native/)?build', '<rootDir>/node_modules/.cache'],
  };
}
