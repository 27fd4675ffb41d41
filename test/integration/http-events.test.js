'use strict';

// Server-sent events: what is told, to whom, and what becomes of readers that come back, are too
// many, or do not keep up.

const { once } = require('node:events');
const net = require('node:net');
const { randomUUID } = require('node:crypto');

const { CircuitBreaker } = require('../..');
const { SessionPool } = require('../../lib/clients/whatsapp');
const Emitter = require('../../lib/base/emitter');
const { createDegradation } = require('../../lib/gateway/degradation');
const { createAdminRouter, createEventStream } = require('../../lib/http');
const { readEvents, serve } = require('../support/http-helpers');

const TOKEN = 'reader-token-0123456789';
const OPERATOR = 'operator-token-0123456789';
const PATH = '/admin/reliability/events';
const AUTHORIZED = { authorization: `Bearer ${TOKEN}` };

const open = [];

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function start (options = {}) {
  const events = createEventStream({ breakers: () => [], ...options });
  const tokens = [{ token: TOKEN, name: 'Budi', role: 'read' },
    { token: OPERATOR, name: 'Ani', role: 'operate' }];
  const server = await serve(createAdminRouter({ events, tokens }));
  open.push(server.close, () => events.close());
  async function read (headers = {}) {
    const reader = await readEvents(server.url + PATH, { ...AUTHORIZED, ...headers });
    open.push(reader.close);
    return reader;
  }
  return { events, read, url: server.url };
}

function breakerOf () {
  const breaker = new CircuitBreaker(async () => { throw new Error('down'); },
    { name: `events ${randomUUID()}`, group: 'film', resetTimeout: 20 });
  open.push(() => breaker.shutdown());
  return breaker;
}

test('only those who may read get any', async () => {
  const { url } = await start();
  const { response, close } = await readEvents(url + PATH, {});
  expect(response.status).toBe(401);
  close();
});

test('a breaker that opens, half opens and closes', async () => {
  const breaker = breakerOf();
  const { read } = await start({ breakers: () => [breaker] });
  const { response, next } = await read();
  expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
  expect(response.headers.get('cache-control')).toBe('no-store, no-transform');
  await breaker.fire().catch(() => {});
  const { name } = breaker;
  expect(await next()).toMatchObject({ type: 'breaker', data: { name, state: 'open' } });
  const halfOpen = await next();
  expect(halfOpen.data).toMatchObject({ name, group: 'film', state: 'half-open' });
  expect(Math.abs(halfOpen.data.at - Date.now())).toBeLessThan(10_000);
  breaker.close();
  expect(await next()).toMatchObject({ type: 'breaker', data: { name, state: 'closed' } });
});

test('breakers that are made later are found, and none is kept', async () => {
  const all = [];
  const { events, read } = await start({ breakers: () => all });
  const { next } = await read();
  const breaker = breakerOf();
  all.push(breaker);
  while (breaker.listenerCount('open') === 0) await new Promise(resolve => setTimeout(resolve, 20));
  breaker.open();
  expect((await next()).data).toMatchObject({ name: breaker.name, state: 'open' });
  events.close();
  expect(['open', 'halfOpen', 'close'].map(event => breaker.listenerCount(event)))
    .toEqual([0, 0, 0]);
});

test('level, dead letters and payments', async () => {
  const degradation = createDegradation();
  // The store's parts as far as they emit: what they emit and when is for their own tests.
  const store = { deadLetters: new Emitter(), payments: new Emitter() };
  const { read } = await start({ degradation, store });
  const { next } = await read();
  degradation.setLevel('SEVERE', { reason: 'line 1', by: 'Ani' });
  expect(await next()).toMatchObject({
    type: 'degradation', data: { from: 'NORMAL', to: 'SEVERE', reason: 'line 1', by: 'Ani' }
  });
  store.deadLetters.emit('arrival', {
    id: '7', channel: 'EMAIL', kind: 'EFULL', recipient: 'a\n\nevent: breaker\ndata: {}\n\n',
    reason: 'x'.repeat(1000), lastError: 'y'.repeat(1000), body: 'secret',
  });
  const { type, data } = await next();
  expect(type).toBe('dead-letter');
  expect(data).toEqual({
    at: expect.any(Number), id: '7', channel: 'EMAIL', kind: 'EFULL',
    recipient: 'a\n\nevent: breaker\ndata: {}\n\n', reason: 'x'.repeat(300),
    lastError: 'y'.repeat(300),
  });
  store.payments.emit('transition', { orderId: 'FILM-1', token: 'snap' },
    { from: 'pending', to: 'paid', transactionId: 't' });
  expect(await next()).toMatchObject({
    type: 'payment', data: { orderId: 'FILM-1', from: 'pending', to: 'paid' }
  });
  store.payments.emit('held', { orderId: 'FILM-2', body: '{}' }, 'the amount differs');
  expect((await next()).data)
    .toEqual({ at: expect.any(Number), orderId: 'FILM-2', reason: 'the amount differs' });
  store.payments.emit('released', { orderId: 'FILM-2', token: 'snap' });
  const released = await next();
  expect(released.type).toBe('payment-released');
  expect(released.data).toEqual({ at: expect.any(Number), orderId: 'FILM-2' });
});

test('troubles of sessions, in words for the operator', async () => {
  const connect = async () => {
    throw Object.assign(new Error('connect ETIMEDOUT 1.2.3.4:443'), { code: 'ETIMEDOUT' });
  };
  const sessions = new SessionPool({ connect, retry: false });
  open.push(() => sessions.close());
  const { read } = await start({ sessions });
  const { next } = await read();
  await sessions.connect('4711').catch(() => {});
  const { type, data } = await next();
  expect([type, data.id]).toEqual(['session', '4711']);
  expect(data.message).toMatch(/^Instance 4711: WhatsApp did not answer in time \(ETIMEDOUT\)/);
});

test('who comes back gets what was missed, once', async () => {
  const { events, read } = await start({ history: 3 });
  events.publish('test', { n: 1 });
  const first = await read();
  const { id, data } = await first.next();
  expect(data.n).toBe(1);
  first.close();
  for (const n of [2, 3]) events.publish('test', { n });
  const second = await read({ 'last-event-id': id });
  expect([(await second.next()).data.n, (await second.next()).data.n]).toEqual([2, 3]);
  events.publish('test', { n: 4 });
  const fourth = await second.next();
  expect(fourth.data.n).toBe(4);
  second.close();
  // Nothing was missed since.
  const third = await read({ 'last-event-id': fourth.id });
  events.publish('test', { n: 5 });
  expect((await third.next()).data.n).toBe(5);
});

test('who missed too much, or comes from another process, is told so', async () => {
  const { events, read } = await start({ history: 2 });
  events.publish('test', { n: 1 });
  const { next, close } = await read();
  const { id } = await next();
  close();
  for (const n of [2, 3, 4]) events.publish('test', { n });
  for (const lastId of [id, '000000000000-4', 'nonsense', id.replace(/\d+$/, '9')]) {
    const reader = await read({ 'last-event-id': lastId });
    expect((await reader.next()).type).toBe('reset');
    // What is still kept follows.
    expect([(await reader.next()).data.n, (await reader.next()).data.n]).toEqual([3, 4]);
    reader.close();
  }
});

test('many events of one kind do not push out those of another', async () => {
  const { events, read } = await start({ history: 2 });
  events.publish('breaker', { n: 1 });
  for (const n of [2, 3, 4, 5]) events.publish('payment', { n });
  const first = await read();
  const seen = [await first.next(), await first.next(), await first.next()];
  expect(seen.map(({ type, data }) => [type, data.n]))
    .toEqual([['breaker', 1], ['payment', 4], ['payment', 5]]);
  first.close();
  // A payment is lost for whoever last heard of the breaker.
  const { id } = seen[0];
  const second = await read({ 'last-event-id': id });
  expect((await second.next()).type).toBe('reset');
});

test('kinds that users make up share a ring once there are many', async () => {
  const { events, read } = await start({ history: 1 });
  for (let n = 1; n <= 50; n++) events.publish(`kind-${n}`, { n });
  const { next } = await read();
  const kept = [];
  while (kept.at(-1) !== 50) kept.push((await next()).data.n);
  expect(kept).toEqual([...Array.from({ length: 31 }, (_, i) => i + 1), 50]);
});

test('HEAD is answered without a stream', async () => {
  const { events, url } = await start();
  const response = await fetch(url + PATH, { method: 'HEAD', headers: AUTHORIZED });
  expect([response.status, await response.text(), events.clients]).toEqual([200, '', 0]);
});

test('there is a sign of life', async () => {
  const { read } = await start({ heartbeat: 20 });
  const { nextBlock } = await read();
  expect(await nextBlock()).toBe(': hello');
  expect(await nextBlock()).toBe(': alive');
  expect(await nextBlock()).toBe(': alive');
});

test('readers are bounded, and make room when they leave', async () => {
  const { events, read } = await start({ maxClients: 2 });
  const [first] = [await read(), await read()];
  const third = await read();
  expect(third.response.status).toBe(503);
  expect(third.response.headers.get('retry-after')).toBe('5');
  first.close();
  while (events.clients > 1) await new Promise(resolve => setTimeout(resolve, 5));
  expect((await read()).response.status).toBe(200);
});

test('one token cannot take the places of all others', async () => {
  const { events, read } = await start({ maxClients: 3 });
  const greedy = [await read(), await read(), await read()];
  expect((await read()).response.status).toBe(503);
  const authorization = `Bearer ${OPERATOR}`;
  const operator = await read({ authorization });
  expect([operator.response.status, events.clients]).toEqual([200, 3]);
  // It was the oldest that had to go, and it cannot come back in the other's place.
  await expect(greedy[0].next()).rejects.toThrow();
  expect((await read()).response.status).toBe(503);
  expect((await read({ authorization })).response.status).toBe(503);
  events.publish('test', { n: 1 });
  for (const reader of [greedy[1], greedy[2], operator]) {
    expect((await reader.next()).data.n).toBe(1);
  }
});

test('a reader that does not read is let go, and holds up nobody', async () => {
  const { events, read, url } = await start({ maxBuffer: 65_536 });
  const { port } = new URL(url);
  const socket = net.connect(port, '127.0.0.1');
  open.push(() => socket.destroy());
  await once(socket, 'connect');
  socket.write(`GET ${PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${TOKEN}\r\n\r\n`);
  await once(socket, 'data');
  socket.pause();
  const reader = await read();
  expect(events.clients).toBe(2);
  let sent = 0;
  let seen = 0;
  while (events.clients === 2) {
    events.publish('test', { text: 'x'.repeat(10_000) });
    sent += 1;
    await reader.next();
    seen += 1;
    expect(sent).toBeLessThan(10_000);
  }
  expect(seen).toBe(sent);
});

test('the end of the stream is an end', async () => {
  const { events, read } = await start();
  const { next } = await read();
  events.close();
  expect(await next()).toBeUndefined();
  expect((await read()).response.status).toBe(503);
});

test.each([['history', 0], ['maxClients', 1.5], ['heartbeat', '1s'], ['maxBuffer', 10],
  ['breakers', []]])('a wrong %s is refused', (name, value) => {
  expect(() => createEventStream({ [name]: value }))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: name }));
});
