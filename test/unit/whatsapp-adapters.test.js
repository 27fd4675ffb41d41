'use strict';

// Sessions of Baileys and whatsapp-web.js, with stand-ins that behave like the real ones.

const { once } = require('node:events');

const { SessionPool, fromBaileys, fromWhatsappWeb } = require('../../lib/clients/whatsapp');
const { startSessionFake } = require('../../lib/testing/session-fake');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const TO = '+6281234567890';

let clock;
let fake;
let pool;
let alerts;

function begin (connect, options) {
  pool = new SessionPool({ connect, retry: false, ...options });
  pool.on('alert', ({ kind }) => alerts.push(kind));
}
beforeEach(() => {
  clock = useVirtualClock();
  fake = startSessionFake();
  alerts = [];
});
afterEach(() => {
  pool?.close();
  clock.restore();
});

const send = () => pool.send('a', TO, 'Halo').catch(error => error);
const turn = () => new Promise(resolve => setImmediate(resolve));

describe('Baileys', () => {
  beforeEach(() => begin(fromBaileys(id => fake.connect(id))));

  test('takes texts and chats of both kinds, marks as read, shows typing', async () => {
    await send();
    await pool.send('a', '6281234567890@c.us', { text: 'Halo' });
    const jid = '6281234567890@s.whatsapp.net';
    expect(fake.messages).toMatchObject([
      { jid, content: { text: 'Halo' } }, { jid, content: { text: 'Halo' } }]);
    await pool.markRead('a', { remoteJid: jid, id: 'M1', fromMe: false }, { typing: true });
    expect(fake.receipts).toEqual([
      { id: 'a', keys: [{ remoteJid: jid, id: 'M1', fromMe: false }] },
      { id: 'a', presence: 'composing', jid },
    ]);
    await expect(pool.markRead('a', { id: '' })).rejects.toMatchObject(
      { faults: [{ path: 'key.remoteJid' }, { path: 'key.id' }] });
  });

  test.each([[401, 'logged-out'], [403, 'forbidden'], [411, 'outdated'], [440, 'replaced'],
    [500, 'bad-session']])('a close with %d needs a person: %s', async (status, trouble) => {
    await send();
    fake.disconnect('a', status, 'closed');
    expect(alerts).toEqual([trouble]);
    await clock.advance(600_000);
    expect(await send()).toMatchObject({ trouble, retryable: false });
    expect(fake.connects.get('a')).toBe(1);
    expect(pool.breakers.get('a').stats.failures).toBe(0);
    await expect(pool.connect('a')).resolves.toEqual({ connected: true });
    expect(await send()).toMatchObject({ key: {} });
  });

  test.each([408, 428, 503, 599])('a close with %d is temporary', async status => {
    await send();
    fake.disconnect('a', status, 'closed');
    const back = once(pool, 'connected');
    await clock.advance(1000);
    await back;
    expect(alerts).toEqual([]);
    expect(pool.breakers.get('a').stats.failures).toBe(1);
  });

  test('an error of the WebSocket is not a bad session, whatever its status', async () => {
    await send();
    fake.disconnect('a', 500, 'WebSocket Error (closed before the connection was established)');
    expect(alerts).toEqual([]);
    expect(pool.status('a').state).toBe('closed');
  });

  test('after a scan WhatsApp asks for a restart', async () => {
    fake.set('a', 'qr');
    await expect(pool.connect('a')).resolves.toMatchObject({ qr: '2@a' });
    fake.set('a', null);
    fake.socketOf('a').update({ isNewLogin: true, qr: undefined });
    fake.disconnect('a', 515, 'Stream Errored (restart required)');
    const back = once(pool, 'connected');
    await clock.advance(1000);
    await back;
    expect(pool.status('a')).toMatchObject({ state: 'open', recent_failures: 0 });
  });

  test.each([
    ['0812-3456-7890', '6281234567890@s.whatsapp.net'],
    ['6281234567890:12@s.whatsapp.net', '6281234567890@s.whatsapp.net'],
    ['98765432101234:3@lid', '98765432101234@lid'],
    ['120363023456789012@newsletter', '120363023456789012@newsletter'],
    ['120363023456789012@g.us', '120363023456789012@g.us'],
  ])('a message to %s goes to %s', async (to, jid) => {
    pool.close();
    begin(fromBaileys(id => fake.connect(id)), { countryCode: '62' });
    await pool.send('a', to, 'Halo');
    expect(fake.messages).toMatchObject([{ jid }]);
  });

  test.each(['0812-3456-7890', '628:x@s.whatsapp.net', '12345:2@newsletter'])(
    'there is no message to %s', async to => {
      await expect(pool.send('a', to, 'Halo')).rejects.toMatchObject({ code: 'ERR_INVALID_INPUT' });
    });

  test.each([[1, 0], [3, 0], [4, 1]])('%d restarts while a message waits count as %d failures',
    async (restarts, failures) => {
      pool.close();
      begin(fromBaileys(id => fake.connect(id)), { retry: { retries: 5, minTimeout: 1000 } });
      fake.set('a', 'never-opens');
      const sent = send();
      for (let i = 1; i <= restarts; i++) {
        while ((fake.connects.get('a') ?? 0) < i) await clock.advance(1000);
        await turn(); // The pool listens to the new socket.
        if (i === restarts) fake.set('a', null);
        fake.disconnect('a', 515, 'Stream Errored (restart required)');
        await turn();
      }
      while (!pool.status('a').connected) await clock.advance(1000);
      expect(await sent).toMatchObject({ key: {} });
      expect(pool.status('a').recent_failures).toBe(failures);
    });

  test('a QR code that nobody scans: the operator is told to ask for a new one', async () => {
    fake.set('a', 'qr');
    await pool.connect('a');
    fake.disconnect('a', 408, 'QR refs attempts ended');
    expect(pool.status('a')).toMatchObject({
      state: 'closed', recent_failures: 0,
      last_error: expect.stringMatching(/before anybody scanned the QR code. Ask for a new/),
    });
    await clock.advance(600_000);
    expect(fake.connects.get('a')).toBe(1);
    await pool.requestQr('a');
    expect(fake.connects.get('a')).toBe(2);
  });

  // DisconnectReason of @whiskeysockets/baileys 6.17.16. The library cannot be a devDependency: two
  // of its own come from GitHub.
  test.each([
    [428, 'web-socket'], [408, 'timed-out'], [440, 'replaced'], [401, 'logged-out'],
    [500, 'bad-session'], [515, 'restart'], [411, 'outdated'], [403, 'forbidden'],
    [503, 'web-socket'],
  ])('each of its reasons is known: %d is %s', async (status, trouble) => {
    pool.close();
    begin(fromBaileys(id => fake.connect(id)), { reconnect: false });
    fake.set('a', 'never-opens');
    const failed = send();
    while (!fake.connects.has('a')) await turn();
    await turn();
    fake.disconnect('a', status, 'Connection Failure');
    expect(await failed).toMatchObject({ code: 'ERR_SESSION', trouble });
  });

  test('what an earlier socket still says changes nothing, even if it keeps its listeners',
    async () => {
      pool.close();
      const sockets = [];
      begin(fromBaileys(async id => {
        const socket = await fake.connect(id);
        sockets.push(socket);
        const source = socket.ev ?? socket;
        source.off = source.removeListener = () => { throw new Error('off'); };
        return socket;
      }));
      await send();
      fake.disconnect('a', 428, 'Connection Closed');
      await send();
      expect(sockets.length).toBe(2);
      const [old] = sockets;
      for (const update of [
        { connection: 'close', lastDisconnect: { error: new Error('late') } }, { qr: 'late' },
        { connection: 'open' }]) {
        (old.ev ?? old).emit('connection.update', update);
        expect(pool.status('a').state).toBe('open');
      }
      expect(alerts).toEqual([]);
    });

  test('three restarts count as no failure, whatever was lost before', async () => {
    await send();
    for (const status of [428, 428, 428, 515, 515, 515]) {
      const back = once(pool, 'connected');
      fake.disconnect('a', status, 'closed');
      await clock.advance(1000);
      await back;
    }
    expect(pool.status('a').recent_failures).toBe(3);
  });

  test('a code that is shown while the session is open changes nothing', async () => {
    await send();
    fake.socketOf('a').update({ qr: '2@late' });
    expect(pool.status('a').state).toBe('open');
    expect(await send()).toMatchObject({ key: {} });
  });

  test('a socket whose connection was closed before it was handed over is not waited for',
    async () => {
      pool.close();
      begin(fromBaileys(async id => {
        const socket = await fake.connect(id);
        return Object.assign(socket, { ws: { isClosed: fake.connects.get(id) === 1 } });
      }), { retry: { retries: 1, minTimeout: 1000 } });
      const sent = send();
      while (fake.connects.get('a') !== 2) await clock.advance(1000);
      expect(await sent).toMatchObject({ key: {} });
    });

  test('endless restarts open the breaker', async () => {
    await send();
    for (let i = 1; i <= 17; i++) {
      const back = once(pool, 'connected');
      fake.disconnect('a', 515, 'Stream Errored (restart required)');
      await clock.advance(1000);
      await back;
      expect(pool.status('a').recent_failures).toBe(Math.max(i - 3, 0));
    }
    fake.disconnect('a', 515, 'Stream Errored (restart required)');
    await turn();
    expect(alerts).toEqual(['circuit-breaker']);
    const connects = fake.connects.get('a');
    await clock.advance(500_000);
    expect(fake.connects.get('a')).toBe(connects);
  });

  test('a connection that is lost again and again is retried after growing delays', async () => {
    pool.close();
    begin(fromBaileys(id => fake.connect(id)), { retry: { minTimeout: 1000 } });
    await send();
    for (const delay of [1000, 2000, 4000, 8000, 10_000, 10_000]) {
      const back = once(pool, 'connected');
      const connects = fake.connects.get('a');
      fake.disconnect('a', 428);
      await clock.advance(delay - 1);
      expect(fake.connects.get('a')).toBe(connects);
      await clock.advance(1);
      await back;
    }
  });

  test('delivery statuses of messages', async () => {
    const heard = [];
    pool.on('status', (id, { messageId, status, recipient, errors }) =>
      heard.push([id, messageId, status, recipient, errors.map(({ code }) => code)]));
    await send();
    const { ev } = fake.socketOf('a');
    const key = { remoteJid: 'x@s.whatsapp.net', id: 'M1', fromMe: true };
    ev.emit('messages.update', [2, 3, 4, 1].map(status => ({ key, update: { status } })));
    ev.emit('messages.update', [
      { key, update: { status: 0, messageStubParameters: ['479'] } },
      { key: { ...key, fromMe: false }, update: { status: 4 } }, null]);
    ev.emit('message-receipt.update',
      [{ key, receipt: { userJid: 'y@s.whatsapp.net', readTimestamp: 1700000000 } }]);
    const at = ['a', 'M1'];
    expect(heard).toEqual([
      [...at, 'sent', key.remoteJid, []], [...at, 'delivered', key.remoteJid, []],
      [...at, 'read', key.remoteJid, []], [...at, 'failed', key.remoteJid, ['479']],
      [...at, 'read', 'y@s.whatsapp.net', []],
    ]);
  });

  test('an invalid socket is rejected', async () => {
    pool.close();
    begin(fromBaileys(() => ({ sendMessage () {} })));
    expect(await send()).toMatchObject({ trouble: 'no-session' });
    expect(() => fromBaileys(5)).toThrow('makeSocket');
    expect(() => fromWhatsappWeb(5)).toThrow('client');
  });
});

describe('whatsapp-web.js', () => {
  beforeEach(() => begin(fromWhatsappWeb(id => fake.makeClient(id))));

  test('is connected when it is ready; texts, files, read and typing', async () => {
    expect(await send()).toMatchObject({ id: { fromMe: true } });
    const media = { mimetype: 'image/png', data: '' };
    await pool.send('a', TO, { media, caption: 'Tickets' });
    await pool.send('a', TO, media);
    const jid = '6281234567890@c.us';
    expect(fake.messages).toMatchObject([
      { jid, content: 'Halo' }, { jid, content: media, options: { caption: 'Tickets' } },
      { jid, content: media },
    ]);
    await pool.markRead('a', { remote: jid, id: 'M1' }, { typing: true });
    expect(fake.receipts).toEqual([{ id: 'a', seen: jid }, { id: 'a', typing: jid }]);
  });

  test('shows a code until it is scanned, and never logs it', async () => {
    fake.set('a', 'qr');
    await expect(pool.connect('a')).resolves.toEqual({ connected: false, qr: '2@a' });
    expect(JSON.stringify([pool.status('a'), pool.health(), await send()])).not.toContain('2@a');
    fake.scan('a');
    expect(await send()).toMatchObject({ id: {} });
  });

  test.each([['LOGOUT', 'logged-out'], ['UNPAIRED', 'logged-out'], ['CONFLICT', 'replaced'],
    ['TOS_BLOCK', 'forbidden'], ['DEPRECATED_VERSION', 'outdated']])(
    'disconnected by %s needs a person: %s', async (reason, trouble) => {
      await send();
      fake.disconnect('a', undefined, reason);
      expect(alerts).toEqual([trouble]);
      await clock.advance(600_000);
      expect(fake.connects.get('a')).toBe(1);
      expect(fake.socketOf('a').ended).toBe(true);
    });

  test.each(['Protocol error (Runtime.callFunctionOn): Session closed. Most likely the page has ' +
    'been closed.', 'Protocol error (Runtime.callFunctionOn): Target closed',
  "Attempted to use detached Frame 'A1'."])('a new client after a crash: %s', async message => {
    await send();
    fake.set('a', 'send-rejects', new Error(message));
    expect(await send()).toMatchObject({ ambiguous: true, retryable: false });
    expect(fake.socketOf('a').ended).toBe(true);
    fake.set('a', null);
    expect(await send()).toMatchObject({ id: {} });
    expect(fake.connects.get('a')).toBe(2);
  });

  test('recipients without WhatsApp do not open the breaker', async () => {
    await send();
    fake.set('a', 'send-rejects', new Error('No LID for user'));
    for (let i = 0; i < 30; i++) {
      expect(await send()).toMatchObject({ ambiguous: false, retryable: false });
    }
    fake.set('a', null);
    expect(await send()).toMatchObject({ id: {} });
    expect(fake.connects.get('a')).toBe(1);
  });

  test('a session that is rejected needs a person', async () => {
    fake.set('a', 'closes');
    expect(await send()).toMatchObject({ trouble: 'bad-session', retryable: false });
    expect(alerts).toEqual(['bad-session']);
  });

  test('after other reasons a new client is made, once the old one is destroyed', async () => {
    await send();
    const old = fake.socketOf('a');
    fake.set('a', 'destroy-hangs');
    fake.disconnect('a', undefined, 'NAVIGATION');
    const killed = new Promise(resolve => {
      old.pupBrowser = { process: () => ({ kill: resolve }) };
    });
    await clock.advance(9000);
    expect(fake.connects.get('a')).toBe(1);
    const back = once(pool, 'connected');
    await clock.advance(2000);
    expect(await killed).toBe('SIGKILL');
    await back;
    expect(fake.socketOf('a')).not.toBe(old);
  });

  test('reports delivery statuses of messages', async () => {
    await send();
    const heard = [];
    pool.on('status', (id, { messageId, status }) => heard.push([id, messageId, status]));
    const message = { id: { _serialized: 'M1', fromMe: true }, to: 'x@c.us' };
    for (const ack of [0, 1, 2, 3, -1]) fake.socketOf('a').emit('message_ack', message, ack);
    expect(heard.map(([, , status]) => status)).toEqual(['sent', 'delivered', 'read', 'failed']);
  });

  test('a single client connects only once', async () => {
    pool.close();
    begin(fromWhatsappWeb(fake.makeClient('a')), { reconnect: false });
    expect(await send()).toMatchObject({ id: {} });
    fake.disconnect('a', undefined, 'NAVIGATION');
    expect(await send()).toMatchObject({ trouble: 'no-session' });
  });
});
