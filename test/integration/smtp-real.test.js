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

suite('with two Postfixes as relays', () => {
  let main;
  let spare;
  const opened = [];

  beforeAll(async () => {
    const folderOf = ({ folder }) => `texthash:${folder}/conf/senders`;
    const make = () => makePostfix({ boxes: ['ann'], deferred: [] });
    [main, spare] = [await make(), await make()];
    // An account that has sent too much, or uses a sender that it may not use.
    main.configure({
      smtpd_delay_reject: 'no',
      smtpd_sender_restrictions: `check_sender_access ${folderOf(main)}`,
    }, {
      senders: 'limit@shop.example 550 5.4.5 Daily user sending limit exceeded\n' +
        'storage@shop.example 452 4.3.1 Insufficient system storage\n' +
        'quick@shop.example 450 4.7.1 Error: too much mail from 192.0.2.1\n' +
        'forged@shop.example 550 5.7.1 Sender address rejected: not owned by user shop\n',
    });
    main.start();
    spare.start();
  });

  afterEach(() => {
    for (const client of opened.splice(0)) client.close();
  });

  afterAll(() => {
    for (const postfix of [main, spare]) {
      try {
        postfix?.stop();
      } finally {
        postfix?.remove();
      }
    }
  });

  function clientOf () {
    const relays = [main, spare].map(({ host, port }, i) =>
      ({ name: ['main', 'spare'][i], smtp: { host, port, ignoreTLS: true } }));
    const client = new SmtpClient({ relays, retry: false, timeout: 60_000 });
    opened.push(client);
    return client;
  }
  const letter = (from = 'tickets@shop.example') =>
    ({ from, to: 'ann@example.test', subject: 'x', text: 'x' });

  test.each([
    ['limit', 'pause', 'quota'], ['quick', 'pause', 'rate'], ['forged', 'ours', 'refused'],
    ['storage', 'retry', undefined],
  ])('the first one says no to %s: %s; the other one sends it', async (name, kind, reason) => {
    const client = clientOf();
    const alerts = [];
    client.on('alert', alert => alerts.push(alert));
    const { messageId, recipients } = await client.send(letter(`${name}@shop.example`));
    expect(recipients).toMatchObject([{ status: 'accepted', relay: 'spare' }]);
    expect(client.relays[0].paused?.reason).toBe(kind === 'pause' ? reason : undefined);
    expect(client.relays[0].breaker.opened).toBe(kind === 'ours');
    expect(alerts).toMatchObject(kind === 'retry' ? [] : [{ kind: reason, relay: 'main' }]);
    await arrivedAt(spare, messageId);
  });

  test('the first one rejects our login, then is down, then is back', async () => {
    const client = clientOf();
    const [{ breaker }] = client.relays;
    main.stop();
    main.configure({ smtpd_client_restrictions: 'reject' });
    main.start();
    let result = await client.send(letter());
    expect(result.recipients).toMatchObject([{ relay: 'spare' }]);
    expect(breaker.opened).toBe(true);

    main.stop();
    breaker.reset();
    result = await client.send(letter());
    expect(result).toMatchObject({ attempts: 2, ambiguous: false });
    await arrivedAt(spare, result.messageId);
    await expect(client.verify()).rejects.toMatchObject({ relay: 'main', code: 'ESOCKET' });

    main.configure({ smtpd_client_restrictions: '' });
    main.start();
    result = await client.send(letter());
    expect(result).toMatchObject({ attempts: 1, recipients: [{ relay: 'main' }] });
    await arrivedAt(main, result.messageId);
    await expect(client.verify()).resolves.toBe(true);
  });

  /** Resolves when a mail is in the mailbox, exactly once. */
  async function arrivedAt (postfix, messageId) {
    for (;;) {
      const count = postfix.mails('ann').filter(mail => mail.includes(messageId)).length;
      expect(count).toBeLessThan(2);
      if (count === 1) return;
      await new Promise(resolve => setTimeout(resolve, 50));
    }
  }
});
