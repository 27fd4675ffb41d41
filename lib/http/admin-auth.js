'use strict';

// Who may use the admin API: bearer tokens with a role, compared in constant time. Without tokens
// nobody may. A browser sends no bearer token by itself, so pages of others can do nothing here;
// what browsers say about where a request comes from is checked all the same.

const { hash, timingSafeEqual } = require('node:crypto');
const { isIPv6 } = require('node:net');

const { invalidOption } = require('../base/errors');
const { bag, number, oneOf } = require('../base/options');
const { RateLimiter } = require('../primitives/limits');
const { problem } = require('../base/problem');

const ROLES = ['read', 'operate'];
const TOKEN_LENGTH_MIN = 16;
const TOKEN_LENGTH_MAX = 512;
const TOKENS_MAX = 100;
const BEARER = /^Bearer +([\x21-\x7e]{1,512})$/i;
const NAME = /^[^\p{C}\p{Zl}\p{Zp}]{1,64}$/u;
const SHA256 = /^[0-9a-f]{64}$/i;

// Addresses whose limits are remembered; the one that was not seen for the longest time makes room.
const ADDRESSES_MAX = 10_000;
const LIMITS = { requests: 600, failures: 20, totalFailures: 1000, interval: 60_000 };
const LIMIT_MAX = 1e6;
const MS_PER_SECOND = 1000;

const hashOf = text => hash('sha256', text, 'buffer');

function checkToken (entry, index) {
  const option = `tokens[${index}]`;
  const { token, sha256, name, role } = bag(option, entry);
  if (typeof name !== 'string' || !NAME.test(name)) {
    throw invalidOption(`${option}.name`, '1 to 64 printable characters', name);
  }
  oneOf(`${option}.role`, role, ROLES);
  if ((token === undefined) === (sha256 === undefined)) {
    throw invalidOption(option, 'either token or sha256', entry);
  }
  if (sha256 !== undefined) {
    // What was given instead may be the token itself, so it is not shown.
    if (!SHA256.test(sha256)) throw secret(`${option}.sha256`, '64 hexadecimal digits');
    return { hash: Buffer.from(sha256, 'hex'), name, role };
  }
  const fits = typeof token === 'string' && token.length >= TOKEN_LENGTH_MIN &&
    token.length <= TOKEN_LENGTH_MAX && BEARER.test(`Bearer ${token}`);
  if (!fits) throw secret(`${option}.token`, '16 to 512 ASCII characters without spaces');
  return { hash: hashOf(token), name, role };
}

const secret = (option, expected) =>
  Object.assign(new TypeError(`Expected ${expected} for ${option}`),
    { code: 'ERR_INVALID_OPTION', option });

function checkTokens (tokens) {
  if (!Array.isArray(tokens) || tokens.length > TOKENS_MAX) {
    throw invalidOption('tokens', `an array of at most ${TOKENS_MAX} tokens`, tokens);
  }
  return tokens.map(checkToken);
}

/** Where a request comes from; an IPv4 address as itself. */
const addressOf = req => (req.ip ?? '').replace(/^::ffff:(?=\d+\.)/i, '');

/** One network of IPv6 is one visitor: whoever has one has 2^64 addresses. */
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
  #limits;
  #total;
  #networks;

  constructor (limits) {
    const { LRUCache } = require('lru-cache');
    this.#limits = limits;
    this.#total = new Quota(limits.totalFailures, limits.interval);
    this.#networks = new LRUCache({ max: ADDRESSES_MAX });
  }

  /** @returns {Quota | undefined} the one that is used up; undefined if there was room for it */
  take (address) {
    // Checked first, so that a flood of addresses stays cheap.
    if (this.#total.isUsedUp) return this.#total;
    // One network alone must not use up the total.
    const quota = this.#of(networkOf(address));
    if (!quota.take()) return quota;
    return this.#total.take() ? undefined : this.#total;
  }

  #of (network) {
    let quota = this.#networks.get(network);
    if (quota === undefined) {
      quota = new Quota(this.#limits.failures, this.#limits.interval);
      this.#networks.set(network, quota);
    }
    return quota;
  }
}

function checkLimits (given) {
  const names = Object.keys(LIMITS);
  const chosen = bag('rateLimit', given, names);
  const limits = Object.fromEntries(names.map(name => [name, chosen[name] ?? LIMITS[name]]));
  for (const name of ['requests', 'failures', 'totalFailures']) {
    if (name === 'requests' && limits[name] === Infinity) continue;
    number(`rateLimit.${name}`, limits[name], { min: 1, max: LIMIT_MAX, integer: true });
  }
  number('rateLimit.interval', limits.interval, { min: 1, max: 2 ** 31 - 1, unit: 'ms' });
  return limits;
}

function refuse (res, status, code, detail, retryAfter) {
  problem(res, status, { code, detail, retryAfter });
}

const tooMany = (res, detail, { retryAfter }) =>
  refuse(res, 429, 'ERR_ADMIN_RATE_LIMITED', detail, retryAfter);

/**
 * @param {object} options
 * @param {object[]} [options.tokens] `token` or `sha256`, `name`, `role` 'read' or 'operate'
 * @param {object} [options.rateLimit] as AdminRateLimit; `requests` may be Infinity
 * @param {(what: object) => void} [options.onRefused] gets those that a role does not allow
 * @returns {{ enter: Function, need: (role: string) => Function }} middleware; `enter` comes once,
 *   and before `need`. After it `res.locals.caller` is the token's entry, or undefined; after
 *   `need`, `res.locals.actor` has name, role and address
 */
function createAdminAccess ({ tokens = [], rateLimit, onRefused = () => {} } = {}) {
  const limits = checkLimits(rateLimit);
  const known = checkTokens(tokens).map(entry =>
    ({ ...entry, quota: new Quota(limits.requests, limits.interval) }));
  const failures = new Failures(limits);

  /** The token's entry. All are compared, whichever fits. */
  function find (header) {
    const text = BEARER.exec(header ?? '')?.[1];
    if (text === undefined) return undefined;
    const given = hashOf(text);
    return known.reduce((found, entry) => timingSafeEqual(given, entry.hash) ? entry : found,
      undefined);
  }

  // The token is checked first: valid callers and guessers do not affect each other.
  function enter (req, res, next) {
    const caller = find(req.headers.authorization);
    res.locals.caller = caller;
    if (caller !== undefined) {
      if (caller.quota.take()) return next();
      return tooMany(res, 'Too many requests with this token. See Retry-After.', caller.quota);
    }
    const usedUp = failures.take(addressOf(req));
    if (usedUp === undefined) return next();
    tooMany(res, 'Too many requests without a valid token. See Retry-After.', usedUp);
  }

  function need (role) {
    return function needRole (req, res, next) {
      const { caller } = res.locals;
      if (caller === undefined) {
        res.setHeader('WWW-Authenticate', 'Bearer realm="sekering"');
        return refuse(res, 401, 'ERR_ADMIN_UNAUTHORIZED', 'A valid bearer token is needed.');
      }
      const actor = { name: caller.name, role: caller.role, address: addressOf(req) };
      if (role === 'operate' && caller.role !== 'operate') {
        onRefused({ actor, path: req.path });
        return refuse(res, 403, 'ERR_ADMIN_FORBIDDEN', 'This token may only read.');
      }
      res.locals.actor = actor;
      next();
    };
  }

  return { enter, need };
}

/** Middleware for changes: JSON only, and not from other sites' pages. */
function ownSiteOnly (req, res, next) {
  const { origin, host, 'sec-fetch-site': site } = req.headers;
  const foreign = (site !== undefined && site !== 'same-origin' && site !== 'none') ||
    (origin !== undefined && hostOf(origin) !== host?.toLowerCase());
  if (foreign) {
    return refuse(res, 403, 'ERR_ADMIN_FOREIGN_ORIGIN', 'Requests of other sites are refused.');
  }
  if (!/^application\/json *(;|$)/i.test(req.headers['content-type'] ?? '')) {
    return refuse(res, 415, 'ERR_ADMIN_CONTENT_TYPE',
      'Changes need the header Content-Type: application/json.');
  }
  next();
}

function hostOf (origin) {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}

module.exports = { createAdminAccess, ownSiteOnly };
