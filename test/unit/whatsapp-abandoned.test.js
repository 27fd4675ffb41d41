'use strict';

// Instances that are given up while they are being connected: nothing goes out by them any more,
// no socket is left open, and nobody waits in vain.

const { EventEmitter } = require('node:events');

const { SessionPool } = require('../../lib/clients/whatsapp');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const TO = '+6281234567890';
const HELLO = { text: 'Hello' };

let clock;
let pool;
let sockets;
let sent;

beforeEach(() => {
  clock = useVirtualClock();
  sockets = [];
  sent = [];
});
afterEach(() => {
  pool.close();
  clock.restore();
});

const tick = () => new Promise(setImmediate);
const send = id => pool.send(id, TO, HELLO).catch(error => error);
const left = () => sockets.filter(socket => !socket.ended).map(({ id }) => id);

function socketOf (id) {
  const socket = Object.assign(new EventEmitter(), {
    id,
    ended: false,
    sendMessage: async () => { sent.push(id); },
    end () { this.ended = true; },
  });
  sockets.push(socket);
  return socket;
}

function poolOf (connect, options) {
  pool = new SessionPool({ connect, retry: false, reconnect: false, ...options });
}

const ways = [['removed', () => pool.remove('a')], ['closed', () => pool.close()]];

test.each(ways)('%s before its socket is there', async (_, end) => {
  let give;
  poolOf(() => new Promise(resolve => { give = resolve; }));
  const sending = send('a');
  await tick();
  end();
  expect(await sending).toMatchObject({ code: 'ESHUTDOWN', ambiguous: false });
  give(socketOf('a'));
  await tick();
  sockets[0].emit('open');
  await tick();
  expect([sent, left(), pool.ids()]).toEqual([[], [], []]);
});

test.each(ways)('%s before its socket is open', async (_, end) => {
  poolOf(socketOf);
  const sending = send('a');
  await tick();
  end();
  expect(await sending).toMatchObject({ code: 'ESHUTDOWN' });
  sockets[0].emit('open');
  await tick();
  expect([sent, left()]).toEqual([[], []]);
});

test('removed while it waits for its next attempt: there is none', async () => {
  let calls = 0;
  poolOf(() => {
    calls += 1;
    throw new Error('WebSocket Error');
  }, { retry: { retries: 3, minTimeout: 1000, randomize: false } });
  const sending = send('a');
  await tick();
  expect(calls).toBe(1);
  pool.remove('a');
  await clock.advance(1000);
  await sending;
  expect(calls).toBe(1);
});

test('a new QR code is asked for twice: the second one counts, and no failure does', async () => {
  poolOf(socketOf);
  const first = pool.requestQr('a').catch(error => error);
  await tick();
  const second = pool.requestQr('a');
  await tick();
  sockets.at(-1).emit('qr', 'code');
  expect(await second).toEqual({ connected: false, qr: 'code' });
  expect(await first).toMatchObject({ code: 'ESHUTDOWN' });
  expect([left(), pool.status('a').recent_failures]).toEqual([['a'], 0]);
});

test('one whose code nobody scans makes room, and its socket is ended', async () => {
  poolOf(socketOf, { max: 1 });
  const connecting = pool.connect('a');
  await tick();
  sockets[0].emit('qr', 'code');
  await connecting;
  const sending = send('b');
  await tick();
  sockets[1].emit('open');
  await sending;
  expect([pool.ids(), left(), sent]).toEqual([['b'], ['b'], ['b']]);
});
