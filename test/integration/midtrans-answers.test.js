'use strict';

// Answers of Midtrans, and of what stands before it, one by one: what the fake has no switch for.

const { getEventListeners, once } = require('node:events');
const http = require('node:http');
const { inspect } = require('node:util');

const {
  KEY, cardCharge, clientOf, closeAll, order, settle
} = require('../support/midtrans-helpers');

const servers = [];

afterEach(closeAll);
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const NONE = [404, { status_code: '404', status_message: "Transaction doesn't exist." }];
const CUT = 'cut';

/** A server that answers GET status by `look`, and all else by one answer of `answers` each. */
async function scripted (look, ...answers) {
  const log = [];
  const server = http.createServer((req, res) => {
    log.push(req.method);
    req.resume().on('end', () => {
      const left = answers.length > 1 ? answers.shift() : answers[0];
      const answer = req.method === 'GET' ? look : left;
      if (answer === CUT) return req.socket.destroy();
      const [status, body] = answer;
      res.writeHead(status, { 'content-type': 'application/json' });
      res.end(JSON.stringify(body));
    });
  });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return { log, url: `http://127.0.0.1:${server.address().port}` };
}

const unknown = { code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true };

test.each([
  'transaction_details.order_id has already been taken',
  'transaction_details.order_id sudah digunakan',
])('an order that is taken, in either language: %s', async message => {
  const taken = [400, { error_messages: [message] }];
  const lost = await scripted(NONE, CUT, taken);
  expect((await settle(clientOf(lost.url).createTransaction(order('o')))).error)
    .toMatchObject({ ...unknown, tokenLost: true });
  const plain = await scripted(NONE, taken);
  expect((await settle(clientOf(plain.url).createTransaction(order('o')))).error)
    .toMatchObject({ code: 'ERR_MIDTRANS_CONFLICT', ambiguous: false });
});

test('the 404 of a proxy, in JSON, does not say that there is no such transaction', async () => {
  const { url, log } = await scripted([404, { message: 'no route' }], CUT);
  const client = clientOf(url);
  expect((await settle(client.charge(cardCharge('o')))).error).toMatchObject(unknown);
  expect(log.filter(method => method === 'POST')).toHaveLength(1);
  expect((await settle(client.status('o'))).error).toMatchObject({ code: 'ERR_MIDTRANS_RESPONSE' });
});

test('a status that tells no state is not taken for a charge', async () => {
  const { url, log } = await scripted([202, { status_code: '202' }], CUT);
  expect((await settle(clientOf(url).charge(cardCharge('o')))).error).toMatchObject(unknown);
  expect(log.filter(method => method === 'POST')).toHaveLength(1);
});

test('a server that failed is not believed to have refused', async () => {
  const { url } = await scripted(NONE, [500, { status_code: '400' }]);
  expect((await settle(clientOf(url).charge(cardCharge('o')))).error).toMatchObject(unknown);
});

describe('what an attempt that got through makes of the next one', () => {
  const business = code => [200, { status_code: code, status_message: 'refused' }];

  test('the token of a card is used up: unknown, unless the charge is found', async () => {
    const { url } = await scripted(NONE, CUT, business('411'));
    expect((await settle(clientOf(url).charge(cardCharge('o')))).error).toMatchObject(unknown);
    const first = await scripted(NONE, business('411'));
    expect((await settle(clientOf(first.url).charge(cardCharge('o')))).error)
      .toMatchObject({ code: 'ERR_MIDTRANS_REFUSED', ambiguous: false });
  });

  test.each(['412', '414'])('%s: money was given back, and nobody says by whom', async code => {
    const given = { status_code: '200', transaction_status: 'refund', order_id: 'o' };
    const body = { refund_key: 'k', amount: 1000 };
    const { url } = await scripted([200, given], CUT, business(code));
    expect((await settle(clientOf(url).refund('o', body))).error)
      .toMatchObject({ ...unknown, refundKey: 'k' });
    // It is listed, and not this one; or nothing was given back at all.
    for (const found of [
      { ...given, refunds: [{ refund_key: 'another' }] },
      { ...given, transaction_status: 'capture' },
    ]) {
      const told = await scripted([200, found], CUT, business(code));
      expect((await settle(clientOf(told.url).refund('o', body))).error)
        .toMatchObject({ statusCode: code, ambiguous: false });
    }
  });
});

describe('a client that is closed', () => {
  const page = [201, { token: 't', redirect_url: 'u' }];

  test('can be closed again, and sends nothing more', async () => {
    const { url, log } = await scripted(NONE, page);
    const client = clientOf(url, { retry: { minTimeout: 60_000 } });
    await client.createTransaction(order('o'));
    await client.close();
    await client.close();
    for (const call of [client.createTransaction(order('p')), client.status('o'), client.ping()]) {
      await expect(call).rejects.toMatchObject({ code: 'ESHUTDOWN' });
    }
    expect(log).toHaveLength(1);
    expect(client.breaker.stats.failures).toBe(0);
  });

  test('keeps no call waiting for its next attempt, and does not call it failed', async () => {
    const { url } = await scripted(NONE, [200, { status_code: '500' }]);
    const client = clientOf(url, { retry: { minTimeout: 60_000 } });
    const waits = new Promise(resolve => { client.on('retry', resolve); });
    const charged = settle(client.charge(cardCharge('o')));
    await waits;
    setImmediate(() => client.close());
    expect((await charged).error).toMatchObject(unknown);
  });
});

test('a hundred calls with one signal leave no listener on it', async () => {
  const { url } = await scripted(NONE, [201, { token: 't', redirect_url: 'u' }]);
  const client = clientOf(url, { timeout: 25_000 });
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: 100 }, (_, i) =>
    client.createTransaction(order(`o${i}`), { signal })));
  expect(getEventListeners(signal, 'abort')).toEqual([]);
});

test('an answer that repeats what was sent, and cannot be parsed, shows no key', async () => {
  const server = http.createServer();
  server.on('request', ({ headers, socket }) =>
    socket.end(`HTTP/1.1 200 OK\r\nContent-Length: x ${headers.authorization}\r\n\r\n`));
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const client = clientOf(`http://127.0.0.1:${server.address().port}`, { retry: false });
  const { error } = await settle(client.createTransaction(order('o')));
  expect(error).toMatchObject(unknown);
  const shown = inspect(error, { depth: 9, showHidden: true });
  expect(shown).toContain('could not be reached');
  expect(shown).not.toContain(Buffer.from(`${KEY}:`).toString('base64'));
});

test('calls that were given up in the line cost no connection', async () => {
  let isHanging = true;
  let connections = 0;
  const server = http.createServer((req, res) => {
    if (!isHanging) res.writeHead(201).end('{"token":"t"}');
  });
  server.on('connection', () => { connections += 1; });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;
  const client = clientOf(url, {
    connections: 1, retry: false, timeout: 20_000, breaker: false
  });
  const given = Array.from({ length: 30 }, (_, i) =>
    settle(client.createTransaction(order(`o${i}`), { timeout: 100 })));
  for (const { error } of await Promise.all(given)) {
    expect(error).toMatchObject({ code: expect.stringMatching(/TIMEOUT|UNKNOWN/) });
  }
  isHanging = false;
  for (const id of ['p', 'q']) {
    expect(await settle(client.createTransaction(order(id)))).toEqual({ value: { token: 't' } });
  }
  expect(connections).toBeLessThan(6);
});
