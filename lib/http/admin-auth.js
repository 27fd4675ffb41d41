'use strict';

// Who may use the API: bearer tokens with a role, compared in constant time. Without tokens nobody
// may. Browsers never send a bearer token by themselves, so pages of other sites can do nothing
// here. What browsers say about the origin of a request is checked all the same.

const { hash, timingSafeEqual } = require('node:crypto');
const { BlockList, isIP, isIPv6 } = require('node:net');

const { invalidOption } = require('../base/errors');
const { LruMap } = require('../base/lru');
const { is, optionsOf } = require('../base/options');
const { RateLimiter } = require('../primitives/limits');
const { problem } = require('./problem');
const refusals = require('./refusals');

// Each may also do what those before it may.
const ROLES = ['monitor', 'read', 'operate'];
const FORBIDDEN = {
  read: 'This token may only see metrics and health pages.',
  operate: 'This token may not change anything.',
};
const NO_TOKENS = 'No token is configured, so nobody may use this. Set server.tokens for orders ' +
  'and messages, admin.tokens for everything else.';
const TOKEN_LENGTH_MIN = 16;
const TOKEN_LENGTH_MAX = 512;
const TOKENS_MAX = 100;
const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i;
const NAME = /^[^\p{C}\p{Zl}\p{Zp}]{1,64}$/u;
const SHA256 = /^[0-9a-f]{64}$/i;

// Networks whose limits are remembered, the most recent ones.
const NETWORKS_MAX = 10_000;
const LIMIT_MAX = 1e6;
const MS_PER_SECOND = 1000;

/** A text that errors never show. */
const secret = (doc, expected, test) => ({
  doc, expected,
  check (option, value) {
    if (test(value)) return value;
    throw Object.assign(new TypeError(`Expected ${expected} for ${option}`),
      { code: 'ERR_INVALID_OPTION', option });
  },
});

const TOKEN = optionsOf({
  token: secret('itself', '16 to 512 ASCII characters without spaces',
    value => typeof value === 'string' && value.length >= TOKEN_LENGTH_MIN &&
      value.length <= TOKEN_LENGTH_MAX && BEARER.test(`Bearer ${value}`)),
  sha256: secret('its hash', '64 hexadecimal digits', value => SHA256.test(value)),
  name: is.text('for the audit log',
    { pattern: NAME, expected: '1 to 64 printable characters', required: true }),
  role: is.oneOf('what it allows', ROLES, { required: true }),
});

const limit = (doc, spec) => is.integer(doc, { min: 1, max: LIMIT_MAX, ...spec });

const LIMITS = optionsOf({
  requests: limit('with one token', { or: [Infinity], default: 600 }),
  failures: limit('without a valid token, from one network', { default: 20 }),
  totalFailures: limit('without a valid token, from all networks', { default: 1000 }),
  interval: is.ms('in which they are counted', { min: 1, max: 2 ** 31 - 1, default: 60_000 }),
});

const tokensOption = is.list('who may use it', { check: readToken },
  { max: TOKENS_MAX, of: 'tokens', default: [] });

const OPTIONS = optionsOf({
  tokens: tokensOption,
  rateLimit: is.table('for one caller', LIMITS, { default: LIMITS.read() }),
  onRefused: is.func('gets { actor, path } when a role does not allow it', { default: () => {} }),
});

const hashOf = text => hash('sha256', text, 'buffer');

function readToken (option, entry) {
  const { token, sha256, name, role } = TOKEN.read(entry, option);
  if ((token === undefined) === (sha256 === undefined)) {
    throw invalidOption(option, 'either token or sha256', entry);
  }
  return { hash: sha256 === undefined ? hashOf(token) : Buffer.from(sha256, 'hex'), name, role };
}

// Longer than any address: what a trusted proxy passes on may be any text.
const ADDRESS_MAX = 64;

/** The address of a client; IPv4 addresses without the prefix ::ffff:. */
const addressOf = req => (req.ip ?? '').slice(0, ADDRESS_MAX).replace(/^::ffff:(?=\d+\.)/i, '');

/** A visitor with IPv6 has a whole network of 2^64 addresses, which counts as one. */
function networkOf (address) {
  if (!isIPv6(address)) return address;
  const [head, tail = ''] = address.split('::');
  const left = head.split(':').filter(Boolean);
  const right = tail.split(':').filter(Boolean);
  const gap = new Array(Math.max(8 - left.length - right.length, 0)).fill('0');
  return [...left, ...gap, ...right].slice(0, 4).map(part => parseInt(part, 16)).join(':');
}

/** Allows `limit` requests in `interval` ms; Infinity: no limit. */
class Quota {
  #limiter;

  constructor (limit, interval) {
    this.#limiter = limit === Infinity ? undefined : new RateLimiter({ limit, interval });
    this.retryAfter = Math.ceil(interval / limit / MS_PER_SECOND);
  }

  get isUsedUp () { return this.#limiter !== undefined && this.#limiter.available < 1; }

  /** @returns {boolean} whether there was room for one more */
  take () { return this.#limiter === undefined || this.#limiter.tryTake(); }
}

/**
 * Limits requests without a valid token, for each network and for all networks together, since an
 * attacker may have many addresses. A bounded number of networks is remembered.
 */
class Failures {
  #total;
  #networks;
  #limit;

  constructor ({ failures, totalFailures, interval }) {
    this.#total = new Quota(totalFailures, interval);
    this.#networks = new LruMap(NETWORKS_MAX);
    this.#limit = { failures, interval };
  }

  /** @returns {Quota | undefined} the one that is used up; undefined if there was room for it */
  take (address) {
    // Checked first, so that a flood of addresses stays cheap.
    if (this.#total.isUsedUp) return this.#total;
    // One network alone must not use up the total.
    const quota = this.#quotaOf(networkOf(address));
    if (!quota.take()) return quota;
    return this.#total.take() ? undefined : this.#total;
  }

  #quotaOf (network) {
    const known = this.#networks.get(network);
    if (known !== undefined) return known;
    const quota = new Quota(this.#limit.failures, this.#limit.interval);
    this.#networks.set(network, quota);
    return quota;
  }
}

function refuse (res, status, code, detail, retryAfter) {
  problem(res, status, { code, detail, retryAfter });
}

const tooMany = (res, detail, { retryAfter }) =>
  refuse(res, 429, 'ERR_ADMIN_RATE_LIMITED', detail, retryAfter);

/** Finds the entry of a request's token. All are compared, to take the same time. */
const finderOf = known => ({ headers: { authorization } }) => {
  const token = BEARER.exec(authorization ?? '')?.[1];
  if (token === undefined) return undefined;
  const presented = hashOf(token);
  return known.reduce((found, entry) => timingSafeEqual(presented, entry.hash) ? entry : found,
    undefined);
};

/** A function that tells whether a request has one of these tokens. */
function knowsOf (tokens) {
  const find = finderOf(tokens.map(entry => readToken('tokens', entry)));
  return req => find(req) !== undefined;
}

/**
 * Middleware. `enter` comes once, before `need(role)`: it sets `res.locals.caller` to the entry of
 * the token, or to undefined. `need` sets `res.locals.actor` to { name, role, address }.
 */
function createAdminAccess (options) {
  const { tokens, rateLimit: limits, onRefused } = OPTIONS.read(options);
  const known = tokens.map(entry =>
    ({ ...entry, quota: new Quota(limits.requests, limits.interval) }));
  const find = finderOf(known);
  const failures = new Failures(limits);
  const unauthorized = known.length === 0 ? NO_TOKENS : 'This needs a valid bearer token.';

  // The token is checked first: valid callers and guessers do not affect each other.
  function enter (req, res, next) {
    const caller = find(req);
    res.locals.caller = caller;
    if (caller !== undefined) {
      if (caller.quota.take()) return next();
      return tooMany(res, 'Too many requests with this token. See Retry-After.', caller.quota);
    }
    const usedUp = failures.take(addressOf(req));
    if (usedUp === undefined) return next();
    refusals.answer(res, () => {
      tooMany(res, 'Too many requests without a valid token. See Retry-After.', usedUp);
    });
  }

  function need (role) {
    return function needRole (req, res, next) {
      const { caller } = res.locals;
      if (caller === undefined) {
        return refusals.answer(res, () => {
          res.setHeader('WWW-Authenticate', 'Bearer realm="sekering"');
          refuse(res, 401, 'ERR_ADMIN_UNAUTHORIZED', unauthorized);
        });
      }
      const actor = { name: caller.name, role: caller.role, address: addressOf(req) };
      if (ROLES.indexOf(caller.role) < ROLES.indexOf(role)) {
        onRefused({ actor, path: req.path });
        return refuse(res, 403, 'ERR_ADMIN_FORBIDDEN', FORBIDDEN[role]);
      }
      res.locals.actor = actor;
      next();
    };
  }

  const knows = req => find(req) !== undefined;

  return { enter, knows, need };
}

// ---- Pages of monitors -------------------------------------------------------------------------

const PAGE_OPTIONS = {
  access: is.oneOf('who may see them', ['public', 'token', 'off'], { default: 'public' }),
  tokens: is.list('of those who may see them', is.any('see createAdminAccess'),
    { max: TOKENS_MAX, of: 'tokens', default: [] }),
};

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');
const isLoopback = address => isIP(address) !== 0 &&
  LOOPBACK.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');

// What proxies add: then somebody else may be the client.
const FORWARDED = ['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto',
  'x-real-ip'];

/**
 * Whether a program on this machine asks. The name in Host must be of this machine too: a page that
 * a browser has loaded from elsewhere may have a name that now leads here (DNS rebinding).
 */
function isLocal ({ socket, headers }) {
  const name = (headers.host ?? '').replace(/:\d{1,5}$/, '').replace(/^\[(.*)\]$/, '$1');
  return isLoopback(socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/i, '') ?? '') &&
    (isLoopback(name) || name.toLowerCase() === 'localhost') &&
    !FORWARDED.some(header => headers[header] !== undefined);
}

/**
 * Middleware for pages of monitors. `guard` comes before the private ones, and is undefined if
 * there are none; `note` comes before those that anybody may see. Both set `res.locals.sees` to
 * { details, reasons }: reasons and names of operators are only for callers with a token. While
 * there are no tokens at all, programs on this machine may see the private pages without one.
 */
function createPageAccess ({ access, tokens }) {
  const { enter, knows, need } = createAdminAccess({ tokens });
  const isOpen = req => access === 'public' ||
    (access === 'token' && tokens.length === 0 && isLocal(req));
  const needMonitor = need('monitor');

  function note (req, res, next) {
    const isKnown = access !== 'off' && knows(req);
    res.locals.sees = { details: isKnown || isOpen(req), reasons: isKnown };
    next();
  }

  function demand (req, res, next) {
    const { details, reasons } = res.locals.sees;
    if (details && !reasons) return next();
    enter(req, res, () => needMonitor(req, res, next));
  }

  return { note, guard: access === 'off' ? undefined : [note, demand] };
}

// ---- Other sites -------------------------------------------------------------------------------

/**
 * Middleware for changes: they must not come from pages of other sites. Those cannot send the token
 * anyway: it is not in a cookie, and before a browser sends the header, it asks us for permission
 * (CORS).
 */
function ownSiteOnly (req, res, next) {
  const { origin, host, 'sec-fetch-site': site } = req.headers;
  const foreign = (site !== undefined && site !== 'same-origin' && site !== 'none') ||
    (origin !== undefined && hostOf(origin) !== host?.toLowerCase());
  if (foreign) {
    return refuse(res, 403, 'ERR_ADMIN_FOREIGN_ORIGIN', 'Requests from other sites are rejected.');
  }
  next();
}

function hostOf (origin) {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

module.exports = {
  PAGE_OPTIONS, addressOf, createAdminAccess, createPageAccess, knowsOf, ownSiteOnly
};
