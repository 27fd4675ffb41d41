'use strict';

// Services besides Midtrans, mail and WhatsApp: a language model, a film database. Each call goes
// through the retries, the breaker and the fallbacks of its section: an old answer, then the
// default, then whatever the program offers.

const Emitter = require('../base/emitter');
const { invalidOption } = require('../base/errors');
const { func } = require('../base/options');
const { retryOn } = require('../primitives/classify');
const { fallbackChain } = require('../primitives/fallback-chain');
const { policy } = require('../primitives/policy');
const { presets, retryPresets } = require('../primitives/presets');
const { breakerOf } = require('./clients');
const { retryOptions, timeoutOf } = require('./config');

function shouldRetry (config) {
  const { retryableStatuses, retryableErrors } = config.retry.policy;
  return retryOn({
    ...retryableStatuses && { statuses: retryableStatuses },
    ...retryableErrors && { codes: retryableErrors },
  });
}

function strategiesOf (config, section, degraded) {
  const { cacheTtl, cacheSize } = config.retry.fallback;
  const strategies = [];
  if (section.cache) {
    strategies.push({ cache: { ttl: cacheTtl, staleTtl: cacheTtl, max: cacheSize } });
  }
  if (section.default !== undefined) strategies.push({ value: section.default });
  if (degraded !== undefined) strategies.push(degraded);
  return strategies;
}

/** What answers in a call's place, and tells that it did. */
function fallbackOf (strategies, tell) {
  if (strategies.length === 0) return undefined;
  const chain = fallbackChain(strategies);
  const answer = async (error, call) => {
    const given = await chain.answer(error, call);
    tell({ error, by: given.by });
    return given;
  };
  return Object.assign((...args) => chain(...args), chain, { answer });
}

function makePolicy (config, name, degraded, tell) {
  const section = config.upstreams[name];
  const preset = presets[section.preset];
  return policy({
    fallback: fallbackOf(strategiesOf(config, section, degraded),
      news => tell('fallback', { name, ...news })),
    retry: {
      ...retryOptions(config, retryPresets.apiClient, section.retry),
      shouldRetry: shouldRetry(config),
    },
    breaker: breakerOf(config, name, preset, section.circuitBreaker),
    timeout: timeoutOf(config, preset, section.timeout),
  });
}

/**
 * @param {object} config of readConfig
 * @param {Record<string, Function>} [fallbacks] by upstream, called with arguments and the error
 * @returns {{ breakers: Record<string, object>, retries: Record<string, { stats: object }>,
 *   wrap: Function, events: Emitter }} events: 'fallback'({ name, by, error })
 */
function makeUpstreams (config, fallbacks = {}) {
  const events = new Emitter();
  const tell = (...news) => events.emit(...news);
  const policies = new Map(Object.keys(config.upstreams)
    .map(name => [name, makePolicy(config, name, fallbacks[name], tell)]));
  const each = valueOf =>
    Object.fromEntries([...policies].map(([name, found]) => [name, valueOf(found)]));
  const breakers = each(({ breaker }) => breaker);
  const retries = each(found => ({ get stats () { return found.retryStats; } }));

  function wrap (name, fn, options) {
    const found = policies.get(name);
    if (found === undefined) {
      throw invalidOption('name', `one of the upstreams of the configuration (${
        [...policies.keys()].join(', ') || 'there are none'})`, name, RangeError);
    }
    return found.wrap(func('fn', fn), options);
  }
  return { breakers, events, retries, wrap };
}

module.exports = { makeUpstreams };
