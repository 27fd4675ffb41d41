'use strict';

// What test/unit/linear-time.test.js says of each reader, over HTTP: whatever is in a header, a
// query or a body, the server, Express and the gateway answer in linear time, and go on.

const { createHash, createHmac } = require('node:crypto');
const { once } = require('node:events');
const http = require('node:http');
const net = require('node:net');
const consumers = require('node:stream/consumers');
const zlib = require('node:zlib');

const { SECRETS, startAll } = require('../support/gateway-helpers');
const { RATIO_MAX, growthOf } = require('../support/growth');
const { SHAPES, makerOf } = require('../support/hostile-text');

// Node.js takes 16 KiB of headers with the path, and eight times as much text is measured.
const HEAD_BYTES = 1900;
const BODY_BYTES = 7500;
const WEBHOOK_BYTES = 40_000;
// So many that none reaches its limit of requests.
const TOKENS = Array.from({ length: 100 }, (_, i) => `planted-operators-token-${i}`);

let it;
beforeAll(async () => {
  it = await startAll({}, {
    server: { port: 0, trustProxy: 1, tokens: [{ name: 'shop', token: SECRETS.shopToken }] },
    admin: { tokens: TOKENS.map((token, i) => ({ name: `ops-${i}`, role: 'operate', token })) },
  });
});
afterAll(() => it.close());

/** Sends bytes on a connection of their own. @returns the status; undefined: no answer */
async function send (head, body = '', { port } = it.server) {
  const socket = net.connect(port, '127.0.0.1');
  let answer = '';
  socket.setEncoding('latin1').on('data', chunk => { answer += chunk; });
  // The server ends connections whose requests it cannot read.
  socket.on('error', () => {});
  const bytes = Buffer.from(body);
  const lines = [...head, 'Host: localhost', 'Connection: close',
    ...bytes.length > 0 ? [`Content-Length: ${bytes.length}`] : []];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  socket.write(bytes);
  await once(socket, 'close');
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(answer) ?? [];
  return status && Number(status);
}

let count = 0;
const operator = () => {
  count += 1;
  return `Authorization: Bearer ${TOKENS[count % TOKENS.length]}`;
};
const shop = `Authorization: Bearer ${SECRETS.shopToken}`;
const ADMIN = '/admin/reliability';
const JSON_TYPE = 'Content-Type: application/json';

/** Fails if the server has failed: all that is asked here is wrong in some way. */
async function ask (head, body) {
  const status = await send(head, body);
  if (status >= 500) throw new Error(`${head[0].slice(0, 100)}: ${status}`);
}

const header = name => text =>
  ask(['POST /orders HTTP/1.1', shop, JSON_TYPE, `${name}: ${text}`], '{}');
const query = (path, name) => text => {
  // A percent escape takes three bytes, of which there may be as many as before.
  const written = encodeURIComponent(text.toWellFormed()).slice(0, 8 * HEAD_BYTES);
  return ask([`GET ${ADMIN}${path}?${name}=${written} HTTP/1.1`, operator()]);
};
const rawQuery = path => text => ask([`GET ${ADMIN}${path}?${text} HTTP/1.1`, operator()]);
const post = (path, ...headers) => body => ask([`POST ${path} HTTP/1.1`, ...headers], body);
/** As much JSON as the text needs. */
const json = (use, valueOf) => text => use(JSON.stringify(valueOf(text)));

const signed = (use, secret) => text => {
  const signature = createHmac('sha256', secret).update(Buffer.from(text)).digest('hex');
  return use(text, `X-Hub-Signature-256: sha256=${signature}`);
};
const whatsapp = (body, ...headers) =>
  post('/webhooks/whatsapp', JSON_TYPE, ...headers)(body);

/** A notification that Midtrans could have sent, about an order that nobody has recorded. */
function notificationOf (text) {
  const fields = { order_id: text.slice(0, 255), status_code: '200', gross_amount: '10000.00' };
  return {
    ...fields, transaction_id: text, transaction_status: 'settlement', payment_type: text,
    transaction_time: text, custom_field1: text,
    signature_key: createHash('sha512')
      .update(Object.values(fields).join('') + SECRETS.serverKey).digest('hex'),
  };
}

const midtrans = post('/webhooks/midtrans', JSON_TYPE);
const PLACES = {
  'header Idempotency-Key': [header('Idempotency-Key'), HEAD_BYTES],
  'header Cookie': [header('Cookie'), HEAD_BYTES],
  'header Forwarded': [header('Forwarded'), HEAD_BYTES],
  'header X-Forwarded-For': [header('X-Forwarded-For'), HEAD_BYTES],
  'header Authorization': [text => ask(['GET /orders/a HTTP/1.1', `Authorization: ${text}`]),
    HEAD_BYTES],
  'header Content-Type': [text => ask(['POST /orders HTTP/1.1', shop, `Content-Type: ${text}`],
    '{}'), HEAD_BYTES],
  'type of JSON': [text =>
    ask(['POST /orders HTTP/1.1', shop, `Content-Type: application/json;${text}`], '{}'),
  HEAD_BYTES],
  'header Content-Encoding': [header('Content-Encoding'), HEAD_BYTES],
  'header Origin': [text =>
    ask([`POST ${ADMIN}/degradation HTTP/1.1`, operator(), `Origin: ${text}`]), HEAD_BYTES],
  'header X-Request-Id': [header('X-Request-Id'), HEAD_BYTES],
  'header Accept': [header('Accept'), HEAD_BYTES],
  'path': [text => ask([`GET /${text} HTTP/1.1`]), HEAD_BYTES],
  'name of a breaker': [text => ask([`GET ${ADMIN}/circuit-breakers/${
    encodeURIComponent(text.toWellFormed()).slice(0, 8 * HEAD_BYTES)} HTTP/1.1`, operator()]),
  HEAD_BYTES],
  'query': [rawQuery('/outbox'), HEAD_BYTES],
  'filter search': [query('/circuit-breakers', 'search'), HEAD_BYTES],
  'filter state': [query('/circuit-breakers', 'state'), HEAD_BYTES],
  'filter channel': [query('/outbox', 'channel'), HEAD_BYTES],
  'filter of payments': [query('/payments', 'search'), HEAD_BYTES],
  'cursor': [query('/outbox', 'before'), HEAD_BYTES],
  'cursor of payments': [query('/payments', 'before'), HEAD_BYTES],
  'cursor of deliveries': [query('/undelivered', 'before'), HEAD_BYTES],
  'limit': [query('/dlq', 'limit'), HEAD_BYTES],
  'body of an order': [post('/orders', shop, JSON_TYPE), BODY_BYTES],
  'order': [json(post('/orders', shop, JSON_TYPE), text => ({
    transaction_details: { order_id: text, gross_amount: text },
    customer_details: { email: text, phone: text }, item_details: [{ name: text }],
  })), BODY_BYTES / 10],
  'message': [json(post('/notifications', shop, JSON_TYPE), text => ({
    channel: 'WHATSAPP', recipient: text, subject: text, dedupeKey: text,
    template: { text }, data: { [text]: text },
  })), BODY_BYTES / 10],
  'form': [post('/orders', shop, 'Content-Type: application/x-www-form-urlencoded'), BODY_BYTES],
  'form of a webhook': [
    post('/webhooks/midtrans', 'Content-Type: application/x-www-form-urlencoded'), BODY_BYTES],
  'body of the admin API': [text =>
    post(`${ADMIN}/degradation`, operator(), JSON_TYPE)(text), BODY_BYTES],
  'input of the admin API': [text => post(`${ADMIN}/degradation`, operator(), JSON_TYPE)(
    JSON.stringify({ level: text, reason: text, [text]: text })), BODY_BYTES / 10],
  'body of Midtrans': [midtrans, BODY_BYTES],
  'notification of Midtrans': [json(midtrans, notificationOf), BODY_BYTES / 20],
  'body of WhatsApp': [signed(whatsapp, SECRETS.appSecret), WEBHOOK_BYTES],
  'webhook of WhatsApp': [json(signed(whatsapp, SECRETS.appSecret), text => ({
    entry: [{ changes: [{ field: 'messages', value: {
      metadata: { phone_number_id: text },
      statuses: [{ id: text, status: text, recipient_id: text, errors: [{ title: text }] }],
    } }] }],
  })), WEBHOOK_BYTES / 10],
  'compressed body': [text =>
    whatsapp(zlib.gzipSync(text), 'Content-Encoding: gzip'), WEBHOOK_BYTES],
};

describe.each(Object.entries(PLACES))('%s', (_, [use, n]) => {
  test.each(Object.entries(SHAPES))('%s', async (__, shape) => {
    expect(await growthOf(makerOf(shape), use, n)).toBeLessThanOrEqual(RATIO_MAX);
  });
});

test('what takes quadratic time is noticed', async () => {
  const server = http.createServer(async (req, res) => {
    res.end(String(/ +$/.test(`${await consumers.text(req)}a`)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const slow = text => send(['POST / HTTP/1.1'], text, server.address());
  expect(await growthOf(makerOf(' '), slow, BODY_BYTES / 1.5)).toBeGreaterThan(RATIO_MAX);
  server.close();
});

test('what was asked before has left the server as it was', async () => {
  expect(await send(['GET /health/live HTTP/1.1'])).toBe(200);
  const order = { transaction_details: { order_id: 'after-all', gross_amount: 10_000 } };
  // 202: the machine was busy.
  const status = await send(['POST /orders HTTP/1.1', shop, JSON_TYPE], JSON.stringify(order));
  expect([201, 202]).toContain(status);
});
