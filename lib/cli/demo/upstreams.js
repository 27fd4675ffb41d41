'use strict';

// The upstreams of the demo: real servers on loopback, each with a switch, and the configuration of
// a gateway that uses them.

const crypto = require('node:crypto');

const { presets, retryPresets } = require('../../primitives/presets');
const { startMidtransFake } = require('../../testing/midtrans-fake');
const { startSmtpFake } = require('../../testing/smtp-fake');
const { startWhatsAppFake } = require('../../testing/whatsapp-fake');

const MESSAGES_MAX = 1_000_000;
const TOKEN_BYTES = 16;
const FILMS = [
  { id: 'f1', title: 'The Long Way to Ubud', price: 45_000 },
  { id: 'f2', title: 'Night Train from Gambir', price: 50_000 },
  { id: 'f3', title: 'A Letter to Banda', price: 35_000 }
];

/** The fault of each button, and its name on the screen. */
const FAULTS = {
  midtrans: { fault: 'hang', label: 'no answers' },
  smtp: { fault: { stage: 'mail' }, label: '451 to all mail' },
  whatsapp: { fault: 131042, label: 'quota used up' },
  films: { fault: 'down', label: 'down' }
};

/** A list of films that is there or not. */
class Films {
  #isDown = false;

  set (fault) { this.#isDown = fault !== null; }

  async load () {
    if (this.#isDown) {
      throw Object.assign(new Error('The list of films is down'), { code: 'ECONNREFUSED' });
    }
    return { films: FILMS, at: Date.now() };
  }
}

/** The times of a preset, divided. Everything else is as in production. */
function section ({ resetTimeout, rollingCountTimeout }, divisor) {
  return {
    circuitBreaker: {
      resetTimeout: resetTimeout / divisor, rollingCountTimeout: rollingCountTimeout / divisor,
      rampUp: 0
    }
  };
}

function configOf ({ midtrans, smtp, whatsapp }, { divisor, directory, port, serverKey, token }) {
  const { accessToken, phoneNumberId, appSecret, verifyToken, baseUrl } = whatsapp.cloud;
  return {
    server: { port, shutdownTimeout: 3000 },
    store: { directory },
    midtrans: {
      // Only Midtrans ever hangs. The others need no shorter timeout, however slow this machine is.
      ...section(presets.midtrans, divisor), timeout: presets.midtrans.timeout / divisor,
      serverKey, snapUrl: midtrans.url, coreUrl: midtrans.url
    },
    smtp: {
      ...section(presets.smtp, divisor), host: smtp.host, port: smtp.port, ignoreTls: true,
      from: 'Film Tickets <tickets@shop.example>'
    },
    whatsapp: {
      ...section(presets.whatsapp, divisor),
      cloud: { accessToken, phoneNumberId, appSecret, verifyToken, baseUrl }
    },
    upstreams: { films: { preset: 'movieApi', cache: true, retry: { retries: 0 } } },
    retry: {
      minTimeout: retryPresets.outbox.minTimeout / divisor,
      maxTimeout: retryPresets.outbox.maxTimeout / divisor,
      circuitBreaker: { scope: 'instance' },
      fallback: { maxWait: 1000 }
    },
    outbox: { maxAttempts: 20, leaseMs: 3000, pollInterval: 250 },
    degradation: { hysteresis: 1000 },
    schedule: { cleanUp: false },
    admin: { tokens: [{ name: 'demo', role: 'operate', token }] },
    logging: { level: 'silent' }
  };
}

/** Starts all servers. The times of presets are divided by `divisor`. */
async function startUpstreams (options) {
  const serverKey = `SB-Mid-server-${crypto.randomBytes(TOKEN_BYTES).toString('hex')}`;
  const token = crypto.randomBytes(TOKEN_BYTES).toString('base64url');
  const [midtrans, smtp, whatsapp] = await Promise.all([
    startMidtransFake({ serverKey, latencyMs: [2, 12], ordersMax: MESSAGES_MAX }),
    startSmtpFake({ messagesMax: MESSAGES_MAX }),
    startWhatsAppFake({ latencyMs: 4, messagesMax: MESSAGES_MAX })
  ]);
  const servers = { midtrans, smtp, whatsapp, films: new Films() };
  const labels = Object.fromEntries(Object.keys(servers).map(name => [name, 'well']));
  return {
    ...servers, labels, token, config: configOf(servers, { ...options, serverKey, token }),
    set (name, fault, label) {
      servers[name].set(fault);
      labels[name] = label;
    },
    close: () => Promise.all([midtrans.close(), smtp.close(), whatsapp.close()])
  };
}

module.exports = { FAULTS, FILMS, startUpstreams };
