'use strict';

// What strangers can do to a gateway by HTTP itself: connections, slow and broken requests, tricks
// with paths, methods and headers, and pages of other sites.

const { once } = require('node:events');
const net = require('node:net');

const { createWebhookRouter } = require('../../lib/http');
const refusals = require('../../lib/http/refusals');
const { useVirtualClock } = require('../../lib/testing');
const { SECRETS, order, startAll, until } = require('../support/gateway-helpers');
const { serve } = require('../support/http-app');

const { shopToken, readToken, operateToken } = SECRETS;
const CONNECTIONS_MAX = 20;
// As Midtrans writes it, but not signed by it.
const FORGED = JSON.stringify({
  transaction_status: 'settlement', status_code: '200', gross_amount: '50000.00', order_id: 'order',
  transaction_id: '1', transaction_time: '2026-01-01 00:00:00', payment_type: 'bank_transfer',
  fraud_status: 'accept', signature_key: '0'.repeat(128),
});

let it;
const sockets = new Set();
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});

/** A connection that sends this. `closed` resolves when the server has ended it. */
async function connect (text = '') {
  const socket = net.connect(it.server.port, '127.0.0.1');
  sockets.add(socket);
  const closed = new Promise(resolve => { socket.on('error', resolve).on('close', resolve); });
  await Promise.race([once(socket, 'connect'), closed]);
  if (text !== '') socket.write(text);
  return { socket, closed };
}

/** All that the server answers until it ends the connection. */
async function raw (text) {
  const { socket, closed } = await connect(text);
  let answer = '';
  socket.setEncoding('latin1').on('data', chunk => { answer += chunk; });
  await closed;
  return answer;
}

const lines = (...all) => `${all.join('\r\n')}\r\n\r\n`;
const LAST = ['Host: localhost', 'Connection: close'];
const statusesIn = answer =>
  [...answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
const statusOf = async text => statusesIn(await raw(text)).at(-1);
/** The status for a request line and headers. */
const ask = (line, ...headers) => statusOf(lines(`${line} HTTP/1.1`, ...LAST, ...headers));

/** On a connection of its own: one that is kept may be closed while it is used again. */
const isWell = async () => expect(await ask('GET /health/live')).toBe(200);

describe('connections', () => {
  let count = 0;
  beforeAll(async () => {
    it = await startAll({}, {
      server: {
        port: 0, connections: CONNECTIONS_MAX, tokens: [{ name: 'shop', token: shopToken }],
      },
      midtrans: { timeout: 60_000 }, retry: { fallback: { maxWait: 60_000 } },
    });
  });
  afterAll(() => it.close());

  const forged = lines('POST /webhooks/midtrans HTTP/1.1', 'Host: localhost',
    `Content-Length: ${FORGED.length}`) + FORGED;
  const HOLDS = {
    'that say nothing': '',
    'whose headers never end': 'GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: ',
    'whose bodies never end':
      lines('POST /webhooks/midtrans HTTP/1.1', 'Host: localhost', 'Content-Length: 5000'),
    'whose refusals wait': forged,
    'whose bodies nobody wants':
      lines('POST /orders HTTP/1.1', 'Host: localhost', 'Content-Length: 5000'),
    'that stay after their request': lines('GET /health/live HTTP/1.1', 'Host: localhost'),
    // The pages are larger than what the system keeps.
    'that read no answer': lines('GET /dashboard/vendor/uplot.js HTTP/1.1', 'Host: localhost')
      .repeat(100),
  };

  test.each(Object.entries(HOLDS))('those %s keep nobody out', async (_, text) => {
    const held = await Promise.all(Array.from({ length: 10 * CONNECTIONS_MAX }, async () => {
      const { socket } = await connect(text);
      return socket.pause();
    }));
    count += 1;
    const { status } = await it.ask('/orders',
      { token: shopToken, body: order(`hostile-${count}`), headers: { connection: 'close' } });
    expect(status).toBe(201);
    await isWell();
    const open = await new Promise(resolve => {
      it.server.server.getConnections((error, found) => resolve(found));
    });
    expect(open).toBeLessThanOrEqual(CONNECTIONS_MAX);
    expect(held.length).toBeGreaterThan(open);
  });

  test('slow headers and bodies are ended by the server', async () => {
    expect(it.server.server.requestTimeout).toBe(30_000);
    const slow = await Promise.all([
      HOLDS['that say nothing'], HOLDS['whose headers never end'],
    ].map(text => connect(text)));
    await Promise.all(slow.map(({ socket, closed }) => {
      socket.resume();
      return closed;
    }));
    await isWell();
  });

  test('a thousand requests at once on a connection are all answered, in order', async () => {
    const text = lines('GET /health/live HTTP/1.1', 'Host: localhost').repeat(999) +
      lines('GET /nothing HTTP/1.1', ...LAST);
    const statuses = statusesIn(await raw(text));
    expect(statuses).toEqual([...new Array(999).fill(200), 404]);
  });

  test('bodies that are arriving take a bounded amount of memory', async () => {
    const size = 1_048_576;
    const head = lines('POST /webhooks/whatsapp HTTP/1.1', 'Host: localhost',
      `Content-Length: ${size}`);
    // Another gateway, whose limit of connections does not help.
    const other = it;
    it = await startAll({}, {});
    try {
      const slow = [];
      let open = 80;
      for (let i = 0; i < 80; i++) {
        const { socket, closed } = await connect(head);
        slow.push(closed.then(() => { open -= 1; }));
        socket.resume().write(Buffer.alloc(size - 1, 0x20));
      }
      await Promise.all(slow.slice(0, 10));
      // The others are not too slow yet.
      expect(open).toBeGreaterThan(40);
      await isWell();
    } finally {
      for (const socket of sockets) socket.destroy();
      await it.close();
      it = other;
    }
  });
});

describe('requests', () => {
  beforeAll(async () => {
    it = await startAll({}, {
      server: { port: 0, trustProxy: 1, tokens: [{ name: 'shop', token: shopToken }] },
    });
  });
  afterAll(() => it.close());
  afterEach(isWell);

  let address = 0;
  // Each comes from an address of its own, so that none is refused because of the others.
  const ours = () => {
    address += 1;
    return `X-Forwarded-For: 10.9.${address >> 8}.${address & 255}`;
  };

  test.each([
    ['one large header', [`X-A: ${'x'.repeat(20_000)}`], 431],
    ['very many headers', Array.from({ length: 5000 }, (_, i) => `X-${i}: a`), 431],
    ['many headers', Array.from({ length: 1900 }, () => 'A: a'), 200],
    ['a bad name', ['X A: a'], 400],
    ['a space before the colon', ['X-A : a'], 400],
    ['a NUL', ['X-A: a\0b'], 400],
    ['an unknown expectation', ['Expect: the-unexpected'], 417],
    ['a wish for HTTP/2', ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c',
      'HTTP2-Settings: AAMAAABkAAQAAP__'], 200],
    ['a wish for a WebSocket', ['Connection: Upgrade', 'Upgrade: websocket',
      'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='], 200],
    ['another method in a header', ['X-HTTP-Method-Override: DELETE'], 200],
  ])('headers: %s', async (_, headers, status) => {
    expect(await ask('GET /health/live', ...headers)).toBe(status);
  });

  test.each([
    ['both lengths', ['Content-Length: 5', 'Transfer-Encoding: chunked'], '0\r\n\r\n'],
    ['two lengths', ['Content-Length: 5', 'Content-Length: 6'], 'aaaaaa'],
    ['an odd length', ['Content-Length: +5'], 'aaaaa'],
    ['an unknown encoding', ['Transfer-Encoding: xchunked'], '0\r\n\r\n'],
    ['chunked, but not last', ['Transfer-Encoding: chunked, identity'], '0\r\n\r\n'],
    ['an encoding on two lines', ['Transfer-Encoding:', ' chunked'], '0\r\n\r\n'],
    ['a chunk of odd length', ['Transfer-Encoding: chunked'], '0x5\r\naaaaa\r\n0\r\n\r\n'],
  ])('lengths that two readers may read differently: %s', async (_, headers, body) => {
    const smuggled = lines('GET /metrics HTTP/1.1', ...LAST);
    const statuses = statusesIn(await raw(
      lines('POST /webhooks/midtrans HTTP/1.1', 'Host: localhost', ...headers) + body + smuggled));
    expect(statuses).toEqual([400]);
  });

  test('whoever waits for 100 Continue gets it, and then a refusal', async () => {
    const answer = await raw(lines('POST /orders HTTP/1.1', ...LAST, 'Expect: 100-continue',
      'Content-Type: application/json', 'Content-Length: 2') + '{}');
    expect(statusesIn(answer)).toEqual([100, 401]);
  });

  test.each([
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['no Host', lines('GET /health/live HTTP/1.1', 'Connection: close')],
    ['an unknown version', 'GET /health/live HTTP/9.9\r\n\r\n'],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['an unknown method', lines('STEAL /health/live HTTP/1.1', ...LAST)],
  ])('%s gets 400', async (_, text) => {
    expect(await statusOf(text)).toBe(400);
  });

  test('nobody gets a tunnel, and TRACE repeats nothing', async () => {
    expect(statusesIn(await raw(lines('CONNECT 127.0.0.1:22 HTTP/1.1', ...LAST)))).toEqual([]);
    const traced = await raw(lines('TRACE /metrics HTTP/1.1', ...LAST, 'X-Secret: planted'));
    expect(statusesIn(traced)).toEqual([404]);
    expect(traced).not.toContain('planted');
  });

  const PRIVATE = ['/metrics', '/health/detailed', '/orders/1', '/admin/reliability/session',
    '/admin/reliability/audit'];
  const TRICKS = [
    path => path, path => `/${path}`, path => `/.${path}`, path => `/health/..${path}`,
    path => `/dashboard/..${path}`, path => `${path}/`, path => `${path}//`, path => `${path}/.`,
    path => path.toUpperCase(),
    path => path.replace(/[a-z]/, letter => `%${letter.charCodeAt(0).toString(16)}`),
    path => path.replace(/(?<!^)\//g, '//'), path => path.replace(/(?<!^)\//g, '%2f'),
    path => path.replace(/(?<!^)\//g, '\\'), path => `${path};a=1`, path => `${path}%00`,
    path => `${path}%0d%0aX-A:b`, path => `${path}?token=${operateToken}`,
    path => `${path}?access_token=${operateToken}`, path => `${path}#`, path => `${path}%23`,
    path => `http://localhost${path}`, path => `http://evil.example${path}`,
    path => `http://a:b@localhost${path}`, path => `//localhost${path}`, path => `${path}.json`,
    path => `/%2e%2e${path}`, path => `/health/%2e%2e${path}`, path => `${path}%`,
    path => `${path}/%ff`, path => `*${path}`,
  ];

  test.each(PRIVATE)('%s: no way of writing it gets around the token', async path => {
    for (const trick of TRICKS) {
      for (const method of ['GET', 'HEAD']) {
        const status = await ask(`${method} ${trick(path)}`, ours());
        expect([trick(path), [400, 401, 404].includes(status) ? 'refused' : status])
          .toEqual([trick(path), 'refused']);
      }
    }
  });

  test.each([
    '/dashboard/../package.json', '/dashboard/%2e%2e/%2e%2e/package.json',
    '/dashboard/..%2f..%2fpackage.json', '/dashboard/vendor/../../../package.json',
    '/dashboard/..\\..\\package.json', '/dashboard/main.js%00.css', '/dashboard//etc/passwd',
    '/dashboard/__proto__', '/dashboard/constructor',
  ])('the dashboard has no other files: %s', async path => {
    expect(await ask(`GET ${path}`)).toBe(404);
  });

  test.each([
    ['a long path', `/${'a'.repeat(15_000)}`, 404],
    ['a deep path', '/a'.repeat(7000), 404],
    ['many parameters', `/health/live?${'a&'.repeat(7000)}`, 200],
    ['one parameter many times', `/webhooks/whatsapp?${'hub.mode=subscribe&'.repeat(700)}`, 403],
    ['parameters that look like objects', '/health/live?__proto__[a]=1&constructor=1', 200],
    ['a very long query', `/health/live?${'a'.repeat(20_000)}`, 431],
  ])('addresses: %s', async (_, path, status) => {
    expect(await ask(`GET ${path}`)).toBe(status);
  });

  test('no answer repeats what Host says', async () => {
    for (const host of ['evil.example', 'evil.example:80@localhost', 'a b', '<script>', '']) {
      for (const path of ['/dashboard', '/health', '/nothing', '/webhooks/whatsapp']) {
        const answer = await raw(
          lines(`GET ${path} HTTP/1.1`, `Host: ${host}`, 'Connection: close'));
        expect(answer).not.toMatch(/evil|script>|a b/);
        expect(statusesIn(answer)[0]).toBeLessThan(500);
      }
    }
  });

  test.each([
    ['deep', `${'['.repeat(60_000)}`], ['deep and closed', '['.repeat(30_000) + ']'.repeat(30_000)],
    ['of __proto__', '{"__proto__":{"order_id":"1"},"constructor":{"prototype":{}}}'],
    ['of a huge number', `{"gross_amount":${'9'.repeat(60_000)}}`],
    ['that is no text', Buffer.from([0xff, 0xfe, 0x00]).toString('latin1')],
  ])('a webhook\'s body %s is refused', async (_, body) => {
    for (const path of ['/webhooks/midtrans', '/webhooks/whatsapp']) {
      const { status } = await it.ask(path, { method: 'POST', body });
      expect([400, 403]).toContain(status);
    }
  });

  describe('pages of other sites', () => {
    const change = '/admin/reliability/degradation?level=SEVERE&reason=x';

    test.each([
      [{ origin: 'https://evil.example' }], [{ origin: 'null' }], [{ origin: 'file://' }],
      [{ 'sec-fetch-site': 'cross-site' }], [{ 'sec-fetch-site': 'same-site' }],
      [{ origin: 'http://127.0.0.1:1' }], [{ origin: 'http://localhost' }],
    ])('change nothing, even with the token: %j', async headers => {
      expect((await it.ask(change, { method: 'POST', token: operateToken, headers })).status)
        .toBe(403);
      expect(it.gateway.degradation.level.name).toBe('NORMAL');
    });

    test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x',
    ])('send forms in vain: %s', async type => {
      for (const path of ['/orders', '/notifications', change]) {
        const status = await ask(`POST ${path}`, ours(), `Content-Type: ${type}`,
          'Origin: https://evil.example', 'Cookie: token=x', 'Content-Length: 0');
        expect(status).toBe(401);
      }
    });

    test('may neither frame our pages nor run anything in them', async () => {
      const report = '/admin/reliability/report?format=html';
      for (const [path, token] of [['/dashboard/', undefined], [report, readToken]]) {
        const { headers, status } = await it.ask(path, { token });
        expect(status).toBe(200);
        const policy = headers.get('content-security-policy');
        expect(policy).toMatch(/default-src 'none'/);
        expect(policy).toMatch(/frame-ancestors 'none'/);
        expect(policy).not.toMatch(/script-src [^;]*(unsafe|\*|http)/);
        expect(headers.get('x-content-type-options')).toBe('nosniff');
        expect(headers.get('set-cookie')).toBeNull();
      }
    });
  });

  test.each([
    ['forged webhooks', i => it.ask('/webhooks/midtrans',
      { method: 'POST', body: FORGED.replace('"order"', `"order-${i}"`) })],
    ['guesses of the verify token',
      i => it.ask(`/webhooks/whatsapp?hub.mode=subscribe&hub.verify_token=${i}&hub.challenge=7`)],
    ['guesses of paths', i => it.ask(`/nothing-${i}`), 404],
    ['guesses of paths, with wrong tokens',
      i => it.ask(`/nothing-${i}`, { token: `a-guess-of-some-length-${i}` }), 404],
    ['guesses of files', i => it.ask(`/dashboard/nothing-${i}`), 404],
    ['paths that cannot be read', i => it.ask(`/circuit-breaker-status/%ff${i}`), 400],
  ])('who sends %s as fast as they are refused is slowed down', async (_, send, status = 403) => {
    const COUNT = 400;
    const CONNECTIONS = 10;
    let left = COUNT;
    const began = performance.now();
    const loop = async () => {
      while (left > 0) {
        left -= 1;
        expect((await send(left)).status).toBe(status);
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, loop));
    // In n seconds, 100 + 100 n are refused at once, and 10 n after a wait.
    expect(performance.now() - began).toBeGreaterThan(2000);
  });

  /**
   * Asks again and again beside strangers, until `isEnough(requests)`.
   * @returns {Promise<{ statuses: number[], waited: number }>} waited: how many had to wait
   */
  async function askBesideStrangers (path, token, isEnough) {
    const strangers = new AbortController();
    const { signal } = strangers;
    const loops = Array.from({ length: 150 }, async () => {
      while (!signal.aborted) await it.ask('/nothing').catch(() => {});
    });
    const found = { statuses: [], waited: 0 };
    it.server.server.on('request', note);
    function note (req, res) {
      if (req.headers.authorization === undefined) return;
      setImmediate(() => { if (refusals.has(res)) found.waited += 1; });
    }
    while (!isEnough(found)) found.statuses.push((await it.ask(path, { token })).status);
    it.server.server.off('request', note);
    strangers.abort();
    await Promise.all(loops);
    return found;
  }

  test('who has a token does not wait for a 404', async () => {
    for (const token of [shopToken, readToken, operateToken]) {
      const { statuses, waited } =
        await askBesideStrangers('/nothing', token, found => found.statuses.length === 150);
      expect([new Set(statuses), waited]).toEqual([new Set([404]), 0]);
    }
    // Whoever guesses waits, so this would be seen.
    await askBesideStrangers('/nothing', 'a-guess-of-some-length', found => found.waited > 0);
  });

  test('more strangers than may wait are cut off, and others are served', async () => {
    const COUNT = 1000;
    const text = lines('GET /nothing HTTP/1.1', ...LAST);
    // Those that wait do so until the clock moves, however long it takes the others to come.
    const clock = useVirtualClock();
    try {
      const answers = [];
      const all = Promise.all(Array.from({ length: COUNT }, async () => {
        answers.push(await raw(text));
      }));
      await until(() => answers.length >= COUNT - 500);
      expect(await it.ask('/nothing', { token: shopToken })).toMatchObject({ status: 404 });
      await until(async () => {
        await clock.advance(100);
        return answers.length === COUNT;
      });
      await all;
      const cut = answers.filter(answer => answer === '');
      const answered = answers.filter(answer => statusesIn(answer)[0] === 404);
      expect(answered.length + cut.length).toBe(COUNT);
      // A hundred are answered at once.
      expect(cut.length).toBeGreaterThanOrEqual(COUNT - 600);
      expect(answered.length).toBeGreaterThanOrEqual(400);
    } finally {
      clock.restore();
    }
    await isWell();
  });

  test('a client without a secret for webhooks is told of once, however many come', async () => {
    const errors = [];
    const { CloudApiClient, GreenApiClient } = require('../../lib/clients/whatsapp');
    const clients = [new CloudApiClient({ accessToken: 'planted', phoneNumberId: '1' }),
      new GreenApiClient({ instanceId: '1', token: 'planted' })];
    for (const whatsapp of clients) {
      const { get } = await serve(createWebhookRouter({ whatsapp, onError: e => errors.push(e) }));
      for (let i = 0; i < 20; i++) {
        const body = JSON.stringify({ forged: 'x'.repeat(100), i });
        const { status } = await get('/webhooks/whatsapp', { method: 'POST', body });
        expect(status).toBe(500);
      }
      await whatsapp.close();
    }
    expect(errors.map(({ code }) => code)).toEqual(['ERR_INVALID_OPTION', 'ERR_INVALID_OPTION']);
  });

  test('of a flood, the log gets some lines, and the number of the others', async () => {
    const requestsIn = () => it.log.lines.filter(({ message }) => message === 'Request');
    const before = requestsIn().length;
    const FLOOD = 300;
    for (let i = 0; i < FLOOD; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, j) => it.ask(`/flood-${i + j}`)));
    }
    expect(requestsIn().length - before).toBeLessThan(FLOOD);
    // What matters is logged, and tells how many were left out.
    await it.ask('/orders/none', { token: shopToken });
    const line = await until(() => requestsIn().find(({ path }) => path === '/orders/none'));
    expect(line).toMatchObject({ level: 'info', status: 404 });
    const skipped = requestsIn().reduce((sum, each) => sum + (each.skipped ?? 0), 0);
    const logged = requestsIn().filter(({ path }) => path.startsWith('/flood-')).length;
    expect(logged + skipped).toBeGreaterThanOrEqual(FLOOD);
  });
});
