'use strict';

// sekering trigger: what comes from outside, sent to a running gateway: an order of the shop, and
// webhooks, signed with the secrets of the configuration.

const crypto = require('node:crypto');

const { PATH } = require('./fakes');
const { CliError, EXIT, choice, integer, messageId, withSession } = require('./session');

// The status code and the transaction status of each event.
const PAYMENTS = {
  settlement: '200', deny: '202', expire: '407', cancel: '200', refund: '200', chargeback: '200',
};
const PAYMENT_EVENTS = [...Object.keys(PAYMENTS), 'test'];
const DELIVERIES = ['delivered', 'failed'];
const WEBHOOK_TIMEOUT_MS = 15_000; // As long as Midtrans waits.
const DIGITS = 2; // IDR, as Midtrans writes amounts.
// The code of a message that could not be delivered.
const UNDELIVERABLE = { code: 131_026, title: 'Message undeliverable' };

function sectionOf ({ config, hint }, name) {
  if (config[name] !== undefined) return config[name];
  throw new CliError('ERR_CLI_USAGE', `The configuration has no section ${name}${hint}`,
    EXIT.usage);
}

const UNCONFIRMED = 'Midtrans has not confirmed it, or could not be asked. To try out events ' +
  'that have not happened, run the gateway with --fakes';

/** Posts a webhook, and says how the gateway has answered. */
async function send (session, path, text, headers) {
  const { url } = session;
  let response;
  try {
    response = await fetch(`${url}${path}`, {
      method: 'POST', body: text, redirect: 'error',
      headers: { 'content-type': 'application/json', ...headers },
      signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS),
    });
  } catch (cause) {
    throw new CliError('ERR_CLI_UNREACHABLE', `No server answers at ${url} ` +
      `(${cause.cause?.code ?? cause.name})`, EXIT.unreachable);
  }
  const { status } = response;
  const answer = await response.json().catch(() => ({}));
  const hint = answer.status === 'unavailable' ? [UNCONFIRMED] : [];
  session.answer({ path, status, answer },
    () => [`POST ${path}: ${status} ${answer.status ?? answer.code ?? ''}`.trimEnd(), ...hint]
      .join('\n'));
  if (!response.ok) process.exitCode = EXIT.failed;
}

// ---- Midtrans ----------------------------------------------------------------------------------

/** The notification about an order of the gateway, as Midtrans would send it. */
async function notificationOf (session, id, event, serverKey) {
  const { signed } = require('../testing/midtrans-core');
  const order = await session.admin.get(`/payments/${encodeURIComponent(id)}`);
  return signed({
    transaction_id: order.transactionId ?? crypto.randomUUID(),
    transaction_status: event,
    status_code: PAYMENTS[event],
    order_id: id,
    gross_amount: (Number(order.amountMinor) / 10 ** DIGITS).toFixed(DIGITS),
    currency: order.currency,
    payment_type: 'bank_transfer',
    fraud_status: 'accept',
  }, serverKey);
}

async function triggerMidtrans (session, event, { order }) {
  if ((order === undefined) !== (event === 'test')) {
    throw new CliError('ERR_CLI_USAGE', event === 'test'
      ? 'The test notification is about no order: leave out --order'
      : `Pass --order <id>: the order that the ${event} is about`, EXIT.usage);
  }
  const { serverKey } = sectionOf(session, 'midtrans');
  const { testNotificationOf } = require('../testing/midtrans-core');
  const body = event === 'test' ? testNotificationOf(serverKey)
    // With --fakes, its Midtrans has to know first: the gateway asks it.
    : await session.admin.tryPost(`${PATH}/${encodeURIComponent(order)}/${event}`) ??
      await notificationOf(session, order, event, serverKey);
  await send(session, '/webhooks/midtrans', JSON.stringify(body));
}

// ---- WhatsApp ----------------------------------------------------------------------------------

/** The message of an id, or the newest that was sent. */
async function messageOf ({ admin }, id) {
  const found = id === undefined
    ? (await admin.get('/outbox', { channel: 'WHATSAPP', status: 'SENT', limit: 1 })).messages[0]
    : await admin.get(`/outbox/${encodeURIComponent(id)}`);
  if (found?.providerMessageId) return found;
  throw new CliError('ERR_CLI_NOT_FOUND', id === undefined
    ? 'No WhatsApp message was sent yet' : `Message ${id} was not sent yet`, EXIT.notFound);
}

const digitsOf = recipient => recipient.replace(/\D/g, '');

function cloudWebhook ({ cloud: { phoneNumberId, appSecret } }, message, event) {
  if (appSecret === undefined) {
    throw new CliError('ERR_CLI_USAGE',
      'Set whatsapp.cloud.app_secret: webhooks are signed with it', EXIT.usage);
  }
  const status = {
    id: message.providerMessageId, status: event, recipient_id: digitsOf(message.recipient),
    timestamp: String(Math.floor(Date.now() / 1000)),
    ...event === 'failed' && { errors: [UNDELIVERABLE] },
  };
  const value = {
    messaging_product: 'whatsapp', metadata: { phone_number_id: phoneNumberId }, statuses: [status],
  };
  const text = JSON.stringify({
    object: 'whatsapp_business_account',
    entry: [{ id: '1', changes: [{ field: 'messages', value }] }],
  });
  const signature = crypto.createHmac('sha256', appSecret).update(text).digest('hex');
  return [text, { 'x-hub-signature-256': `sha256=${signature}` }];
}

function greenWebhook ({ green: { instanceId, webhookToken } }, message, event) {
  const text = JSON.stringify({
    typeWebhook: 'outgoingMessageStatus', timestamp: Math.floor(Date.now() / 1000),
    instanceData: { idInstance: Number(instanceId) },
    idMessage: message.providerMessageId, status: event,
    chatId: `${digitsOf(message.recipient)}@c.us`,
  });
  return [text, webhookToken === undefined ? {} : { authorization: `Bearer ${webhookToken}` }];
}

async function triggerWhatsapp (session, event, { message: id }) {
  const section = sectionOf(session, 'whatsapp');
  const message = await messageOf(session, id);
  const webhook = (section.cloud ? cloudWebhook : greenWebhook)(section, message, event);
  await send(session, '/webhooks/whatsapp', ...webhook);
}

// ---- The shop ----------------------------------------------------------------------------------

async function triggerOrder (session, { order = `order-${crypto.randomUUID()}`, amount }) {
  const [entry] = session.config.server.tokens;
  if (entry === undefined) {
    throw new CliError('ERR_CLI_TOKEN',
      `No token. Set server.tokens in the configuration${session.hint}`, EXIT.usage);
  }
  const answer = await session.as(entry.token).post('/orders',
    { transaction_details: { order_id: order, gross_amount: amount } });
  session.answer(answer, ({ orderId, state, redirectUrl }) =>
    [`Order ${orderId}: ${state}`, redirectUrl].filter(Boolean).join('\n'));
}

// ---- Definitions -------------------------------------------------------------------------------

function addTriggerCommands (program) {
  const trigger = program.command('trigger')
    .description('send a running gateway what comes from outside');
  trigger.command('order')
    .description('an order, as the shop sends it')
    .option('--order <id>', 'its id (default: a new one)')
    .option('--amount <rupiah>', 'what it costs', integer(1, 999_999_999), 50_000)
    .action(withSession(triggerOrder));
  trigger.command('midtrans')
    .description('a signed notification of Midtrans')
    .argument('<event>', PAYMENT_EVENTS.join(', '), choice(PAYMENT_EVENTS))
    .option('--order <id>', 'the order that it is about')
    .action(withSession(triggerMidtrans));
  trigger.command('whatsapp')
    .description('a signed delivery status of WhatsApp')
    .argument('<event>', DELIVERIES.join(', '), choice(DELIVERIES))
    .option('--message <id>', 'in the outbox (default: the newest that was sent)', messageId)
    .action(withSession(triggerWhatsapp));
  // Which lists the events.
  for (const command of trigger.commands) command.showHelpAfterError();
}

module.exports = { addTriggerCommands };
