'use strict';

// `unit` runs in one process and opens no sockets; `integration` starts servers and processes; so
// do `store` and `gateway`, which stand on a database; `platforms` needs the programs that
// `npm run test:platforms` installs.
// test/support/test.js runs the middle three beside each other, so they should take about as long.

const STORE = ['dead-letters', 'idempotency*', 'outbox*', 'store-*'].join('|');
const GATEWAY = ['dashboard*', 'deploy*', 'docs', 'gateway*', 'http-*', 'payment*',
  'shared-level'].join('|');

module.exports = {
  watchman: false,
  // What hangs is found out all the same, and a slow machine is no fault. (Jest reads this here
  // only: in a project it is accepted and ignored.)
  testTimeout: 900_000,
  reporters: ['default', '<rootDir>/test/support/end-reporter.js'],
  projects: [
    project('unit', '{unit,types}/**/*'),
    project('integration', `integration/!(${STORE}|${GATEWAY})`),
    project('store', `integration/@(${STORE})`),
    project('gateway', `integration/@(${GATEWAY})`),
    project('platforms', 'platforms/*'),
  ],
};

function project (displayName, files) {
  return {
    displayName,
    testEnvironment: 'node',
    // The sources run as they are.
    transform: {},
    testMatch: [`<rootDir>/test/${files}.test.js`],
    modulePathIgnorePatterns: ['<rootDir>/(native/)?build', '<rootDir>/node_modules/.cache'],
  };
}
