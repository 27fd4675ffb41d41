'use strict';

// A breaker for each of some path prefixes of an application: while what is behind a prefix fails,
// its requests are answered at once.

const clock = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { read } = require('../base/foreign');
const { bag, func } = require('../base/options');
const { problem } = require('../base/problem');
const { BreakerGroup } = require('../primitives/group');

const PREFIXES_MAX = 1000;
const SERVER_FAULT = 500;
const UNAVAILABLE = 503;
const TIMED_OUT = 504;
const MS_PER_SECOND = 1000;
const MUTE = ['setHeader', 'appendHeader', 'removeHeader', 'writeHead', 'flushHeaders', 'end'];

const ANSWERS = {
  EOPENBREAKER: [UNAVAILABLE, 'This part of the service is down. Try again later.'],
  ESEMLOCKED: [UNAVAILABLE, 'This part of the service is busy. Try again later.'],
  ETIMEDOUT: [TIMED_OUT, 'This part of the service did not answer in time.'],
  ESHUTDOWN: [UNAVAILABLE, 'The service is stopping.'],
};

// An answer goes to one client, and is not a value that others could get.
const SENSELESS = ['fallback', 'cache', 'coalesce'];

/** The answer failed: the breaker is told so, and nobody else. */
const failed = Symbol('failed');

function readPrefixes (given) {
  if (!Array.isArray(given) || given.length === 0 || given.length > PREFIXES_MAX) {
    throw invalidOption('prefixes', `an array of 1 to ${PREFIXES_MAX} paths`, given);
  }
  for (const [i, prefix] of given.entries()) {
    if (typeof prefix !== 'string' || !prefix.startsWith('/')) {
      throw invalidOption(`prefixes[${i}]`, "a path that begins with '/'", prefix);
    }
  }
  // The longest that fits is asked for first. Express matches paths whatever their case.
  return given.map(prefix => ({ prefix, start: prefix.toLowerCase().replace(/\/+$/, '') }))
    .sort((one, other) => other.start.length - one.start.length);
}

function prefixOf (prefixes, path) {
  const lower = path.toLowerCase();
  return prefixes.find(({ start }) =>
    lower.startsWith(start) && (lower.length === start.length || lower[start.length] === '/'))
    ?.prefix;
}

/** Seconds until an open breaker lets a request try. */
function secondsLeft (breaker) {
  const { lastTimerAt } = breaker.toJSON().state;
  const { resetTimeout } = breaker.options;
  if (!breaker.opened || lastTimerAt === undefined) return 1;
  const ms = lastTimerAt + (resetTimeout.initial ?? resetTimeout) - clock.wall();
  return Math.max(Math.ceil(ms / MS_PER_SECOND), 1);
}

/**
 * Runs what comes next until its answer begins.
 * @param {{ begun: boolean }} answer told when it has: that the connection closes comes sooner
 *   than what waits for the promise
 * @returns {Promise<void>} rejects when the answer is a failure
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

/** What is still written by a handler whose time is over goes nowhere. */
function mute (res) {
  for (const name of MUTE) res[name] = () => res;
  res.write = () => true;
}

function refuse (res, breaker, code) {
  const [status, detail] = ANSWERS[code];
  const retryAfter = code === 'ETIMEDOUT' ? undefined : secondsLeft(breaker);
  problem(res, status, { code, detail, retryAfter });
}

class Guard {
  constructor ({ prefixes, breaker, name = 'http', isFailure = isServerFault }) {
    this.prefixes = readPrefixes(prefixes);
    this.isFailure = func('isFailure', isFailure);
    const settings = bag('breaker', breaker);
    for (const option of SENSELESS.filter(each => settings[each])) {
      throw invalidOption(`breaker.${option}`, 'nothing', settings[option]);
    }
    this.breakers = new BreakerGroup(() => {}, {
      ...settings, name, max: this.prefixes.length, idleTtl: Infinity,
    });
  }

  handle (req, res, next) {
    const prefix = prefixOf(this.prefixes, req.baseUrl + req.path);
    if (prefix === undefined) {
      next();
      return;
    }
    const breaker = this.breakers.get(prefix);
    // A client that leaves says nothing about what is behind the prefix.
    const left = new AbortController();
    const answer = { begun: false };
    const onClose = () => { if (!answer.begun) left.abort(); };
    res.once('close', onClose);
    breaker.run(() => passOn(req, res, next, this.isFailure, answer), { signal: left.signal })
      .catch(error => {
        if (error === failed || left.signal.aborted) return;
        const code = read(error, 'code');
        if (typeof code !== 'string' || !Object.hasOwn(ANSWERS, code)) next(error);
        else if (!res.headersSent) {
          refuse(res, breaker, code);
          if (code === 'ETIMEDOUT') mute(res);
        }
      })
      .finally(() => res.off('close', onClose));
  }
}

const isServerFault = res => res.statusCode >= SERVER_FAULT;

/** Options as the types describe them. */
function createBreakerMiddleware (options) {
  const guard = new Guard(bag('options', options));
  const middleware = (req, res, next) => guard.handle(req, res, next);
  return Object.assign(middleware, { breakers: guard.breakers });
}

module.exports = { createBreakerMiddleware };
