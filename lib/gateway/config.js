'use strict';

// A gateway's configuration: an object or a TOML file, checked as a whole. Secrets need not be in
// it: `env:NAME` stands for an environment variable, `file:PATH` for the content of a file. No
// error shows a secret.

const fs = require('node:fs');
const { isIP } = require('node:net');
const { dirname, resolve } = require('node:path');
const util = require('node:util');

const { SekeringError, invalidOption, nearest } = require('../base/errors');
const { read } = require('../base/foreign');
const { NAMES, is, optionsOf, readable } = require('../base/options');
const { GATEWAY, requirePeer } = require('../base/peer');
const { kindFault } = require('../primitives/classify');
const { presets, retryPresets } = require('../primitives/presets');
const { faultOfAddress } = require('../store/database');

const FEATURE = 'sekering/gateway';
const { z } = requirePeer('zod', FEATURE, GATEWAY);

// ---- Durations ---------------------------------------------------------------------------------

const MS_MAX = 365 * 86_400_000;
const UNITS_MS = {
  ns: 1e-6, us: 1e-3, '\u00b5s': 1e-3, '\u03bcs': 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000,
};
const AMOUNT = '(?:\\d+(?:\\.\\d*)?|\\.\\d+)';
const UNIT = `(?:${Object.keys(UNITS_MS).join('|')})`;
const DURATION = new RegExp(`^[+]?(?:${AMOUNT}${UNIT})+$`);
const DURATION_PARTS = new RegExp(`(?<!\\d)(${AMOUNT})(${UNIT})`, 'g');

/**
 * The milliseconds of a duration in Go's format (time.ParseDuration); undefined if it is invalid.
 */
function parseDuration (text) {
  if (text === '0') return 0;
  if (!DURATION.test(text)) return undefined;
  let sum = 0;
  for (const [, amount, unit] of text.matchAll(DURATION_PARTS)) sum += amount * UNITS_MS[unit];
  return Number(sum.toFixed(6)); // Whole nanoseconds: 1.1 * 3 is a little more than 3.3.
}

/** Milliseconds, as a number or as text with units. `most` says `max` in words. */
const ms = (min = 1, max = MS_MAX, most = '365 days') => z.unknown().transform((value, context) => {
  const number = typeof value === 'string' ? parseDuration(value) : value;
  if (typeof number === 'number' && number >= min && number <= max) return number;
  context.addIssue({
    code: 'custom',
    message: 'Expected a duration such as "500ms", "1.5s" or "1h30m", or a number ' +
      `of milliseconds, from ${min} ms to ${most}`,
    params: { received: value },
  });
  return z.NEVER;
});

// Other texts are not shown in errors: they might be secrets in the wrong place.
const LIKE_DURATION = /^[-+]?[\d.,]{1,12} ?\p{L}{0,12}(?: ?[\d.,]{1,12} ?\p{L}{1,12})?$/u;

/** The received value, as shown in an error about a duration. */
function shown (value) {
  if (value === undefined) return 'nothing';
  if (value === null || typeof value === 'number' || typeof value === 'boolean') return `${value}`;
  if (Array.isArray(value)) return 'a list';
  if (typeof value !== 'string') return typeof value === 'object' ? 'an object' : 'a bigint';
  return LIKE_DURATION.test(value) ? `"${value}"` : `another text of ${value.length} characters`;
}

// ---- What it may hold. Unknown names are rejected ----------------------------------------------

// Those of both schemes of degradation.
const LEVELS = ['NORMAL', 'DEGRADED', 'SEVERE', 'EMERGENCY', 'MINOR', 'MODERATE', 'CRITICAL'];

const text = (max = 1000) => z.string().min(1).max(max);
const count = (min, max) => z.int().min(min).max(max);
const percentage = z.number().min(0).max(100);
const name = z.string().regex(/^[\w.-]{1,64}$/);

// Sent in a header or an address. No message shows its value.
const secret = z.string().regex(/^[!-~]{1,1000}$/,
  'Expected a text without spaces');

const token = secret.min(16, 'Expected a token of at least 16 characters').max(512);

const url = (...schemes) => z.string().max(2000)
  .refine(value => URL.canParse(value) && schemes.includes(new URL(value).protocol.slice(0, -1)), {
    error: `Expected an address that begins with ${schemes[0]}://`
  });
const http = url('https', 'http');
const postgres = z.string().max(2000).superRefine((value, context) => {
  const fault = faultOfAddress(value);
  if (fault !== undefined) {
    context.addIssue({ code: 'custom', message: `Expected ${fault}` });
  }
});

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
  z.array(z.string().refine(isProxy, `Expected ${PROXIES}`)).min(1).max(100),
], {
  error: ({ input }) => (input === true
    ? `Not accepted: true would let clients choose their address; write ${PROXIES}`
    : `Expected ${PROXIES}`),
})).default(false);

const JITTERS = 'true (±10 %), false, "none", "full", "equal" or a number from 0 to 1';

const jitter = z.union([
  z.boolean(), z.enum(['none', 'full', 'equal']), z.number().min(0).max(1),
], { error: `Expected ${JITTERS}` }).transform(value => {
  if (typeof value !== 'boolean') return value;
  return value ? retryPresets.apiClient.jitter : 'none';
});

const retry = z.strictObject({
  enabled: z.boolean(),
  retries: count(0, 100),
  strategy: z.enum(['exponential', 'linear', 'fixed', 'fibonacci', 'decorrelated']),
  factor: z.number().min(1).max(100),
  minTimeout: ms(0),
  maxTimeout: ms(0),
  randomize: z.boolean(),
  jitter,
}).partial();

const circuitBreaker = z.strictObject({
  enabled: z.boolean(),
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
  successThreshold: count(0, 1_000_000),
  rampUp: ms(0),
  rollingCountTimeout: ms(),
  rollingCountBuckets: count(1, 1000),
}).partial();

// The settings of all breakers also say which processes share them.
const sharedBreaker = circuitBreaker.extend({
  scope: z.enum(['instance', 'process', 'host', 'fleet']).optional(),
  strictScope: z.boolean().optional(),
  namespace: name.max(50).default('default'),
  shareTrip: z.union([
    z.literal('any'), z.strictObject({ processes: count(1, 16) })
  ]).optional(),
});

const status = z.union([count(100, 599), z.enum(['1xx', '2xx', '3xx', '4xx', '5xx'])], {
  error: 'Expected an HTTP status from 100 to 599, or a class such as "5xx"'
});

const policy = z.strictObject({
  retryableStatuses: z.array(status).max(100),
  retryableErrors: z.array(text(100).superRefine((name, context) => {
    const message = kindFault(name);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  })).max(100),
}).partial();

const strategy = z.enum(['cache', 'default', 'degraded']);

const fallback = z.strictObject({
  enabled: z.boolean().default(true),
  // In the order in which they are tried.
  strategy: z.union([strategy, z.array(strategy).min(1).max(3)], {
    error: 'Expected "cache", "default", "degraded", or a list of them in the ' +
      'order in which they are tried'
  }).transform(names => [...new Set([names].flat())]).optional(),
  default: z.json().optional(),
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
  irisMerchantKey: secret.optional(),
  orderIdPattern: text(500).refine(isPattern, 'Expected a regular expression')
    .optional(),
  ...client,
});

// How to reach a relay.
const relay = {
  host: text(253).optional(),
  port: port.optional(),
  secure: z.boolean().optional(),
  ignoreTls: z.boolean().optional(),
  requireTls: z.boolean().optional(),
  user: text(500).optional(),
  password: text(1000).optional(),
  url: url('smtps', 'smtp').optional(),
};

const OF_EACH = ['port', 'secure', 'ignoreTls', 'user', 'password'];

const hasOneOf = (section, names) =>
  names.filter(name => section[name] !== undefined).length === 1;

const relays = z.array(z.strictObject({
  name: name.optional(), ...relay, from: text(320).optional(),
  circuitBreaker: circuitBreaker.optional(),
}).refine(section => hasOneOf(section, ['host', 'url']), {
  error: 'Expected either host or url'
})).min(1).max(10).refine(list => new Set(relayNames(list)).size === list.length, {
  error: 'Expected a different name for each relay'
});

const smtp = z.strictObject({
  ...relay, relays: relays.optional(), from: text(320), ...channel,
}).refine(section => hasOneOf(section, ['host', 'url', 'relays']), {
  error: 'Expected one of host, url and relays'
}).refine(section => section.relays === undefined ||
  OF_EACH.every(name => section[name] === undefined), {
  error: `Expected ${OF_EACH.join(', ')} in each relay, not next to the list`
});

const whatsapp = z.strictObject({
  cloud: z.strictObject({
    accessToken: secret,
    phoneNumberId: z.string().regex(/^\d{1,30}$/, 'Expected the id of the number: digits'),
    appSecret: secret.optional(),
    verifyToken: secret.optional(),
    version: z.string().regex(/^v\d+\.\d+$/).optional(),
    baseUrl: http.optional(),
  }).optional(),
  green: z.strictObject({
    instanceId: z.union([z.string().regex(/^\d{1,30}$/), count(0, Number.MAX_SAFE_INTEGER)], {
      error: 'Expected the id of the instance: a number'
    }),
    token: secret,
    webhookToken: secret.optional(),
    baseUrl: http.optional(),
    mediaUrl: http.optional(),
  }).optional(),
  countryCode: z.string().regex(/^[1-9]\d{0,2}$/).optional(),
  ...channel,
}).refine(({ cloud, green }) => (cloud === undefined) !== (green === undefined), {
  error: 'Expected either cloud or green'
});

const upstream = z.strictObject({
  preset: z.enum(Object.keys(presets)).default('apiClient'),
  timeout: ms().optional(),
  cache: z.boolean().optional(),
  default: z.json().optional(),
  retry: retry.optional(),
  circuitBreaker: circuitBreaker.optional(),
});

const server = z.strictObject({
  host: text(253).default('127.0.0.1'),
  port: port.default(3000),
  bodyLimit: count(1024, 1 << 24).default(65_536),
  connections: count(1, 100_000).default(2000),
  trustProxy,
  tokens: z.array(z.strictObject({ name: text(64), token })).max(100).default([]),
  shutdownTimeout: ms(0).default(10_000),
  // For its default, see addDefaults, which puts it last.
  maxLoopDelay: z.union([z.literal(false), ms(1, 60_000, '60 s, or false')]).optional(),
});

const store = z.strictObject({
  url: postgres.optional(),
  directUrl: postgres.optional(),
  directory: text(4000).optional(),
  memory: z.boolean().optional(),
  schema: z.string().regex(/^[a-z_][a-z0-9_]{0,62}$/).optional(),
  migrate: z.boolean().optional(),
  connections: count(1, 1000).optional(),
  timeout: ms().optional(),
  startTimeout: ms(0).default(60_000),
}).refine(place => ['url', 'directory', 'memory'].filter(name => place[name]).length <= 1, {
  error: 'Expected one of url, directory and memory'
}).refine(({ url: address, directUrl }) => directUrl === undefined || address !== undefined, {
  error: 'Expected url with direct_url'
});

const outbox = z.strictObject({
  maxAttempts: count(1, 100).default(5),
  concurrency: count(1, 10_000).default(20),
  batchSize: count(1, 1000).default(50),
  heldBytes: count(1024, 2 ** 30).default(16 * 1024 * 1024),
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

// Who may see the metrics, and the health pages with details.
const access = z.enum(['public', 'token', 'off']).default('token');

const health = z.strictObject({
  strict: z.boolean().default(false),
  critical: z.array(name).max(100).default([]),
  access,
});

const metrics = z.strictObject({ access });

const cron = z.union([z.literal(false), text(100).refine(isCron, {
  error: 'Expected a cron pattern'
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
    name: text(64), role: z.enum(['monitor', 'read', 'operate']).default('read'),
    token,
  })).max(100).default([]),
  url: http.optional(),
});

const logging = z.strictObject({
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).optional(),
  console: z.boolean().default(true),
  file: text(4000).optional(),
});

/** The names of the mail relays; by default their places in the list. */
function relayNames (list) { return list.map(({ name: own }, i) => own ?? String(i + 1)); }

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
  const { CronPattern } = requirePeer('croner', FEATURE, GATEWAY);
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
  health: section(health),
  metrics: section(metrics),
  schedule: section(schedule),
  admin: section(admin),
  logging: section(logging),
});

// ---- Names -------------------------------------------------------------------------------------

// The names that other libraries use for our settings, by section.
const ALIASES = {
  __proto__: null,
  retry: {
    maxRetries: 'retries', initialDelay: 'minTimeout', maxDelay: 'maxTimeout', multiplier: 'factor',
  },
  circuitBreaker: { failureThreshold: 'consecutiveFailures', timeout: 'resetTimeout' },
  policy: { retryableStatusCodes: 'retryableStatuses' },
};

// Sections whose names the user chooses.
const OWN_NAMES = new Set(['upstreams', 'degradation.features']);

const camel = name => name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
const snake = name => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);

/** Whether it is a plain object, from any realm. */
function isObject (value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return false;
  try {
    const prototype = Object.getPrototypeOf(value);
    return prototype === null || Object.getPrototypeOf(prototype) === null;
  } catch {
    return false; // A Proxy.
  }
}

// ---- Reading -----------------------------------------------------------------------------------

const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
const FILE_BYTES_MAX = 1 << 20;
const DEPTH_MAX = 20;
const SECRETS = new Set(
  ['serverKey', 'irisMerchantKey', 'password', 'accessToken', 'appSecret', 'verifyToken', 'token',
    'url', 'directUrl']);
// A shorter text would be found inside other words.
const SECRET_CHARACTERS_MIN = 6;

const OPTIONS = optionsOf({
  env: is.object('where `env:NAME` is looked up; default: process.env'),
});

/**
 * A configuration as the user wrote it. `take` translates it to our names, replaces `env:` and
 * `file:` by the values that they stand for, and collects faults. `pathText` writes a path with the
 * user's names: `admin.tokens[0].token`.
 */
class Written {
  faults = [];
  /** The `env:NAME` or `file:PATH` that a value came from, by the text of the value's path. */
  references = new Map();
  #names = new Map();
  #ancestors = new Set();
  #isToml;
  #env;
  #folder;

  constructor ({ isToml, env, folder }) {
    this.#isToml = isToml;
    this.#env = env;
    this.#folder = folder;
  }

  take (value, at = []) {
    try {
      if (typeof value === 'string') return this.#text(value, at);
      if (!Array.isArray(value) && !isObject(value)) return this.#plain(value, at);
      if (at.length > DEPTH_MAX || this.#ancestors.has(value)) {
        return this.#fault(at, 'It is nested too deeply');
      }
      this.#ancestors.add(value);
      const taken = Array.isArray(value)
        ? Array.from(value, (item, i) => this.take(item, [...at, i]))
        : this.#section(value, at);
      this.#ancestors.delete(value);
      return taken;
    } catch {
      return this.#fault(at, 'It cannot be read'); // For example, a getter throws.
    }
  }

  #plain (value, at) {
    if (value === null || !['object', 'function', 'symbol'].includes(typeof value)) return value;
    return this.#fault(at, 'Expected text, a number, true, false, a list or a plain object');
  }

  #fault (at, message) {
    this.faults.push({ path: this.pathText(at), message });
    return undefined;
  }

  #section (section, at) {
    const isData = at[2] === 'default'; // Of an upstream, or of retry.fallback.
    const isOwn = isData || OWN_NAMES.has(at.join('.'));
    const isNamed = OWN_NAMES.has(at.slice(0, -1).join('.'));
    const aliases = isData || isNamed ? undefined : ALIASES[at.at(-1)];
    const taken = new Map();
    for (const [written, value] of Object.entries(section)) {
      const ours = isOwn ? written : camel(written);
      const name = aliases !== undefined && Object.hasOwn(aliases, ours) ? aliases[ours] : ours;
      const place = [...at, name];
      const other = this.#names.get(JSON.stringify(place));
      if (taken.has(name)) {
        this.#fault([...at, { written }], `It means the same as ${other}: keep one of them`);
        continue;
      }
      this.#names.set(JSON.stringify(place), written);
      taken.set(name, this.take(value, place));
    }
    return Object.fromEntries(taken);
  }

  #text (value, at) {
    const [, kind, name] = /^(env|file):(.*)$/s.exec(value) ?? [];
    if (kind === undefined) return value;
    this.references.set(this.pathText(at), value);
    return kind === 'env' ? this.#variable(name, at) : this.#file(name, at);
  }

  #variable (name, at) {
    if (!VARIABLE.test(name)) {
      return this.#fault(at, 'Expected the name of a variable after "env:"');
    }
    const value = read(this.#env, name);
    if (typeof value === 'string' && value !== '') return value;
    return this.#fault(at, `The environment variable ${name} is not set`);
  }

  /** The content of a file without the line break at its end, which editors and `echo` add. */
  #file (name, at) {
    try {
      const file = resolve(this.#folder, name);
      const stat = fs.statSync(file);
      if (!stat.isFile()) return this.#fault(at, `${name} is not a file`);
      if (stat.size > FILE_BYTES_MAX) return this.#fault(at, `The file ${name} is too large`);
      const value = fs.readFileSync(file, 'utf8').replace(/\r?\n$/, '');
      return value === '' ? this.#fault(at, `The file ${name} is empty`) : value;
    } catch (error) {
      return this.#fault(at, `The file ${name} cannot be read (${read(error, 'code')})`);
    }
  }

  pathText (at) {
    return at.map((part, i) => {
      if (typeof part === 'number') return `[${part}]`;
      const written = part.written ?? this.#names.get(JSON.stringify(at.slice(0, i + 1))) ??
        this.nameText(String(part));
      return (i === 0 ? '' : '.') + written;
    }).join('');
  }

  /** A fault whose message mentions settings of the same section, in the user's names. */
  inUsersNames ({ path: at, message }) {
    const sibling = name => this.pathText([...at.slice(0, -1), name]).replace(/^.*\./, '');
    return { path: this.pathText(at), message: message.replace(/\b[a-z]+[A-Z]\w*/g, sibling) };
  }

  /** One of our names, written as the user writes names. */
  nameText (name) { return this.#isToml ? snake(name) : name; }
}

/** A copy of a value in which `change(path, leaf)` replaces each leaf. */
function mapLeaves (value, change, at = []) {
  if (Array.isArray(value)) return value.map((item, i) => mapLeaves(item, change, [...at, i]));
  if (!isObject(value)) return change(at, value);
  return Object.fromEntries(Object.entries(value)
    .map(([name, inner]) => [name, mapLeaves(inner, change, [...at, name])]));
}

// What a setting is that has to be there, with an example.
const NEEDED = {
  'server.tokens.name': 'a name for the client, for example "shop"',
  'server.tokens.token': 'a secret of at least 16 characters, for example "env:SHOP_TOKEN"',
  'admin.tokens.name': 'a name for the user, for example "operations"',
  'admin.tokens.token': 'a secret of at least 16 characters, for example "env:SEKERING_TOKEN"',
  'midtrans.serverKey': 'the server key of the account, for example "env:MIDTRANS_SERVER_KEY"',
  'smtp.from': 'the sender\'s address, for example "Shop <orders@example.com>"',
  'whatsapp.cloud.accessToken': 'the token of the app, for example "env:WHATSAPP_ACCESS_TOKEN"',
  'whatsapp.cloud.phoneNumberId': 'the id of the sending number, for example "1234567890"',
  'whatsapp.green.instanceId': 'the id of the instance, for example "1101000001"',
  'whatsapp.green.token': 'the token of the instance, for example "env:GREEN_API_TOKEN"',
};
const KINDS = {
  string: 'a text', number: 'a number', int: 'a whole number', boolean: 'true or false',
  array: 'a list', object: 'a section', record: 'a section',
};
const MISSING = 'is missing';

const counted = (number, thing) => `${number} ${thing}${number === 1 ? '' : 's'}`;

/** What was received. Texts are not shown: they may be secrets. */
function receivedOf (input) {
  if (typeof input !== 'string') return shown(input);
  return input === '' ? 'an empty text' : `a text of ${counted(input.length, 'character')}`;
}

/** An issue in our own words. Schemas with words of their own are not asked about. */
function wordsOf ({ code, input, expected, origin, minimum, maximum, values }) {
  const but = `but received ${receivedOf(input)}`;
  const bound = limit => (origin === 'string' ? counted(limit, 'character') : limit);
  switch (code) {
    case 'invalid_type':
      if (input === undefined) return `${MISSING}: expected ${KINDS[expected] ?? expected}`;
      return `Expected ${KINDS[expected] ?? expected} ${but}`;
    case 'too_small': return `Expected at least ${bound(minimum)} ${but}`;
    case 'too_big': return `Expected at most ${bound(maximum)} ${but}`;
    case 'invalid_value': {
      const list = values.map(value => JSON.stringify(value)).join(', ');
      return input === undefined ? `${MISSING}: expected one of ${list}`
        : `Expected one of ${list} ${but}`;
    }
    case 'invalid_format': return `Expected a text of the right form ${but}`;
    default: return undefined;
  }
}

/** The branch of a union whose error explains the mistake best: the one that almost matched. */
function closest (branches = []) {
  const deep = branches.filter(issues =>
    issues.some(issue => issue.path.length > 0 || issue.code === 'unrecognized_keys'));
  if (deep.length === 1) return deep[0];
  return branches.find(issues => issues.some(({ params }) => params !== undefined));
}

let jsonSchema;

/** The names of a section, including aliases. */
function namesOf (place) {
  jsonSchema ??= z.toJSONSchema(configSchema, { io: 'input', unrepresentable: 'any' });
  let schema = jsonSchema;
  for (const part of place) {
    schema = schema?.properties?.[part] ?? schema?.additionalProperties ?? schema?.items;
  }
  return Object.keys({ ...schema?.properties, ...ALIASES[place.at(-1)] });
}

function noSuchOption (name, place, written) {
  const meant = nearest(name, namesOf(place));
  return `No such option${meant === undefined ? '' : `. Did you mean ${written.nameText(meant)}?`}`;
}

/** A zod issue as faults, one for each mistake. `at` is where the path of the issue begins. */
function faultsOf (issue, written, at = []) {
  const place = [...at, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map(key => ({
      path: written.pathText([...place, key]), message: noSuchOption(key, place, written),
    }));
  }
  const branch = closest(issue.errors);
  if (branch !== undefined) return branch.flatMap(inner => faultsOf(inner, written, place));
  const path = written.pathText(place);
  const needed = NEEDED[place.filter(part => typeof part === 'string').join('.')];
  if (needed !== undefined && issue.message.startsWith(MISSING)) {
    return [{ path, message: `${MISSING}: ${needed}` }];
  }
  if (issue.params === undefined) return [{ path, message: issue.message }];
  const reference = written.references.get(path);
  const received = reference === undefined
    ? shown(issue.params.received) : `something else from ${reference}`;
  return [{ path, message: `${issue.message}, but received ${received}` }];
}

function configError (faults, source) {
  const list = faults.map(({ path, message }) => (path === '' ? message
    : `${path}${message.startsWith(MISSING) ? '' : ':'} ${message}`));
  const error = new SekeringError('ERR_CONFIG',
    `The configuration${source ? ` ${source}` : ''} has ${faults.length} ` +
    `${faults.length === 1 ? 'fault' : 'faults'}:\n${list.map(line => `  ${line}`).join('\n')}`);
  error.faults = faults;
  return error;
}

function parseToml (file) {
  const { parse } = requirePeer('smol-toml', 'A configuration in TOML', GATEWAY);
  let source;
  try {
    source = fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, '');
  } catch (error) {
    throw configError([{ path: '', message: `It cannot be read (${read(error, 'code')})` }], file);
  }
  try {
    return parse(source);
  } catch (error) {
    // The parser's message quotes the lines around the fault, which may hold a secret.
    const [line, column] = [read(error, 'line'), read(error, 'column')];
    const place = line === undefined ? '' : ` at line ${line}, column ${column}`;
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
    if (!/url$/i.test(path.at(-1))) return;
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

// An order takes several turns of the event loop, so with this its customer waits for seconds.
const LOOP_DELAY_MS = 500;

/** Adds the defaults that depend on the profile. */
function addDefaults ({ profile, server }) {
  // What tests see must not depend on how busy their machine is.
  server.maxLoopDelay ??= profile === 'testing' ? false : LOOP_DELAY_MS;
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

// The configurations that have been read, and where their values came from.
const KNOWN = new WeakMap();

/** Reads and checks a configuration. The result is frozen, and printing it shows no secret. */
function readConfig (source = {}, options) {
  const { env = process.env } = OPTIONS.read(options);
  if (KNOWN.has(source)) return source;
  const isToml = typeof source === 'string';
  const expected = 'an object or the path of a TOML file';
  if (!isToml && !readable('config', expected, source, () => isObject(source))) {
    throw invalidOption('config', expected, source);
  }
  const folder = isToml ? dirname(resolve(source)) : process.cwd();
  const written = new Written({ isToml, env, folder });
  const { success, data, error } = readable('config', 'an object that can be read', source, () =>
    configSchema.safeParse(written.take(isToml ? parseToml(source) : source) ?? {},
      { error: wordsOf }));
  const faults = [...written.faults];
  // A fault that is already known explains faults in the same place and in the sections around it.
  const explained = place => written.faults.some(fault =>
    fault.path === place || fault.path.startsWith(`${place}.`) || fault.path === '');
  const issues = success
    ? require('./services').faultsOfFigures(data).map(fault => written.inUsersNames(fault))
    : error.issues.flatMap(issue => faultsOf(issue, written));
  faults.push(...issues.filter(fault => !explained(fault.path)));
  if (faults.length > 0) throw configError(faults, isToml ? source : undefined);
  addDefaults(data);
  KNOWN.set(data, Object.fromEntries(written.references));
  return seal(data);
}

/**
 * The references that the values of a configuration came from:
 * `{ 'smtp.password': 'env:SMTP_PASSWORD' }`.
 */
const referencesOf = config => KNOWN.get(config) ?? {};

// ---- A policy without a gateway ----------------------------------------------------------------

const PARTS = OPTIONS.with({
  name: is.text('of the breaker; if there is an upstream of that name, its section applies',
    { ...NAMES, default: 'policy' }),
  default: is.any('the answer of the strategy "default"; default: that of the configuration'),
  degraded: is.func('the strategy "degraded": answers (...args, error)'),
  predicate: is.func('called first; if it returns undefined, retry.policy decides'),
});

/** The policy that a configuration makes for an upstream: retries, breaker and fallback. */
function policyFromConfig (source, parts) {
  const { makePolicy, withoutUndefined } = require('./services');
  const { env, name, default: value, degraded, predicate } = PARTS.read(parts);
  const config = readConfig(source, { env });
  const { fallback, circuitBreaker } = config.retry;
  const section = {
    preset: 'apiClient', ...config.upstreams[name], ...value !== undefined && { default: value },
  };
  const lists = strategy => fallback.enabled && fallback.strategy?.includes(strategy);
  if (lists('degraded') && degraded === undefined) {
    throw invalidOption('degraded', 'a function (retry.fallback.strategy lists it)', degraded);
  }
  if (lists('default') && section.default === undefined && fallback.default === undefined) {
    throw invalidOption('default', 'a value (retry.fallback.strategy lists it)', value);
  }
  const { scope = 'instance' } = circuitBreaker;
  if (scope !== 'instance' && parts?.name === undefined) {
    throw invalidOption('name', `a name (retry.circuitBreaker.scope is '${scope}': breakers ` +
      'with the same name share their state)', undefined);
  }
  const own = withoutUndefined({ ...circuitBreaker, scope });
  return makePolicy({ ...config, retry: { ...config.retry, circuitBreaker: own } }, name, section,
    { fallback: degraded, predicate });
}

module.exports = { configSchema, policyFromConfig, readConfig, referencesOf, secretsOf };
