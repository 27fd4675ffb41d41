'use strict';

// Values as JSON: one way to write each value, so that they can be compared; and whether a value
// comes back from JSON as it was.

const { types } = require('node:util');

const { invalidOption } = require('../base/errors');
const { readable } = require('../base/options');

// A deeper value is a cycle, or is meant to exhaust the stack.
const DEPTH_MAX = 500;

const JSON_TEXT = 'what JSON can express';

/**
 * The canonical JSON of a value: members are sorted by their names (RFC 8785). Objects with a
 * toJSON method, such as dates, are what that returns.
 * @throws {TypeError} ERR_INVALID_OPTION
 */
function canonical (option, value, depth = 0) {
  if (depth > DEPTH_MAX) throw invalidOption(option, `at most ${DEPTH_MAX} levels`, value);
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw invalidOption(option, JSON_TEXT, value);
  }
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) {
    return JSON.stringify(value);
  }
  if (typeof value !== 'object' || types.isMap(value) || types.isSet(value)) {
    throw invalidOption(option, JSON_TEXT, value);
  }
  if (typeof value.toJSON === 'function') return canonical(option, value.toJSON(), depth + 1);
  if (Array.isArray(value)) {
    const elements = value.map((element, i) =>
      canonical(`${option}[${i}]`, element ?? null, depth + 1));
    return `[${elements.join(',')}]`;
  }
  const members = Object.keys(value).sort().filter(name => value[name] !== undefined).map(name =>
    `${JSON.stringify(name)}:${canonical(`${option}.${name}`, value[name], depth + 1)}`);
  return `{${members.join(',')}}`;
}

function isPlain (value) {
  const prototype = Object.getPrototypeOf(value);
  // A plain object of another realm is as plain as ours.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/**
 * Why a value would not come back from JSON as it was, such as "result.at is an instance of Date";
 * undefined if it would. Members that are undefined may be lost.
 */
function jsonFault (value, path, depth = 0) {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return undefined;
  if (typeof value === 'number') {
    return Number.isFinite(value) ? undefined : `${path} is ${value}`;
  }
  if (typeof value !== 'object') return `${path} is of type ${typeof value}`;
  if (depth > DEPTH_MAX) return `${path} is nested too deeply, or contains itself`;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i += 1) {
      const fault = jsonFault(value[i], `${path}[${i}]`, depth + 1);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }
  if (!isPlain(value) || typeof value.toJSON === 'function') {
    return `${path} is an instance of ${value.constructor?.name ?? 'a class'}`;
  }
  for (const name of Object.keys(value)) {
    if (value[name] === undefined) continue;
    const fault = jsonFault(value[name], `${path}.${name}`, depth + 1);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

module.exports = {
  canonical: (option, value) => readable(option, JSON_TEXT, value, () => canonical(option, value)),
  jsonFault (value, path) {
    try {
      return jsonFault(value, path);
    } catch {
      return `${path} has members that cannot be read`;
    }
  },
};
