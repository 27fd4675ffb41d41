'use strict';

// The services of a configuration, each behind its own breaker: Midtrans, mail and WhatsApp with
// their clients and the channels of the outbox, the database, and the user's own upstreams.

const { createHash } = require('node:crypto');
const { domainToASCII } = require('node:url');

const Emitter = require('../base/emitter');
const { invalidOption, unknownOption } = require('../base/errors');
const { isList, messageOf, read } = require('../base/foreign');
const { canShare } = require('../base/regions');
const { Faults } = require('../clients/client-error');
const { readAddresses } = require('../clients/smtp-message');
const { numberOf } = require('../clients/whatsapp-input');
const CircuitBreaker = require('../primitives/breaker');
const { readOptions } = require('../primitives/breaker-options');
const { retryOn, statusOf } = require('../primitives/classify');
const { fallbackChain } = require('../primitives/fallback-chain');
const { Policy } = require('../primitives/policy');
const { presets, profiles, retryPresets } = require('../primitives/presets');
const { RetryPlan } = require('../primitives/retry-run');

// ---- Settings: later ones win. Preset, profile, [retry], the service's own section --------------

/** Options that are left out must not override others. */
const withoutUndefined = object => Object.fromEntries(
  Object.entries(object ?? {}).filter(([, value]) => value !== undefined));

/**
 * Options of a breaker; `own` is the `circuitBreaker` of the service's section. Pass `timeout` only
 * for a client that has no time limit of its own.
 */
function breakerOptions (config, name, preset, own, timeout = false) {
  const { scope = defaultScope(config.profile), namespace, shareTrip, strictScope, ...general } =
    withoutUndefined(config.retry.circuitBreaker);
  const given = { ...general, ...withoutUndefined(own) };
  const { rampUp, ...profile } = profiles[config.profile].breaker;
  const settings = {
    ...preset, ...profile,
    // A configured `successThreshold` defines how the circuit closes: then it admits all calls.
    ...rampUp !== undefined && given.successThreshold === undefined && { rampUp },
    ...given, timeout, name,
  };
  const { minimumCalls, slidingWindowSize } = settings;
  if (given.minimumCalls === undefined && minimumCalls > slidingWindowSize) {
    settings.minimumCalls = slidingWindowSize;
  }
  if (scope === 'instance' || settings.enabled === false) return settings;
  const place = name === 'database' ? placeOf(config) : undefined;
  return {
    ...settings, ...withoutUndefined({ shareTrip, strictScope }),
    scope: scope === 'fleet' ? 'host' : scope,
    namespace: `${namespace}.${hashOf({ ...settings, ...place })}`,
  };
}

/** Of several databases on one host, each has a breaker of its own, whoever asks it. */
const placeOf = ({ store: { url, directory, schema } = {} }) =>
  ({ url: url?.replace(/\/\/[^/]*@/, '//'), directory, schema });

// Only processes with the same settings share a breaker. After a change of the configuration, the
// breaker is another one.
function hashOf (settings) {
  return createHash('sha256').update(JSON.stringify(settings)).digest('hex').slice(0, 8);
}

// Tests want no state that outlives them.
function defaultScope (profile) {
  return canShare && profile !== 'testing' ? 'host' : 'instance';
}

/** The time limit of one attempt, in ms. A profile never lengthens the one of a preset. */
function timeoutOf (config, preset, own) {
  const { timeout: limit = Infinity } = profiles[config.profile].breaker;
  return own ?? (limit < (preset.timeout || Infinity) ? limit : preset.timeout);
}

/**
 * The options of retries, merged from layers. If a later layer contradicts an earlier one, the
 * later one applies: its `jitter` replaces an earlier `randomize`, and its first delay may be
 * longer than an earlier longest delay.
 */
function retryFigures (config, preset, own) {
  const { circuitBreaker, policy: rules, fallback, ...general } = config.retry;
  const layers = [profiles[config.profile].retry, general, own];
  const { enabled = true, ...figures } = layers.map(withoutUndefined).reduce(lay, preset);
  return { enabled, figures };
}

function lay (below, layer) {
  const figures = { ...below, ...layer };
  if (layer.randomize !== undefined) {
    if (layer.randomize && layer.jitter === undefined) delete figures.jitter;
  } else if (layer.jitter !== undefined || layer.strategy !== undefined) {
    figures.randomize = false;
  }
  if (figures.strategy === 'decorrelated') {
    // It is random by itself.
    if (layer.strategy !== undefined && layer.jitter === undefined) delete figures.jitter;
    if (layer.strategy === undefined && layer.jitter !== undefined) delete figures.strategy;
  }
  const { minTimeout, maxTimeout } = figures;
  if (layer.minTimeout === undefined && layer.maxTimeout !== undefined) {
    figures.minTimeout = Math.min(minTimeout, maxTimeout);
  } else if (layer.maxTimeout === undefined && layer.minTimeout !== undefined) {
    figures.maxTimeout = Math.max(minTimeout, maxTimeout);
  }
  return figures;
}

/** Options of retries; false for none. */
function retryOptions (config, preset, own) {
  const { enabled, figures } = retryFigures(config, preset, own);
  return enabled && figures;
}

// ---- Checking ----------------------------------------------------------------------------------

/** The names of breakers that are not of upstreams, and whose they are. */
function namesTaken ({ midtrans, smtp, whatsapp }) {
  const sections = Object.entries({ midtrans, smtp, whatsapp })
    .filter(([, section]) => section !== undefined)
    .map(([name]) => [name, `the section ${name}`]);
  const relays = (smtp?.relays ?? []).map((relay, i) => [relayName(relay, i), 'a mail relay']);
  return new Map([['database', 'the database'], ...relays, ...sections]);
}

const relayName = ({ name }, i) => `smtp.${name ?? i + 1}`;

/**
 * Settings that contradict each other, such as a first delay that is longer than the longest one.
 * To find them, the options are made and checked as they will be when they are used.
 */
function faultsOfFigures (config) {
  const faults = new Map();
  const attempt = (make, own, place, general) => {
    try {
      make();
    } catch (error) {
      if (read(error, 'code') !== 'ERR_INVALID_OPTION') throw error;
      const [name] = read(error, 'option').split('.');
      const path = [...own?.[name] === undefined ? general : place, name];
      faults.set(path.join(), { path, message: messageOf(error) });
    }
  };
  const checkRetry = (preset, own, place) => attempt(
    () => new RetryPlan(retryFigures(config, preset, own).figures), own, place, ['retry']);
  const checkBreaker = (name, preset, own, place) => attempt(
    () => readOptions(breakerOptions(config, name, preset, own)),
    own, [...place, 'circuitBreaker'], ['retry', 'circuitBreaker']);

  checkRetry(retryPresets.outbox);
  checkRetry(retryPresets.payment);
  checkBreaker('database', presets.database, undefined, []);
  for (const name of ['midtrans', 'smtp', 'whatsapp']) {
    checkBreaker(name, presets[name], config[name]?.circuitBreaker, [name]);
  }
  for (const [i, { circuitBreaker }] of (config.smtp?.relays ?? []).entries()) {
    checkBreaker('smtp', presets.smtp, circuitBreaker, ['smtp', 'relays', i]);
  }
  const taken = namesTaken(config);
  for (const [name, { preset, retry, circuitBreaker }] of Object.entries(config.upstreams)) {
    if (taken.has(name)) {
      const path = ['upstreams', name];
      const message = `Expected another name for this upstream: ${taken.get(name)} has it`;
      faults.set(path.join(), { path, message });
    }
    checkRetry(retryPresets.apiClient, retry, ['upstreams', name, 'retry']);
    checkBreaker(name, presets[preset], circuitBreaker, ['upstreams', name]);
  }
  return [...faults.values()];
}

// ---- Clients -----------------------------------------------------------------------------------

const call = fn => fn();

/** Whether the database itself has failed; other errors say nothing about it. */
const isDatabaseFault = error =>
  ['ERR_STORE_UNREACHABLE', 'ERR_STORE_READ_ONLY'].includes(read(error, 'code')) ||
  (read(error, 'code') === 'ERR_STORE_QUERY' && read(error, 'retryable') === true);

// Of the statuses 4xx, these may be the upstream's fault.
const BUSY_STATUSES = [408, 425, 429];

/**
 * Any other status 4xx says that the request was wrong, and that the upstream works. It does not
 * open the breaker, unless it is to be retried.
 */
const isCallersFault = mayHelp => error => {
  const status = statusOf(error);
  return status >= 400 && status < 500 && !BUSY_STATUSES.includes(status) && !mayHelp(error);
};

function breakerOf (config, name, preset, own, timeout) {
  return new CircuitBreaker(call, {
    volumeThreshold: 5, ...breakerOptions(config, name, preset, own, timeout)
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
  const { from, requireTls, timeout, concurrency, circuitBreaker, relays } = config.smtp;
  const relayOf = (relay, name) => ({
    smtp: serverOf(relay),
    requireTls: relay.requireTls ?? requireTls,
    breaker: breakerOf(config, name, presets.smtp,
      { ...circuitBreaker, ...withoutUndefined(relay.circuitBreaker) },
      timeoutOf(config, presets.smtp, timeout)),
  });
  return new SmtpClient({
    ...relays === undefined ? relayOf(config.smtp, 'smtp') : {
      relays: relays.map((relay, i) => {
        const { name = String(i + 1), from: sender } = relay;
        return { name, from: sender, ...relayOf(relay, relayName(relay, i)) };
      })
    },
    from,
    maxConnections: concurrency,
    retry: false,
  });
}

/** A mail relay as nodemailer takes it. */
function serverOf ({ host, port, secure, ignoreTls, user, password, url }) {
  const auth = user === undefined ? undefined : { user, pass: password ?? '' };
  return url ?? { host, port, secure, ignoreTLS: ignoreTls, auth };
}

const whatsAppPreset = config =>
  (config.whatsapp.cloud === undefined ? presets.greenApi : presets.whatsapp);

function makeWhatsApp (config) {
  const { CloudApiClient, GreenApiClient } = require('../clients/whatsapp');
  const { cloud, green, countryCode, timeout, concurrency, circuitBreaker } = config.whatsapp;
  const preset = whatsAppPreset(config);
  const options = {
    countryCode,
    timeout: timeoutOf(config, preset, timeout),
    connections: concurrency,
    retry: false,
    breaker: breakerOf(config, 'whatsapp', preset, circuitBreaker),
  };
  return cloud === undefined
    ? new GreenApiClient({ ...green, ...options })
    : new CloudApiClient({ ...cloud, ...options });
}

/** Services without a section are left out. `orders` is the Midtrans client of the store. */
function makeClients (config) {
  const { midtrans, orders } = config.midtrans === undefined ? {} : makeMidtrans(config);
  const smtp = config.smtp && makeSmtp(config);
  const whatsapp = config.whatsapp && makeWhatsApp(config);
  const clients = withoutUndefined({ midtrans, smtp, whatsapp });
  const database = breakerOf(config, 'database', {
    ...presets.database, errorFilter: error => !isDatabaseFault(error),
    // The call of an order waits for Midtrans too, so its latency says nothing about the database.
    rollingPercentilesEnabled: false
    // No ramp: orders and messages that it turned away would be lost.
  }, { rampUp: 0 });
  const breakers = { database };
  for (const { breaker } of [midtrans, ...smtp?.relays ?? [], whatsapp].filter(Boolean)) {
    breakers[breaker.name] = breaker;
  }
  return { clients, orders, breakers };
}

// ---- The channels EMAIL and WHATSAPP -----------------------------------------------------------
//
// Every attempt carries the reference of its message, so that duplicates can be recognised.

// The worker waits longer than the client, which knows better what became of a message.
const PATIENCE = 2;
const TIMEOUT_MS_MIN = 1000;

const isGiven = value => value !== undefined && value !== null;
const isText = value => typeof value === 'string' && value !== '';
const isObject = value => value !== null && typeof value === 'object' && !isList(value);

/** The domain of a sender's address. */
function domainOf (from) {
  return /@([A-Za-z0-9.-]+)>?\s*$/.exec(from)?.[1] ?? 'sekering.invalid';
}

/** The one address in a recipient: { name, address }. undefined if there is none, or several. */
function oneAddress (recipient) {
  const addresses = readAddresses(recipient, 'to', new Faults('send'));
  return addresses.length === 1 ? addresses[0] : undefined;
}

/** Changes a domain only: before the @, a server may distinguish A from a (RFC 5321 2.4). */
function changeDomain (text, change) {
  const at = text.lastIndexOf('@') + 1;
  return text.slice(0, at) + change(text.slice(at));
}

/** The stored form of an address, perhaps with a name; other values stay as they are. */
function mailboxOf (recipient) {
  const one = oneAddress(recipient);
  if (one === undefined) return recipient;
  return changeDomain(one.name === '' ? one.address : recipient.trim(),
    domain => domain.toLowerCase());
}

/** What all spellings of a mailbox have in common: a domain can also be written in ASCII. */
function addressIn (recipient) {
  const { address } = oneAddress(recipient) ?? { address: recipient };
  return changeDomain(address, domain => domainToASCII(domain) || domain);
}

/**
 * A message as nodemailer takes it; `html`, or else `data.html`, is its HTML version. A message has
 * one recipient: a string with several addresses is rejected, not sent to all.
 */
function letterOf ({ recipient, subject, body, html, data }) {
  const page = html ?? data?.html;
  return {
    to: oneAddress(recipient) ?? { address: recipient },
    subject: subject ?? '',
    // Without a text, there is only the HTML version.
    ...(isText(body) || !isText(page)) && { text: body ?? '' },
    ...typeof page === 'string' && { html: page },
  };
}

/** `data.whatsapp` is a message in the Cloud API's own form, such as a template. */
function cloudMessageOf ({ recipient, body, data }) {
  const own = isObject(data?.whatsapp)
    ? data.whatsapp
    : { type: 'text', text: { body: body ?? '' } };
  return { ...own, to: recipient };
}

/** `data.whatsapp` may be a file: `{ url, filename, caption }`. */
const greenMessageOf = ({ recipient, body, data }) => (isObject(data?.whatsapp)
  ? { ...data.whatsapp, to: recipient } : { to: recipient, message: body ?? '' });

function emailSender (client, from) {
  const domain = domainOf(from);
  return async (message, { signal }) => {
    const { messageId } = await client.send(
      { ...letterOf(message), messageId: `<${message.reference}@${domain}>` }, { signal });
    return { providerMessageId: messageId };
  };
}

/**
 * An earlier attempt whose answer was lost may have succeeded. If a webhook has confirmed it since,
 * nothing is sent.
 */
function cloudSender (client, deliveries) {
  return async (message, { signal, attempt }) => {
    const { id, reference } = message;
    const known = attempt > 1 ? (await deliveries.of([message])).get(id) : undefined;
    if (known !== undefined && known.status !== 'failed') {
      return { providerMessageId: known.providerMessageId };
    }
    const { messageId } = await client.send(
      { ...cloudMessageOf(message), biz_opaque_callback_data: reference }, { signal });
    return { providerMessageId: messageId };
  };
}

function greenSender (client) {
  return async (message, { signal }) => {
    const { messageId } = await client.send(
      { ...greenMessageOf(message), reference: message.reference }, { signal });
    return { providerMessageId: messageId };
  };
}

// What a client would send without, and the faults of a message that would lose something.

/** Whether a text shows anything. */
const isSeen = value => typeof value === 'string' && /[^\s\p{Cf}]/u.test(value);

/** The functions below note their faults by add(path, expected). */
function faultsOfLetter (add, { body, html, data }) {
  if (!isSeen(body) && !isSeen(html ?? data?.html)) {
    add('body', 'a text, or html, that is not empty');
  }
}

/**
 * What would not be sent: texts beside `data.whatsapp`, which is the whole message, and members of
 * it that we write ourselves.
 */
const faultsOfChat = (referenceName, countryCode) => (add, message) => {
  const { recipient, body, html, template, data } = message;
  const own = isObject(data?.whatsapp) ? data.whatsapp : undefined;
  if (isText(html)) {
    add(isText(read(template, 'html')) ? 'template.html' : 'html', 'no HTML for WhatsApp');
  }
  if (own === undefined) {
    if (!isSeen(body)) add('body', 'a text that is not empty');
    return;
  }
  if (isText(body)) {
    const part = isText(read(template, 'text')) ? 'template.text' : 'body';
    add(isText(template) ? 'template' : part, 'no text beside data.whatsapp');
  }
  const { to, [referenceName]: reference } = own;
  if (isGiven(to) && numberOf(to, countryCode) !== recipient) {
    add('data.whatsapp.to', 'no value, or the recipient');
  }
  if (isGiven(reference)) {
    add(`data.whatsapp.${referenceName}`, 'no value (the outbox has its own reference)');
  }
};

// Where a field of a client's message comes from in ours.
const EMAIL_PATHS = { to: 'recipient', text: 'body', html: 'html' };
const CLOUD_PATHS = { to: 'recipient', 'text.body': 'body' };
const GREEN_PATHS = { to: 'recipient', message: 'body' };

/**
 * A check for enqueue() that rejects messages that the client would never send, or not whole:
 * `make` turns our message into the client's, `pathOf` a path in that one into ours, and `inspect`
 * notes our own faults. Values are left out of them: they may be long, or private.
 */
function checkBy (client, make, pathOf, inspect) {
  return (message, { body, subject, html }) => {
    const faults = [];
    const add = (path, expected) =>
      faults.push({ path, message: `Expected ${expected} for ${path}` });
    // Texts that are known to be invalid say nothing about what they lack.
    const whole = { ...message, body: body ?? 'x', subject, html };
    if (body !== undefined) inspect(add, whole);
    try {
      client.check(make(whole));
    } catch (error) {
      const found = read(error, 'faults');
      if (!isList(found)) throw error;
      for (const { path, message: why } of found) {
        const ours = pathOf(path, message);
        if (faults.some(fault => fault.path === ours)) continue;
        faults.push({ path: ours, message: `${why.split(` for ${path} but `, 1)[0]} for ${ours}` });
      }
    }
    if (faults.length > 0) throw Object.assign(new Error('The message cannot be sent'), { faults });
  };
}

/** Where a field comes from, whose message may be `data.whatsapp`. */
const chatPath = paths => (path, { data }) => (path !== 'to' && isObject(data?.whatsapp)
  ? `data.whatsapp.${path}` : paths[path] ?? path);

function channelOf (send, client, { concurrency }, timeoutMs) {
  return {
    send, breaker: client.breaker, concurrency,
    timeout: Math.max(timeoutMs * PATIENCE, TIMEOUT_MS_MIN),
  };
}

/** The channels of a worker that the clients can serve. */
function channelsOf (config, { smtp, whatsapp }, deliveries) {
  const channels = {};
  if (smtp !== undefined) {
    const sender = emailSender(smtp, config.smtp.from);
    // One attempt may go through all relays.
    channels.EMAIL = channelOf(sender, smtp, config.smtp,
      timeoutOf(config, presets.smtp, config.smtp.timeout) * smtp.relays.length);
  }
  if (whatsapp !== undefined) {
    const sender = config.whatsapp.cloud
      ? cloudSender(whatsapp, deliveries) : greenSender(whatsapp);
    channels.WHATSAPP = channelOf(sender, whatsapp, config.whatsapp,
      timeoutOf(config, whatsAppPreset(config), config.whatsapp.timeout));
  }
  return channels;
}

/** How often a message is tried, and how long it waits in between. */
function channelDefinition (config) {
  const { strategy, factor, minTimeout, maxTimeout, randomize, jitter } =
    retryFigures(config, retryPresets.outbox).figures;
  return {
    maxAttempts: config.outbox.maxAttempts,
    backoff: withoutUndefined({ strategy, factor, minTimeout, maxTimeout, randomize, jitter }),
  };
}

/** The same for EMAIL and WHATSAPP, with the checks of their clients. */
function channelDefinitions (config, { smtp, whatsapp }) {
  const definition = channelDefinition(config);
  const { countryCode } = config.whatsapp ?? {};
  const validate = {
    EMAIL: smtp && checkBy(smtp, letterOf, path => EMAIL_PATHS[path] ?? path, faultsOfLetter),
    WHATSAPP: whatsapp && (config.whatsapp.cloud
      ? checkBy(whatsapp, cloudMessageOf, chatPath(CLOUD_PATHS),
        faultsOfChat('biz_opaque_callback_data', countryCode))
      : checkBy(whatsapp, greenMessageOf, chatPath(GREEN_PATHS),
        faultsOfChat('reference', countryCode))),
  };
  const normalize = {
    EMAIL: smtp && mailboxOf, WHATSAPP: whatsapp && (number => numberOf(number, countryCode)),
  };
  const identify = {
    EMAIL: smtp && addressIn,
    // Green API also takes the chat of a number.
    WHATSAPP: whatsapp && (recipient => recipient.replace(/^(\d+)@c\.us$/, '+$1')),
  };
  return Object.fromEntries(['EMAIL', 'WHATSAPP'].map(name => [name, withoutUndefined({
    ...definition, validate: validate[name], normalize: normalize[name], identify: identify[name],
  })]));
}

// ---- Upstreams ---------------------------------------------------------------------------------

function shouldRetry (config, predicate) {
  const { retryableStatuses: statuses, retryableErrors: codes } = config.retry.policy;
  return retryOn(withoutUndefined({ statuses, codes, predicate }));
}

/**
 * The strategies of a fallback: first those in retry.fallback.strategy, in its order; then those
 * that the upstream itself has: old answers, its default, and its own function.
 */
function strategiesOf (config, section, own) {
  const { enabled, strategy = [], cacheTtl, cacheSize, ...general } = config.retry.fallback;
  if (!enabled) return [];
  const fixed = section.default === undefined ? general.default : section.default;
  const makers = {
    cache: () => section.cache !== false &&
      { cache: { ttl: cacheTtl, staleTtl: cacheTtl, max: cacheSize } },
    default: () => fixed !== undefined && { value: fixed },
    degraded: () => own !== undefined && { use: own },
  };
  const named = { cache: section.cache, default: section.default, degraded: own };
  const names = new Set([...strategy, ...Object.keys(withoutUndefined(named))]);
  return [...names].map(name => makers[name]()).filter(Boolean);
}

/** A chain that tells `onFallback` which strategy has answered. */
function fallbackOf (strategies, onFallback) {
  if (strategies.length === 0) return undefined;
  const chain = fallbackChain(strategies);
  if (onFallback === undefined) return chain;
  const answer = async (error, details) => {
    const answered = await chain.answer(error, details);
    onFallback({ error, by: answered.by });
    return answered;
  };
  return Object.assign((...args) => chain(...args), chain, { answer });
}

/** The retries of an upstream. If their number is configured, no time limit cuts them short. */
function upstreamRetry (config, own, predicate) {
  const options = retryOptions(config, retryPresets.apiClient, own);
  if (!options) return false;
  if ((own?.retries ?? config.retry.retries) !== undefined) delete options.maxRetryTime;
  return { ...options, shouldRetry: shouldRetry(config, predicate) };
}

function makePolicy (config, name, section, { fallback, onFallback, predicate }) {
  const preset = presets[section.preset];
  const errorFilter = isCallersFault(shouldRetry(config, predicate));
  const breaker = breakerOf(config, name, { ...preset, errorFilter }, section.circuitBreaker);
  return new Policy({
    fallback: fallbackOf(strategiesOf(config, section, fallback), onFallback),
    retry: upstreamRetry(config, section.retry, predicate),
    breaker,
    timeout: timeoutOf(config, preset, section.timeout),
  });
}

/** The user's own upstreams. `events` emits 'fallback'({ name, by, error }). */
function makeUpstreams (config, fallbacks = {}) {
  const names = Object.keys(config.upstreams);
  for (const name of Object.keys(fallbacks)) {
    if (!names.includes(name)) throw unknownOption(name, 'parts.fallbacks', names);
  }
  const events = new Emitter();
  const policies = Object.fromEntries(names.map(name => [name, makePolicy(
    config, name, config.upstreams[name], {
      fallback: fallbacks[name],
      onFallback: details => events.emit('fallback', { name, ...details }),
    })]));
  const each = valueOf => Object.fromEntries(names.map(name => [name, valueOf(policies[name])]));

  function wrap (name, fn, options) {
    if (!names.includes(name)) {
      throw invalidOption('name', `one of the upstreams of the configuration (${
        names.join(', ') || 'there are none'})`, name, RangeError);
    }
    return policies[name].wrap(fn, options);
  }
  return {
    breakers: each(({ breaker }) => breaker),
    events,
    retries: each(upstream => ({ get stats () { return upstream.retryStats; } })),
    wrap,
  };
}

module.exports = {
  breakerOptions, channelDefinition, channelDefinitions, channelsOf, faultsOfFigures, makeClients,
  makePolicy, makeUpstreams, retryOptions, timeoutOf, withoutUndefined,
};
