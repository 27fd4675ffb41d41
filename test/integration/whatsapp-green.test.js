'use strict';

// Green API: webhooks with their token, files by URL and by upload, reading and typing; read
// receipts of the Cloud API, and webhooks whose events are emitted once in all processes.

const express = require('express');

const { CloudApiClient, GreenApiClient } = require('../../lib/clients/whatsapp');
const { createWebhookRouter } = require('../../lib/http');
const { openStore } = require('../../lib/store');
const { startWhatsAppFake } = require('../../lib/testing');
const { describeEngines } = require('../support/postgres');

const TO = '+6281234567890';
const CHAT = '6281234567890@c.us';

const opened = [];
const keep = thing => { opened.push(thing); return thing; };
afterEach(async () => {
  for (const thing of opened.splice(0).reverse()) await thing.close();
});

async function serve (options) {
  const app = express();
  app.use(createWebhookRouter({ onError () {}, ...options }));
  const server = app.listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  keep({ close: () => new Promise(resolve => server.close(resolve)) });
  return `http://127.0.0.1:${server.address().port}/webhooks/whatsapp`;
}

describe('Green API', () => {
  let fake;
  let client;
  let events;
  beforeEach(async () => {
    fake = keep(await startWhatsAppFake());
    client = keep(new GreenApiClient({ ...fake.green, retry: false }));
    events = [];
    for (const name of ['status', 'message', 'notification', 'paused', 'resumed', 'alert']) {
      client.on(name, value => events.push([name, value]));
    }
  });

  test('a file by its URL, and one that is uploaded', async () => {
    await client.sendFile(TO, { url: 'https://a.test/t.pdf', filename: 't.pdf', caption: 'Hi' });
    const { response } = await client.sendFile(TO, {
      data: Buffer.from('%PDF'), type: 'application/pdf', filename: 'u.pdf', caption: 'Hé' });
    expect(response.urlFile).toMatch(/^http/);
    expect(fake.messages.map(({ body }) => body)).toMatchObject([
      { chatId: CHAT, urlFile: 'https://a.test/t.pdf', fileName: 't.pdf', caption: 'Hi' },
      { chatId: CHAT, fileName: 'u.pdf', caption: 'Hé' }]);
    const [file] = fake.media.values();
    expect(file).toMatchObject({ filename: 'u.pdf', type: 'application/pdf' });
    expect(file.data.toString()).toBe('%PDF');
    await expect(client.sendFile(TO, { url: 'ftp://x', filename: 'x', caption: '' })).rejects
      .toMatchObject({ faults: [{ path: 'caption' }, { path: 'filename' }, { path: 'url' }] });
  });

  test('reading and typing', async () => {
    await client.markRead('M1', { chat: TO, typing: true });
    await client.sendTyping(TO, { duration: 2000, recording: true });
    expect(fake.receipts.map(({ body }) => body)).toEqual([
      { method: 'readChat', chatId: CHAT, idMessage: 'M1' },
      { method: 'sendTyping', chatId: CHAT, typingTime: 5000 },
      { method: 'sendTyping', chatId: CHAT, typingTime: 2000, typingType: 'recording' }]);
    await expect(client.sendTyping('x')).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });

  test('a webhook needs the token, and emits its event once', async () => {
    const url = await serve({ whatsapp: client });
    const status = fake.greenWebhookOf('outgoingMessageStatus',
      { idMessage: 'M1', chatId: CHAT, status: 'noAccount', description: 'none' });
    for (const authorization of ['Bearer wrong', '', 'Basic green-webhook-token']) {
      expect(await fake.notify(url, status, { authorization })).toBe(403);
    }
    const message = fake.greenWebhookOf('incomingMessageReceived', { idMessage: 'M2' });
    const odd = fake.greenWebhookOf('incomingCall', { idMessage: 'C1', from: CHAT });
    for (const body of [status, status, message, message, odd, odd]) {
      expect(await fake.notify(url, body)).toBe(200);
    }
    expect(events).toMatchObject([
      ['status', { messageId: 'M1', status: 'failed', errors: [{ code: 'noAccount' }] }],
      ['message', { idMessage: 'M2' }], ['notification', { typeWebhook: 'incomingCall' }]]);
    const basic = keep(new GreenApiClient({ ...fake.green, webhookToken: 'Basic dTpw' }));
    expect(basic.handleWebhook(odd, { authorization: 'Basic dTpw' }).notifications).toHaveLength(1);
    const bare = keep(new GreenApiClient({ ...fake.green, webhookToken: undefined }));
    expect(() => bare.handleWebhook(odd, 'x')).toThrow('webhookToken');
  });

  test('what is no webhook is refused, and never acknowledged', async () => {
    const url = await serve({ whatsapp: client });
    const authorization = 'Bearer green-webhook-token';
    for (const body of ['x{', '', 'null', '[]', '5', '{}', '{"typeWebhook":5}']) {
      await expect(client.receiveWebhook(body, { authorization }))
        .rejects.toMatchObject({ code: 'ERR_WHATSAPP_WEBHOOK' });
      const response = await fetch(url, { method: 'POST', body, headers: { authorization } });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ code: 'ERR_WHATSAPP_WEBHOOK' });
    }
    for (const body of [null, undefined, {}, []]) {
      await expect(client.receiveWebhook(body, { authorization }))
        .rejects.toMatchObject({ code: 'ERR_WHATSAPP_WEBHOOK' });
    }
    expect(events).toEqual([]);
  });

  test.each([['notAuthorized', 'credentials'], ['blocked', 'account'], ['yellowCard', 'account']])(
    'an instance that is %s sends nothing until it is authorized', (state, reason) => {
      const tell = (stateInstance, timestamp) => client.handleWebhook(
        fake.greenWebhookOf('stateInstanceChanged', { stateInstance, timestamp }),
        'Bearer green-webhook-token');
      tell(state, 1000);
      expect(client.paused).toMatchObject({ reason, error: { providerCode: state } });
      tell('authorized', 999); // An old one that comes late.
      expect(client.paused).not.toBeNull();
      tell('authorized', 1001);
      expect(client.paused).toBeNull();
      expect(events.filter(([name]) => name === 'alert')).toHaveLength(1);
      client.pause('manual');
      tell('authorized', 1002);
      expect(client.paused).toMatchObject({ reason: 'manual' });
    });

  test('a used-up quota pauses and alerts', () => {
    client.handleWebhook(fake.greenWebhookOf('quotaExceeded', {
      quotaData: { status: 'CORRESPONDENTS_QUOTA_EXCEEDED' } }), 'Bearer green-webhook-token');
    expect(client.paused).toMatchObject({ reason: 'quota' });
    expect(client.paused.error.message).toContain('CORRESPONDENTS');
  });
});

test('the Cloud API: read receipts, typing, details of an error', async () => {
  const fake = keep(await startWhatsAppFake());
  const client = keep(new CloudApiClient({ ...fake.cloud, retry: false }));
  await client.markRead('wamid.1');
  await client.markRead('wamid.2', { typing: true });
  const base = { messaging_product: 'whatsapp', status: 'read' };
  expect(fake.receipts.map(({ body }) => body)).toEqual([
    { ...base, message_id: 'wamid.1' },
    { ...base, message_id: 'wamid.2', typing_indicator: { type: 'text' } }]);
  await expect(client.markRead('')).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  fake.set({ kind: 'code', code: 131026, message: `no such ${fake.cloud.accessToken}` });
  const error = await client.sendText(TO, 'x').catch(e => e);
  expect(error).toMatchObject({ details: 'no such [secret]' });
  await client.sendTemplate(TO, { name: 'Order_UPDATE', language: 'id' }).catch(e => {
    expect(e.code).toBe('ERR_WHATSAPP_REFUSED');
  });
});

describeEngines('a webhook in several processes', ({ place }) => {
  test('is handled once, again if that failed, but not again after a restart', async () => {
    const store = keep(await openStore(await place()));
    const fake = keep(await startWhatsAppFake());
    const heard = [];
    let fails = true;
    const server = () => {
      const client = keep(new CloudApiClient(fake.cloud));
      for (const name of ['status', 'message']) {
        client.on(name, value => heard.push(value.status ?? value.text.body));
      }
      const onNews = async () => { if (fails) throw new Error('no'); };
      return serve({ whatsapp: client, deliveries: store.deliveries, onNews });
    };
    const [one, two] = [await server(), await server()];
    const message = fake.incomingOf('6281', 'Halo');
    const read = fake.statusOf({ id: 'wamid.1', to: '6281' }, 'read');
    const delivered = fake.statusOf({ id: 'wamid.1', to: '6281' }, 'delivered');
    expect(await fake.notify(one, message)).toBe(500);
    expect(heard).toEqual([]);
    fails = false;
    for (const body of [message, read, delivered]) {
      const answers = await Promise.all([one, two, one].map(url => fake.notify(url, body)));
      expect(answers).toEqual([200, 200, 200]);
    }
    const three = await server();
    for (const body of [message, read, delivered]) {
      expect(await fake.notify(three, body)).toBe(200);
    }
    expect(heard).toEqual(['Halo', 'read', 'delivered']);
  });

  test('what a provider says about a failure is stored', async () => {
    const store = keep(await openStore(await place()));
    await store.deliveries.record([{ messageId: 'wamid.9', status: 'failed', errors: [
      { code: 131026, title: 'Undeliverable', details: 'No WhatsApp there' }] }]);
    expect(await store.deliveries.failures()).toMatchObject([
      { errorCode: '131026', error: 'Undeliverable: No WhatsApp there' }]);
  });
});
