'use strict';

// The clients of a configuration, and one breaker for each service.

const { read } = require('../base/foreign');
const CircuitBreaker = require('../primitives/breaker');
const { presets, retryPresets } = require('../primitives/presets');
const { breakerOptions, retryOptions, timeoutOf } = require('./config');

const call = fn => fn();

/** Faults of the database itself; others say nothing of it. */
const isDatabaseFault = error => read(error, 'code') === 'ERR_STORE_UNREACHABLE' ||
  (read(error, 'code') === 'ERR_STORE_QUERY' && read(error, 'retryable') === true);

function breakerOf (config, name, preset, own) {
  return new CircuitBreaker(call, {
    volumeThreshold: 5, ...breakerOptions(config, name, preset, own)
  });
}

/** One for whoever calls it by hand, and one that leaves retries to the outbox. */
function makeMidtrans (config) {
  const { MidtransClient } = require('../clients/midtrans');
  const {
    serverKey, production, snapUrl, coreUrl, timeout, connections, orderIdPattern, circuitBreaker
  } = config.midtrans;
  const options = {
    serverKey, production, connections,
    baseUrls: {
      ...snapUrl !== undefined && { snap: snapUrl }, ...coreUrl !== undefined && { core: coreUrl }
    },
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
  const clients = {
    midtrans,
    smtp: config.smtp && makeSmtp(config),
    whatsapp: config.whatsapp && makeWhatsApp(config),
  };
  const database = breakerOf(config, 'database', {
    ...presets.database, errorFilter: error => !isDatabaseFault(error),
    // An order's call waits for Midtrans as well, so that its time says nothing of the database.
    rollingPercentilesEnabled: false
    // Orders and messages that were turned away are gone: no ramp.
  }, { rampUp: 0 });
  const breakers = { database };
  for (const [name, client] of Object.entries(clients)) {
    if (client === undefined) delete clients[name];
    else breakers[name] = client.breaker;
  }
  return { clients, orders, breakers };
}

module.exports = { breakerOf, makeClients };
