'use strict';

// The SMTP client and a Postfix of Debian's, from the first word to the mailbox.

const { SmtpClient } = require('../../lib/clients/smtp');
const { makePostfix } = require('../support/postfix');

// Postfix starts as root only, and is where Debian puts it.
const suite = process.getuid?.() === 0 ? describe : describe.skip;

suite('with Postfix', () => {
  let postfix;
  let client;

  beforeAll(async () => {
    postfix = await makePostfix({
      boxes: ['ann', 'bob', 'later'], deferred: ['later'],
      settings: { message_size_limit: 20_000 }
    });
    postfix.start();
    client = new SmtpClient({
      smtp: { host: postfix.host, port: postfix.port, ignoreTLS: true },
      from: 'Tickets <tickets@shop.example>', timeout: 5000,
      retry: { retries: 2, minTimeout: 5, randomize: false }
    });
  });

  afterAll(() => {
    client?.close();
    try {
      postfix?.stop();
    } finally {
      postfix?.remove();
    }
  });

  /** The mails in a box, once there are `count` of them. */
  async function arrived (box, count) {
    for (;;) {
      const mails = postfix.mails(box);
      if (mails.length >= count) return mails;
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }

  test('verify, and a letter arrives as it was written', async () => {
    await expect(client.verify()).resolves.toBe(true);
    const result = await client.send({
      to: '"Ann, B." <ann@example.test>', subject: 'Tiket Anda: 2 × „Gundala“', text: 'Satu\nDua'
    });
    expect(result).toMatchObject({ accepted: ['ann@example.test'], attempts: 1 });
    const [mail] = await arrived('ann', 1);
    expect(mail).toContain(`Message-ID: ${result.messageId}`);
    expect(mail).toContain('To: "Ann, B." <ann@example.test>');
    expect(mail).toMatch(/\n\nSatu\nDua\n/);
  });

  test('no mailbox: rejected; greylisted: deferred; the rest get it once', async () => {
    const result = await client.send({
      to: ['bob@example.test', 'nobody@example.test', 'later@example.test'], subject: 'x', text: 'x'
    });
    expect(result).toMatchObject({
      accepted: ['bob@example.test'], rejected: ['nobody@example.test'],
      deferred: ['later@example.test'], attempts: 3, ambiguous: false
    });
    expect(result.recipients.map(({ responseCode }) => responseCode))
      .toEqual([undefined, 550, 450]);
    expect(await arrived('bob', 1)).toHaveLength(1);
    await expect(client.send({ to: 'nobody@example.test', subject: 'x', text: 'x' }))
      .rejects.toMatchObject({ kind: 'permanent', responseCode: 550 });
    await expect(client.send({ to: 'bob@example.test', subject: 'x', text: 'x'.repeat(30_000) }))
      .rejects.toMatchObject({ kind: 'permanent', code: 'EMESSAGE' });
    expect(client.breaker.stats.failures).toBe(0);
  });

  test('it goes away in between: the letter waits for it, and arrives once', async () => {
    postfix.stop();
    const patient = new SmtpClient({
      smtp: { host: postfix.host, port: postfix.port, ignoreTLS: true },
      from: 'tickets@shop.example', timeout: 5000, breaker: { volumeThreshold: 1000 },
      retry: { retries: 200, minTimeout: 100, maxTimeout: 100, randomize: false }
    });
    const sending = patient.send({ to: 'bob@example.test', subject: 'Later', text: 'x' });
    await new Promise(resolve => patient.once('retry', resolve));
    postfix.start();
    const { attempts, messageId, ambiguous } = await sending;
    patient.close();
    expect(attempts).toBeGreaterThan(1);
    expect(ambiguous).toBe(false);
    const mails = await arrived('bob', 2);
    expect(mails.filter(mail => mail.includes(messageId))).toHaveLength(1);
  });
});
