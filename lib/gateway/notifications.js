'use strict';

// The outbox's channels EMAIL and WHATSAPP on the clients. Every attempt carries the message's own
// reference, so that one that arrived twice is recognised.

const { Faults } = require('../clients/input');
const { readAddresses } = require('../clients/smtp-address');
const { retryPresets } = require('../primitives/presets');
const { retryOptions } = require('./config');

// The worker waits longer than the client, which knows better what has become of a message.
const LATER = 2;
const TIMEOUT_MS_MIN = 1000;

const isObject = value => value !== null && typeof value === 'object' && !Array.isArray(value);

/** The domain that a sender's address ends with. */
function domainOf (from) {
  return /@([A-Za-z0-9.-]+)>?\s*$/.exec(from)?.[1] ?? 'sekering.invalid';
}

/**
 * A message as nodemailer takes it; `data.html` is it as a page, beside its text. One recipient is
 * one: a list of them is refused as an address, and not sent to all.
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

/** `data.whatsapp` is a message in the Cloud API's own form: a template, say. */
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
 * An attempt whose answer was lost may have got through; if a webhook has told so by now, nothing
 * is left to send.
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

// Members of the clients' messages by what they are in ours.
const EMAIL_PATHS = { to: 'recipient', text: 'body', html: 'data.html' };
const CLOUD_PATHS = { to: 'recipient', 'text.body': 'body' };
const GREEN_PATHS = { to: 'recipient', message: 'body' };

/**
 * What refuses, when it is handed over, a message that the client would never send.
 * @param {object} client
 * @param {(message: object) => object} make the client's message of ours
 * @param {(path: string, message: object) => string} pathOf
 */
function checkBy (client, make, pathOf) {
  return (message, { body = 'x' }) => {
    try {
      client.check(make({ ...message, body }));
    } catch (error) {
      if (!Array.isArray(error?.faults)) throw error;
      // What was received is left out: it is long, or somebody's own.
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

function lane (send, client, { concurrency }, timeoutMs) {
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
    channels.EMAIL = lane(emailSender(smtp, config.smtp.from), smtp, config.smtp, timeouts.smtp);
  }
  if (whatsapp !== undefined) {
    const sender = config.whatsapp.cloud
      ? cloudSender(whatsapp, deliveries) : greenSender(whatsapp);
    channels.WHATSAPP = lane(sender, whatsapp, config.whatsapp, timeouts.whatsapp);
  }
  return channels;
}

/** How a message's attempts follow each other. */
function channelDefinition (config) {
  const { strategy, factor, minTimeout, maxTimeout, randomize, jitter } =
    retryOptions(config, retryPresets.outbox);
  const backoff = { strategy, factor, minTimeout, maxTimeout, randomize, jitter };
  for (const name of Object.keys(backoff)) {
    if (backoff[name] === undefined) delete backoff[name];
  }
  return { maxAttempts: config.outbox.maxAttempts, backoff };
}

/** The same, of EMAIL and WHATSAPP, which know what their clients never send. */
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
