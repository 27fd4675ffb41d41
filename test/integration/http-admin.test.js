'use strict';

// The admin API over HTTP: who may do what, what it does to breakers and level, and what of it is
// written down.

const { circuitBreakers, getCircuitBreaker } = require('../..');
const { createDegradation } = require('../../lib/gateway/degradation');
const {
  createAdminRouter, createAudit, createBreakerHistory, createDashboardRouter,
} = require('../../lib/http');
const {
  BASE, OPERATOR, READER, TOKENS, breakerOf, endAll, later, start,
} = require('../support/admin-helpers');

// Within a test nothing of a limit comes back.
const RARE = { interval: 2 ** 31 - 1 };

afterEach(endAll);

test('breakers by name are listed and reset', async () => {
  const name = 'an-upstream-of-the-admin-test';
  const breaker = getCircuitBreaker(name);
  later(() => breaker.shutdown());
  breaker.open();
  const { get, post } = await start({ breakers: circuitBreakers });
  expect((await get('/circuit-breakers')).body.breakers.map(each => [each.name, each.state]))
    .toEqual([[name, 'open']]);
  expect((await post(`/circuit-breakers/${name}/reset`, {})).status).toBe(200);
  expect(breaker.closed).toBe(true);
});

describe('who may', () => {
  test('nobody, when there are no tokens', async () => {
    for (const tokens of [undefined, []]) {
      const { get } = await start({ tokens });
      for (const token of [null, OPERATOR, '', 'undefined']) {
        const { status, body } = await get('/session', { token });
        expect([status, body.detail])
          .toEqual([401, expect.stringMatching(/^No token is configured/)]);
      }
    }
  });

  test('whoever has a token, in the header and nowhere else', async () => {
    const { call, get } = await start();
    expect((await get('/session')).body).toMatchObject({ name: 'Ani', role: 'operate' });
    expect((await get('/session', { token: READER })).body)
      .toMatchObject({ name: 'Budi', role: 'read' });
    for (const token of [null, `${OPERATOR}x`, OPERATOR.slice(0, -1), TOKENS[1].sha256]) {
      const { status, headers, body } = await get('/session', { token });
      expect([status, body.detail]).toEqual([401, 'This needs a valid bearer token.']);
      expect(headers.get('www-authenticate')).toBe('Bearer realm="sekering"');
      expect(headers.get('content-type')).toBe('application/problem+json');
      expect(body).toMatchObject({ status: 401, code: 'ERR_ADMIN_UNAUTHORIZED' });
    }
    const elsewhere = { token: null, headers: { cookie: `token=${OPERATOR}` } };
    expect((await call('GET', `${BASE}/session?token=${OPERATOR}`, elsewhere)).status).toBe(401);
    expect((await get('/session', {
      token: null, headers: { authorization: `Basic ${btoa(`x:${OPERATOR}`)}` }
    })).status).toBe(401);
  });

  test('whoever may read may not change, and that they tried is written down', async () => {
    const breaker = breakerOf();
    breaker.open();
    const { get, post, log } = await start({ breakers: () => [breaker] });
    const path = `/circuit-breakers/${encodeURIComponent(breaker.name)}`;
    expect((await get(path, { token: READER })).status).toBe(200);
    const { status, body } = await post(`${path}/reset`, {}, { token: READER });
    expect([status, body.code]).toEqual([403, 'ERR_ADMIN_FORBIDDEN']);
    expect(breaker.opened).toBe(true);
    expect(log).toMatchObject([{ actor: 'Budi', action: 'refused', result: 'refused' }]);
  });

  test.each([
    [{ token: 'short', name: 'a', role: 'read' }, /tokens\[0\]\.token/],
    [{ token: 'with spaces in it, quite long', name: 'a', role: 'read' }, /tokens\[0\]\.token/],
    [{ sha256: 'not-a-hash', name: 'a', role: 'read' }, /tokens\[0\]\.sha256/],
    [{ token: OPERATOR, name: 'a', role: 'admin' }, /tokens\[0\]\.role/],
    [{ token: OPERATOR, name: 'a\nb', role: 'read' }, /tokens\[0\]\.name/],
    [{ name: 'a', role: 'read' }, /tokens\[0\]/],
  ])('a wrong token is refused at the door, and not shown: %j', (token, message) => {
    let error;
    try {
      createAdminRouter({ tokens: [token] });
    } catch (caught) {
      error = caught;
    }
    expect(error.code).toBe('ERR_INVALID_OPTION');
    expect(error.message).toMatch(message);
    if (token.role === 'read' && token.token) expect(error.message).not.toContain(token.token);
  });

  test('wrong tokens are limited, and a right one is never in their way', async () => {
    const { get } = await start({ rateLimit: { ...RARE, failures: 3 } });
    const guess = token => get('/session', { token });
    for (const token of ['guess-1-0123456789', null, 'guess-2-0123456789']) {
      expect((await guess(token)).status).toBe(401);
    }
    for (const token of ['guess-3-0123456789', null, OPERATOR.slice(1)]) {
      const { status, headers, body } = await guess(token);
      expect([status, body.code]).toEqual([429, 'ERR_ADMIN_RATE_LIMITED']);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    }
    for (const token of [OPERATOR, READER]) expect((await guess(token)).status).toBe(200);
  });

  /** A server that believes its clients where they come from, and what a token gets from it. */
  async function startOpen (rateLimit) {
    const { url } = await start({ rateLimit: { ...RARE, ...rateLimit } }, (req, res, next) => {
      req.app.set('trust proxy', true);
      next();
    });
    return async (address, token = 'a guess') => (await fetch(`${url}${BASE}/session`, {
      headers: { authorization: `Bearer ${token}`, 'x-forwarded-for': address },
    })).status;
  }

  test('addresses have limits of their own, and a network of IPv6 has one', async () => {
    const ask = await startOpen({ failures: 2 });
    const same = ['2001:db8:1:2::1', '2001:db8:1:2:ffff::9', '2001:0db8:0001:0002:0:0:0:7'];
    expect([await ask(same[0]), await ask(same[1]), await ask(same[2])]).toEqual([401, 401, 429]);
    expect(await ask('2001:db8:1:3::1')).toBe(401);
    const mapped = ['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.1'];
    expect([await ask(mapped[0]), await ask(mapped[1]), await ask(mapped[2])])
      .toEqual([401, 401, 429]);
    expect(await ask('192.0.2.2')).toBe(401);
    expect(await ask('192.0.2.1', READER)).toBe(200);
  });

  test('guesses are limited in all, however many addresses they claim to come from', async () => {
    const ask = await startOpen({ failures: 5, totalFailures: 50 });
    const counts = { 200: 0, 401: 0, 429: 0 };
    for (let i = 0; i < 300; i++) {
      counts[await ask(`198.51.${i % 100}.${i % 200}`)] += 1;
      if (i % 10 === 0) counts[await ask(`198.51.${i % 100}.${i % 200}`, OPERATOR)] += 1;
    }
    expect(counts).toEqual({ 200: 30, 401: 50, 429: 250 });
  });

  test('one address does not use up what there is for all', async () => {
    const ask = await startOpen({ failures: 2, totalFailures: 4 });
    for (let i = 0; i < 10; i++) await ask('192.0.2.1');
    expect([await ask('192.0.2.2'), await ask('192.0.2.3'), await ask('192.0.2.4')])
      .toEqual([401, 401, 429]);
  });

  test('requests are limited for each token', async () => {
    const { get } = await start({ rateLimit: { requests: 5, interval: 60_000 } });
    for (let i = 0; i < 5; i++) expect((await get('/session')).status).toBe(200);
    const { status, headers } = await get('/session');
    expect(status).toBe(429);
    expect(headers.get('retry-after')).toBe('12');
    expect((await get('/session', { token: READER })).status).toBe(200);
  });

  test.each([[{ failures: 0 }], [{ totalFailures: 1.5 }], [{ requests: '1' }], [{ interval: 0 }],
    [{ failure: 1 }]])('a wrong limit is refused: %j', rateLimit => {
    expect(() => createAdminRouter({ rateLimit }))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });
});

describe('what may be sent', () => {
  test('other sites change nothing', async () => {
    const breaker = breakerOf();
    const { url, call, post } = await start({ breakers: () => [breaker] });
    breaker.open();
    const path = `/circuit-breakers/${encodeURIComponent(breaker.name)}/reset`;
    for (const headers of [{ origin: 'https://evil.example' }, { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }]) {
      const { status, body } = await post(path, {}, { headers });
      expect([status, body.code]).toEqual([403, 'ERR_ADMIN_FOREIGN_ORIGIN']);
    }
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      const { status, body } = await post(path, undefined, { type, text: '{}' });
      expect([status, body.code]).toEqual([415, 'ERR_REQUEST_CONTENT_TYPE']);
      expect(body.detail).toContain(type);
    }
    expect(breaker.opened).toBe(true);
    // Without a body, the Content-Type does not matter, but the origin still does.
    const empty = headers => call('POST', BASE + path, { type: null, headers });
    expect((await empty({ origin: 'https://evil.example' })).body.code)
      .toBe('ERR_ADMIN_FOREIGN_ORIGIN');
    expect((await empty({ authorization: '' })).status).toBe(401);
    expect(breaker.opened).toBe(true);
    expect((await empty()).status).toBe(200);
    expect(breaker.opened).toBe(false);
    breaker.open();
    expect((await post(path, {}, { headers: { origin: url, 'sec-fetch-site': 'same-origin' } }))
      .status).toBe(200);
    expect(breaker.opened).toBe(false);
  });

  test('GET changes nothing', async () => {
    const breaker = breakerOf('instance 1');
    const { call } = await start({ breakers: () => [breaker] });
    breaker.open();
    for (const path of ['/reset-circuit-breaker/instance%201',
      `${BASE}/circuit-breakers/instance%201/reset`]) {
      for (const token of [null, OPERATOR]) {
        const { status, headers, body } = await call('GET', path, { token });
        expect([status, headers.get('allow'), body.code])
          .toEqual([405, 'POST', 'ERR_METHOD_NOT_ALLOWED']);
      }
    }
    const { status, headers } = await call('DELETE', `${BASE}/circuit-breakers`);
    expect([status, headers.get('allow')]).toEqual([405, 'GET, HEAD']);
    expect(breaker.opened).toBe(true);
  });

  test('bodies are small, and JSON', async () => {
    const { post } = await start({ degradation: createDegradation() });
    const send = text => post('/degradation', undefined, { text });
    expect((await send('{"level":')).status).toBe(400);
    expect((await send('"text"')).status).toBe(400);
    expect((await send(JSON.stringify({ level: null, reason: 'x'.repeat(70_000) }))).status)
      .toBe(413);
    expect((await send('{"level":null,"reason":"because","other":1}')).body)
      .toMatchObject({ status: 400, code: 'ERR_INVALID_INPUT' });
  });

  test('no text of several lines, nor one that a terminal would obey', async () => {
    const degradation = createDegradation();
    const { call, post, log } = await start({ degradation });
    for (const reason of ['a\nADMIN reset all', 'a\r\nSet-Cookie: x', '\u001b[2J', 'a\u2028b',
      '\u202egnirts', '', '   ', 'x'.repeat(501), 7, null]) {
      const { status, body } = await post('/degradation', { level: 'SEVERE', reason });
      expect([status, body.code]).toEqual([400, 'ERR_INVALID_INPUT']);
    }
    expect(degradation.level.name).toBe('NORMAL');
    expect((await call('POST', '/reset-circuit-breaker/a%0d%0ab')).status).toBe(400);
    expect((await call('POST', '/reset-circuit-breaker/%ff')).status).toBe(400);
    expect(log).toEqual([]);
  });

  test('an address that is not there is 404 to those who may, and 401 to others', async () => {
    const { get } = await start();
    expect((await get('/nothing')).body).toMatchObject({ status: 404 });
    expect((await get('/nothing', { token: null })).status).toBe(401);
    expect((await get('/dlq')).status).toBe(404);
  });
});

describe('breakers', () => {
  test('are listed, those that need a look first', async () => {
    const [a, b, c] = ['list a', 'list b', 'list c'].map(name => breakerOf(name));
    const { get } = await start({ breakers: () => [a, b, c] });
    await a.fire(false);
    await c.fire(true).catch(() => {});
    const { body, headers } = await get('/circuit-breakers');
    expect(headers.get('cache-control')).toBe('no-store');
    expect(body).toMatchObject({ total: 3, found: 3, counts: { open: 1, closed: 2 } });
    expect(body.breakers.map(({ name, state }) => [name, state]))
      .toEqual([['list c', 'open'], ['list a', 'closed'], ['list b', 'closed']]);
    expect(body.breakers[0]).toMatchObject({ errorRate: 100, fires: 1, failures: 1 });
    expect(body.breakers[0].openedAt).not.toBeNull();
    const { body: found } = await get('/circuit-breakers?state=closed&search=LIST%20B');
    expect(found.breakers.map(({ name }) => name)).toEqual(['list b']);
    expect((await get('/circuit-breakers?limit=1')).body.breakers).toHaveLength(1);
    expect((await get('/circuit-breakers?limit=0')).status).toBe(400);
    expect((await get('/circuit-breakers?state=ajar')).status).toBe(400);
  });

  test('that are called alike are told apart, and reset together', async () => {
    const same = [breakerOf('same'), breakerOf('same')];
    const { get, post } = await start({ breakers: () => same });
    for (const breaker of same) breaker.open();
    const { body } = await get('/circuit-breakers');
    expect(body.breakers.map(({ key }) => key).toSorted()).toEqual(['same', 'same #2']);
    expect((await get('/circuit-breakers/same')).body.breakers).toHaveLength(2);
    expect((await post('/circuit-breakers/same/reset')).body).toEqual({ name: 'same', reset: 2 });
    expect(same.some(breaker => breaker.opened)).toBe(false);
  });

  test('all of the thread unless told otherwise', async () => {
    const breaker = breakerOf();
    const { get } = await start({ breakers: undefined });
    expect((await get(`/circuit-breakers/${encodeURIComponent(breaker.name)}`)).status).toBe(200);
  });

  test('are reset, which is written down', async () => {
    const breaker = breakerOf('midtrans/snap');
    const { call, post, log } = await start({ breakers: () => [breaker] });
    breaker.open();
    expect((await post('/circuit-breakers/midtrans%2Fsnap/reset', { reason: 'they are back' }))
      .body).toEqual({ name: 'midtrans/snap', reset: 1 });
    expect(breaker.opened).toBe(false);
    breaker.open();
    expect((await call('POST', '/reset-circuit-breaker/midtrans%2Fsnap')).status).toBe(200);
    expect(breaker.opened).toBe(false);
    expect((await call('POST', '/reset-circuit-breaker/nobody')).body)
      .toMatchObject({ status: 404, code: 'ERR_NOT_FOUND' });
    const made = { actor: 'Ani', role: 'operate', address: '127.0.0.1', action: 'breaker.reset' };
    expect(log).toMatchObject([
      { ...made, target: 'midtrans/snap', reason: 'they are back', result: 'done' },
      { ...made, target: 'midtrans/snap', reason: null, result: 'done' },
      { ...made, target: 'nobody', result: 'not found' },
    ]);
  });

  test('of sessions are reset by the id of the instance', async () => {
    const asked = [];
    const sessions = {
      reset (id) {
        asked.push(id);
        return id === '4711';
      }
    };
    const { call, post } = await start({ sessions });
    expect((await call('POST', '/reset-circuit-breaker/4711')).body)
      .toEqual({ name: '4711', reset: 1 });
    expect((await call('POST', '/reset-circuit-breaker/4712')).status).toBe(404);
    expect(asked).toEqual(['4711', '4712']);
    // As the command line does it.
    expect((await post('/circuit-breakers/4711/reset')).body).toEqual({ name: '4711', reset: 1 });
  });

  test('have a past, at those moments at which they were there', async () => {
    const [one, two] = [breakerOf('one'), breakerOf('two')];
    const all = [one];
    const history = createBreakerHistory({ breakers: () => all, interval: 10 });
    later(() => history.close());
    const { get } = await start({ breakers: () => all, history });
    const past = async query => (await get(`/breaker-history${query ?? ''}`)).body;
    const seen = async (name, isThere) => {
      for (;;) {
        const { at, breakers } = history.read({});
        if (isThere(breakers[name]?.errorRate ?? [])) return { at, ...breakers[name] };
        await new Promise(resolve => setTimeout(resolve, 10));
      }
    };
    await one.fire(true).catch(() => {});
    await seen('one', rates => rates.includes(100));
    one.reset();
    await one.fire(false);
    const { errorRate, p50, p99 } = await seen('one', rates => rates.includes(0));
    expect(errorRate.indexOf(0)).toBeGreaterThan(errorRate.indexOf(100));
    expect(p50.at(-1)).toBeLessThanOrEqual(p99.at(-1));
    all.push(two);
    await two.fire(false);
    const { errorRate: rates } = await seen('two', found => found.includes(0));
    expect(rates[0]).toBeNull();
    const { at: moments, breakers } = await past('?search=two');
    expect(Object.entries(breakers).map(([name, lines]) => [name, Object.keys(lines)]))
      .toEqual([['two', ['errorRate', 'p50', 'p95', 'p99']]]);
    expect(breakers.two.p99).toHaveLength(moments.length);
    // No more is kept than 150 moments.
    const { at } = await seen('one', found => found.length === 150 && !found.includes(100));
    expect(at.toSorted((a, b) => a - b)).toEqual(at);
    expect((await get('/breaker-history?limit=0')).status).toBe(400);
    expect((await (await start()).get('/breaker-history')).status).toBe(404);
  });
});

describe('level', () => {
  test('is shown, set by hand with a reason, and given back', async () => {
    const degradation = createDegradation({ features: { reports: 'NORMAL' } });
    const { get, post, log } = await start({ degradation });
    expect((await get('/degradation')).body).toMatchObject({ level: { name: 'NORMAL' } });
    const { body } = await post('/degradation', { level: 'SEVERE', reason: 'maintenance' });
    expect(body).toMatchObject({
      level: { name: 'SEVERE' }, manual: true, reason: 'maintenance', by: 'Ani',
      features: { reports: false },
    });
    expect(degradation.level.name).toBe('SEVERE');
    await post('/degradation', { level: null, reason: 'done' });
    expect(degradation.level.name).toBe('NORMAL');
    const { status, body: refused } = await post('/degradation', { level: 'DIRE', reason: 'x' });
    expect([status, refused.detail]).toEqual([400,
      'level: must be one of NORMAL, DEGRADED, SEVERE, EMERGENCY, or null (automatic)']);
    expect(log.map(({ reason, detail, result }) => [reason, detail.level, result])).toEqual([
      ['maintenance', 'SEVERE', 'done'], ['done', null, 'done'],
      ['x', 'DIRE', 'failed: ERR_INVALID_INPUT'],
    ]);
  });

  test('may be set in the query, in upper or lower case', async () => {
    const degradation = createDegradation({ scheme: 'levels' });
    const { call, log } = await start({ degradation });
    const set = (query, options) =>
      call('POST', `${BASE}/degradation/set-level${query}`, { type: null, ...options });
    expect(await set('?level=moderate&reason=maintenance')).toMatchObject({
      status: 200, body: { level: { name: 'MODERATE', index: 2 }, reason: 'maintenance' } });
    // If both contain a parameter, the body decides.
    expect((await set('?level=minor&reason=drill', { type: 'application/json',
      body: { level: 'Severe' } })).body).toMatchObject({ level: { name: 'SEVERE' } });
    for (const query of ['', '?level=minor', '?reason=x', '?level=dire&reason=x',
      '?level=minor&level=severe&reason=x', '?level=minor&reason=x&why=y']) {
      expect((await set(query)).body).toMatchObject({ status: 400, code: 'ERR_INVALID_INPUT' });
    }
    expect(degradation.level.name).toBe('SEVERE');
    expect((await set('?level=automatic&reason=over')).body).toMatchObject({
      level: { name: 'NORMAL' }, manual: false });
    expect(log.filter(({ result }) => result === 'done').map(({ reason }) => reason))
      .toEqual(['maintenance', 'drill', 'over']);
    const { status, headers } = await call('GET', `${BASE}/degradation/set-level?level=minor`);
    expect([status, headers.get('allow')]).toEqual([405, 'POST']);
  });
});

describe('report and health', () => {
  test('the report is JSON or a page that may run nothing', async () => {
    const report = async ({ format }) => format === 'html' ? '<h1>Report</h1>' : { calls: 1n };
    const { get } = await start({ report, health: { check: async () => ({ status: 'healthy' }) } });
    expect((await get('/report')).body).toEqual({ calls: '1' });
    const html = { accept: 'text/html' };
    for (const [path, headers] of [['/report?format=html', {}], ['/report', html]]) {
      const page = await get(path, { headers });
      expect(page.text).toBe('<h1>Report</h1>');
      expect(page.headers.get('content-type')).toMatch('text/html');
      expect(page.headers.get('content-security-policy')).toMatch("default-src 'none'");
    }
    expect((await get('/health')).body).toEqual({ status: 'healthy' });
    expect((await get('/session')).body.parts).toMatchObject({ report: true, store: false });
  });

  test('what breaks inside stays inside', async () => {
    const errors = [];
    const report = async () => { throw new Error('password=hunter2'); };
    const { get } = await start({ report, onError: error => errors.push(error.message) });
    const { status, text, body } = await get('/report');
    expect([status, body.code]).toEqual([500, 'ERR_INTERNAL']);
    expect(text).not.toMatch('hunter2');
    expect(errors).toEqual(['password=hunter2']);
  });
});

test('the audit log keeps the latest in memory, in lines of their own', async () => {
  const audit = createAudit({ size: 2 });
  const actor = { name: 'Ani', role: 'operate', address: '::1' };
  for (const target of ['a', 'b', 'c\n\u001b[31mred']) {
    await audit.record({ actor, action: 'x', target, result: 'done' });
  }
  const { stored, entries } = await audit.list();
  expect(stored).toBe(false);
  expect(entries.map(({ id, target }) => [id, target]))
    .toEqual([['3', 'c\\u{a}\\u{1b}[31mred'], ['2', 'b']]);
  expect((await audit.list({ before: '3', limit: 1 })).entries.map(({ id }) => id)).toEqual(['2']);
});

test('the dashboard\'s files: strict policy, cached by their content, read only', async () => {
  const server = await start({}, createDashboardRouter());
  const page = await fetch(`${server.url}/dashboard/`);
  expect(page.status).toBe(200);
  const policy = page.headers.get('content-security-policy');
  expect(policy).toMatch("default-src 'none'; script-src 'self'; style-src 'self'; ");
  expect(policy).not.toMatch('unsafe');
  expect(page.headers.get('x-content-type-options')).toBe('nosniff');
  const html = await page.text();
  expect(html).not.toMatch(/<script>|<style|\son\w+=|\sstyle=|https?:/);
  const etag = page.headers.get('etag');
  const again = await fetch(`${server.url}/dashboard/`, { headers: { 'if-none-match': etag } });
  expect(again.status).toBe(304);
  const bare = await fetch(`${server.url}/dashboard`, { redirect: 'manual' });
  expect([bare.status, bare.headers.get('location')]).toEqual([308, 'dashboard/']);
  for (const path of ['nothing', 'package.json', '..%2fadmin-auth.js', 'vendor/', 'index.html']) {
    expect((await fetch(`${server.url}/dashboard/${path}`)).status).toBe(404);
  }
  const posted = await fetch(`${server.url}/dashboard/`, { method: 'POST' });
  expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
});
