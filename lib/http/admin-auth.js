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
const LIMITS = { requests: 600, failures: 20, interval: 60_000 };

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

/** A rate limiter for each network, for a bounded number of them. */
class Visitors {
  constructor (limit, interval) {
    const { LRUCache } = require('lru-cache');
    this.limit = limit;
    this.interval = interval;
    this.limiters = new LRUCache({ max: ADDRESSES_MAX });
  }

  of (address) {
    const network = networkOf(address);
    let limiter = this.limiters.get(network);
    if (limiter === undefined) {
      limiter = new RateLimiter({ limit: this.limit, interval: this.interval });
      this.limiters.set(network, limiter);
    }
    return limiter;
  }

  /** Seconds until there is room for one more. */
  get retryAfter () { return Math.ceil(this.interval / this.limit / 1000); }
}

function checkLimits (given) {
  const limits = { ...LIMITS, ...bag('rateLimit', given) };
  for (const name of ['requests', 'failures']) {
    number(`rateLimit.${name}`, limits[name], { min: 1, max: 1e6, integer: true });
  }
  number('rateLimit.interval', limits.interval, { min: 1, max: 2 ** 31 - 1, unit: 'ms' });
  return limits;
}

function refuse (res, status, code, detail, retryAfter) {
  problem(res, status, { code, detail, retryAfter });
}

/**
 * @param {object} options
 * @param {object[]} [options.tokens] `token` or `sha256`, `name`, `role` 'read' or 'operate'
 * @param {object} [options.rateLimit] `requests` and failed logins (`failures`) of an address in
 *   `interval` ms
 * @param {(what: object) => void} [options.onRefused]
 * @returns {{ limit: Function, need: (role: string) => Function }} middleware; after `need`,
 *   `res.locals.actor` has name, role and address
 */
function createAdminAccess ({ tokens = [], rateLimit, onRefused = () => {} } = {}) {
  const known = checkTokens(tokens);
  const { requests, failures, interval } = checkLimits(rateLimit);
  const visits = new Visitors(requests, interval);
  const failed = new Visitors(failures, interval);

  function limit (req, res, next) {
    if (visits.of(addressOf(req)).tryTake()) return next();
    refuse(res, 429, 'ERR_ADMIN_RATE_LIMITED', 'There were too many requests.', visits.retryAfter);
  }

  /** The token's entry. All are compared, whichever fits. */
  function find (text) {
    const given = hashOf(text);
    return known.reduce((found, entry) => timingSafeEqual(given, entry.hash) ? entry : found,
      undefined);
  }

  function need (role) {
    return function needRole (req, res, next) {
      const address = addressOf(req);
      const failedHere = failed.of(address);
      // Not even a right token helps then: otherwise the limit would not slow guessing down.
      if (failedHere.available < 1) {
        return refuse(res, 429, 'ERR_ADMIN_RATE_LIMITED', 'There were too many failed logins.',
          failed.retryAfter);
      }
      const given = BEARER.exec(req.headers.authorization ?? '')?.[1];
      const entry = given === undefined ? undefined : find(given);
      if (entry === undefined) {
        if (given !== undefined) {
          failedHere.tryTake();
          onRefused({ why: 'token', address });
        }
        res.setHeader('WWW-Authenticate', 'Bearer realm="sekering"');
        return refuse(res, 401, 'ERR_ADMIN_UNAUTHORIZED', 'A valid bearer token is needed.');
      }
      const actor = { name: entry.name, role: entry.role, address };
      if (role === 'operate' && entry.role !== 'operate') {
        onRefused({ why: 'role', address, actor, method: req.method, path: req.path });
        return refuse(res, 403, 'ERR_ADMIN_FORBIDDEN', 'This token may only read.');
      }
      res.locals.actor = actor;
      next();
    };
  }

  return { limit, need };
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
