'use strict';

// Two kinds of tests: `unit` runs in one process and opens no sockets, `integration` starts
// servers, processes and compilers. test/support/test.js runs them one kind after the other.

module.exports = {
  watchman: false,
  projects: [
    project('unit', '{unit,types}'),
    project('integration', 'integration'),
  ],
};

function project (displayName, folder) {
  return {
    displayName,
    testEnvironment: 'node',
    testMatch: [`<rootDir>/test/${folder}/**/*.test.js`],
    modulePathIgnorePatterns: ['<rootDir>/(native/)?build', '<rootDir>/node_modules/.cache'],
  };
}
