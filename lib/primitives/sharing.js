'use strict';

// A breaker that others have too: its place in a region, and the news from there.

const { invalidOption } = require('../base/errors');
const native = require('../base/native');
const { attachBreaker } = require('../base/recorder');
const { differences } = require('./breaker-config');
const { attachPlace, checkScope, isShared } = require('./scope');

const PROCESSES_MAX = 16;

/** @throws {TypeError | RangeError} ERR_INVALID_OPTION */
function checkSharing (options, actionName) {
  const { scope, shareTrip = 'any' } = options;
  checkScope(options, options.name || actionName);
  const { processes } = Object(shareTrip);
  const fits = Number.isInteger(processes) && processes >= 1 && processes <= PROCESSES_MAX;
  if (shareTrip !== 'any' && !fits) {
    throw invalidOption('shareTrip',
      `'any' or { processes: an integer from 1 to ${PROCESSES_MAX} }`, shareTrip);
  }
  if (!isShared(options)) return;
  for (const own of ['status', 'state', 'rotateBucketController']) {
    if (options[own]) {
      throw invalidOption(own, `nothing, as scope is '${scope}',`, options[own]);
    }
  }
}

/**
 * The breaker of that name: the one that is there, or a new one.
 * @param {Float64Array} config
 * @returns {{ id: number, cells: Int32Array }}
 * @throws {SekeringError} as attachPlace
 */
function attach ({ scope, namespace }, name, config) {
  let attached;
  const attachTo = (...place) => (attached = attachBreaker(...place)).id;
  attachPlace('breaker', { scope, namespace, name }, config, attachTo, differences);
  return attached;
}

/** Has `announce(id)` called whenever others have changed a shared breaker of this environment. */
function onNews (announce) {
  native.onNews(announce);
}

module.exports = { attach, checkSharing, isShared, onNews };
