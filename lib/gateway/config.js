'use strict';

// A gateway's configuration: an object or a TOML file, checked as a whole. Secrets come from the
// environment: a value `env:NAME` stands for the variable NAME. No error repeats a value.

const fs = require('node:fs');
const { isIP } = require('node:net');
const util = require('node:util');

const { z } = require('zod');

const { SekeringError, invalidOption } = require('../base/errors');
const { is, optionsOf } = require('../base/options');
const { presets } = require('../primitives/presets');

// ---- What it may hold. Times are milliseconds. Unknown names are rejected ----------------------

const DAY_MS = 86_400_000;
// Those of both schemes of degradation.
const LEVELS = ['NORMAL', 'DEGRADED', 'SEVERE', 'EMERGENCY', 'MINOR', 'MODERATE', 'CRITICAL'];

const text = (max = 1000) => z.string().min(1).max(max);
const ms = (min = 1) => z.number().min(min).max(365 * DAY_MS);
const count = (min, max) => z.int().min(min).max(max);
const percentage = z.number().min(0).max(100);
const name = z.string().regex(/^[\w.-]{1,64}$/);

// Sent in a header or an address. No message shows its value.
const secret = z.string().regex(/^[!-~]{1,1000}$/,
  'Invalid input: expected a text without spaces');

const token = secret.min(16, 'Too small: expected a token of at least 16 characters').max(512);

const url = (...schemes) => z.string().max(2000)
  .refine(value => URL.canParse(value) && schemes.includes(new URL(value).protocol.slice(0, -1)), {
    error: `Invalid input: expected an address that begins with ${schemes[0]}://`
  });
const http = url('https', 'http');

// A variable of the environment is always a text.
const port = z.preprocess(
  value => (typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : value),
  count(0, 65_535));

// The proxies whose X-Forwarded-For we trust. Never everybody: any client could claim any address.
const PROXIES = 'the number of proxies in front (1 to 100), or a list of their addresses: ' +
  'networks such as 10.0.0.0/8, loopback, linklocal, uniquelocal; false without a proxy';
const PROXY_NAMES = ['loopback', 'linklocal', 'uniquelocal'];

const trustProxy = z.preprocess(readProxies, z.union([
  z.literal(false),
  count(0, 100),
  z.array(z.string().refine(isProxy, `Invalid input: expected ${PROXIES}`)).min(1).max(100),
], {
  error: ({ input }) => (input === true
    ? `Invalid input: true would let clients choose their address; write ${PROXIES}`
    : `Invalid input: expected ${PROXIES}`),
})).default(false);

const retry = z.strictObject({
  retries: count(0, 100),
  strategy: z.enum(['exponential', 'linear', 'fixed', 'fibonacci', 'decorrelated']),
  factor: z.number().min(1).max(100),
  minTimeout: ms(0),
  maxTimeout: ms(0),
  randomize: z.boolean(),
  jitter: z.union([z.enum(['none', 'full', 'equal']), z.number().min(0).max(1)]),
}).partial();

const circuitBreaker = z.strictObject({
  errorThresholdPercentage: percentage,
  volumeThreshold: count(0, 1_000_000),
  consecutiveFailures: count(1, 1_000_000),
  failureCount: count(1, 1_000_000),
  slidingWindowSize: count(1, 10_000),
  minimumCalls: count(1, 10_000),
  slowCallDuration: ms(),
  slowCallThresholdPercentage: percentage,
  resetTimeout: z.union([
    ms(),
    z.strictObject({
      initial: ms(), factor: z.number().min(1).max(1000).optional(), max: ms().optional()
    })
  ]),
  halfOpenProbes: count(1, 16),
  successThreshold: count(1, 1_000_000),
  rampUp: ms(0),
  rollingCountTimeout: ms(),
  rollingCountBuckets: count(1, 1000),
}).partial();

// The settings of all breakers also say which processes share them.
const sharedBreaker = circuitBreaker.extend({
  scope: z.enum(['instance', 'process', 'host', 'fleet']).optional(),
  namespace: name.max(50).default('default'),
  shareTrip: z.union([
    z.literal('any'), z.strictObject({ processes: count(1, 16) })
  ]).optional(),
});

const status = z.union([count(100, 599), z.enum(['1xx', '2xx', '3xx', '4xx', '5xx'])]);

const policy = z.strictObject({
  retryableStatuses: z.array(status).max(100),
  retryableErrors: z.array(text(100)).max(100),
}).partial();

const fallback = z.strictObject({
  maxWait: ms().default(5000),
  cacheTtl: ms(0).default(3_600_000),
  cacheSize: count(1, 1_000_000).default(1000),
});

const client = { timeout: ms().optional(), circuitBreaker: circuitBreaker.optional() };
const channel = { ...client, concurrency: count(1, 1000).default(5) };

const midtrans = z.strictObject({
  serverKey: secret,
  production: z.boolean().default(false),
  snapUrl: http.optional(),
  coreUrl: http.optional(),
  connections: count(1, 10_000).optional(),
  orderIdPattern: text(500).refine(isPattern, 'Invalid input: expected a regular expression')
    .optional(),
  ...client,
});

const smtp = z.strictObject({
  host: text(253).optional(),
  port: port.optional(),
  secure: z.boolean().optional(),
  ignoreTls: z.boolean().optional(),
  requireTls: z.boolean().optional(),
  user: text(500).optional(),
  password: text(1000).optional(),
  url: url('smtps', 'smtp').optional(),
  from: text(320),
  ...channel,
}).refine(({ host, url: address }) => (host === undefined) !== (address === undefined), {
  error: 'Invalid input: expected either host or url'
});

const whatsapp = z.strictObject({
  cloud: z.strictObject({
    accessToken: secret,
    phoneNumberId: z.string().regex(/^\d{1,30}$/),
    appSecret: secret.optional(),
    verifyToken: secret.optional(),
    version: z.string().regex(/^v\d+\.\d+$/).optional(),
    baseUrl: http.optional(),
  }).optional(),
  green: z.strictObject({
    instanceId: z.union([z.string().regex(/^\d{1,30}$/), count(0, Number.MAX_SAFE_INTEGER)]),
    token: secret,
    baseUrl: http.optional(),
  }).optional(),
  ...channel,
}).refine(({ cloud, green }) => (cloud === undefined) !== (green === undefined), {
  error: 'Invalid input: expected either cloud or green'
});

const upstream = z.strictObject({
  preset: z.enum(Object.keys(presets)).default('apiClient'),
  timeout: ms().optional(),
  cache: z.boolean().default(false),
  default: z.json().optional(),
  retry: retry.optional(),
  circuitBreaker: circuitBreaker.optional(),
});

const server = z.strictObject({
  host: text(253).default('127.0.0.1'),
  port: port.default(3000),
  bodyLimit: count(1024, 1 << 24).default(65_536),
  trustProxy,
  tokens: z.array(z.strictObject({ name: text(64), token })).max(100).default([]),
  shutdownTimeout: ms(0).default(10_000),
});

const store = z.strictObject({
  url: url('postgres', 'postgresql').optional(),
  directory: text(4000).optional(),
  memory: z.boolean().optional(),
  schema: z.string().regex(/^[a-z_][a-z0-9_]{0,62}$/).optional(),
  connections: count(1, 1000).optional(),
  timeout: ms().optional(),
}).refine(place => ['url', 'directory', 'memory'].filter(name => place[name]).length <= 1, {
  error: 'Invalid input: expected one of url, directory and memory'
});

const outbox = z.strictObject({
  maxAttempts: count(1, 100).default(5),
  concurrency: count(1, 10_000).default(20),
  batchSize: count(1, 1000).default(50),
  leaseMs: ms(1000).default(30_000),
  pollInterval: ms(10).default(1000),
});

const degradation = z.strictObject({
  scheme: z.enum(['services', 'levels']).default('services'),
  interval: ms(10).default(30_000),
  hysteresis: ms(0).optional(),
  // The worst level at which each feature is still on.
  features: z.record(name, z.enum(LEVELS)).default({}),
});

const cron = z.union([z.literal(false), text(100).refine(isCron, {
  error: 'Invalid input: expected a cron pattern'
})]);

const schedule = z.strictObject({
  deadLetters: cron.default('*/5 * * * *'),
  breakers: cron.default('*/2 * * * *'),
  health: cron.default('* * * * *'),
  report: cron.default('0 * * * *'),
  cleanUp: cron.default('30 3 * * *'),
  reconcile: cron.default('*/5 * * * *'),
  retentionDays: count(1, 3650).default(7),
  auditRetentionDays: count(1, 36_500).default(365),
  timezone: text(100).default('UTC'),
});

const admin = z.strictObject({
  tokens: z.array(z.strictObject({
    name: text(64), role: z.enum(['read', 'operate']).default('read'),
    token,
  })).max(100).default([]),
  url: http.optional(),
});

const logging = z.strictObject({
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).optional(),
  console: z.boolean().default(true),
  file: text(4000).optional(),
});

/** A text is a number or a comma-separated list: it may come from the environment. */
function readProxies (value) {
  if (typeof value !== 'string') return value;
  const said = value.trim().toLowerCase();
  if (said === 'true' || said === 'false') return said === 'true';
  return /^\d{1,3}$/.test(said) ? Number(said) : said.split(',').map(part => part.trim());
}

/** A name that Express knows, an address, or a network; not the whole internet. */
function isProxy (value) {
  if (PROXY_NAMES.includes(value)) return true;
  const [, address, bits] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(value) ?? [];
  const version = isIP(address ?? '');
  if (version === 0 || address.includes('%')) return false;
  return bits === undefined || (Number(bits) >= 1 && Number(bits) <= (version === 4 ? 32 : 128));
}

function isPattern (source) {
  try {
    return Boolean(new RegExp(source));
  } catch {
    return false;
  }
}

function isCron (pattern) {
  const { CronPattern } = require('croner');
  try {
    return Boolean(new CronPattern(pattern));
  } catch {
    return false;
  }
}

const section = schema => schema.prefault({});

/** The whole configuration, with its defaults. Optional sections stay undefined. */
const configSchema = z.strictObject({
  profile: z.enum(['production', 'development', 'testing']).default('production'),
  server: section(server),
  store: section(store),
  midtrans: midtrans.optional(),
  smtp: smtp.optional(),
  whatsapp: whatsapp.optional(),
  upstreams: z.record(name, upstream).default({}),
  retry: section(retry.extend({
    circuitBreaker: section(sharedBreaker), policy: section(policy), fallback: section(fallback),
  })),
  outbox: section(outbox),
  degradation: section(degradation),
  schedule: section(schedule),
  admin: section(admin),
  logging: section(logging),
});

// ---- Reading -----------------------------------------------------------------------------------

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

/** Reads and checks a configuration. The result is frozen, and printing it shows no secret. */
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

module.exports = { configSchema, readConfig, secretsOf };
