'use strict';

// Values as JSON: written in one way only, to compare them by; and those that come back from JSON
// as they went in.

const { createHash } = require('node:crypto');
const { types } = require('node:util');

const { invalidOption } = require('../base/errors');

// Deeper ones are cycles, or meant to exhaust the stack.
const DEPTH_MAX = 500;

const JSON_TEXT = 'what JSON can express';

/**
 * The one way to write a value as JSON: members in the order of their names (RFC 8785). Dates and
 * their like stand for what they are in JSON.
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

/** SHA-256 of a value, in hexadecimal; the same whatever the order of members. */
function hashOf (value) {
  const text = value === undefined ? '' : canonical('payload', value);
  return createHash('sha256').update(text).digest('hex');
}

function isPlain (value) {
  const prototype = Object.getPrototypeOf(value);
  // Plain objects of another realm are as plain as ours.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/**
 * What keeps a value from coming back from JSON as it went in: a text such as "result.at is an
 * instance of Date"; undefined if nothing does. Members that are undefined may be left out.
 */
function faultOf (value, path, depth = 0) {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return undefined;
  if (typeof value === 'number') {
    return Number.isFinite(value) ? undefined : `${path} is ${value}`;
  }
  if (typeof value !== 'object') return `${path} is of type ${typeof value}`;
  if (depth > DEPTH_MAX) return `${path} is nested too deeply, or contains itself`;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i += 1) {
      const fault = faultOf(value[i], `${path}[${i}]`, depth + 1);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }
  if (!isPlain(value) || typeof value.toJSON === 'function') {
    return `${path} is an instance of ${value.constructor?.name ?? 'a class'}`;
  }
  for (const name of Object.keys(value)) {
    if (value[name] === undefined) continue;
    const fault = faultOf(value[name], `${path}.${name}`, depth + 1);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

module.exports = { canonical, faultOf, hashOf };
