'use strict';

// A breaker for each of several path prefixes of an application. While what is behind a prefix
// fails, its requests are answered at once.

const clock = require('../base/clock');
const { invalidOption, isBreakerError } = require('../base/errors');
const { read } = require('../base/foreign');
const { bag, is, optionsOf } = require('../base/options');
const { asked, guarded, warn } = require('../base/warn');
const { BreakerGroup } = require('../primitives/group');
const { problem, problemOf } = require('./problem');

const SERVER_ERROR = 500;
const MS_PER_SECOND = 1000;
const MUTED = ['setHeader', 'appendHeader', 'removeHeader', 'writeHead', 'flushHeaders', 'end'];

const OPTIONS = optionsOf({
  prefixes: is.list('with a breaker each', is.where('a path', "a path that begins with '/'",
    value => typeof value === 'string' && value.startsWith('/')),
  { min: 1, max: 1000, of: 'paths', required: true }),
  breaker: is.object('options of the breakers', { default: {} }),
  name: is.text('of the breakers', { default: 'http' }),
  isFailure: is.func('whether an answer is a failure',
    { default: res => res.statusCode >= SERVER_ERROR }),
});

// An answer goes to one client. It is not a value that others could get.
const SENSELESS = ['fallback', 'cache', 'coalesce'];

/** Tells the breaker, and nobody else, that the answer is a failure. */
const failed = Symbol('failed');

/** The longest prefix first, in lower case: Express ignores the case of paths. */
function sortPrefixes (prefixes) {
  const startOf = prefix => prefix.toLowerCase().replace(/(?<!\/)\/+$/, '');
  return prefixes.map(prefix => ({ prefix, start: startOf(prefix) }))
    .sort((one, other) => other.start.length - one.start.length);
}

function prefixOf (prefixes, path) {
  const lower = path.toLowerCase();
  return prefixes.find(({ start }) =>
    lower.startsWith(start) && (lower.length === start.length || lower[start.length] === '/'))
    ?.prefix;
}

/** Seconds until an open breaker lets a request through. */
function secondsLeft (breaker) {
  const { lastTimerAt } = breaker.toJSON().state;
  const { resetTimeout } = breaker.options;
  if (!breaker.opened || lastTimerAt === undefined) return 1;
  const ms = lastTimerAt + (resetTimeout.initial ?? resetTimeout) - clock.wall();
  return Math.max(Math.ceil(ms / MS_PER_SECOND), 1);
}

/**
 * Runs the next handlers until their answer begins; rejects if it is a failure. `answer.begun` is
 * set at once: the connection may close before the promise is handled.
 */
function passOn (req, res, next, isFailure, answer) {
  return new Promise((resolve, reject) => {
    const { writeHead } = res;
    res.writeHead = function (status, ...rest) {
      const result = writeHead.call(this, status, ...rest);
      answer.begun = true;
      if (isFailure(res, req)) reject(failed);
      else resolve();
      return result;
    };
    next();
  });
}

/** A handler that is too late writes into nothing. */
function mute (res) {
  for (const name of MUTED) res[name] = () => res;
  res.write = () => true;
}

function refuse (res, breaker, error) {
  const { status, members } = problemOf(error);
  const retryAfter = read(error, 'code') === 'ETIMEDOUT' ? undefined : secondsLeft(breaker);
  problem(res, status, { ...members, retryAfter });
}

function createBreakerMiddleware (options) {
  const { prefixes, name, ...given } = OPTIONS.read(options);
  const breakerOptions = bag('breaker', given.breaker);
  const isFailure = (res, req) => {
    try {
      return asked('isFailure failed', () => given.isFailure(res, req));
    } catch (error) {
      warn('isFailure failed', error);
      return false;
    }
  };
  for (const option of SENSELESS.filter(each => breakerOptions[each])) {
    throw invalidOption(`breaker.${option}`, 'no value', breakerOptions[option]);
  }
  const sorted = sortPrefixes(prefixes);
  const breakers = new BreakerGroup(() => {}, {
    ...breakerOptions, name, max: prefixes.length, idleTtl: Infinity,
  });

  function guard (req, res, next) {
    const prefix = prefixOf(sorted, req.baseUrl + req.path);
    if (prefix === undefined) return next();
    const breaker = breakers.get(prefix);
    // A client that leaves says nothing about the health of the prefix.
    const left = new AbortController();
    const answer = { begun: false };
    const onClose = () => { if (!answer.begun) left.abort(); };
    res.once('close', onClose);
    breaker.run(() => passOn(req, res, next, isFailure, answer), { signal: left.signal })
      .catch(error => {
        if (error === failed || left.signal.aborted) return;
        if (!isBreakerError(error)) guarded('The next handler failed', () => next(error));
        else if (!res.headersSent) {
          refuse(res, breaker, error);
          if (read(error, 'code') === 'ETIMEDOUT') mute(res);
        }
      })
      .finally(() => res.off('close', onClose));
  }

  return Object.assign(guard, { breakers });
}

module.exports = { createBreakerMiddleware };
