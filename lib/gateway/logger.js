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

/** A copy of plain data with all texts redacted. */
function cleaned (value, redact, depth = 0) {
  // Cut afterwards: the beginning of a secret at the cut would not be recognised.
  if (typeof value === 'string') return redact(value).slice(0, TEXT_MAX);
  if (typeof value === 'bigint') return String(value);
  if (isA(value, Error)) return cleaned(errorFields(value), redact, depth + 1);
  if (isA(value, Date) || value === null || typeof value !== 'object') return value;
  if (depth > DEPTH_MAX) return '[deep]';
  try {
    if (Array.isArray(value)) return value.map(item => cleaned(item, redact, depth + 1));
    return Object.fromEntries(Object.entries(value)
      .map(([name, inner]) => [redact(name), cleaned(inner, redact, depth + 1)]));
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
