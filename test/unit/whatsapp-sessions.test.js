'use strict';

// Sessions: one socket and one breaker per instance, on the virtual clock.

const { EventEmitter, once } = require('node:events');

const { SessionPool, SessionError } = require('../../lib/clients/whatsapp');
const { startSessionFake } = require('../../lib/testing/session-fake');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const TO = '+6281234567890';
const JID = '6281234567890@s.whatsapp.net';
const HELLO = { text: 'Hello' };

let clock;
let fake;
let pool;

const poolOf = options => {
  pool = new SessionPool({ connect: fake.connect, retry: false, reconnect: false, ...options });
  return pool;
};
beforeEach(() => {
  clock = useVirtualClock();
  fake = startSessionFake();
});
afterEach(() => {
  pool?.close();
  clock.restore();
});

/** What a send of an instance comes to: its answer or its error. */
const send = (id, options) => pool.send(id, TO, HELLO, options).catch(error => error);

/** Has an instance fail until its breaker opens. */
async function openBreaker (id, kind = 'connect-rejects') {
  fake.set(id, kind);
  for (let i = 0; i < 15; i++) await send(id);
  expect(pool.breakers.get(id).opened).toBe(true);
  fake.set(id, null);
}

describe('instances', () => {
  test('are connected when they are needed, once, and go on being used', async () => {
    poolOf();
    expect(pool.size).toBe(0);
    const answers = await Promise.all([1, 2, 3].map(() => send('shop-1')));
    expect(answers.map(({ key }) => key.remoteJid)).toEqual([JID, JID, JID]);
    await pool.send('shop-1', '120363041234567890@g.us', HELLO);
    expect(fake.connects.get('shop-1')).toBe(1);
    expect(fake.messages.map(({ id, jid }) => [id, jid])).toEqual([
      ['shop-1', JID], ['shop-1', JID], ['shop-1', JID], ['shop-1', '120363041234567890@g.us']
    ]);
    expect(pool.status('shop-1')).toEqual({
      id: 'shop-1', state: 'open', connected: true, circuit_breaker: 'closed', recent_failures: 0,
      last_error: null
    });
    expect(pool.status('shop-2')).toBeUndefined();
  });

  test('sockets with plain events, and without any, are as good', async () => {
    const plain = Object.assign(new EventEmitter(), {
      sendMessage: async () => 'sent', close () { this.closed = true; }
    });
    poolOf({ connect: id => (id === 'plain' ? plain : { sendMessage: () => 'sent at once' }) });
    const sending = send('plain');
    await new Promise(resolve => setImmediate(resolve));
    plain.emit('open');
    await expect(sending).resolves.toBe('sent');
    await expect(send('bare')).resolves.toBe('sent at once');
    const lost = once(pool, 'disconnected');
    plain.emit('error', new Error('WebSocket Error ()'));
    expect((await lost)[0]).toBe('plain');
    expect(plain.closed).toBe(true);
    // What it still says is heard by nobody, and ends nothing.
    plain.emit('error', new Error('again'));
    expect(plain.listenerCount('open')).toBe(0);
  });

  test('a bad one leaves the others alone', async () => {
    poolOf();
    await openBreaker('bad');
    await expect(send('good')).resolves.toMatchObject({ key: { remoteJid: JID } });
    expect(pool.breakers.get('good').closed).toBe(true);
  });

  test('are bounded: one that is not connected makes room', async () => {
    poolOf({ max: 2 });
    fake.set('a', 'connect-rejects');
    await send('a');
    await send('b');
    await expect(send('c')).resolves.toMatchObject({ key: {} });
    expect(pool.ids()).toEqual(['b', 'c']);
    await expect(send('d')).resolves.toMatchObject({ code: 'ERR_SESSION_LIMIT' });
    expect(pool.remove('b')).toBe(true);
    expect(pool.remove('b')).toBe(false);
    await expect(send('d')).resolves.toMatchObject({ key: {} });
  });

  test('end with the pool', async () => {
    poolOf();
    await send('a');
    pool.close();
    expect(fake.socketOf('a').ended).toBe(true);
    await expect(send('a')).resolves.toMatchObject({ code: 'ESHUTDOWN' });
  });
});

describe('the breaker of an instance', () => {
  test.each(['connect-rejects', 'connect-throws', 'closes', 'send-rejects'])(
    'opens at 15 failures (%s), and answers as it is asked to', async kind => {
      poolOf();
      const alerts = [];
      pool.on('alert', alert => alerts.push(alert));
      fake.set('shop-1', kind);
      for (let i = 0; i < 14; i++) expect((await send('shop-1')).circuit_breaker).toBe(false);
      expect(pool.breakers.get('shop-1').closed).toBe(true);
      await send('shop-1');
      expect(alerts).toMatchObject([{ kind: 'circuit-breaker', id: 'shop-1' }]);

      const error = await send('shop-1');
      expect(error).toBeInstanceOf(SessionError);
      expect(error).toMatchObject({ code: 'EOPENBREAKER', circuit_breaker: true, id: 'shop-1' });
      await expect(send('shop-1', { whenOpen: 'null' })).resolves.toBeNull();
      const answer = await send('shop-1', { whenOpen: 'object' });
      expect(answer).toEqual({ circuit_breaker: true, error: error.message });
      expect(pool.status('shop-1').circuit_breaker).toBe('open');
    });

  test('of failures within 5 minutes, and closes by itself after 10', async () => {
    poolOf();
    fake.set('shop-1', 'connect-rejects');
    for (let i = 0; i < 14; i++) await send('shop-1');
    await clock.advance(301_000);
    for (let i = 0; i < 14; i++) await send('shop-1');
    expect(pool.breakers.get('shop-1').closed).toBe(true);
    await send('shop-1');
    expect(pool.breakers.get('shop-1').opened).toBe(true);
    const seen = [];
    for (const event of ['open', 'halfOpen', 'close']) pool.on(event, () => seen.push(event));
    await clock.advance(599_000);
    expect(await send('shop-1', { whenOpen: 'null' })).toBeNull();
    await clock.advance(1000);
    expect(pool.status('shop-1').circuit_breaker).toBe('closed');
    // Its counts start again: fifteen failures are needed.
    for (let i = 0; i < 14; i++) expect((await send('shop-1')).circuit_breaker).toBe(false);
    fake.set('shop-1', null);
    await expect(send('shop-1')).resolves.toMatchObject({ key: {} });
    expect(pool.status('shop-1').circuit_breaker).toBe('closed');
    expect(seen).toEqual(['close']);
  });

  test('needs a probe if `successThreshold` is 1', async () => {
    poolOf({ breaker: { successThreshold: 1 } });
    await openBreaker('a');
    await clock.advance(600_000);
    expect(pool.status('a').circuit_breaker).toBe('half-open');
    await expect(send('a')).resolves.toMatchObject({ key: {} });
    expect(pool.status('a').circuit_breaker).toBe('closed');
  });

  test('reconnects its instance at once when it is reset', async () => {
    poolOf({ reconnect: true });
    await openBreaker('a');
    await openBreaker('b');
    const connects = fake.connects.get('b');
    const back = once(pool, 'connected');
    pool.reset('a');
    expect(await back).toEqual(['a']);
    // A new QR code makes one connection, not one for the reset and another for the code.
    fake.set('b', 'qr');
    await expect(pool.requestQr('b')).resolves.toEqual({ connected: false, qr: '2@b' });
    await clock.advance(10_000);
    expect(fake.connects.get('b')).toBe(connects + 1);
  });

  test('is asked for an answer once for the pool, too', async () => {
    poolOf({ whenOpen: 'null' });
    await openBreaker('a');
    expect(await send('a')).toBeNull();
    expect(await send('a', { whenOpen: 'throw' })).toBeInstanceOf(SessionError);
    await expect(pool.send('a', TO, HELLO, { whenOpen: 'maybe' })).rejects.toThrow('whenOpen');
  });

  test('is reset by hand, and when a new QR code is asked for', async () => {
    poolOf();
    await openBreaker('a');
    await openBreaker('b');
    const resets = [];
    pool.on('reset', id => resets.push(id));
    expect(pool.reset('a')).toBe(true);
    await expect(send('a')).resolves.toMatchObject({ key: {} });
    expect(pool.status('a')).toMatchObject({ circuit_breaker: 'closed', recent_failures: 0 });
    fake.set('b', 'qr');
    await expect(pool.requestQr('b')).resolves.toEqual({ connected: false, qr: '2@b' });
    expect(pool.breakers.get('b').closed).toBe(true);
    expect(pool.reset('nobody')).toBe(false);
    expect(resets).toEqual(['a', 'b']);
  });

  test('hears of a message that is itself at fault: nothing', async () => {
    poolOf();
    await send('a');
    fake.set('a', 'send-rejects',
      Object.assign(new Error('not-acceptable'), { output: { statusCode: 406 } }));
    for (let i = 0; i < 20; i++) expect(await send('a')).toMatchObject({ retryable: false });
    expect(pool.breakers.get('a').closed).toBe(true);
  });
});

describe('what never answers', () => {
  test.each(['connect-hangs', 'never-opens', 'send-hangs'])('%s: after 20 s', async kind => {
    poolOf();
    fake.set('a', kind);
    const sending = send('a');
    // Past the connecting, where that is not what hangs.
    for (let i = 0; i < 3; i++) await new Promise(resolve => setImmediate(resolve));
    await clock.advance(19_000);
    expect(pool.health().connecting).toBe(kind === 'send-hangs' ? 0 : 1);
    await clock.advance(2000);
    expect(await sending).toMatchObject({ code: 'ETIMEDOUT', trouble: 'timed-out' });
    expect(pool.breakers.get('a').stats.failures).toBe(1);
    fake.set('a', null);
    await expect(send('a')).resolves.toMatchObject({ key: {} });
  });

  test('a socket that comes too late is ended', async () => {
    let arrive;
    poolOf({ connect: () => new Promise(resolve => { arrive = resolve; }) });
    const sending = send('a');
    await clock.advance(21_000);
    await sending;
    const late = { sendMessage () {}, end: jest.fn() };
    arrive(late);
    await new Promise(resolve => setImmediate(resolve));
    expect(late.end).toHaveBeenCalledTimes(1);
    expect(pool.status('a').connected).toBe(false);
  });

  test('a caller who gives up does not hold the others up', async () => {
    poolOf();
    fake.set('a', 'never-opens');
    const controller = new AbortController();
    const sends = [send('a', { signal: controller.signal }), send('a')];
    controller.abort(new Error('never mind'));
    expect(await sends[0]).toMatchObject({ message: 'never mind' });
    fake.set('a', null);
    await new Promise(resolve => setImmediate(resolve));
    fake.scan('a');
    await expect(sends[1]).resolves.toMatchObject({ key: {} });
  });
});

describe('connections', () => {
  test('a QR code is shown until it is scanned; meanwhile nothing counts', async () => {
    poolOf();
    fake.set('a', 'qr');
    const shown = once(pool, 'qr');
    await expect(pool.connect('a')).resolves.toEqual({ connected: false, qr: '2@a' });
    expect(await shown).toEqual(['a', '2@a']);
    expect(await send('a')).toMatchObject({ code: 'ERR_SESSION_QR', retryable: false });
    expect(pool.status('a').state).toBe('qr');
    fake.scan('a');
    await expect(send('a')).resolves.toMatchObject({ key: {} });
    expect(pool.breakers.get('a').stats.failures).toBe(0);
    expect(fake.connects.get('a')).toBe(1);
  });

  test('one that is lost is told, counts, and is made anew', async () => {
    poolOf({ reconnect: true });
    await send('a');
    const lost = once(pool, 'disconnected');
    fake.disconnect('a', 428);
    const [id, { message }] = await lost;
    expect(id).toBe('a');
    expect(message).toContain('WebSocket');
    expect(pool.breakers.get('a').stats.failures).toBe(1);
    expect(pool.health()).toMatchObject({ active_connections: 0, total_recent_failures: 1 });
    const back = once(pool, 'connected');
    await clock.advance(1000);
    await back;
    expect(pool.health().active_connections).toBe(1);
  });

  test('a restart after pairing counts for nothing', async () => {
    poolOf({ reconnect: true });
    await send('a');
    fake.disconnect('a', 515, 'Stream Errored (restart required)');
    const back = once(pool, 'connected');
    await clock.advance(1000);
    await back;
    expect(pool.breakers.get('a').stats.failures).toBe(0);
  });

  test('one that the telephone has ended stays so until somebody pairs it again', async () => {
    poolOf({ reconnect: true });
    await send('a');
    const alert = once(pool, 'alert');
    fake.disconnect('a', 401, 'Logged out');
    expect((await alert)[0]).toMatchObject({ kind: 'logged-out', id: 'a' });
    await clock.advance(60_000);
    expect(fake.connects.get('a')).toBe(1);
    expect(pool.status('a').state).toBe('logged-out');
    expect(pool.breakers.get('a').stats.failures).toBe(0);
    const contexts = [];
    const { connect } = fake;
    poolOf({ connect: (id, context) => { contexts.push(context.fresh); return connect(id); } });
    await pool.requestQr('a');
    await pool.connect('b');
    expect(contexts).toEqual([true, false]);
  });

  test('one that flaps opens the breaker, and is tried again when that lets it', async () => {
    poolOf({ reconnect: true });
    await send('a');
    for (let i = 0; i < 14; i++) {
      const back = once(pool, 'connected');
      fake.disconnect('a', 428);
      await clock.advance(1000);
      await back;
    }
    const opened = once(pool, 'open');
    fake.disconnect('a', 428);
    await opened;
    await clock.advance(1000);
    expect(pool.health().active_connections).toBe(0);
    const connects = fake.connects.get('a');
    await clock.advance(598_000);
    expect(fake.connects.get('a')).toBe(connects);
    const back = once(pool, 'connected');
    await clock.advance(3000);
    await back;
    expect(pool.status('a')).toMatchObject({ connected: true, circuit_breaker: 'closed' });
  });

  test('connecting is tried again, and the tries are counted', async () => {
    poolOf({ retry: { retries: 3, minTimeout: 1000, randomize: false } });
    fake.set('a', 'connect-rejects');
    let retried = once(pool, 'retry');
    const sending = send('a');
    await expect(retried).resolves.toMatchObject(['a', { attempt: 1, delay: 1000 }]);
    retried = once(pool, 'retry');
    await clock.advance(1000);
    await retried;
    fake.set('a', null);
    await clock.advance(2000);
    await expect(sending).resolves.toMatchObject({ key: {} });
    expect(pool.health()).toMatchObject({ total_retry_attempts: 2, total_recent_failures: 2 });
  });
});

describe('health', () => {
  test('is 100 with nothing to complain of, and 0 with nothing else', async () => {
    poolOf();
    expect(pool.health()).toEqual({
      total_instances: 0, active_connections: 0, connecting: 0, circuit_breaker_activations: 0,
      total_retry_attempts: 0, total_recent_failures: 0, health_score: 100
    });
    await send('a');
    expect(pool.health()).toMatchObject({
      total_instances: 1, active_connections: 1, health_score: 100
    });
    await openBreaker('b');
    // Half of the instances: open, down, and with all the failures that it takes.
    expect(pool.health()).toMatchObject({
      total_instances: 2, active_connections: 1, circuit_breaker_activations: 1,
      total_recent_failures: 15, health_score: 50
    });
    pool.remove('a');
    expect(pool.health()).toMatchObject({ total_instances: 1, health_score: 0 });
    pool.reset('b');
    await send('b');
    expect(pool.health()).toMatchObject({ circuit_breaker_activations: 1, health_score: 100 });
  });
});

describe('the operator reads', () => {
  test('of each trouble, with the instance', async () => {
    poolOf();
    const trouble = once(pool, 'trouble');
    fake.set('shop-1', 'connect-throws');
    await send('shop-1');
    expect((await trouble)[0]).toMatchObject({
      id: 'shop-1', message: expect.stringMatching(/^Instance shop-1: a session could not be/),
      error: { trouble: 'no-session' }
    });
    expect(pool.status('shop-1').last_error).toContain('could not be created');
  });
});

describe('bad input', () => {
  test('is refused with all its faults, and connects nothing', async () => {
    poolOf();
    const error = await pool.send('../etc', '0812', null).catch(e => e);
    expect(error).toMatchObject({
      code: 'ERR_INVALID_INPUT', faults: [{ path: 'id' }, { path: 'to' }, { path: 'content' }]
    });
    await expect(pool.connect('')).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    await expect(pool.requestQr(5)).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
    expect(pool.size).toBe(0);
  });

  test.each([
    [undefined], [{}], [{ connect: 'x' }], [{ connect () {}, max: 0 }],
    [{ connect () {}, whenOpen: 'x' }], [{ connect () {}, timeout: 0 }],
    [{ connect () {}, retry: { factor: 'x' } }], [{ connect () {}, breaker: { timeout: 'x' } }]
  ])('options %#', options => {
    expect(() => new SessionPool(options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });

  test('a connect() that gives no socket is trouble, not a crash', async () => {
    poolOf({ connect: () => 5 });
    expect(await send('a')).toMatchObject({ trouble: 'no-session' });
  });
});
