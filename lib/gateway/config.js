'use strict';

// A gateway's configuration: an object or a TOML file, checked as a whole. Secrets come from the
// environment: a value `env:NAME` stands for the variable NAME. No error repeats a value.

const fs = require('node:fs');
const util = require('node:util');

const { SekeringError, invalidOption } = require('../base/errors');
const { is, optionsOf } = require('../base/options');
const { configSchema } = require('./config-schema');

const REFERENCE = /^env:([A-Za-z_][A-Za-z0-9_]*)$/;
const SECRETS = new Set(
  ['serverKey', 'password', 'accessToken', 'appSecret', 'verifyToken', 'token', 'url']);
// A shorter text would be found inside other words.
const SECRET_CHARACTERS_MIN = 6;

const camel = name => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
const snake = name => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);

// Sections in which the names are the user's own.
const OWN_NAMES = new Set(['upstreams', 'features']);

const OPTIONS = optionsOf({
  env: is.object('where `env:NAME` is looked up; default: process.env'),
});

const isObject = value => value !== null && typeof value === 'object' &&
  (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null);

/** Turns snake_case names into camelCase, except names that are the user's own. */
function camelize (value, own = false) {
  if (Array.isArray(value)) return value.map(item => camelize(item));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => {
    if (name === 'default') return [name, inner];
    return [own ? name : camel(name), camelize(inner, !own && OWN_NAMES.has(name))];
  }));
}

/** A path as the user writes it: `admin.tokens[0].token`. */
function pathText (path, isToml) {
  return path.map((part, i) => {
    if (typeof part === 'number') return `[${part}]`;
    const own = OWN_NAMES.has(path[i - 1]) && i <= 2;
    return (i === 0 ? '' : '.') + (isToml && !own ? snake(String(part)) : String(part));
  }).join('');
}

/** A copy of a value in which `change(path, leaf)` replaces each leaf. */
function mapLeaves (value, change, path = []) {
  if (Array.isArray(value)) return value.map((item, i) => mapLeaves(item, change, [...path, i]));
  if (!isObject(value)) return change(path, value);
  return Object.fromEntries(Object.entries(value)
    .map(([name, inner]) => [name, mapLeaves(inner, change, [...path, name])]));
}

/** Fills in the values of the environment. Variables that are not set are added to `missing`. */
function resolve (value, env, missing) {
  return mapLeaves(value, (path, leaf) => {
    const name = typeof leaf === 'string' ? REFERENCE.exec(leaf)?.[1] : undefined;
    if (name === undefined) return leaf;
    if (env[name] !== undefined && env[name] !== '') return env[name];
    missing.push({ path, message: `The environment variable ${name} is not set` });
    return undefined;
  });
}

/** An issue of zod's as faults, one for each mistake. */
function faultsOf (issue) {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => ({ path: [...issue.path, key], message: 'No such option' }));
  }
  // In a union, the branch that came closest explains the mistake best.
  const branches = (issue.errors ?? []).filter(errors => errors.some(e => e.path.length > 0));
  if (branches.length === 1) {
    return branches[0].flatMap(inner =>
      faultsOf({ ...inner, path: [...issue.path, ...inner.path] }));
  }
  return [{ path: issue.path, message: issue.message }];
}

function configError (faults, source) {
  const list = faults.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  const error = new SekeringError('ERR_CONFIG',
    `The configuration${source ? ` ${source}` : ''} has ${faults.length} ` +
    `${faults.length === 1 ? 'fault' : 'faults'}:\n${list.map(line => `  ${line}`).join('\n')}`);
  error.faults = faults;
  return error;
}

function parseToml (file) {
  const { parse } = require('smol-toml');
  let source;
  try {
    source = fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw configError([{ path: '', message: `It cannot be read (${error.code})` }], file);
  }
  try {
    return parse(source);
  } catch (error) {
    // The parser's message quotes the lines around the fault, which may hold a secret.
    const place = error.line === undefined ? '' : ` at line ${error.line}, column ${error.column}`;
    throw configError([{ path: '', message: `It is not TOML${place}` }], file);
  }
}

/** All secret texts of a configuration, for redaction. */
function secretsOf (config) {
  const found = new Set();
  mapLeaves(config, (path, value) => {
    if (!SECRETS.has(path.at(-1)) || typeof value !== 'string') return;
    if (path.at(-1) === 'url' && path[0] === 'admin') return;
    found.add(value);
    if (path.at(-1) !== 'url') return;
    const { password } = new URL(value);
    if (password !== '') found.add(password).add(decodeURIComponent(password));
  });
  if (config.midtrans !== undefined) {
    found.add(Buffer.from(`${config.midtrans.serverKey}:`).toString('base64'));
  }
  return [...found].filter(value => value.length >= SECRET_CHARACTERS_MIN);
}

/** A copy of the configuration that may be shown. */
function masked (config) {
  return mapLeaves(config, (path, value) =>
    (SECRETS.has(path.at(-1)) && typeof value === 'string' ? '[secret]' : value));
}

function seal (config) {
  const show = { enumerable: false, value: () => masked({ ...config }) };
  Object.defineProperties(config, { toJSON: show, [util.inspect.custom]: show });
  return deepFreeze(config);
}

function deepFreeze (value) {
  if (value !== null && typeof value === 'object') {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}

/**
 * Reads and checks a configuration.
 * @param {object|string} [source] the configuration, or the path of a TOML file
 * @param {object} [options]
 * @returns {object} frozen, with all defaults; printing it shows no secret
 * @throws {SekeringError} ERR_CONFIG with `faults: [{ path, message }]`, all of them
 */
function readConfig (source = {}, options) {
  const { env = process.env } = OPTIONS.read(options);
  const isToml = typeof source === 'string';
  if (!isToml && !isObject(source)) {
    throw invalidOption('config', 'an object or the path of a TOML file', source);
  }
  const missing = [];
  const raw = resolve(isToml ? camelize(parseToml(source)) : source, env, missing);
  const { success, data, error } = configSchema.safeParse(raw);
  if (success && missing.length === 0) return seal(data);
  const known = new Set(missing.map(({ path }) => pathText(path, isToml)));
  const issues = success ? [] : error.issues.flatMap(faultsOf)
    .filter(({ path }) => !known.has(pathText(path, isToml)));
  const faults = [...missing, ...issues]
    .map(({ path, message }) => ({ path: pathText(path, isToml), message }));
  throw configError(faults, isToml ? source : undefined);
}

module.exports = { readConfig, secretsOf };
