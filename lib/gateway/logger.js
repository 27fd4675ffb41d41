'use strict';

// Structured logs to a logger with pino's methods, or to pino itself, on the console and into a
// file. Secrets of the configuration are redacted, wherever they appear.

const { isA, messageOf, read } = require('../base/foreign');
const { requirePeer } = require('../base/peer');
const { guarded } = require('../base/warn');
const { secretsOf } = require('./config');

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];
const PROFILE_LEVELS = { production: 'info', development: 'debug', testing: 'silent' };
const DEPTH_MAX = 6;
const TEXT_MAX = 4000;
const VALUES_MAX = 10_000;

/** Removes the secrets of a configuration from texts. */
function redactor (config) {
  const secrets = secretsOf(config).sort((a, b) => b.length - a.length);
  return text => secrets.reduce((rest, secret) => rest.replaceAll(secret, '[secret]'), text);
}

/** What is logged of an error. Its cause and its response may hold secrets. */
function errorFields (error) {
  const stack = read(error, 'stack');
  return {
    name: read(error, 'name') ?? 'Error',
    code: read(error, 'code'),
    message: messageOf(error),
    stack: typeof stack === 'string' ? stack : undefined,
  };
}

/** Secrets first: a cut through a secret would leave its beginning. */
const shown = (text, redact) => redact(text).slice(0, TEXT_MAX);

/**
 * A copy of plain data with all texts redacted. `left.values` is how many more values it may have:
 * an object that refers to itself twice would otherwise be copied more often at each level.
 */
function cleaned (value, redact, left = { values: VALUES_MAX }, depth = 0) {
  if (typeof value === 'string') return shown(value, redact);
  if (typeof value === 'bigint') return String(value);
  const inside = inner => cleaned(inner, redact, left, depth + 1);
  if (isA(value, Error)) return inside(errorFields(value));
  if (isA(value, Date) || value === null || typeof value !== 'object') return value;
  if (depth > DEPTH_MAX) return '[deep]';
  try {
    const isList = Array.isArray(value);
    const names = Object.keys(value);
    const kept = names.slice(0, Math.max(left.values, 0));
    left.values -= kept.length;
    const copies = kept.map(name => [isList ? name : shown(name, redact), inside(value[name])]);
    if (kept.length < names.length) copies.push([isList ? kept.length : '…', '[more]']);
    return isList ? copies.map(([, copy]) => copy) : Object.fromEntries(copies);
  } catch {
    return '[unreadable]';
  }
}

function makePino (config) {
  const { level = PROFILE_LEVELS[config.profile], console, file } = config.logging;
  if (level === 'silent' || (!console && file === undefined)) return undefined;
  const pino = requirePeer('pino', 'sekering/gateway');
  const places = [];
  if (console) places.push(pino.destination({ dest: 1, sync: true }));
  if (file !== undefined) places.push(pino.destination({ dest: file, mkdir: true, sync: true }));
  const streams = pino.multistream(places.map(stream => ({ level, stream })));
  return pino({ level, base: { pid: process.pid } }, streams);
}

/** `own` is a logger with pino's methods, in place of pino. */
function createLogger (config, own) {
  const redact = redactor(config);
  const logger = own ?? makePino(config);
  const log = { redact };
  for (const level of LEVELS) {
    log[level] = (fields, message) => {
      guarded('The logger failed',
        () => logger?.[level]?.(cleaned(fields, redact), redact(message)));
    };
  }
  return log;
}

module.exports = { createLogger };
