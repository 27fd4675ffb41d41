'use strict';

// The outbox's channels EMAIL and WHATSAPP. Every attempt carries the reference of its message, so
// that duplicates can be recognised.

const { Faults } = require('../clients/input');
const { readAddresses } = require('../clients/smtp-address');
const { retryPresets } = require('../primitives/presets');
const { retryOptions, withoutUndefined } = require('./services');

// The worker waits longer than the client, which knows better what became of a message.
const LATER = 2;
const TIMEOUT_MS_MIN = 1000;

const isObject = value => value !== null && typeof value === 'object' && !Array.isArray(value);

/** The domain of a sender's address. */
function domainOf (from) {
  return /@([A-Za-z0-9.-]+)>?\s*$/.exec(from)?.[1] ?? 'sekering.invalid';
}

/**
 * A message as nodemailer takes it; `data.html` is its HTML version. A message has one recipient:
 * a list of addresses is rejected, not sent to all.
 */
function letterOf ({ recipient, subject, body, data }) {
  const addresses = readAddresses(recipient, 'to', new Faults('send'));
  return {
    to: addresses.length === 1 ? addresses[0] : { address: recipient },
    subject: subject ?? '',
    text: body ?? '',
    ...typeof data?.html === 'string' && { html: data.html },
  };
}

/** `data.whatsapp` is a message in the Cloud API's own form, such as a template. */
function cloudMessageOf ({ recipient, body, data }) {
  const own = isObject(data?.whatsapp)
    ? data.whatsapp
    : { type: 'text', text: { body: body ?? '' } };
  return { ...own, to: recipient };
}

const greenMessageOf = ({ recipient, body }) => ({ to: recipient, message: body ?? '' });

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

// Where a field of a client's message comes from in ours.
const EMAIL_PATHS = { to: 'recipient', text: 'body', html: 'data.html' };
const CLOUD_PATHS = { to: 'recipient', 'text.body': 'body' };
const GREEN_PATHS = { to: 'recipient', message: 'body' };

/**
 * A check for enqueue() that rejects messages that the client would never send.
 * @param {object} client
 * @param {(message: object) => object} make turns our message into the client's
 * @param {(path: string, message: object) => string} pathOf
 */
function checkBy (client, make, pathOf) {
  return (message, { body = 'x' }) => {
    try {
      client.check(make({ ...message, body }));
    } catch (error) {
      if (!Array.isArray(error?.faults)) throw error;
      // The value is left out: it may be long, or private.
      error.faults = error.faults.map(({ path, message: why }) => {
        const ours = pathOf(path, message);
        return { path: ours, message: why.split(` for ${path} but `, 1)[0] + ` for ${ours}` };
      });
      throw error;
    }
  };
}

const cloudPath = (path, { data }) => (path !== 'to' && isObject(data?.whatsapp)
  ? `data.whatsapp.${path}` : CLOUD_PATHS[path] ?? path);

function channelOf (send, client, { concurrency }, timeoutMs) {
  return {
    send, breaker: client.breaker, concurrency,
    timeout: Math.max(timeoutMs * LATER, TIMEOUT_MS_MIN),
  };
}

/**
 * The channels of a worker that the clients can serve.
 * @param {object} config
 * @param {object} clients
 * @param {object} more
 * @param {Record<string, number>} more.timeouts ms of one attempt, by client
 * @param {object} more.deliveries of the store
 */
function channelsOf (config, { smtp, whatsapp }, { timeouts, deliveries }) {
  const channels = {};
  if (smtp !== undefined) {
    const sender = emailSender(smtp, config.smtp.from);
    channels.EMAIL = channelOf(sender, smtp, config.smtp, timeouts.smtp);
  }
  if (whatsapp !== undefined) {
    const sender = config.whatsapp.cloud
      ? cloudSender(whatsapp, deliveries) : greenSender(whatsapp);
    channels.WHATSAPP = channelOf(sender, whatsapp, config.whatsapp, timeouts.whatsapp);
  }
  return channels;
}

/** How often a message is tried, and how long it waits in between. */
function channelDefinition (config) {
  const { strategy, factor, minTimeout, maxTimeout, randomize, jitter } =
    retryOptions(config, retryPresets.outbox);
  return {
    maxAttempts: config.outbox.maxAttempts,
    backoff: withoutUndefined({ strategy, factor, minTimeout, maxTimeout, randomize, jitter }),
  };
}

/** The same for EMAIL and WHATSAPP, with the checks of their clients. */
function channelDefinitions (config, { smtp, whatsapp }) {
  const definition = channelDefinition(config);
  const own = {};
  if (smtp !== undefined) {
    own.EMAIL = checkBy(smtp, letterOf, path => EMAIL_PATHS[path] ?? path);
  }
  if (whatsapp !== undefined) {
    own.WHATSAPP = config.whatsapp.cloud
      ? checkBy(whatsapp, cloudMessageOf, cloudPath)
      : checkBy(whatsapp, greenMessageOf, path => GREEN_PATHS[path] ?? path);
  }
  return Object.fromEntries(['EMAIL', 'WHATSAPP'].map(name => [name,
    name in own ? { ...definition, validate: own[name] } : definition]));
}

module.exports = { channelDefinition, channelDefinitions, channelsOf };
