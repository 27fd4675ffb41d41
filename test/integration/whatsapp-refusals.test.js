'use strict';

// Refusals of the Cloud API that concern our own number, and those of which only the next
// recipients can tell whom they concern.

const { CloudApiClient } = require('../../lib/clients/whatsapp');
const { createGateway } = require('../../lib/gateway');
const { startWhatsAppFake, useVirtualClock } = require('../../lib/testing');
const { configFor, startFakes } = require('../support/gateway-helpers');
const { outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');

const opened = [];
const keep = thing => { opened.push(thing); return thing; };
afterEach(async () => {
  for (const thing of opened.splice(0).reverse()) await thing.close();
});

const UNKNOWN = { kind: 'code', code: 131999, status: 403 };
const RESTRICTED = { kind: 'code', code: 130497, status: 403 };
const to = i => `+628123456780${i}`;

async function begin (fault) {
  const fake = keep(await startWhatsAppFake({ fault }));
  const client = keep(new CloudApiClient({ ...fake.cloud, retry: false, timeout: 20_000 }));
  const alerts = [];
  client.on('alert', alert => alerts.push(alert));
  const send = i => client.sendText(to(i), 'x').then(() => 'sent', error => error.kind);
  return { fake, client, alerts, send };
}

describe.each([['a code that is not known, under HTTP 403', UNKNOWN],
  ['130497', RESTRICTED]])('%s', (_, fault) => {
  test('concerns one recipient, however often it comes for that one', async () => {
    const { client, alerts, send } = await begin(fault);
    for (let i = 0; i < 5; i++) expect(await send(1)).toBe('dead');
    expect(await send(2)).toBe('dead');
    expect(client.paused).toBeNull();
    expect(alerts).toEqual([]);
    expect(client.breaker.stats.failures).toBe(0);
  });

  test('concerns all when it has come for three in a row', async () => {
    const { fake, client, alerts, send } = await begin(fault);
    expect([await send(1), await send(2), await send(3), await send(4)])
      .toEqual(['dead', 'dead', 'pause', 'pause']);
    expect(fake.counts.requests).toBe(3);
    expect(client.paused).toMatchObject({
      reason: 'account', error: { providerCode: fault.code, httpStatus: 403, retryable: true },
    });
    expect(alerts).toHaveLength(1);
    fake.set(null);
    client.resume();
    expect(await send(3)).toBe('sent');
  });

  test('does not while others get through, or get another', async () => {
    const { fake, client, send } = await begin(fault);
    for (let i = 0; i < 8; i++) {
      fake.set({ ...fault, recipient: to(i).slice(1) });
      expect(await send(i)).toBe('dead');
      expect(await send(9)).toBe('sent');
    }
    fake.set({ ...fault, code: 131998 });
    expect([await send(1), await send(2)]).toEqual(['dead', 'dead']);
    fake.set(fault);
    expect([await send(3), await send(4)]).toEqual(['dead', 'dead']);
    expect(client.paused).toBeNull();
  });

  test('does not when hours lie in between', async () => {
    const clock = useVirtualClock();
    try {
      const { client, send } = await begin(fault);
      for (let i = 0; i < 6; i++) {
        expect(await send(i)).toBe('dead');
        await clock.advance(1_900_000);
      }
      expect(client.paused).toBeNull();
    } finally {
      clock.restore();
    }
  });
});

describeEngines('messages in the outbox', ({ place }) => {
  const it = outboxOf(place);
  const enqueue = numbers => it.store.outbox.enqueue(numbers.map(i => (
    { channel: 'WHATSAPP', recipient: to(i), body: 'x', maxAttempts: 1 })));
  const work = client => it.worker({
    WHATSAPP: {
      concurrency: 1, breaker: client.breaker,
      send: ({ recipient, body }) => client.sendText(recipient, body),
    },
  });

  test.each([133010, 131037])(
    '%d: our own number waits, somebody is told, and no message dies', async code => {
      const { fake, client, alerts } = await begin(code);
      await enqueue([1, 2, 3, 4]);
      const worker = await work(client);
      await until(async () => worker.stats().channels.WHATSAPP.paused && worker.inFlight === 0 &&
        (await it.statuses()).every(status => status === 'PENDING'));
      expect(client.paused).toMatchObject({ reason: 'account', error: { providerCode: code } });
      expect(alerts).toHaveLength(1);
      expect((await it.store.outbox.list()).map(row => row.attemptCount)).toEqual([0, 0, 0, 0]);
      fake.set(null);
      client.resume();
      await until(() => worker.stats().sent === 4);
      expect(alerts).toHaveLength(1);
    });

  test('a 403 that nobody knows costs its own message, and the others are sent', async () => {
    const { client, alerts } = await begin({ ...UNKNOWN, recipient: to(2).slice(1) });
    await enqueue([1, 2, 3, 4]);
    const worker = await work(client);
    await until(() => worker.stats().sent + worker.stats().dead === 4);
    expect(worker.stats()).toMatchObject({ sent: 3, dead: 1 });
    const [letter] = await it.store.deadLetters.list();
    expect(letter).toMatchObject({ recipient: to(2), attemptCount: 1 });
    expect(client.paused).toBeNull();
    expect(alerts).toEqual([]);
  });
});

test('a gateway tells of a number that is not registered', async () => {
  const fakes = keep(await startFakes());
  fakes.whatsapp.set(133010);
  const gateway = await createGateway(configFor(fakes, {}),
    { logger: { debug () {}, info () {}, warn () {}, error () {} } });
  keep({ close: () => gateway.stop() });
  const alert = new Promise(resolve => { gateway.once('alert', resolve); });
  await gateway.start();
  const { id } = await gateway.notify(
    { channel: 'WHATSAPP', recipient: to(1), body: 'x', maxAttempts: 1 });
  expect(await alert).toMatchObject({
    service: 'whatsapp', kind: 'account', error: { providerCode: 133010 },
  });
  fakes.whatsapp.set(null);
  gateway.clients.whatsapp.resume();
  await until(async () => (await gateway.store.outbox.get(id)).status === 'SENT');
});
