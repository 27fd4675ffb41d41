'use strict';

// The upstreams of the demonstration as real servers on loopback, and the client of each.

const crypto = require('node:crypto');

const { requirePeer } = require('../base/peer');
const { MidtransClient } = require('../clients/midtrans');
const { SmtpClient } = require('../clients/smtp');
const { CloudApiClient } = require('../clients/whatsapp');
const { presets, retryPresets } = require('../primitives/presets');
const { startMidtransFake } = require('../testing/midtrans-fake');
const { startSmtpFake } = require('../testing/smtp-fake');
const { startWhatsAppFake } = require('../testing/whatsapp-fake');

const MESSAGES_MAX = 1_000_000;
const SMTP_CONNECTIONS_MAX = 5;
const POSTMASTER = 'postmaster@relay.example';
const SENDER = 'Film Tickets <tickets@shop.example>';

// The figures of a preset that are times.
const TIMES = ['timeout', 'resetTimeout', 'rollingCountTimeout'];
const RETRY_TIMES = ['minTimeout', 'maxTimeout'];

/** A preset with its times divided; everything else stays as production has it. */
function scaled (preset, divisor, times = TIMES) {
  const figures = { ...preset };
  for (const time of times) {
    if (typeof figures[time] === 'number') figures[time] /= divisor;
  }
  return figures;
}

/** What a client is made with: its preset, and how long an attempt may take. */
function settingsOf (preset, divisor) {
  const { timeout, ...breaker } = scaled(preset, divisor);
  return { timeout, breaker, retry: scaled(retryPresets.email, divisor, RETRY_TIMES) };
}

/** A pool of connections that are open already, so that the first mails need not wait for them. */
async function connect ({ host, port }) {
  const { createTransport } = requirePeer('nodemailer', 'The demonstration');
  const transport = createTransport({
    host, port, ignoreTLS: true, pool: true, maxConnections: SMTP_CONNECTIONS_MAX,
    maxMessages: Infinity
  });
  await Promise.all(Array.from({ length: SMTP_CONNECTIONS_MAX }, (_, i) => transport.sendMail({
    from: SENDER, messageId: `<connect.${i}@shop.example>`, to: POSTMASTER, subject: 'Hello',
    text: 'Hello'
  })));
  return transport;
}

/**
 * Starts all servers and their clients.
 * @param {number} divisor of the times of the presets
 * @returns {Promise<object>} { servers, clients, timeouts (ms), close }
 */
async function startUpstreams (divisor) {
  const serverKey = `SB-Mid-server-${crypto.randomBytes(8).toString('hex')}`;
  const [midtrans, smtp, whatsapp] = await Promise.all([
    startMidtransFake({ serverKey, latencyMs: [2, 12] }),
    startSmtpFake({ messagesMax: MESSAGES_MAX }),
    startWhatsAppFake({ latencyMs: 4, messagesMax: MESSAGES_MAX })
  ]);
  const transport = await connect(smtp);
  const settings = {
    midtrans: settingsOf(presets.midtrans, divisor),
    smtp: settingsOf(presets.smtp, divisor),
    whatsapp: settingsOf(presets.whatsapp, divisor)
  };
  const clients = {
    // What fails is queued at once: the customer is not to wait for the next attempt.
    midtrans: new MidtransClient({
      ...settings.midtrans, serverKey, baseUrls: { snap: midtrans.url, core: midtrans.url },
      retry: false
    }),
    smtp: new SmtpClient({
      ...settings.smtp, transport, from: SENDER, maxQueue: MESSAGES_MAX
    }),
    whatsapp: new CloudApiClient({
      ...whatsapp.cloud, ...settings.whatsapp, maxQueue: MESSAGES_MAX
    })
  };
  const close = async () => {
    for (const client of Object.values(clients)) await client.close();
    transport.close();
    await Promise.all([midtrans.close(), smtp.close(), whatsapp.close()]);
  };
  const timeouts = Object.fromEntries(
    Object.entries(settings).map(([name, { timeout }]) => [name, timeout]));
  return { midtrans, smtp, whatsapp, clients, timeouts, close };
}

module.exports = { startUpstreams, POSTMASTER };
