'use strict';

// A gateway with its HTTP server against the fakes, for a test file.

const { createGateway } = require('../../lib/gateway');
const { startServer } = require('../../lib/http');
const {
  startMidtransFake, startSmtpFake, startWhatsAppFake
} = require('../../lib/testing');

const SERVER_KEY = 'SB-Mid-server-planted-key';
const SECRETS = {
  serverKey: SERVER_KEY,
  shopToken: 'planted-shop-token-0123456789',
  readToken: 'planted-read-token-0123456789',
  operateToken: 'planted-operate-token-0123456789',
  smtpPassword: 'planted-smtp-password',
  accessToken: 'planted-whatsapp-access-token',
  appSecret: 'planted-whatsapp-app-secret',
  verifyToken: 'planted-whatsapp-verify-token',
};

// No job comes in between: each runs when a test asks for it.
const NEVER = '0 0 29 2 *';
const SCHEDULE = Object.fromEntries(
  ['deadLetters', 'breakers', 'health', 'report', 'cleanUp', 'reconcile'].map(job => [job, NEVER]));

// A busy machine may take more than the default of 10 s for megabytes.
const storeOf = ({ url }) =>
  ({ ...url === undefined ? { memory: true } : { url }, timeout: 60_000 });

/** A configuration for the fakes; `over` is laid over its sections. */
function configFor ({ midtrans, smtp, whatsapp }, place, over = {}) {
  const { baseUrl, phoneNumberId } = whatsapp.cloud;
  const config = {
    profile: 'testing',
    server: { port: 0, tokens: [{ name: 'shop', token: SECRETS.shopToken }] },
    store: storeOf(place),
    midtrans: { serverKey: SERVER_KEY, snapUrl: midtrans.url, coreUrl: midtrans.url },
    smtp: {
      host: smtp.host, port: smtp.port, ignoreTls: true, user: 'shop',
      password: SECRETS.smtpPassword, from: 'Shop <orders@shop.example>'
    },
    whatsapp: {
      cloud: {
        accessToken: SECRETS.accessToken, phoneNumberId, baseUrl, appSecret: SECRETS.appSecret,
        verifyToken: SECRETS.verifyToken
      }
    },
    outbox: { pollInterval: 100 },
    schedule: SCHEDULE,
    admin: {
      tokens: [
        { name: 'watch', role: 'read', token: SECRETS.readToken },
        { name: 'ops', role: 'operate', token: SECRETS.operateToken }
      ]
    },
  };
  for (const [name, section] of Object.entries(over)) {
    config[name] = typeof section === 'object' ? { ...config[name], ...section } : section;
  }
  return config;
}

async function startFakes () {
  const { accessToken, appSecret, verifyToken, smtpPassword } = SECRETS;
  const [midtrans, smtp, whatsapp] = await Promise.all([
    startMidtransFake({ serverKey: SERVER_KEY }),
    startSmtpFake({ auth: { user: 'shop', pass: smtpPassword } }),
    startWhatsAppFake({ accessToken, appSecret, verifyToken })
  ]);
  const close = () => Promise.all([midtrans.close(), smtp.close(), whatsapp.close()]);
  return { midtrans, smtp, whatsapp, close };
}

/** Collects what is logged. */
function collector () {
  const lines = [];
  const add = level => (fields, message) => lines.push({ level, message, ...fields });
  return {
    lines, debug: add('debug'), info: add('info'), warn: add('warn'), error: add('error')
  };
}

/** Fakes, gateway, server, and ways to ask. */
async function startAll (place, over, parts) {
  const fakes = await startFakes();
  const log = collector();
  const gateway = await createGateway(configFor(fakes, place, over), { logger: log, ...parts });
  const server = await startServer(gateway);
  const ask = async (path, { token, body, headers, method } = {}) => {
    const response = await fetch(`${server.url}${path}`, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: {
        ...token && { authorization: `Bearer ${token}` },
        ...body !== undefined && { 'content-type': 'application/json' },
        ...headers,
      },
      body: typeof body === 'object' ? JSON.stringify(body) : body,
    });
    const text = await response.text();
    const isJson = /json/.test(response.headers.get('content-type'));
    return {
      status: response.status, headers: response.headers, text,
      body: isJson ? JSON.parse(text) : undefined,
    };
  };
  const close = async () => {
    await server.close();
    await fakes.close();
  };
  return { ...fakes, gateway, server, log, ask, close };
}

const order = (orderId, amount = 10_000) =>
  ({ transaction_details: { order_id: orderId, gross_amount: amount } });

/** Resolves once `check` answers something true. */
async function until (check, ms = 40_000, every = 10) {
  const deadline = performance.now() + ms;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (performance.now() > deadline) throw new Error(`Not within ${ms} ms: ${check}`);
    await new Promise(resolve => setTimeout(resolve, every));
  }
}

module.exports = { SECRETS, collector, configFor, order, startAll, startFakes, until };
