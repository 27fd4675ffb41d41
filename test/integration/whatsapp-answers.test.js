'use strict';

// What comes in place of an answer of WhatsApp's: other people's answers, and those of a breaker.

const { once } = require('node:events');
const http = require('node:http');
const zlib = require('node:zlib');

const { CloudApiClient, GreenApiClient } = require('../../lib/clients/whatsapp');

const TO = '+6281234567890';
const PAGE = '<html>no</html>';

const ACCOUNTS = new Map([
  [CloudApiClient, { accessToken: 'planted-token', phoneNumberId: '1' }],
  [GreenApiClient, { instanceId: '1', token: 'planted-token' }],
]);

const opened = [];
afterEach(async () => {
  for (const thing of opened.splice(0).reverse()) await thing.close();
});

/** A client of a server that answers everything alike. */
async function clientOf (Client, [status, text, headers], options) {
  const server = http.createServer((req, res) => {
    req.resume().on('end', () => res.writeHead(status, { location: '/', ...headers }).end(text));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  opened.push(server);
  const client = new Client({
    ...ACCOUNTS.get(Client), baseUrl: `http://127.0.0.1:${server.address().port}`, retry: false,
    ...options
  });
  opened.push(client);
  return client;
}

test.each([
  [CloudApiClient, 302, '', 'retry'], [GreenApiClient, 302, '', 'retry'],
  [CloudApiClient, 400, PAGE, 'retry'], [GreenApiClient, 400, PAGE, 'retry'],
  [CloudApiClient, 404, PAGE, 'retry'], [GreenApiClient, 404, PAGE, 'pause'],
  [CloudApiClient, 404, '{"message":"no route"}', 'retry'],
  [CloudApiClient, 403, PAGE, 'pause'], [GreenApiClient, 403, PAGE, 'pause'],
  [CloudApiClient, 404, '{"error":{}}', 'dead'], [GreenApiClient, 400, '{"message":"x"}', 'dead'],
])('%p: HTTP %p %s is for %s', async (Client, status, text, kind) => {
  const client = await clientOf(Client, [status, text]);
  await expect(client.sendText(TO, 'x')).rejects.toMatchObject({ kind, ambiguous: false });
});

test.each([
  [CloudApiClient, '{"id":"1"}'], [GreenApiClient, '{"idMessage":""}'],
])('%p: a success that names no message is none: %s', async (Client, text) => {
  const client = await clientOf(Client, [200, text]);
  await expect(client.sendText(TO, 'x')).rejects.toMatchObject({
    code: 'ERR_WHATSAPP_RESPONSE', ambiguous: true
  });
});

test.each([
  [CloudApiClient, '{"messages":[{"id":"1"}]}'], [GreenApiClient, '{"idMessage":"1"}'],
])('%p: an answer that is compressed although nobody asked', async (Client, text) => {
  const headers = { 'content-encoding': 'gzip' };
  const client = await clientOf(Client, [200, zlib.gzipSync(text), headers]);
  expect(await client.sendText(TO, 'x')).toMatchObject({ messageId: '1' });
  const broken = await clientOf(Client, [200, text, headers]);
  await expect(broken.sendText(TO, 'x')).rejects.toMatchObject({ kind: 'retry', ambiguous: true });
});

test('the fallback of a breaker is no answer of WhatsApp\'s', async () => {
  for (const Client of [CloudApiClient, GreenApiClient]) {
    const fallback = () => ({ queued: true });
    const client = await clientOf(Client, [500, ''], { breaker: { fallback } });
    await expect(client.sendText(TO, 'x')).rejects.toMatchObject({
      code: 'ERR_WHATSAPP_UNAVAILABLE', ambiguous: true
    });
    client.breaker.open();
    await expect(client.sendText(TO, 'x')).rejects.toMatchObject({
      code: 'EOPENBREAKER', ambiguous: false, retryable: true
    });
  }
});

test('after close() nothing is sent, whoever owns the breaker', async () => {
  const client = await clientOf(GreenApiClient, [200, '{"idMessage":"1"}']);
  await client.sendText(TO, 'x');
  const { breaker } = client;
  const other = await clientOf(GreenApiClient, [200, '{"idMessage":"1"}'], { breaker });
  await other.close();
  await other.close();
  await expect(other.sendText(TO, 'x')).rejects.toMatchObject({ code: 'ESHUTDOWN', attempts: 1 });
  expect(breaker.stats.failures).toBe(0);
});
