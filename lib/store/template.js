'use strict';

// Texts with {{name}} in them. Plain text: what is filled in is not escaped.

const { StoreError } = require('./store-errors');

// Spaces around a name are cut off afterwards: so each character is looked at once.
const PLACE = /\{\{([^{}]*)\}\}/g;
const NAME_SHOWN_MAX = 100;
// The same long value may be named any number of times.
const FILLED_MAX = 1 << 20;

/** The value at a path such as `customer.name`; only own members are looked at. */
function valueAt (data, path) {
  let value = data;
  for (const name of path.split('.')) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, name)) {
      return undefined;
    }
    value = value[name];
  }
  return value;
}

function wrong (name, why) {
  const place = `{{${name.slice(0, NAME_SHOWN_MAX)}}}`;
  return new StoreError('ERR_OUTBOX_TEMPLATE', `The template's ${place} ${why}`);
}

const tooLarge = () => new StoreError('ERR_OUTBOX_TOO_LARGE',
  `Expected a template that gives at most ${FILLED_MAX} characters, but this one gives more`);

/**
 * Fills in `{{name}}` and `{{customer.name}}` from data. Templates come from outside, so it takes
 * time in proportion to the template's length, and no more.
 * @param {string} template
 * @param {unknown} data texts, numbers, true and false can be filled in
 * @returns {string}
 * @throws {StoreError} ERR_OUTBOX_TEMPLATE when there is no such value, ERR_OUTBOX_TOO_LARGE when
 *   the text would have more than 1,048,576 characters
 */
function fill (template, data) {
  let length = template.length;
  return template.replace(PLACE, (_, place) => {
    const name = place.trim();
    const value = valueAt(data, name);
    if (value === undefined || value === null) throw wrong(name, 'has no value');
    if (typeof value === 'object') throw wrong(name, 'is no text');
    const text = String(value);
    length += text.length;
    if (length > FILLED_MAX) throw tooLarge();
    return text;
  });
}

/**
 * Rejects a template with a placeholder that is never closed: it would be sent as it is.
 * @throws {StoreError} ERR_OUTBOX_TEMPLATE
 */
function parse (template) {
  const at = template.replace(PLACE, place => ' '.repeat(place.length)).indexOf('{{');
  if (at < 0) return;
  throw new StoreError('ERR_OUTBOX_TEMPLATE',
    `The template's {{ at character ${at + 1} is never closed: add }}`);
}

module.exports = { fill, parse };
