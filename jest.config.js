'use strict';

// Three kinds of tests: `unit` runs in one process and opens no sockets, `integration` starts
// servers and processes, `packaging` installs, builds and documents. test/support/test.js runs the
// last two beside each other: nothing in `packaging` depends on how fast it gets on.

const PACKAGING = 'package|docs|examples|node-versions';

module.exports = {
  watchman: false,
  projects: [
    project('unit', '{unit,types}/**/*'),
    project('integration', `integration/**/!(${PACKAGING})`),
    project('packaging', `integration/(${PACKAGING})`),
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
