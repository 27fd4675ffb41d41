'use strict';

// What errors of our clients become in the outbox: nothing is sent twice that must not be, and
// nothing is lost that can be sent later.

const { SessionPool } = require('../../lib/clients/whatsapp');
const { SmtpClient } = require('../../lib/clients/smtp');
const { startSmtpFake } = require('../../lib/testing');
const { events, outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');

const TO = '+6281234567890';
const whatsapp = more => ({ channel: 'WHATSAPP', recipient: TO, body: 'Halo', ...more });
const statusOf = (error, statusCode) => Object.assign(error, { output: { statusCode } });

describeEngines('the outbox', ({ place }) => {
  const it = outboxOf(place);
  const enqueue = (...args) => it.store.outbox.enqueue(...args);
  const one = async id => it.store.outbox.get(id);

  /** A worker that sends through sessions whose sockets `sendMessage` of this test stands for. */
  async function sessions (sendMessage, connect = async () => ({ sendMessage })) {
    const pool = new SessionPool({ connect, retry: false });
    const worker = await it.worker({
      WHATSAPP: ({ recipient, body, data }) => pool.send(data?.shop ?? 'shop', recipient, body),
    });
    return { pool, worker };
  }

  test('a message of a session that may have arrived is for a person to decide', async () => {
    const sent = [];
    const { pool, worker } = await sessions(async (chat, text) => {
      sent.push(text);
      throw statusOf(new Error('Timed Out'), 408);
    });
    const { id } = await enqueue(whatsapp());
    const dead = await until(async () => {
      const message = await one(id);
      return message.status === 'DLQ' && message;
    });
    expect([sent, dead.attemptCount]).toEqual([['Halo'], 1]);
    await worker.stop();
    pool.close();
  });

  test('messages of a session that needs a person wait, and those of others are sent', async () => {
    const sent = [];
    const { pool, worker } = await sessions(undefined, async shop => {
      if (shop === 'lost') throw statusOf(new Error('Logged out'), 401);
      return { sendMessage: async (chat, text) => { sent.push(text); } };
    });
    const { id } = await enqueue(whatsapp({ body: 'later', data: { shop: 'lost' } }));
    const waits = async () => {
      const message = await one(id);
      return message.nextRetryAt - message.createdAt >= 60_000 && message;
    };
    await until(waits);
    const arrivals = events(worker, 'sent', 20);
    for (let i = 0; i < 20; i++) await enqueue(whatsapp({ body: `now ${i}` }));
    await arrivals;
    expect(sent).toHaveLength(20);
    expect(await waits()).toMatchObject({ status: 'PENDING', attemptCount: 0 });
    await worker.stop();
    pool.close();
  });

  test('a mail that must not be sent again after its data were cut off is not', async () => {
    const fake = await startSmtpFake();
    fake.set({ stage: 'data', kind: 'drop', times: 1 });
    const client = new SmtpClient({
      smtp: { host: fake.host, port: fake.port, ignoreTLS: true }, from: 'shop@shop.example',
      resendAmbiguous: false,
    });
    const worker = await it.worker({
      EMAIL: ({ recipient, body }) => client.send({ to: recipient, subject: 's', text: body }),
    });
    const { id } = await enqueue({ channel: 'EMAIL', recipient: 'a@b.co', body: 'once' });
    const dead = await until(async () => {
      const message = await one(id);
      return ['DLQ', 'SENT'].includes(message.status) && message;
    });
    expect(dead).toMatchObject({ status: 'DLQ', attemptCount: 1 });
    await worker.stop();
    client.close();
    await fake.close();
  });
});
