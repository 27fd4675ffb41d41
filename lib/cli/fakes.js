'use strict';

// sekering serve --fakes: fakes of the upstreams, at the addresses in the configuration, and a
// route by which `sekering trigger` changes their payments.

const { SekeringError } = require('../base/errors');
const { CliError, EXIT } = require('./session');

const PATH = '/fakes/midtrans';
const LOCAL = ['127.0.0.1', 'localhost', '::1', '[::1]'];

/** The host and port of an address on this machine; undefined if it is elsewhere. */
function placeOf (address) {
  if (!address) return undefined;
  const { hostname: host, port } = new URL(address);
  return LOCAL.includes(host) && port !== '' ? { host, port: Number(port) } : undefined;
}

/** How to start each fake that the configuration leads to. */
function startsOf ({ midtrans, smtp, whatsapp }) {
  const testing = require('../testing');
  const starts = {};
  const pay = placeOf(midtrans?.coreUrl);
  const mail = LOCAL.includes(smtp?.host) && smtp.port ? { host: smtp.host, port: smtp.port }
    : undefined;
  const { cloud } = whatsapp ?? {};
  const chat = placeOf(cloud?.baseUrl);
  if (pay) {
    starts.midtrans = () =>
      testing.startMidtransFake({ ...pay, serverKey: midtrans.serverKey });
  }
  if (mail) starts.smtp = () => testing.startSmtpFake(mail);
  if (chat) {
    const { accessToken, phoneNumberId, appSecret, verifyToken } = cloud;
    starts.whatsapp = () =>
      testing.startWhatsAppFake({ ...chat, accessToken, phoneNumberId, appSecret, verifyToken });
  }
  return starts;
}

/** Starts them. @returns {Promise<object>} by name, with `close` for all of them */
async function startFakes (config) {
  const starts = Object.entries(startsOf(config));
  if (starts.length === 0) {
    throw new CliError('ERR_CLI_USAGE', 'No section of the configuration leads to this machine. ' +
      '`sekering init --fakes` writes a configuration that does', EXIT.usage);
  }
  const fakes = {};
  const close = () => Promise.all(Object.values(fakes).map(fake => fake.close()));
  try {
    for (const [name, start] of starts) fakes[name] = await start();
  } catch (cause) {
    await close();
    if (cause.syscall !== 'listen') throw cause;
    throw new SekeringError('ERR_LISTEN', `The fake of ${starts[Object.keys(fakes).length][0]} ` +
      `cannot listen on ${cause.address}:${cause.port} (${cause.code})`, { cause });
  }
  return { fakes, close };
}

/** Adds the route that moves a payment. Its answer is the notification that Midtrans would send. */
function addFakes (app, { fakes: { midtrans }, config }) {
  if (midtrans === undefined) return;
  const { createAdminAccess, ownSiteOnly } = require('../http/admin-auth');
  const { problem } = require('../http/problem');
  const { enter, need } = createAdminAccess({ tokens: config.admin.tokens });
  app.post(`${PATH}/:id/:state`, ownSiteOnly, enter, need('operate'), (req, res) => {
    const { id, state } = req.params;
    if (!midtrans.transactions.has(id)) {
      if (!midtrans.orders.has(id)) return problem(res, 404, { code: 'ERR_NOT_FOUND' });
      midtrans.choose(id);
    }
    midtrans.settle(id, state);
    res.json(midtrans.notifications(id, { latest: true })[0]);
  });
}

module.exports = { PATH, addFakes, startFakes };
