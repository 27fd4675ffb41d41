'use strict';

// The services of a configuration, each behind its own breaker: Midtrans, mail and WhatsApp with
// their clients, the database, and the user's own upstreams.

const { createHash } = require('node:crypto');

const Emitter = require('../base/emitter');
const { invalidOption, unknownOption } = require('../base/errors');
const { read } = require('../base/foreign');
const { func } = require('../base/options');
const { canShare } = require('../base/regions');
const CircuitBreaker = require('../primitives/breaker');
const { retryOn } = require('../primitives/classify');
const { fallbackChain } = require('../primitives/fallback-chain');
const { policy } = require('../primitives/policy');
const { presets, profiles, retryPresets } = require('../primitives/presets');

// ---- Settings: later ones win. Preset, profile, [retry], the service's own section --------------

const RETRY_SETTINGS = ['retries', 'strategy', 'factor', 'minTimeout', 'maxTimeout', 'randomize',
  'jitter'];

/** Options that are left out must not override others. */
const withoutUndefined = object => Object.fromEntries(
  Object.entries(object ?? {}).filter(([, value]) => value !== undefined));

/**
 * Options of a breaker.
 * @param {object} config
 * @param {string} name
 * @param {object} preset
 * @param {object} [own] the `circuitBreaker` of the service's section
 */
function breakerOptions (config, name, preset, own) {
  const { scope = defaultScope(config.profile), namespace, shareTrip, ...general } =
    withoutUndefined(config.retry.circuitBreaker);
  const settings = {
    ...preset, ...profiles[config.profile].breaker, ...general, ...withoutUndefined(own),
    // The requests of the client have the time limit.
    timeout: false,
    name,
  };
  if (scope === 'instance') return settings;
  return {
    ...settings, ...withoutUndefined({ shareTrip }), scope: scope === 'fleet' ? 'host' : scope,
    namespace: `${namespace}.${hashOf(settings)}`,
  };
}

// Only processes with the same settings share a breaker. After a change of the configuration, the
// breaker is another one.
function hashOf (settings) {
  return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 8);
}

// Tests want no state that outlives them.
function defaultScope (profile) {
  return canShare && profile !== 'testing' ? 'host' : 'instance';
}

/** The time limit of one attempt, in ms. */
function timeoutOf (config, preset, own) {
  return own ?? profiles[config.profile].breaker.timeout ?? preset.timeout;
}

/** Options of retries. */
function retryOptions (config, preset, own) {
  const general = Object.fromEntries(RETRY_SETTINGS
    .filter(name => config.retry[name] !== undefined).map(name => [name, config.retry[name]]));
  const options = {
    ...preset, ...profiles[config.profile].retry, ...general, ...withoutUndefined(own)
  };
  // A jitter or a strategy replaces the `randomize` of the preset.
  if (general.jitter ?? general.strategy ?? own?.jitter ?? own?.strategy) {
    options.randomize = own?.randomize ?? general.randomize ?? false;
  }
  return options;
}

// ---- Clients -----------------------------------------------------------------------------------

const call = fn => fn();

/** Whether the database itself has failed; other errors say nothing about it. */
const isDatabaseFault = error => read(error, 'code') === 'ERR_STORE_UNREACHABLE' ||
  (read(error, 'code') === 'ERR_STORE_QUERY' && read(error, 'retryable') === true);

function breakerOf (config, name, preset, own) {
  return new CircuitBreaker(call, {
    volumeThreshold: 5, ...breakerOptions(config, name, preset, own)
  });
}

/** One client retries, for the user. The other one does not: the outbox retries its orders. */
function makeMidtrans (config) {
  const { MidtransClient } = require('../clients/midtrans');
  const {
    serverKey, production, snapUrl, coreUrl, timeout, connections, orderIdPattern, circuitBreaker
  } = config.midtrans;
  const options = {
    serverKey, production, connections,
    baseUrls: withoutUndefined({ snap: snapUrl, core: coreUrl }),
    timeout: timeoutOf(config, presets.midtrans, timeout),
    breaker: breakerOf(config, 'midtrans', presets.midtrans, circuitBreaker),
    ...orderIdPattern !== undefined && { orderIdPattern: new RegExp(orderIdPattern) },
  };
  return {
    midtrans: new MidtransClient({
      ...options, retry: retryOptions(config, retryPresets.payment)
    }),
    orders: new MidtransClient({ ...options, retry: false }),
  };
}

function makeSmtp (config) {
  const { SmtpClient } = require('../clients/smtp');
  const {
    host, port, secure, ignoreTls, requireTls, user, password, url, from, timeout, concurrency,
    circuitBreaker
  } = config.smtp;
  const auth = user === undefined ? undefined : { user, pass: password ?? '' };
  return new SmtpClient({
    smtp: url ?? { host, port, secure, ignoreTLS: ignoreTls, auth },
    requireTls,
    from,
    maxConnections: concurrency,
    timeout: timeoutOf(config, presets.smtp, timeout),
    retry: false,
    breaker: breakerOf(config, 'smtp', presets.smtp, circuitBreaker),
  });
}

function makeWhatsApp (config) {
  const { CloudApiClient, GreenApiClient } = require('../clients/whatsapp');
  const { cloud, green, timeout, concurrency, circuitBreaker } = config.whatsapp;
  const preset = cloud === undefined ? presets.greenApi : presets.whatsapp;
  const options = {
    timeout: timeoutOf(config, preset, timeout),
    connections: concurrency,
    retry: false,
    breaker: breakerOf(config, 'whatsapp', preset, circuitBreaker),
  };
  return cloud === undefined
    ? new GreenApiClient({ ...green, ...options })
    : new CloudApiClient({ ...cloud, ...options });
}

/**
 * @param {object} config of readConfig
 * @returns {{ clients: object, orders?: object, breakers: Record<string, object> }} orders: the
 *   Midtrans client of the store. Services without a section are left out.
 */
function makeClients (config) {
  const { midtrans, orders } = config.midtrans === undefined ? {} : makeMidtrans(config);
  const clients = withoutUndefined({
    midtrans,
    smtp: config.smtp && makeSmtp(config),
    whatsapp: config.whatsapp && makeWhatsApp(config),
  });
  const database = breakerOf(config, 'database', {
    ...presets.database, errorFilter: error => !isDatabaseFault(error),
    // The call of an order waits for Midtrans too, so its latency says nothing about the database.
    rollingPercentilesEnabled: false
    // No ramp: orders and messages that it turned away would be lost.
  }, { rampUp: 0 });
  const breakers = { database };
  for (const [name, client] of Object.entries(clients)) breakers[name] = client.breaker;
  return { clients, orders, breakers };
}

// ---- Upstreams ---------------------------------------------------------------------------------

function shouldRetry (config) {
  const { retryableStatuses, retryableErrors } = config.retry.policy;
  return retryOn(withoutUndefined({ statuses: retryableStatuses, codes: retryableErrors }));
}

/** An old answer, then the default of the section, then the user's own fallback. */
function strategiesOf (config, section, own) {
  const { cacheTtl, cacheSize } = config.retry.fallback;
  const strategies = [];
  if (section.cache) {
    strategies.push({ cache: { ttl: cacheTtl, staleTtl: cacheTtl, max: cacheSize } });
  }
  if (section.default !== undefined) strategies.push({ value: section.default });
  if (own !== undefined) strategies.push(own);
  return strategies;
}

/** A chain that tells `onFallback` which strategy has answered. */
function fallbackOf (strategies, onFallback) {
  if (strategies.length === 0) return undefined;
  const chain = fallbackChain(strategies);
  const answer = async (error, details) => {
    const answered = await chain.answer(error, details);
    onFallback({ error, by: answered.by });
    return answered;
  };
  return Object.assign((...args) => chain(...args), chain, { answer });
}

function makePolicy (config, name, fallback, onFallback) {
  const section = config.upstreams[name];
  const preset = presets[section.preset];
  return policy({
    fallback: fallbackOf(strategiesOf(config, section, fallback), onFallback),
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
 * @param {Record<string, Function>} [fallbacks] by upstream; they get the arguments and the error
 * @returns {{ breakers: Record<string, object>, retries: Record<string, { stats: object }>,
 *   wrap: Function, events: Emitter }} events: 'fallback'({ name, by, error })
 */
function makeUpstreams (config, fallbacks = {}) {
  const names = Object.keys(config.upstreams);
  for (const name of Object.keys(fallbacks)) {
    if (!names.includes(name)) throw unknownOption(name, 'parts.fallbacks', names);
  }
  const events = new Emitter();
  const policies = Object.fromEntries(names.map(name => [name, makePolicy(
    config, name, fallbacks[name], details => events.emit('fallback', { name, ...details }))]));
  const each = valueOf => Object.fromEntries(names.map(name => [name, valueOf(policies[name])]));

  function wrap (name, fn, options) {
    if (!names.includes(name)) {
      throw invalidOption('name', `one of the upstreams of the configuration (${
        names.join(', ') || 'there are none'})`, name, RangeError);
    }
    return policies[name].wrap(func('fn', fn), options);
  }
  return {
    breakers: each(({ breaker }) => breaker),
    events,
    retries: each(upstream => ({ get stats () { return upstream.retryStats; } })),
    wrap,
  };
}

module.exports = {
  breakerOptions, makeClients, makeUpstreams, retryOptions, timeoutOf, withoutUndefined,
};
