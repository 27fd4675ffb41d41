'use strict';

// Whatever comes in: there is an answer, each refusal has a code, nothing is a server error, and
// what is taken comes back as it was. The seed is the same each time; PROPERTY_RUNS and
// PROPERTY_SEED look further.

const { createHash, createHmac } = require('node:crypto');
const v8 = require('node:v8');
const vm = require('node:vm');

const fc = require('fast-check');

const { circuitBreakers } = require('../..');
const { CloudApiClient, GreenApiClient } = require('../../lib/clients/whatsapp');
const { readConfig } = require('../../lib/gateway/config');
const { createWebhookRouter } = require('../../lib/http');
const { fill, fillHtml } = require('../../lib/store/template');
const { OPERATOR, breakerOf, endAll, start } = require('../support/admin-helpers');
const { SECRETS, order, startAll } = require('../support/gateway-helpers');
const { serve } = require('../support/http-helpers');

const FACTOR = Number(process.env.PROPERTY_RUNS ?? 1);
const seed = Number(process.env.PROPERTY_SEED ?? 20_260_101);
const holds = (runs, ...rest) => {
  const isAsync = rest.at(-1).constructor.name === 'AsyncFunction';
  const property = isAsync ? fc.asyncProperty : fc.property;
  return fc.assert(property(...rest), { numRuns: runs * FACTOR, seed });
};
// A third of it are modules that are loaded at their first use, however many runs there are.
const GROWN_BYTES_MAX = 64 * 2 ** 20;

/** What is in use, garbage aside: how much more of it the engine keeps is its own affair. */
function liveBytes () {
  v8.setFlagsFromString('--expose-gc');
  const collect = vm.runInNewContext('gc');
  collect();
  collect(); // What finalizers of the first one have let go.
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

let before;
beforeAll(() => { before = liveBytes(); });
afterEach(endAll);

/** What `work` returns, or the error's code, which there has to be. */
function answerOf (work) {
  try {
    return { value: work() };
  } catch (error) {
    if (typeof error.code !== 'string') throw error;
    return { code: error.code };
  }
}

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.string());

describe('templates', () => {
  const part = fc.oneof(text, fc.constantFrom(
    '{{', '}}', '{{{', '}}}', '{{#a}}', '{{^a}}', '{{/a}}', '{{a}}', '{{&a}}', '{{.}}', '{{a.b}}',
    '{{! a }}', '{{> a}}', '{{=<% %>=}}', ' ', '\n', '{{__proto__}}', '{{constructor}}'));
  const template = fc.array(part, { maxLength: 30 }).map(parts => parts.join(''));

  test('give a text or an error with a code', () => holds(3000, template, fc.jsonValue(),
    (written, data) => {
      for (const filled of [fill, fillHtml]) {
        const { value, code } = answerOf(() => filled(written, { a: data }));
        if (code === undefined) expect(typeof value).toBe('string');
        else expect(code).toMatch(/^ERR_OUTBOX_/);
      }
    }));

  test('a text without tags, and a value, come back as they were', () => holds(2000, text,
    written => {
      fc.pre(!written.includes('{{'));
      expect(fill(written, {})).toBe(written);
      expect(fill('{{a}}', { a: written })).toBe(written);
      expect(fillHtml('{{{a}}}', { a: written })).toBe(written);
      expect(fillHtml('{{a}}', { a: written })).not.toMatch(/[<>"']/);
    }));
});

describe('configurations', () => {
  const section = fc.constantFrom('smtp', 'server', 'store', 'midtrans', 'whatsapp', 'logging',
    'admin', 'health', 'retry', 'circuit_breaker', 'profile', '__proto__', 'constructor');
  const setting = fc.oneof(text, fc.constantFrom('host', 'port', 'from', 'url', 'tokens', 'level',
    'relays', 'trust_proxy', 'trustProxy', 'file', 'bodyLimit', 'shutdownTimeout', '__proto__'));
  const value = fc.oneof(fc.anything(), fc.constantFrom('1h', 'env:A', 'file:/', 'env:', 25, '25'));
  const config = fc.dictionary(section, fc.oneof(value, fc.dictionary(setting, value)));

  test('are taken or refused with a code', () => holds(2000, config, given => {
    const { value: taken, code } = answerOf(() => readConfig(given, { env: {} }));
    if (code !== undefined) return;
    expect(readConfig(taken, { env: {} })).toBe(taken);
    expect(typeof JSON.stringify(taken)).toBe('string');
  }));

  test('what is right comes back', () => holds(500, fc.integer({ min: 0, max: 65_535 }),
    fc.integer({ min: 1024, max: 1 << 24 }), fc.integer({ min: 0, max: 86_400 }),
    (port, bodyLimit, seconds) => {
      const server = { port, bodyLimit, shutdownTimeout: `${seconds}s` };
      expect(readConfig({ server }, { env: {} }).server)
        .toMatchObject({ port, bodyLimit, shutdownTimeout: seconds * 1000 });
    }));
});

describe('over HTTP', () => {
  const PATHS = ['/circuit-breakers', '/breaker-history', '/audit', '/session', '/level',
    '/events/x', '/circuit-breakers/x/reset', '/circuit-breakers/%', '/circuit-breakers/%00', '/'];
  const name = fc.oneof(text, fc.constantFrom('state', 'search', 'limit', 'before', 'ids', 'reason',
    'level', 'state[]', 'state[a]', '__proto__'));
  const asked = fc.oneof(text, fc.integer().map(String));
  const query = fc.array(fc.tuple(name, asked), { maxLength: 6 });
  const encoded = value => encodeURIComponent(value.toWellFormed());
  const writtenOf = pairs =>
    pairs.map(([key, value]) => `${encoded(key)}=${encoded(value)}`).join('&');
  const body = fc.oneof(fc.json(), text, fc.constant('['.repeat(20_000)),
    fc.constant(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`),
    fc.constant('{"__proto__":{"a":1}}'));

  const expectAnswer = (status, answer) => {
    expect(status).toBeLessThan(500);
    if (status >= 400) expect(answer?.code).toEqual(expect.any(String));
  };

  test('queries and bodies of the admin API', async () => {
    breakerOf();
    const onError = error => { throw error; };
    const { get, call } = await start({ breakers: circuitBreakers, onError });
    await holds(400, fc.constantFrom(...PATHS), query, body, async (path, pairs, sent) => {
      const place = `${path}?${writtenOf(pairs)}`;
      const shown = await get(place);
      expectAnswer(shown.status, shown.body);
      const changed = await call('POST', `/admin/reliability${place}`,
        { text: sent.toWellFormed(), token: OPERATOR });
      expectAnswer(changed.status, changed.body);
    });
  });

  test('bounds of the admin API: n is taken, n + 1 is not', async () => {
    const { get, post } = await start({ breakers: circuitBreakers });
    const statusOf = async path => (await get(path)).status;
    expect(await statusOf(`/circuit-breakers?search=${'x'.repeat(200)}`)).toBe(200);
    expect(await statusOf(`/circuit-breakers?search=${'x'.repeat(201)}`)).toBe(400);
    expect(await statusOf('/circuit-breakers?limit=500')).toBe(200);
    expect(await statusOf('/circuit-breakers?limit=501')).toBe(400);
    // A body of n bytes is read, and found to be wrong.
    const bodyOf = n => ({ x: 'x'.repeat(n - '{"x":""}'.length) });
    expect((await post('/circuit-breakers/x/reset', bodyOf(65_536))).status).toBe(400);
    expect((await post('/circuit-breakers/x/reset', bodyOf(65_537))).status).toBe(413);
  });

  test('webhooks of WhatsApp, signed and unsigned', async () => {
    const appSecret = 'planted-app-secret';
    const whatsapp = new CloudApiClient({
      phoneNumberId: '1', accessToken: 'planted-access-token', appSecret,
      verifyToken: 'planted-verify'
    });
    const failures = [];
    const { url, close } = await serve(createWebhookRouter({
      whatsapp, onError: error => failures.push(error)
    }));
    const message = fc.record({
      entry: fc.array(fc.oneof(fc.jsonValue(), fc.record({ changes: fc.array(fc.record({
        field: fc.constant('messages'),
        value: fc.oneof(fc.jsonValue(), fc.record({
          metadata: fc.jsonValue(), statuses: fc.jsonValue(), messages: fc.jsonValue()
        }, { requiredKeys: [] }))
      })) })))
    }).map(given => JSON.stringify(given));
    try {
      await holds(500, fc.oneof(message, body), fc.boolean(), async (sent, isSigned) => {
        const bytes = Buffer.from(sent);
        const signature = createHmac('sha256', isSigned ? appSecret : 'x')
          .update(bytes).digest('hex');
        const response = await fetch(`${url}/webhooks/whatsapp`, {
          method: 'POST', body: bytes,
          headers: {
            'content-type': 'application/json', 'x-hub-signature-256': `sha256=${signature}`
          }
        });
        const answer = await response.text();
        expectAnswer(response.status, answer.startsWith('{') ? JSON.parse(answer) : undefined);
        if (!isSigned) expect(response.status).toBeGreaterThanOrEqual(400);
      });
    } finally {
      await close();
    }
    expect(failures).toEqual([]);
  });
});

/** An object of some of these fields, each with what belongs there, or with anything. */
const fieldsOf = fields => fc.record(Object.fromEntries(Object.entries(fields)
  .map(([name, value]) => [name, fc.oneof({ weight: 3, arbitrary: value }, fc.jsonValue())])),
{ requiredKeys: [] });

const answered = async (url, body, headers) => {
  const response = await fetch(url, {
    method: 'POST', body, headers: { 'content-type': 'application/json', ...headers },
  });
  const said = await response.text();
  return { status: response.status, body: said.startsWith('{') ? JSON.parse(said) : undefined };
};

test('webhooks of Green API, with the token and without', async () => {
  const webhookToken = 'planted-webhook-token';
  const whatsapp = new GreenApiClient({ instanceId: '1101', token: 'planted-token', webhookToken });
  const failures = [];
  const { url, close } = await serve(createWebhookRouter({
    whatsapp, onError: error => failures.push(error)
  }));
  const webhook = fieldsOf({
    typeWebhook: fc.constantFrom('outgoingMessageStatus', 'stateInstanceChanged',
      'incomingMessageReceived', 'incomingCall', 'quotaExceeded', '__proto__'),
    idMessage: text, description: text, timestamp: fc.integer(), chatId: text,
    status: fc.constantFrom('sent', 'delivered', 'read', 'failed', 'noAccount', 'yellowCard'),
    stateInstance: fc.constantFrom('authorized', 'notAuthorized', 'blocked', 'sleepMode'),
    instanceData: fieldsOf({ idInstance: fc.integer(), wid: text }),
    senderData: fieldsOf({ chatId: text, sender: text }),
    messageData: fieldsOf({ typeMessage: text, textMessageData: fieldsOf({ textMessage: text }) }),
  }).map(given => JSON.stringify(given));
  try {
    await holds(400, fc.oneof({ weight: 3, arbitrary: webhook }, text), fc.boolean(),
      async (sent, isOurs) => {
        const { status, body } = await answered(`${url}/webhooks/whatsapp`, Buffer.from(sent),
          { authorization: `Bearer ${isOurs ? webhookToken : 'another-token'}` });
        if (!isOurs) expect([status, body.code]).toEqual([403, 'ERR_WHATSAPP_SIGNATURE']);
        else if (status !== 200) expect([status, body.code]).toEqual([400, 'ERR_WHATSAPP_WEBHOOK']);
      });
  } finally {
    await close();
    await whatsapp.close();
  }
  expect(failures).toEqual([]);
});

test('notifications of Midtrans, signed and unsigned', async () => {
  const { gateway, server, midtrans, log, ask, close } = await startAll({}, {});
  try {
    const { body } = await ask('/orders', { token: SECRETS.shopToken, body: order('known') });
    expect(body.orderId).toBe('known');
    midtrans.choose('known');
    const states = fc.constantFrom('settlement', 'pending', 'capture', 'deny', 'refund',
      'chargeback', 'partial_chargeback', 'cancel', 'expire', 'unheard_of', '__proto__');
    const amount = fc.constantFrom('10000.00', '10000', '1.00', '-1', '1e3', '99999999999999.99');
    const notification = fieldsOf({
      order_id: fc.oneof(fc.constant('known'), text), transaction_id: fc.oneof(
        fc.constant('known'), text),
      status_code: fc.constantFrom('200', '201', '202', '407'), gross_amount: amount,
      transaction_status: states, fraud_status: fc.constantFrom('accept', 'challenge', 'deny'),
      transaction_time: text, payment_type: text, refund_amount: amount,
      chargeback_amount: amount, currency: fc.constantFrom('IDR', 'USD'), custom_field1: text,
      refunds: fc.array(fieldsOf({ refund_key: text, refund_amount: amount })),
      metadata: fc.jsonValue(),
    });
    await holds(400, notification, fc.oneof({ weight: 3, arbitrary: fc.constant(true) },
      fc.boolean()), async (fields, isSigned) => {
      const signature_key = createHash('sha512').update(`${fields.order_id}${fields.status_code
      }${fields.gross_amount}${isSigned ? SECRETS.serverKey : 'x'}`).digest('hex');
      const { status, body: answer } = await answered(`${server.url}/webhooks/midtrans`,
        JSON.stringify({ ...fields, signature_key }));
      // 503: Midtrans has to send it again.
      expect([200, 400, 403, 503]).toContain(status);
      expect(typeof answer.status).toBe('string');
      if (!isSigned) expect([400, 403]).toContain(status);
      // The fake says that it is pending, whatever strangers say.
      expect((await gateway.store.payments.get('known')).state).toMatch(/^(created|pending)$/);
    });
    expect(log.lines.filter(({ message }) => message === 'A request failed')).toEqual([]);
  } finally {
    await close();
  }
});

test('memory stays bounded', () => {
  const grown = liveBytes() - before;
  expect(grown).toBeLessThan(GROWN_BYTES_MAX);
});
