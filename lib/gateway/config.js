'use strict';

// A gateway's configuration: an object, or a TOML file, checked as a whole. Secrets come from the
// environment: a value `env:NAME` stands for the variable NAME, and no value is ever repeated in an
// error.

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const util = require('node:util');

const { SekeringError, invalidOption } = require('../base/errors');
const { canShare } = require('../base/runtime');
const { profiles } = require('../primitives/presets');
const { configSchema } = require('./config-schema');

const REFERENCE = /^env:([A-Za-z_][A-Za-z0-9_]*)$/;
const SECRETS = new Set(
  ['serverKey', 'password', 'accessToken', 'appSecret', 'verifyToken', 'token', 'url']);
// What is shorter would be found in every other word.
const SECRET_CHARACTERS_MIN = 6;

const camel = name => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
const snake = name => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);

// Sections in which the names are the user's own.
const OWN_NAMES = new Set(['upstreams', 'features']);

const isObject = value => value !== null && typeof value === 'object' &&
  (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null);

/** Names as JavaScript writes them, but for those that are the user's own. */
function camelize (value, own = false) {
  if (Array.isArray(value)) return value.map(item => camelize(item));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => {
    if (name === 'default') return [name, inner];
    return [own ? name : camel(name), camelize(inner, !own && OWN_NAMES.has(name))];
  }));
}

/** As the user would write it: `admin.tokens[0].token`. */
function pathText (path, isToml) {
  return path.map((part, i) => {
    if (typeof part === 'number') return `[${part}]`;
    const own = OWN_NAMES.has(path[i - 1]) && i <= 2;
    return (i === 0 ? '' : '.') + (isToml && !own ? snake(String(part)) : String(part));
  }).join('');
}

function pathsOf (path, value, visit) {
  if (Array.isArray(value)) return value.map((item, i) => pathsOf([...path, i], item, visit));
  if (!isObject(value)) return visit(path, value);
  return Object.fromEntries(Object.entries(value)
    .map(([name, inner]) => [name, pathsOf([...path, name], inner, visit)]));
}

/** Puts the environment's values in place; `missing` gets the paths of those that are not there. */
function resolve (value, env, missing) {
  return pathsOf([], value, (path, leaf) => {
    const name = typeof leaf === 'string' ? REFERENCE.exec(leaf)?.[1] : undefined;
    if (name === undefined) return leaf;
    if (env[name] !== undefined && env[name] !== '') return env[name];
    missing.push({ path, message: `The environment variable ${name} is not set` });
    return undefined;
  });
}

/** A fault for each thing that is wrong. */
function faultsOf (issue) {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => ({ path: [...issue.path, key], message: 'No such option' }));
  }
  // Of a union, the branch that came closest says most.
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

/** The secrets of a configuration, for redaction. */
function secretsOf (config) {
  const found = new Set();
  pathsOf([], config, (path, value) => {
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

/** As it may be shown. */
function masked (config) {
  return pathsOf([], config, (path, value) =>
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
 * @param {object|string} [given] the configuration, or the path of a TOML file
 * @param {{ env?: object }} [options] env: where `env:NAME` is looked up, default process.env
 * @returns {object} frozen, with all defaults; printed, it shows no secret
 * @throws {SekeringError} ERR_CONFIG with `faults: [{ path, message }]`: all there are
 */
function readConfig (given = {}, { env = process.env } = {}) {
  const isToml = typeof given === 'string';
  if (!isToml && !isObject(given)) {
    throw invalidOption('config', 'an object or the path of a TOML file', given);
  }
  const missing = [];
  const raw = resolve(isToml ? camelize(parseToml(given)) : given, env, missing);
  const { success, data, error } = configSchema.safeParse(raw);
  if (success && missing.length === 0) return seal(data);
  const known = new Set(missing.map(({ path }) => pathText(path, isToml)));
  const issues = success ? [] : error.issues.flatMap(faultsOf)
    .filter(({ path }) => !known.has(pathText(path, isToml)));
  const faults = [...missing, ...issues]
    .map(({ path, message }) => ({ path: pathText(path, isToml), message }));
  throw configError(faults, isToml ? given : undefined);
}

// ---- What the parts are made with: preset, profile, [retry…] and their own section, in this order

const TIMES_OF_RETRY = ['retries', 'strategy', 'factor', 'minTimeout', 'maxTimeout', 'randomize',
  'jitter'];

const given = object => Object.fromEntries(
  Object.entries(object ?? {}).filter(([, value]) => value !== undefined));

/**
 * Options of a breaker.
 * @param {object} config
 * @param {string} name
 * @param {object} preset
 * @param {object} [own] its section's circuitBreaker
 */
function breakerOptions (config, name, preset, own) {
  const { scope = defaultScope(config.profile), namespace, shareTrip, ...general } =
    given(config.retry.circuitBreaker);
  const figures = {
    ...preset, ...profiles[config.profile].breaker, ...general, ...given(own),
    // The time limit is that of the client's requests.
    timeout: false,
    name,
  };
  if (scope === 'instance') return figures;
  return {
    ...figures, ...given({ shareTrip }), scope: scope === 'fleet' ? 'host' : scope,
    namespace: `${namespace}.${hashOf(figures)}`,
  };
}

// Those who share a breaker need the same figures: with others, after a change of the configuration
// say, it is another breaker.
function hashOf (figures) {
  return createHash('sha256').update(JSON.stringify(figures)).digest('hex').slice(0, 8);
}

// Tests want no state that outlives them.
function defaultScope (profile) {
  return canShare && profile !== 'testing' ? 'host' : 'instance';
}

/** ms that one attempt may take. */
function timeoutOf (config, preset, own) {
  return own ?? profiles[config.profile].breaker.timeout ?? preset.timeout;
}

/** How the delays between attempts grow. */
function retryOptions (config, preset, own) {
  const general = Object.fromEntries(TIMES_OF_RETRY
    .filter(name => config.retry[name] !== undefined).map(name => [name, config.retry[name]]));
  const options = { ...preset, ...profiles[config.profile].retry, ...general, ...given(own) };
  // Jitter and such take the place of a preset's randomize.
  if (general.jitter ?? general.strategy ?? own?.jitter ?? own?.strategy) {
    options.randomize = own?.randomize ?? general.randomize ?? false;
  }
  return options;
}

module.exports = { breakerOptions, readConfig, retryOptions, secretsOf, timeoutOf };
