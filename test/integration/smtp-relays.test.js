'use strict';

// Several relays: a mail goes to the first one that can take it, once to each recipient.

const util = require('node:util');

const { breakers } = require('../../lib');
const { SmtpClient } = require('../../lib/clients/smtp');
const { createGateway } = require('../../lib/gateway');
const CircuitBreaker = require('../../lib/primitives/breaker');
const { useVirtualClock } = require('../../lib/testing');
const { configFor, startFakes } = require('../support/gateway-helpers');
const { outboxOf, until } = require('../support/outbox-helpers');
const { describeEngines } = require('../support/postgres');
const { AUTH, LETTER, closeAll, keep, start } = require('../support/smtp-script');

afterEach(closeAll);

const RESET_MS = 60_000;
const LONG_MS = 3_600_000;
const smtpOf = ({ host, port }) => ({ host, port, auth: AUTH });

/** A client of two relays, `main` and `spare`; `own` has further options of each. */
function clientOf (scripts, { own = [], ...options } = {}) {
  const relays = scripts.map((script, i) =>
    ({ name: ['main', 'spare', 'third'][i], smtp: smtpOf(script), ...own[i] }));
  const client = keep(new SmtpClient({
    relays, retry: false, timeout: 20_000, breaker: { resetTimeout: RESET_MS }, ...options
  }));
  client.alerts = [];
  client.on('alert', alert => client.alerts.push(alert));
  return client;
}

const startTwo = (main, spare) => Promise.all([start(main), start(spare)]);
const namesOf = ({ taken }) => taken.length;
const idsOf = ({ taken }) => taken.map(mail => /^Message-ID: (.*)$/im.exec(mail)[1]);
const recipientsOf = ({ lines }) => lines.filter(line => line.startsWith('RCPT '))
  .map(line => /<(.*)>/.exec(line)[1]);

describe('a mail', () => {
  test('goes to the first relay while that one takes it', async () => {
    const [main, spare] = await startTwo();
    const client = clientOf([main, spare]);
    for (let i = 0; i < 3; i++) {
      expect(await client.send(LETTER)).toMatchObject({
        attempts: 1, recipients: [{ address: 'ann@example.com', relay: 'main' }],
      });
    }
    expect([namesOf(main), namesOf(spare)]).toEqual([3, 0]);
    expect(spare.lines).toEqual([]);
  });

  test.each([
    ['a temporary fault', { body: '451 4.3.0 Local error' }, 'retry'],
    ['a rejection at the greeting', { greeting: '554 5.7.1 Client host blocked' }, 'ours'],
    ['a rejection at MAIL', { MAIL: '554 5.7.1 Relaying denied' }, 'ours'],
    ['a wrong password', { AUTH: '535 5.7.8 Not accepted' }, 'ours'],
    ['a quota', { body: '550 5.4.5 Daily user sending limit exceeded' }, 'pause'],
    ['a rate', { MAIL: '454 4.7.0 Throttling failure: Maximum sending rate exceeded.' }, 'pause'],
    ['a recipient to be tried later', { RCPT: '451 4.7.1 Greylisted' }, 'retry'],
  ])('goes to the next relay after %s, with the same Message-ID', async (_, replies, kind) => {
    const [main, spare] = await startTwo(replies);
    const client = clientOf([main, spare]);
    const { messageId, attempts, recipients } = await client.send(LETTER);
    expect(attempts).toBe(2);
    expect(recipients).toMatchObject([{ status: 'accepted', relay: 'spare' }]);
    expect([idsOf(main), idsOf(spare)]).toEqual([[], [messageId]]);
    const [first, second] = client.relays;
    expect(first.breaker.opened).toBe(kind === 'ours');
    expect(first.paused === null).toBe(kind !== 'pause');
    expect(second.breaker.closed && second.paused === null).toBe(true);
    expect([client.breaker.closed, client.paused]).toEqual([true, null]);
    expect(client.alerts.map(({ relay }) => relay)).toEqual(kind === 'retry' ? [] : ['main']);
  });

  test('goes to the next relay when nobody listens at the first', async () => {
    const spare = await start();
    const gone = await start();
    await gone.close();
    const client = clientOf([gone, spare]);
    expect(await client.send(LETTER)).toMatchObject({ attempts: 2, ambiguous: false });
    expect(spare.taken).toHaveLength(1);
  });

  test.each([
    ['a recipient', { RCPT: '550 5.1.1 No such user' }],
    ['the message', { body: '554 5.6.0 Malformed' }],
  ])('that is refused for good for %s goes to no other relay', async (_, replies) => {
    const [main, spare] = await startTwo(replies);
    const client = clientOf([main, spare]);
    await expect(client.send(LETTER)).rejects.toMatchObject({
      kind: 'permanent', relay: 'main', attempts: 1,
      message: expect.stringMatching(/^Relay main: /),
    });
    expect(spare.lines).toEqual([]);
  });

  test('that may have arrived goes to another relay only with resendAmbiguous', async () => {
    const cut = () => {
      for (const socket of main.sockets) socket.destroy();
      return '250 too late';
    };
    const [main, spare] = await startTwo({ body: cut });
    await expect(clientOf([main, spare], { resendAmbiguous: false }).send(LETTER)).rejects
      .toMatchObject({ ambiguous: true, kind: 'retry', relay: 'main' });
    expect(spare.lines).toEqual([]);
    const { ambiguous, messageId } = await clientOf([main, spare]).send(LETTER);
    expect(ambiguous).toBe(true);
    expect(idsOf(spare)).toEqual([messageId]);
    expect(idsOf(main)).toContain(messageId);
  });

  test('goes to the next relay only for recipients that the first has not accepted', async () => {
    const replies = { ann: '250 fine', bob: '451 4.7.1 Greylisted', eve: '550 5.1.1 Unknown' };
    const [main, spare] = await startTwo({
      RCPT: line => replies[/<(\w+)@/.exec(line)[1]],
    });
    const to = Object.keys(replies).map(name => `${name}@example.com`);
    const result = await clientOf([main, spare]).send({ ...LETTER, to });
    expect(result).toMatchObject({
      accepted: [to[0], to[1]], rejected: [to[2]], deferred: [], attempts: 2,
      recipients: [{ relay: 'main' }, { relay: 'spare' }, { relay: 'main' }],
    });
    expect(recipientsOf(main)).toEqual(to);
    expect(recipientsOf(spare)).toEqual([to[1]]);
    expect([idsOf(main), idsOf(spare)]).toEqual([[result.messageId], [result.messageId]]);
  });

  test('has the sender of the relay, unless it names its own', async () => {
    const [main, spare] = await startTwo({ body: '451 Later' });
    const client = clientOf([main, spare], {
      from: 'Shop <shop@example.com>', own: [{}, { from: 'Spare <spare@example.net>' }],
    });
    const { from, ...letter } = LETTER;
    await client.send(letter);
    await client.send({ ...letter, from });
    expect(main.lines.filter(line => line.startsWith('MAIL ')))
      .toEqual(Array(2).fill('MAIL FROM:<shop@example.com>'));
    expect(spare.lines.filter(line => line.startsWith('MAIL ')))
      .toEqual(['MAIL FROM:<spare@example.net>', 'MAIL FROM:<shop@example.com>']);
    expect(spare.taken[0]).toMatch(/^From: Spare <spare@example\.net>$/m);
  });

  test('is tried again at all relays, the first one first', async () => {
    const [main, spare] = await startTwo({ body: '451 Later' }, { body: '451 Later' });
    const client = clientOf([main, spare], { retry: { retries: 1, minTimeout: 1 } });
    client.once('retry', ({ error }) => {
      expect(error.relay).toBe('main');
      main.replies = {};
    });
    expect(await client.send(LETTER)).toMatchObject({ attempts: 3 });
    expect([namesOf(main), namesOf(spare)]).toEqual([1, 0]);
  });
});

describe('the breakers', () => {
  let clock;
  beforeEach(() => { clock = useVirtualClock(); });
  afterEach(() => clock.restore());

  test('are separate; a real mail finds out that the first relay is back', async () => {
    const [main, spare] = await startTwo({ greeting: '554 go away' });
    const client = clientOf([main, spare]);
    const news = [];
    for (const event of ['open', 'halfOpen', 'close']) {
      client.breaker.on(event, () => news.push(event));
    }
    const [first, second] = client.relays.map(({ breaker }) => breaker);
    await client.send(LETTER);
    const asked = main.connections;
    await client.send(LETTER);
    expect(main.connections).toBe(asked);
    await clock.advance(RESET_MS);
    // The probe fails, and the other relay sends its mail.
    await client.send(LETTER);
    expect(main.connections).toBe(asked + 1);
    expect([first.opened, second.closed, spare.taken.length]).toEqual([true, true, 3]);
    main.replies = {};
    await clock.advance(RESET_MS);
    await client.send(LETTER);
    expect([first.closed, main.taken.length, spare.taken.length]).toEqual([true, 1, 3]);
    await client.send(LETTER);
    expect(main.taken).toHaveLength(2);
    expect(news).toEqual([]);
    expect(client.breaker.closed).toBe(true);
  });

  test('together are open while all are open, and half-open while one is half-open', async () => {
    const client = clientOf(await startTwo());
    const { breaker, relays: [first, second] } = client;
    const news = [];
    for (const event of ['open', 'halfOpen', 'close']) breaker.on(event, () => news.push(event));
    const states = () => ['opened', 'halfOpen', 'closed', 'pendingClose'].filter(s => breaker[s]);
    second.breaker.open();
    expect(states()).toEqual(['closed']);
    first.breaker.open();
    expect(states()).toEqual(['opened']);
    await expect(client.send(LETTER)).rejects.toMatchObject({
      code: 'EOPENBREAKER', kind: 'retry', attempts: 0, relay: 'main',
    });
    await clock.advance(RESET_MS);
    expect(states()).toEqual(['halfOpen', 'pendingClose']);
    await client.send(LETTER);
    expect(states()).toEqual(['closed']);
    expect(news).toEqual(['open', 'halfOpen', 'close']);
    breaker.open();
    expect(first.breaker.opened && second.breaker.opened).toBe(true);
    breaker.reset();
    expect(first.breaker.closed && second.breaker.closed).toBe(true);
    expect(breaker.enabled).toBe(true);
    expect(breakers().map(({ name }) => name)).toEqual(
      expect.arrayContaining(['smtp.main', 'smtp.spare']));
    client.close();
    expect([first.breaker.isShutdown, second.breaker.isShutdown]).toEqual([true, true]);
  });

  test('may be the user\'s; a relay without one keeps the client going', async () => {
    const own = new CircuitBreaker(fn => fn(), { name: 'mine' });
    const client = clientOf(await startTwo(), { own: [{ breaker: own }, { breaker: false }] });
    own.open();
    expect(client.breaker.enabled).toBe(false);
    expect([client.breaker.opened, client.breaker.closed]).toEqual([false, true]);
    await client.send(LETTER);
    client.close();
    expect(own.isShutdown).toBe(false);
    own.shutdown();
  });
});

describe('a pause', () => {
  test('concerns one relay; the client is paused while all are', async () => {
    const [main, spare] = await startTwo({ MAIL: '550 5.4.5 Daily user sending quota exceeded' });
    const client = clientOf([main, spare]);
    const told = [];
    client.on('paused', ({ reason, relay }) => told.push([reason, relay]));
    client.on('resumed', ({ relay }) => told.push(['resumed', relay]));
    for (let i = 0; i < 3; i++) await client.send(LETTER);
    expect(client.relays.map(({ paused }) => paused?.reason)).toEqual(['quota', undefined]);
    expect(client.paused).toBeNull();
    expect(spare.taken).toHaveLength(3);
    spare.replies = { MAIL: '550 5.4.5 Daily user sending quota exceeded' };
    const error = await client.send(LETTER).catch(e => e);
    expect(error).toMatchObject({ kind: 'pause', retryable: true });
    expect(client.paused).toMatchObject({ reason: 'quota' });
    expect(client.alerts).toMatchObject([
      { kind: 'quota', relay: 'main', error: { relay: 'main' } },
      { kind: 'quota', relay: 'spare', error: { relay: 'spare' } },
    ]);
    await expect(client.send(LETTER)).rejects.toMatchObject({
      code: 'ERR_SMTP_PAUSED', kind: 'pause', attempts: 0,
    });
    expect(client.relays[1].resume()).toBe(true);
    expect(client.paused).toBeNull();
    expect(client.resume()).toBe(true);
    expect(client.resume()).toBe(false);
    client.pause('maintenance');
    expect(client.relays.map(({ paused }) => paused.reason)).toEqual(Array(2).fill('maintenance'));
    expect(told).toEqual([['quota', 'main'], ['quota', 'spare'], ['resumed', 'spare'],
      ['resumed', 'main'], ['maintenance', 'main'], ['maintenance', 'spare']]);
  });

  test('of one relay does not hide a temporary failure of another', async () => {
    const [main, spare] = await startTwo({ MAIL: '550 5.4.5 Daily user sending quota exceeded' },
      { body: '451 4.3.0 Local error' });
    const client = clientOf([main, spare]);
    for (let i = 0; i < 2; i++) {
      await expect(client.send(LETTER)).rejects.toMatchObject({
        kind: 'retry', responseCode: 451, relay: 'spare',
      });
    }
  });
});

describeEngines('mails in the outbox', ({ place }) => {
  const it = outboxOf(place);
  let clock;
  beforeEach(() => { clock = useVirtualClock(); });
  afterEach(() => clock.restore());
  // Mails in flight must not time out while hours pass.
  const QUOTA = { MAIL: '550 5.4.5 Daily user sending quota exceeded' };
  const AWAY = { greeting: '554 go away' };

  test.each([
    ['open', AWAY, AWAY], ['paused', QUOTA, QUOTA], ['open or paused', AWAY, QUOTA],
    ['paused or open', QUOTA, AWAY],
  ])('spend no attempt while all relays are %s, and go when one is back', async (_, ...replies) => {
    const [main, spare] = await startTwo(...replies);
    const client = clientOf([main, spare], { timeout: LONG_MS, maxConnections: 3 });
    await it.store.outbox.enqueue(Array.from({ length: 6 }, (_, i) => (
      { channel: 'EMAIL', recipient: `${i}@example.com`, maxAttempts: 1 })));
    const worker = await it.worker({
      EMAIL: {
        concurrency: 3, breaker: client.breaker, timeout: LONG_MS,
        send: ({ recipient }) => client.send({ ...LETTER, to: recipient }),
      },
    }, { leaseMs: LONG_MS, pollInterval: 1000 });
    const isPaused = () => worker.stats().channels.EMAIL.paused && worker.inFlight === 0;
    const rested = () => until(async () => isPaused() &&
      (await it.statuses()).every(status => status === 'PENDING'));
    const isShut = ({ breaker, paused }) => breaker.opened || paused !== null;
    await rested();
    await until(() => client.relays.every(isShut));
    for (let i = 0; i < 5; i++) {
      await clock.advance(10_000);
      await rested();
    }
    expect((await it.store.outbox.list()).map(row => row.attemptCount)).toEqual(Array(6).fill(0));
    expect(client.alerts.map(({ relay }) => relay).toSorted()).toEqual(['main', 'spare']);
    spare.replies = {};
    client.relays[1].resume();
    client.relays[1].breaker.reset();
    await until(async () => {
      if (isPaused()) await clock.advance(1000);
      return worker.stats().sent === 6;
    });
    expect(spare.taken).toHaveLength(6);
    expect((await it.store.outbox.list()).map(row => row.attemptCount)).toEqual(Array(6).fill(1));
  });
});

const QUIET = { debug () {}, info () {}, warn () {}, error () {} };

test('a gateway shows each relay by its name, and tells which one needs attention', async () => {
  const [main, spare] = await startTwo({ greeting: '554 go away' });
  const fakes = keep(await startFakes());
  const config = configFor(fakes, {});
  const section = {
    from: 'Shop <orders@shop.example>', circuitBreaker: { resetTimeout: LONG_MS },
    relays: [main, spare].map(({ host, port }, i) =>
      ({ name: ['main', 'spare'][i], host, port, user: AUTH.user, password: AUTH.pass })),
  };
  const gateway = await createGateway({ ...config, smtp: section }, { logger: QUIET });
  keep({ close: () => gateway.stop() });
  const alert = new Promise(resolve => { gateway.once('alert', resolve); });
  await gateway.start();
  expect(Object.keys(gateway.breakers)).toEqual(
    expect.arrayContaining(['database', 'midtrans', 'smtp.main', 'smtp.spare', 'whatsapp']));
  const { id } = await gateway.notify(
    { channel: 'EMAIL', recipient: 'ann@example.com', body: 'x', maxAttempts: 1 });
  expect(await alert).toMatchObject({ service: 'smtp', relay: 'main', kind: 'refused' });
  await until(async () => (await gateway.store.outbox.get(id)).status === 'SENT');
  expect(gateway.breakers['smtp.main'].opened).toBe(true);
  expect(gateway.degradation.conditionOf('smtp')).toBe('up');
  const { checks } = await gateway.health.check();
  expect(checks.smtp).toMatchObject({
    status: 'degraded', details: { relays: { main: 'EPROTOCOL', spare: 'ok' } },
  });
  expect(checks.breakers).toMatchObject({ details: { names: ['smtp.main'] } });
  gateway.breakers['smtp.spare'].open();
  expect(gateway.degradation.conditionOf('smtp')).toBe('down');
  expect(util.inspect(gateway.config, { depth: 20 }) + JSON.stringify(gateway.config))
    .not.toContain(AUTH.pass);
});

test('a gateway rejects invalid relays', async () => {
  const host = 'mail.example';
  const faultsOf = async smtp => (await createGateway({
    ...configFor(keep(await startFakes()), {}), smtp: { from: 'a@b.co', ...smtp },
  }).catch(error => error)).faults.map(({ path }) => path);
  const relays = [{ host }, { host }];
  expect(await faultsOf({ relays, host })).toEqual(['smtp']);
  expect(await faultsOf({ relays, password: 'x' })).toEqual(['smtp']);
  expect(await faultsOf({ relays: [] })).toEqual(['smtp.relays']);
  expect(await faultsOf({ relays: [{ host }, {}] })).toEqual(['smtp.relays[1]']);
  expect(await faultsOf({ relays: [{ host, hots: 1 }] })).toEqual(['smtp.relays[0].hots']);
  expect(await faultsOf({ relays: [{ host, name: '2' }, { host }] })).toEqual(['smtp.relays']);
});

test('each fault in the options is named', async () => {
  const smtp = smtpOf(await start());
  const own = new CircuitBreaker(fn => fn());
  const wrong = (options, option) => expect(() => new SmtpClient(options)).toThrow(
    expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }));
  wrong({ relays: [] }, 'relays');
  wrong({ relays: [{}] }, 'relays[0].smtp');
  wrong({ relays: [{ smtp }, { smtp, hosts: 1 }] }, 'relays[1].hosts');
  wrong({ relays: [{ smtp }], smtp }, 'smtp');
  wrong({ relays: [{ smtp }], transport: { sendMail () {} } }, 'transport');
  wrong({ relays: [{ smtp, name: 'a' }, { smtp, name: 'a' }] }, 'relays[1].name');
  wrong({ relays: [{ smtp }, { smtp, name: '1' }] }, 'relays[1].name');
  wrong({ relays: [{ smtp, name: 'a b' }] }, 'relays[0].name');
  wrong({ relays: [{ smtp, from: 'nobody' }] }, 'relays[0].from');
  wrong({ relays: [{ transport: { sendMail () {} }, requireTls: true }] }, 'relays[0].requireTls');
  wrong({ relays: [{ smtp: { host: 'mail.example', ignoreTLS: true } }] }, 'relays[0].requireTls');
  wrong({ relays: [{ smtp }], breaker: own }, 'breaker');
  own.shutdown();
  const client = keep(new SmtpClient({
    relays: [{ smtp }, { smtp, breaker: { resetTimeout: 5 } }], breaker: { resetTimeout: 7 },
  }));
  expect(client.relays.map(({ name, breaker: { name: label, options } }) =>
    [name, label, options.resetTimeout])).toEqual([['1', 'smtp.1', 7], ['2', 'smtp.2', 5]]);
  expect(JSON.parse(JSON.stringify(client))).toEqual({
    name: 'smtp', active: 0, queued: 0,
    relays: ['smtp.1', 'smtp.2'].map(name => ({ name, active: 0, queued: 0 })),
  });
  const shown = util.inspect(client, { depth: 20, showHidden: true }) + JSON.stringify(client);
  expect(shown).not.toContain(AUTH.pass);
});
