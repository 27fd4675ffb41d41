'use strict';

// A breaker that others have too: its place in a region, and the news from there.

const { SekeringError, invalidOption } = require('../base/errors');
const native = require('../base/native');
const { attachBreaker } = require('../base/recorder');
const { checkNamespace, failure, fileOf, join } = require('../base/regions');
const { warn } = require('../base/warn');
const { differences } = require('./breaker-config');

const SCOPES = ['instance', 'process', 'host'];
const PROCESSES_MAX = 16;
const OTHER_OPTIONS = -101;

const isShared = ({ scope }) => scope === 'process' || scope === 'host';

/** @throws {TypeError | RangeError} ERR_INVALID_OPTION */
function checkSharing (options, actionName) {
  const { scope = 'instance', namespace = 'default', shareTrip = 'any' } = options;
  if (!SCOPES.includes(scope)) {
    throw invalidOption('scope', "'instance', 'process' or 'host'", scope);
  }
  checkNamespace(namespace);
  const { processes } = Object(shareTrip);
  const fits = Number.isInteger(processes) && processes >= 1 && processes <= PROCESSES_MAX;
  if (shareTrip !== 'any' && !fits) {
    throw invalidOption('shareTrip',
      `'any' or { processes: an integer from 1 to ${PROCESSES_MAX} }`, shareTrip);
  }
  if (!isShared(options)) return;
  const name = options.name || actionName;
  if (!name || Buffer.byteLength(name) > 255) {
    throw invalidOption('name', `1 to 255 bytes, as scope is '${scope}',`, name);
  }
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
 * @throws {SekeringError} ERR_OPTIONS_MISMATCH, ERR_REGION_…
 */
function attach ({ scope, namespace = 'default' }, name, config) {
  const handle = join(scope, namespace);
  const stored = new Float64Array(config.length);
  const repaired = native.regionRepairs(handle);
  const attached = attachBreaker(handle, name, config, stored);
  if (native.regionRepairs(handle) !== repaired) {
    warn('A damaged place in a region was replaced', new Error(fileOf(scope, namespace)));
  }
  if (attached.id >= 0) return attached;
  if (attached.id === OTHER_OPTIONS) {
    const differing = differences(config, stored);
    const error = new SekeringError('ERR_OPTIONS_MISMATCH',
      `The breaker '${name}' exists (scope '${scope}', namespace '${namespace}') with other ` +
      `options: ${differing.join(', ')}`);
    throw Object.assign(error, { options: differing });
  }
  throw failure(-attached.id, fileOf(scope, namespace));
}

/** Has `announce(id)` called whenever others have changed a shared breaker of this environment. */
function onNews (announce) {
  native.onNews(announce);
}

module.exports = { attach, checkSharing, isShared, onNews };
