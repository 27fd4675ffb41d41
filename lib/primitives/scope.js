'use strict';

// Who shares a thing: its scope, its namespace and its name, and its place in a region.

const { SekeringError, invalidOption } = require('../base/errors');
const native = require('../base/native');
const { checkNamespace, failure, fileOf, join } = require('../base/regions');
const { warn } = require('../base/warn');

const SCOPES = ['instance', 'process', 'host'];
const NAME_BYTES_MAX = 255;
// As in native/binding/shared.h.
const OTHER_OPTIONS = -101;

const isShared = ({ scope }) => scope === 'process' || scope === 'host';

/**
 * Checks `scope` and `namespace` of options, and the name that what is shared must have.
 * @throws {TypeError} ERR_INVALID_OPTION
 */
function checkScope (options, name) {
  const { scope = 'instance', namespace = 'default' } = options;
  if (!SCOPES.includes(scope)) {
    throw invalidOption('scope', "'instance', 'process' or 'host'", scope);
  }
  checkNamespace(namespace);
  if (!isShared(options)) return;
  if (typeof name !== 'string' || !name || Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw invalidOption('name', `1 to ${NAME_BYTES_MAX} bytes, as scope is '${scope}',`, name);
  }
}

/**
 * The place of that name: the one that is there, or a new one.
 * @param {string} kind of thing, in words
 * @param {{ scope: 'process' | 'host', namespace?: string, name: string }} place
 * @param {Float64Array} config of all who share it
 * @param {(region: number, name: string, config: Float64Array, stored: Float64Array) => number}
 *   attach answers a handle, or why there is none; `stored` gets the configuration that is there
 * @param {(config: Float64Array, stored: Float64Array) => string[]} differences the options that
 *   differ
 * @returns {number} the handle
 * @throws {SekeringError} ERR_OPTIONS_MISMATCH, with `options`: those that differ; ERR_NAME_TAKEN;
 *   ERR_SCOPE_UNSUPPORTED; ERR_REGION_…
 */
function attachPlace (kind, { scope, namespace = 'default', name }, config, attach, differences) {
  const region = join(scope, namespace);
  const stored = new Float64Array(config.length);
  const repaired = native.regionRepairs(region);
  const handle = attach(region, name, config, stored);
  if (native.regionRepairs(region) !== repaired) {
    warn('A damaged place in a region was replaced', new Error(fileOf(scope, namespace)));
  }
  if (handle >= 0) return handle;
  if (handle !== OTHER_OPTIONS) throw failure(handle, fileOf(scope, namespace));
  const differing = differences(config, stored);
  const error = new SekeringError('ERR_OPTIONS_MISMATCH',
    `The ${kind} '${name}' exists (scope '${scope}', namespace '${namespace}') with other ` +
    `options: ${differing.join(', ')}`);
  throw Object.assign(error, { options: differing });
}

module.exports = { attachPlace, checkScope, isShared };
