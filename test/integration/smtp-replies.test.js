'use strict';

// What the replies of mail servers mean: for the mail, for the breaker, for the channel, for those
// on duty. A server gives each of them at its stage.

const http = require('node:http');

const { SmtpClient } = require('../../lib/clients/smtp');
const { createGateway } = require('../../lib/gateway');
const { useVirtualClock } = require('../../lib/testing');
const { configFor, startFakes } = require('../support/gateway-helpers');
const { outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');
const { AUTH, LETTER, closeAll, keep, start } = require('../support/smtp-script');

afterEach(closeAll);

function clientOf ({ host, port }, { auth = AUTH, ...options } = {}) {
  const client = keep(new SmtpClient({
    smtp: { host, port, auth }, retry: false, timeout: 20_000, ...options
  }));
  client.alerts = [];
  client.on('alert', alert => client.alerts.push(alert));
  return client;
}

/** How many mails it was asked to take. */
const mailsOf = ({ lines }) => lines.filter(line => line.startsWith('MAIL ')).length;

const QUOTA = ['pause', 'quota'];
const RATE = ['pause', 'rate'];
const REFUSED = ['ours', 'refused'];
const CREDENTIALS = ['ours', 'credentials'];
const DEAD = ['permanent'];
const LATER = ['retry'];

// The stage, the reply, and what it means.
const TABLE = [
  ['body', '550 5.4.5 Daily user sending limit exceeded. For more information go to x', QUOTA],
  ['MAIL', '550 5.4.5 Daily user sending quota exceeded', QUOTA],
  ['RCPT', '550-5.4.5 Daily user sending limit exceeded.\r\n550 5.4.5 gsmtp', QUOTA],
  ['body', '550 5.7.1 Daily SMTP relay limit exceeded for customer', QUOTA],
  ['body', '554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException', QUOTA],
  ['body', '550 5.1.90 Your message can\'t be sent because you\'ve reached your limit', QUOTA],
  ['MAIL', '552 5.2.3 Quota', QUOTA],
  ['DATA', '552 5.2.3 Quota', QUOTA],
  ['MAIL', '454 Throttling failure: Daily message quota exceeded.', QUOTA],
  ['AUTH', '451 Authentication failed: Maximum credits exceeded', QUOTA],
  ['body', '421 Domain shop.example is not allowed to send: recipient limit exceeded', QUOTA],
  ['body', '550 Domain shop.example has exceeded the max emails per hour (125/100)', QUOTA],
  ['MAIL', '550 You have exceeded your daily email sending limit', QUOTA],
  ['body', '454 Throttling failure: Maximum sending rate exceeded.', RATE],
  ['MAIL', '454 4.7.0 Try again later', RATE],
  ['body', '454 4.7.0 Try again later', RATE],
  ['body', '432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded', RATE],
  ['greeting', '421 4.7.0 Too many concurrent SMTP connections', RATE],
  ['body', '421 4.7.28 Gmail has detected an unusual rate of mail', RATE],

  ['greeting', '554 go away', REFUSED],
  ['greeting', '554 5.7.1 Client host [192.0.2.1] blocked using bl.example', REFUSED],
  ['greeting', '421 4.7.0 Try again later, closing connection', REFUSED],
  ['greeting', '421 4.3.2 Service not available', REFUSED],
  ['EHLO', '421 Not now', REFUSED],
  ['MAIL', '554 5.7.1 Client host [192.0.2.1] blocked using bl.example', REFUSED],
  ['MAIL', '554 Refused', REFUSED],
  ['MAIL', '421 Not from there', REFUSED],
  ['MAIL', '550 5.7.1 Relaying denied', REFUSED],
  ['MAIL', '550 5.7.26 Unauthenticated email from shop.example is not accepted', REFUSED],
  ['body', '550-5.7.26 This mail has been blocked because the sender is\r\n' +
    '550 5.7.26 unauthenticated.', REFUSED],
  ['RCPT', '554 5.7.1 <ann@example.com>: Relay access denied', REFUSED],
  ['RCPT', '554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied', REFUSED],
  ['RCPT', '550 5.7.1 Unable to relay', REFUSED],
  ['body', '554 Message rejected: Email address is not verified.', REFUSED],
  ['body', '550 The from address does not match a verified Sender Identity', REFUSED],
  ['body', '554 5.2.252 SendAsDenied; x@y not allowed to send as shop@example.com', REFUSED],

  ['AUTH', '535 5.7.8 Username and password not accepted', CREDENTIALS],
  ['AUTH', '534 5.7.9 Application-specific password required', CREDENTIALS],
  ['AUTH', '530 5.7.0 Sign in', CREDENTIALS],
  ['MAIL', '530 5.7.0 Authentication required', CREDENTIALS],
  ['AUTH', '538 5.7.11 Encryption required', CREDENTIALS],
  ['AUTH', '454 4.7.0 Temporary authentication failure', LATER],
  ['STARTTLS', '454 4.7.0 TLS not available', LATER, { requireTls: true }],

  ['RCPT', '550 5.1.1 No such user', DEAD],
  ['RCPT', '550 5.2.1 The email account that you tried to reach is disabled', DEAD],
  ['RCPT', '553 5.1.3 Bad recipient address syntax', DEAD],
  ['RCPT', '552 5.2.2 Mailbox full, daily quota exceeded', DEAD],
  ['body', '552 5.2.2 The email account that you tried to reach is over quota', DEAD],
  ['RCPT', '550 5.7.1 Message refused for this recipient', DEAD],
  ['body', '550 5.7.1 Content refused', DEAD],
  ['RCPT', '550 5.7.1 Refused: daily limit for recipient exceeded', DEAD],
  ['RCPT', '550 5.7.1 The user has exceeded the hourly quota of received mails', DEAD],
  ['RCPT', '550 5.7.1 The monthly limit of this mailbox has been reached', DEAD],
  ['RCPT', '550 5.4.5 Mail system congestion', DEAD],
  ['RCPT', '550 5.1.8 The domain of the recipient does not exist', DEAD],
  ['body', '552 Recipient quota exceeded', DEAD],
  ['body', '550 5.2.0 Recipient quota exceeded', DEAD],
  ['MAIL', '554 5.6.0 Message malformed', DEAD],
  ['RCPT', '550 <daily.sending.limit.exceeded@example.com>: unknown', DEAD],
  ['body', '554 5.6.0 Refused', DEAD],
  ['body', '552 5.2.3 Your message exceeded Google\'s message size limits', DEAD],
  ['MAIL', '552 5.3.4 Message size exceeds fixed limit', DEAD],
  ['MAIL', '553 Not an address', DEAD],

  ['RCPT', '450 4.2.1 The user you are trying to contact is receiving mail too quickly', LATER],
  ['RCPT', '451 4.7.1 Greylisted, come back in 5 minutes', LATER],
  ['RCPT', '452 4.5.3 Too many recipients', LATER],
  ['RCPT', '454 4.7.0 Greylisted, try again', LATER],
  ['RCPT', '450 4.7.1 Recipient daily message limit exceeded', LATER],
  ['body', '432 4.3.2 STOREDRV.Deliver; recipient thread limit exceeded', LATER],
  ['body', '450 4.7.0 Mail throttled by recipient server', LATER],
  ['MAIL', '421 4.4.2 Timeout, closing connection', LATER],
  ['body', '451 4.3.0 Local error', LATER],
];

describe('a reply', () => {
  test.each(TABLE)('at %s: %s', async (stage, reply, [kind, reason], ...[options]) => {
    const script = await start({ [stage]: reply });
    const client = clientOf(script, options);
    const error = await client.send(LETTER).catch(e => e);
    const isAlert = kind === 'ours' || kind === 'pause';
    expect(error).toMatchObject({
      name: 'SmtpError', kind, reason, retryable: kind !== 'permanent',
      responseCode: Number(reply.slice(0, 3)),
    });
    expect(client.breaker.opened).toBe(kind === 'ours');
    expect(client.paused).toEqual(
      kind === 'pause' ? { reason, since: expect.any(Number), error } : null);
    expect(client.alerts).toEqual(isAlert ? [{ kind: reason, error }] : []);
    const trips = kind === 'retry' && stage !== 'RCPT';
    expect(client.breaker.stats.failures).toBe(Number(trips || kind === 'ours'));
    expect(script.taken).toHaveLength(0);
  });
});

describe('recipients of one mail', () => {
  const to = ['ann@example.com', 'bob@example.com'];
  const refusing = (who, reply) => ({
    RCPT: line => (line.includes(who) ? reply : '250 fine'),
  });

  test('a quota that ends among them keeps the others, and pauses', async () => {
    const script = await start(refusing('bob', '550 5.4.5 Daily sending limit exceeded'));
    const client = clientOf(script);
    expect(await client.send({ ...LETTER, to })).toMatchObject({
      accepted: ['ann@example.com'], deferred: ['bob@example.com'], rejected: [],
    });
    expect(client.paused.reason).toBe('quota');
    expect(client.alerts).toHaveLength(1);
  });

  test('one that was refused for itself weighs less than what concerns all', async () => {
    const script = await start({
      RCPT: line => (line.includes('ann') ? '550 5.7.1 Relaying denied' : '550 5.1.1 Unknown'),
    });
    const client = clientOf(script);
    await expect(client.send({ ...LETTER, to })).rejects.toMatchObject({
      kind: 'ours', reason: 'refused', rejected: [{ address: 'bob@example.com' }],
      deferred: [{ address: 'ann@example.com' }],
    });
  });

  test('one that is deferred keeps no other waiting', async () => {
    const script = await start(refusing('bob', '451 4.7.1 Greylisted'));
    const client = clientOf(script);
    for (let i = 0; i < 20; i++) {
      await client.send({ ...LETTER, to: 'bob@example.com' }).catch(() => {});
      await client.send(LETTER);
    }
    expect(script.taken).toHaveLength(20);
    expect(client.breaker.closed).toBe(true);
  });
});

describe('a token endpoint', () => {
  async function endpoint (answer) {
    const server = http.createServer((req, res) => answer(res));
    await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
    keep({
      close: () => new Promise(resolve => {
        server.close(resolve);
        server.closeAllConnections();
      })
    });
    return `http://127.0.0.1:${server.address().port}/token`;
  }
  const say = (status, text) => res => {
    res.statusCode = status;
    res.end(text);
  };

  test.each([
    ['503 with a page', say(503, '<html>busy</html>'), 'retry'],
    ['503 in JSON', say(503, '{"error":"temporarily_unavailable"}'), 'retry'],
    ['500 without words', say(500, '{}'), 'retry'],
    ['500 with an object', say(500, '{"error":{"code":500,"message":"oh"}}'), 'retry'],
    ['a reset', res => res.socket.resetAndDestroy(), 'retry'],
    ['silence', () => {}, 'retry', { timeout: 200 }],
    ['a refusal', say(400, '{"error":"invalid_grant","error_description":"revoked"}'), 'ours'],
    ['a refusal of ours', say(401, '{"error":"invalid_client"}'), 'ours'],
  ])('answers with %s', async (_, answer, kind, ...[options]) => {
    const accessUrl = await endpoint(answer);
    const auth = {
      type: 'OAuth2', user: 'shop', clientId: 'x', clientSecret: 'y', refreshToken: 'z', accessUrl
    };
    const client = clientOf(await start(), { auth, ...options });
    await expect(client.send(LETTER)).rejects.toMatchObject({ kind, name: 'SmtpError' });
    expect(client.alerts).toMatchObject(kind === 'ours' ? [{ kind: 'credentials' }] : []);
    expect(client.breaker.opened).toBe(kind === 'ours');
  });
});

describe('a pause', () => {
  let clock;
  beforeEach(() => { clock = useVirtualClock(); });
  afterEach(() => clock.restore());
  const full = '550 5.4.5 Daily user sending limit exceeded';

  test('for a day lasts two hours, and nobody is asked meanwhile; it is told once', async () => {
    const script = await start({ body: full });
    const client = clientOf(script);
    const resumed = [];
    client.on('resumed', news => resumed.push(news));
    await client.send(LETTER).catch(() => {});
    expect(mailsOf(script)).toBe(1);
    await clock.advance(7_199_999);
    const refusal = await client.send(LETTER).catch(e => e);
    expect(refusal).toMatchObject({
      name: 'SmtpError', code: 'ERR_SMTP_PAUSED', kind: 'pause', reason: 'quota', attempts: 0,
      retryable: true, ambiguous: false,
    });
    expect(mailsOf(script)).toBe(1);
    await clock.advance(1);
    expect(client.paused).toBeNull();
    expect(resumed).toEqual([{ reason: 'quota' }]);
    script.replies = {};
    await client.send(LETTER);
  });

  test('for a pace that was too quick is short, and not told each time', async () => {
    const script = await start({ MAIL: '454 Throttling failure: Maximum sending rate exceeded.' });
    const client = clientOf(script);
    for (let i = 0; i < 5; i++) {
      await client.send(LETTER).catch(() => {});
      expect(client.paused.reason).toBe('rate');
      await clock.advance(30_000);
      expect(client.paused).toBeNull();
    }
    expect(client.alerts).toHaveLength(1);
  });

  test('for an hour lasts a quarter of one', async () => {
    const client = clientOf(await start({
      body: '550 Domain shop.example has exceeded the max emails per hour (125/100)',
    }));
    const { verdict } = await client.send(LETTER).catch(error => error);
    expect(verdict).toMatchObject({ reason: 'quota', pauseMs: 900_000 });
    await clock.advance(899_999);
    expect(client.paused.reason).toBe('quota');
    await clock.advance(1);
    expect(client.paused).toBeNull();
  });

  test('ends by hand, has the length one likes, and can be begun', async () => {
    const script = await start({ body: full });
    const client = clientOf(script, { resumeAfter: 1000 });
    await client.send(LETTER).catch(() => {});
    await clock.advance(1000);
    expect(client.paused).toBeNull();
    await client.send(LETTER).catch(() => {});
    expect(client.resume()).toBe(true);
    expect(client.resume()).toBe(false);
    client.pause('maintenance');
    await clock.advance(1e9);
    await expect(client.send(LETTER)).rejects.toMatchObject({ reason: 'maintenance' });
    client.resume();
    script.replies = {};
    await client.send(LETTER);
    expect(() => clientOf(script, { resumeAfter: 0 })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'resumeAfter' }));
  });
});

describeEngines('mails in the outbox', ({ place }) => {
  const it = outboxOf(place);
  let clock;
  beforeEach(() => { clock = useVirtualClock(); });
  afterEach(() => clock.restore());

  // Nothing that is on its way may run out of time while hours pass.
  const LONG = 3_600_000;

  async function begin (replies) {
    const script = await start(replies);
    const client = clientOf(script, { timeout: LONG, maxConnections: 3 });
    await it.store.outbox.enqueue(Array.from({ length: 10 }, (_, i) => (
      { channel: 'EMAIL', recipient: `${i}@example.com`, maxAttempts: 1 })));
    const worker = await it.worker({
      EMAIL: {
        concurrency: 3, breaker: client.breaker, timeout: LONG,
        send: ({ recipient }) => client.send({ ...LETTER, to: recipient }),
      },
    }, { leaseMs: LONG, pollInterval: 1000 });
    const isPaused = () => worker.stats().channels.EMAIL.paused && worker.inFlight === 0;
    await until(async () => isPaused() &&
      (await it.statuses()).every(status => status === 'PENDING'));
    return { script, client, worker, isPaused };
  }
  const attempts = async () => (await it.store.outbox.list()).map(row => row.attemptCount);
  /** Lets time pass while the channel waits, until all are sent. */
  const sendAll = ({ worker, isPaused }) => until(async () => {
    if (isPaused()) await clock.advance(1000);
    return worker.stats().sent === 10;
  });

  test('wait while the quota is used up: none is spent, one is told, then they go', async () => {
    const run = await begin({ body: '550 5.4.5 Daily user sending limit exceeded' });
    const { script, client } = run;
    const asked = mailsOf(script);
    script.replies = {};
    await clock.advance(7_190_000);
    await until(async () => run.isPaused() &&
      (await it.statuses()).every(status => status === 'PENDING'));
    expect(client.alerts).toMatchObject([{ kind: 'quota', error: { enhancedCode: '5.4.5' } }]);
    expect(client.breaker.closed).toBe(true);
    expect(await attempts()).toEqual(Array(10).fill(0));
    expect(mailsOf(script)).toBe(asked);
    await sendAll(run);
    expect(script.taken).toHaveLength(10);
    expect(await attempts()).toEqual(Array(10).fill(1));
    expect(client.alerts).toHaveLength(1);
  });

  test('wait while the server does not want us: none dies, the breaker is open', async () => {
    const run = await begin({ greeting: '554 go away' });
    const { script, client } = run;
    expect(client.alerts).toMatchObject([{ kind: 'refused', error: { responseCode: 554 } }]);
    expect(client.breaker.opened).toBe(true);
    expect(await attempts()).toEqual(Array(10).fill(0));
    script.replies = {};
    await sendAll(run);
    expect(script.taken).toHaveLength(10);
  });

  test('for somebody who does not exist are dead at once; the others go', async () => {
    const script = await start({
      RCPT: line => (line.includes('nobody') ? '550 5.1.1 No such user' : '250 fine'),
    });
    const client = clientOf(script);
    await it.store.outbox.enqueue(['nobody', 'ann'].map(name => (
      { channel: 'EMAIL', recipient: `${name}@example.com` })));
    const worker = await it.worker({
      EMAIL: ({ recipient }) => client.send({ ...LETTER, to: recipient }),
    });
    await until(() => worker.stats().sent + worker.stats().dead === 2);
    const [letter] = await it.store.deadLetters.list();
    expect(letter).toMatchObject({ recipient: 'nobody@example.com', attemptCount: 1 });
    expect(client.breaker.stats.failures).toBe(0);
    expect(client.alerts).toEqual([]);
  });
});

test('a gateway tells of both, and loses no message', async () => {
  const script = await start({ greeting: '554 go away' });
  const fakes = keep(await startFakes());
  const { host, port } = script;
  const gateway = await createGateway(
    // The breaker stays open until the test closes it.
    configFor(fakes, {}, {
      smtp: { host, port, ignoreTls: undefined, circuitBreaker: { resetTimeout: 3_600_000 } },
    }),
    { logger: { debug () {}, info () {}, warn () {}, error () {} } });
  keep({ close: () => gateway.stop() });
  await gateway.start();
  const alertAfter = async act => {
    const alert = new Promise(resolve => { gateway.once('alert', resolve); });
    await act();
    return alert;
  };
  const { smtp } = gateway.clients;
  let id;
  const rested = () => until(async () =>
    (await gateway.store.outbox.get(id)).status === 'PENDING');
  expect(await alertAfter(async () => {
    ({ id } = await gateway.notify(
      { channel: 'EMAIL', recipient: 'ann@example.com', body: 'x', maxAttempts: 1 }));
  })).toMatchObject({ service: 'smtp', kind: 'refused' });
  await rested();
  expect(smtp.breaker.opened).toBe(true);

  script.replies = { body: '550 5.4.5 Daily user sending limit exceeded' };
  expect(await alertAfter(() => smtp.breaker.reset()))
    .toMatchObject({ service: 'smtp', kind: 'quota' });
  await rested();
  expect(await gateway.store.outbox.get(id)).toMatchObject({ attemptCount: 0 });

  script.replies = {};
  smtp.resume();
  await until(async () => (await gateway.store.outbox.get(id)).status === 'SENT');
  expect(script.taken).toHaveLength(1);
});
