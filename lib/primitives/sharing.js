'use strict';

// What threads or processes share: by scope, namespace and name they find the same place in a
// region.

const { SekeringError, invalidOption } = require('../base/errors');
const native = require('../base/native');
const { is } = require('../base/options');
const { checkNamespace, failure, fileOf, join } = require('../base/regions');
const { warn } = require('../base/warn');

const NAME_BYTES_MAX = 255;
// RegionError::kOtherDescription of native/core/region_file.h.
const OTHER_OPTIONS = -101;

/** The options that say who shares a thing. */
const PLACE = {
  scope: is.oneOf('who shares it', ['instance', 'process', 'host'], { default: 'instance' }),
  namespace: {
    doc: 'of those who share it', expected: 'a name', default: 'default',
    check: (_, value) => checkNamespace(value),
  },
  name: is.any('of what is shared'), // Checked by checkPlace().
};

const isShared = ({ scope }) => scope === 'process' || scope === 'host';

/**
 * Checks the name that a shared thing must have.
 * @throws {TypeError} ERR_INVALID_OPTION
 */
function checkPlace (options, name) {
  if (!isShared(options)) return;
  if (typeof name !== 'string' || !name || Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw invalidOption('name', `1 to ${NAME_BYTES_MAX} bytes, as scope is '${options.scope}',`,
      name);
  }
}

/**
 * Attaches to the place of that name, which is made if there is none.
 * @param {string} kind of thing, in words
 * @param {{ scope: 'process' | 'host', namespace: string, name: string }} place
 * @param {Float64Array} config of all who share it
 * @param {(region: number, name: string, config: Float64Array, stored: Float64Array) => number}
 *   attach returns a handle, or a negative error; `stored` gets the configuration that is there
 * @param {(config: Float64Array, stored: Float64Array) => string[]} differences the options that
 *   differ
 * @returns {number} the handle
 * @throws {SekeringError} ERR_OPTIONS_MISMATCH, with `options`: those that differ; ERR_NAME_TAKEN;
 *   ERR_SCOPE_UNSUPPORTED; ERR_REGION_…
 */
function attachPlace (kind, { scope, namespace, name }, config, attach, differences) {
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

module.exports = { PLACE, attachPlace, checkPlace, isShared };
