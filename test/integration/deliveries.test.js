'use strict';

// What providers tell of messages after they have taken them in, as the store keeps it.

const { openStore } = require('../../lib/store');
const { describeEngines } = require('../support/postgres');

const AT = Date.UTC(2026, 0, 31, 12);

describeEngines('deliveries', ({ place }) => {
  let store;
  let failures;
  beforeAll(async () => {
    store = await openStore(await place());
    store.deliveries.on('failed', failure => failures.push(failure));
  });
  beforeEach(async () => {
    failures = [];
    await store.query('TRUNCATE sekering.notification_outbox, sekering.message_deliveries');
  });
  afterAll(() => store?.close());

  let count = 0;
  /** A message as a worker leaves it: { message, reference }. */
  async function sent (providerId = `wamid.${++count}`) {
    const { id } = await store.outbox.enqueue(
      { channel: 'WHATSAPP', recipient: '+6281234567890', body: 'Halo' });
    await store.query(`UPDATE sekering.notification_outbox SET status = 'SENT',
      provider_message_id = $2 WHERE id = $1`, [id, providerId]);
    const message = await store.outbox.get(id);
    return { message, reference: `${id}.${message.createdAt.getTime().toString(36)}` };
  }
  const told = (messageId, status, more) =>
    ({ messageId, status, recipient: '6281234567890', at: AT, errors: [], ...more });
  const deliveryOf = async message => (await store.deliveries.of([message])).get(message.id);

  const ORDERS = [
    [['sent', 'delivered', 'read'], 'read'], [['read', 'delivered', 'sent'], 'read'],
    [['read', 'sent', 'delivered', 'read'], 'read'], [['delivered', 'accepted'], 'delivered'],
    [['failed', 'sent'], 'failed'], [['sent', 'failed', 'failed'], 'failed'],
    [['delivered', 'failed'], 'delivered'], [['failed', 'delivered'], 'delivered'],
  ];
  test('statuses never go backwards, in one webhook or in many', async () => {
    const ends = ORDERS.map(([, last]) => last);
    const messages = [];
    for (const [statuses] of ORDERS) {
      const [{ message: one }, { message: two }] = [await sent(), await sent()];
      await store.deliveries.record(statuses.map(s => told(one.providerMessageId, s)));
      for (const s of statuses) await store.deliveries.record([told(two.providerMessageId, s)]);
      messages.push([one, two]);
    }
    const found = await store.deliveries.of(messages.flat());
    for (const i of [0, 1]) {
      expect(messages.map(each => found.get(each[i].id).status)).toEqual(ends);
    }
  });

  test('repeated news are none, also those that come at once', async () => {
    const { message: { providerMessageId: id } } = await sent();
    const same = Array.from({ length: 20 }, () => [told(id, 'sent'), told(id, 'delivered')]);
    const counts = await Promise.all(same.map(news => store.deliveries.record(news)));
    expect(counts.filter(n => n > 0)).toEqual([1]);
    expect(await store.deliveries.record(same[0])).toBe(0);
  });

  test('a failure has its code and its message, and is told of once', async () => {
    const { message, reference } = await sent();
    const failed = told(message.providerMessageId, 'failed',
      { reference, errors: [{ code: 131026, title: 'Lost', message: 'Not on\0 WhatsApp' }] });
    await Promise.all([1, 2, 3].map(() => store.deliveries.record([failed])));
    const delivery = await deliveryOf(message);
    expect(delivery).toEqual({
      providerMessageId: message.providerMessageId, reference, status: 'failed', at: new Date(AT),
      recipient: '6281234567890', errorCode: '131026', error: 'Not on WhatsApp',
      heardAt: expect.any(Date),
    });
    expect(failures).toEqual([{ ...delivery, id: message.id, channel: 'WHATSAPP' }]);
    expect(await store.deliveries.failures()).toEqual(failures);
    await expect(store.deliveries.failures({ limit: 0 })).rejects
      .toMatchObject({ code: 'ERR_INVALID_OPTION' });
    await store.deliveries.record([told(message.providerMessageId, 'delivered')]);
    expect(await deliveryOf(message))
      .toMatchObject({ status: 'delivered', errorCode: null, error: null, reference });
    expect(await store.deliveries.failures()).toEqual([]);
  });

  test('a message is known by its reference, too, when the answer to it was lost', async () => {
    const { message, reference } = await sent(null);
    const { message: other } = await sent();
    await store.deliveries.record([
      told('wamid.lost', 'delivered', { reference }), told('wamid.again', 'failed', { reference }),
    ]);
    expect((await deliveryOf(message)).status).toBe('delivered');
    expect(await deliveryOf(other)).toBeUndefined();
    expect(await store.deliveries.of([])).toEqual(new Map());
  });

  test.each([
    ['of nobody', '77.abc'], ['that is none', 'x'.repeat(2000)], ['too large', '9'.repeat(19)],
    ['none', undefined], ['with a wrong time', `1.${(0).toString(36)}`],
  ])('a failure with a reference %s is kept, and no message blamed', async (_, reference) => {
    await sent();
    await store.deliveries.record([told('wamid.x', 'failed', { reference })]);
    expect(failures).toMatchObject([{ id: null, channel: null, providerMessageId: 'wamid.x' }]);
  });

  test('nonsense is passed over', async () => {
    const nonsense = [undefined, null, 7, {}, told('', 'sent'), told('a'.repeat(600), 'sent'),
      told('wamid.y', 'eaten'), told(undefined, 'sent'), told(['wamid.y'], 'sent')];
    expect(await store.deliveries.record(nonsense)).toBe(0);
    expect(await store.deliveries.record([told('wamid.z', 'sent',
      { at: Infinity, recipient: 7, errors: 'none' })])).toBe(1);
    await expect(store.deliveries.record('sent')).rejects
      .toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });

  test('what is old is deleted, and so is the audit log, each by its own age', async () => {
    await store.deliveries.record([told('wamid.old', 'sent'), told('wamid.new', 'sent')]);
    await store.query(`UPDATE sekering.message_deliveries SET heard_at = now() - interval '31 days'
      WHERE provider_message_id = 'wamid.old'`);
    await store.query(`INSERT INTO sekering.admin_audit (at, actor, role, address, action, result)
      SELECT now() - days * interval '1 day', 'Ani', 'operate', '::1', 'breaker.reset', 'done'
      FROM unnest(ARRAY[1, 364, 366, 400]) AS days`);
    expect(await store.cleanUp()).toMatchObject({ deliveries: 1, audit: 2 });
    expect(await store.cleanUp({ deliveries: false, audit: false }))
      .toMatchObject({ deliveries: 0, audit: 0 });
    expect(await store.cleanUp({ deliveries: 0, audit: 0, batchSize: 1 }))
      .toMatchObject({ deliveries: 1, audit: 2 });
  });
});
