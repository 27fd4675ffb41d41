'use strict';

// The outbox's channels EMAIL and WHATSAPP on the clients. Every attempt carries the message's own
// reference, so that one that arrived twice is recognised.

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

/** `data.html` is the message as a page, beside its text. */
function emailSender (client, from) {
  const domain = domainOf(from);
  return async (message, { signal }) => {
    const { recipient, subject, body, data, reference } = message;
    const { messageId } = await client.send({
      to: recipient,
      subject: subject ?? '',
      text: body ?? '',
      ...typeof data?.html === 'string' && { html: data.html },
      messageId: `<${reference}@${domain}>`,
    }, { signal });
    return { providerMessageId: messageId };
  };
}

/**
 * `data.whatsapp` is a message in the Cloud API's own form: a template, say. An attempt whose
 * answer was lost may have got through; if a webhook has told so by now, nothing is left to send.
 */
function cloudSender (client, deliveries) {
  return async (message, { signal, attempt }) => {
    const { id, recipient, body, data, reference } = message;
    const known = attempt > 1 ? (await deliveries.of([message])).get(id) : undefined;
    if (known !== undefined && known.status !== 'failed') {
      return { providerMessageId: known.providerMessageId };
    }
    const own = isObject(data?.whatsapp)
      ? data.whatsapp
      : { type: 'text', text: { body: body ?? '' } };
    const { messageId } = await client.send(
      { ...own, to: recipient, biz_opaque_callback_data: reference }, { signal });
    return { providerMessageId: messageId };
  };
}

function greenSender (client) {
  return async ({ recipient, body, reference }, { signal }) => {
    const { messageId } = await client.send(
      { to: recipient, message: body ?? '', reference }, { signal });
    return { providerMessageId: messageId };
  };
}

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

module.exports = { channelDefinition, channelsOf };
