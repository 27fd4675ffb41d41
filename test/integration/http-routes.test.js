'use strict';

// Every address of a gateway: who may ask, by which methods, with bodies of which type and size.
// The addresses are read from the application itself, so a new one needs a row here.

const { SessionPool } = require('../../lib/clients/whatsapp');
const { SECRETS, startAll } = require('../support/gateway-helpers');

const ADMIN = '/admin/reliability';

// Who may ask. `anybody` needs nothing, `provider` a signature, the others a token.
const ROWS = [
  ['POST', '/orders', 'shop'],
  ['GET', '/orders/:id', 'shop'],
  ['POST', '/notifications', 'shop'],
  ['POST', '/webhooks/midtrans', 'provider'],
  ['GET', '/webhooks/whatsapp', 'provider'],
  ['HEAD', '/webhooks/whatsapp', 'provider'],
  ['POST', '/webhooks/whatsapp', 'provider'],
  ['GET', '/health', 'anybody'],
  ['GET', '/health/live', 'anybody'],
  ['GET', '/health/ready', 'anybody'],
  ['GET', '/api/health', 'anybody'],
  ['GET', '/health/detailed', 'monitor'],
  ['GET', '/health/circuit-breakers', 'monitor'],
  ['GET', '/health/degradation', 'monitor'],
  ['GET', '/health/dlq', 'monitor'],
  ['GET', '/circuit-breaker-status/:id', 'monitor'],
  ['GET', '/metrics', 'monitor'],
  ...['/breaker-history', '/circuit-breakers', '/circuit-breakers/:name', '/degradation', '/dlq',
    '/dlq/summary', '/dlq/:id', '/outbox/stats', '/outbox', '/outbox/:id', '/undelivered',
    '/payments', '/payments/:id', '/payments/:id/events', '/payment-events', '/session', '/audit',
    '/events', '/health', '/service', '/notes', '/silences', '/payments/:id/timeline',
    '/report', '/reports/reliability',
  ].map(path => ['GET', ADMIN + path, 'read']),
  ...['/circuit-breakers/:name/reset', '/degradation', '/degradation/set-level', '/dlq/retry',
    '/dlq/purge', '/dlq/:id/retry', '/circuit-breakers/:name/note',
    '/circuit-breakers/:name/silence',
    '/outbox/:id/cancel', '/outbox/:id/note',
    '/payments/:id/note', '/payments/:id/review',
  ].map(path => ['POST', ADMIN + path, 'operate']),
  ['POST', '/reset-circuit-breaker/:id', 'operate'],
  ['GET', '/openapi.json', 'anybody'],
  ['USE', '/dashboard', 'anybody'],
  ['GET', '/', 'anybody'], // Leads to the dashboard.
].map(([method, path, who]) => ({ method, path, who, name: `${method} ${path}` }));

// Functions that are no addresses: what comes before the routes, and after them.
const MIDDLEWARE = new Set([
  '/ logAccess', '/ webhooks', '/ noSuchAddress', '/ handleError',
  `${ADMIN} enter`, `${ADMIN} handleProblem`, `${ADMIN} needRole`, `${ADMIN} noSuchPage`,
  '/reset-circuit-breaker enter', '/reset-circuit-breaker handleProblem',
]);

const ROLES = ['monitor', 'read', 'operate'];
const PHASES = ['right', 'methods', 'bodies', 'guesses'];
const tokenOf = (role, phase) => `planted-${role}-token-of-${phase}`;
// Each phase has tokens of its own, so that their limits are not used up.
const TOKENS = ROLES.flatMap(role => PHASES.map(phase =>
  ({ name: `${role} ${phase}`, role, token: tokenOf(role, phase) })));

const BODY_MAX = 65_536;
const GUESSES_MAX = 1000;
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** All addresses of an application of Express 5, and functions that are neither. */
function addressesOf (stack, prefix = '') {
  return stack.flatMap(({ route, handle, name, rawPath }) => {
    if (route) {
      return Object.keys(route.methods).filter(method => method !== '_all')
        .map(method => `${method.toUpperCase()} ${prefix}${route.path}`);
    }
    const place = prefix + (rawPath === '/' ? '' : rawPath);
    if (handle.routes) return handle.routes;
    if (handle.stack) return addressesOf(handle.stack, place);
    return MIDDLEWARE.has(`${place || '/'} ${name}`) ? [] : [`USE ${place}`];
  });
}

const real = path => path.replace(/:id|:name/g, '1');

let it;
let sessions;
beforeAll(async () => {
  sessions = new SessionPool({ connect: () => { throw new Error('no socket'); } });
  it = await startAll({}, {
    server: { port: 0, trustProxy: 1, tokens: [{ name: 'shop', token: SECRETS.shopToken }] },
    admin: { tokens: TOKENS },
  }, { sessions });
});
afterAll(async () => {
  await it?.close();
  sessions.close();
});

/** Asks from an address of its own, and does not wait for the end of a stream. */
async function ask ({ method, path }, { from, token, type, body } = {}) {
  const response = await fetch(it.server.url + real(path), {
    method: method === 'USE' ? 'GET' : method,
    redirect: 'manual',
    headers: {
      ...from && { 'x-forwarded-for': from },
      ...token && { authorization: `Bearer ${token}` },
      ...type && { 'content-type': type },
    },
    body,
  });
  await response.body?.cancel();
  return response.status;
}

const isRefusal = status => status === 401 || status === 403 || status === 429;
const rowsOf = (...who) => ROWS.filter(row => who.includes(row.who))
  .map((row, i) => [row.name, row, i]);
const PRIVATE = rowsOf('shop', 'monitor', 'read', 'operate');
const rightToken = ({ who }, phase) => (who === 'shop' ? SECRETS.shopToken : tokenOf(who, phase));

test('each address has a row here, and each row is an address', () => {
  expect(addressesOf(it.server.app.router.stack).toSorted())
    .toEqual(ROWS.map(({ name }) => name).toSorted());
});

test('the API document has each address, with who may ask', async () => {
  const { openapi, paths } = await (await fetch(`${it.server.url}/openapi.json`)).json();
  expect(openapi).toMatch(/^3\.1\./);
  const documented = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { security }]) => {
      const [[scheme, [role] = []] = []] = Object.entries(security?.[0] ?? {});
      return `${method.toUpperCase()} ${path} ${scheme === 'shopToken' ? 'shop' : role}`;
    }));
  // Pages are not of the API; a HEAD is as its GET.
  const rows = ROWS.filter(({ method, path }) =>
    method !== 'USE' && method !== 'HEAD' && path !== '/');
  const byRole = who => (who === 'anybody' || who === 'provider' ? undefined : who);
  expect(documented.toSorted()).toEqual(rows.map(({ method, path, who }) =>
    `${method} ${path.replace(/:(\w+)/g, '{$1}')} ${byRole(who)}`).toSorted());
});

describe('who may ask', () => {
  test.each(rowsOf('anybody'))('%s: everybody', async (_, row) => {
    expect([200, 302, 308, 503]).toContain(await ask(row));
  });

  test.each(rowsOf('provider'))('%s: nobody without a signature', async (_, row) => {
    const body = row.method === 'POST' ? JSON.stringify({ order_id: 'x'.repeat(50) }) : undefined;
    const status = await ask(row, { body, type: 'application/json' });
    expect([400, 401, 403]).toContain(status);
  });

  test.each(PRIVATE)('%s: its role, and those above', async (_, row, i) => {
    const from = `10.0.0.${i}`;
    expect(await ask(row, { from })).toBe(401);
    expect(await ask(row, { from, token: 'a-guess-of-some-length' })).toBe(401);
    // Tokens are of one door only.
    const other = row.who === 'shop' ? tokenOf('operate', 'right') : SECRETS.shopToken;
    expect(await ask(row, { from, token: other })).toBe(401);
    for (const role of ROLES.slice(0, Math.max(ROLES.indexOf(row.who), 0))) {
      expect(await ask(row, { from, token: tokenOf(role, 'right') })).toBe(403);
    }
    const status = await ask(row, { from, token: rightToken(row, 'right') });
    expect(isRefusal(status) || status >= 500).toBe(false);
    expect(await ask({ ...row, path: `${row.path}?token=${rightToken(row, 'right')}` }, { from }))
      .toBe(401);
  });
});

describe('other methods', () => {
  const PATHS = [...new Set(ROWS.map(({ path }) => path))].map(path => [path, ROWS.filter(row =>
    row.path === path)]);

  test.each(PATHS)('%s', async (path, rows) => {
    const known = new Set(rows.map(({ method }) => (method === 'USE' ? 'GET' : method)));
    const token = rightToken({ who: rows[0].who === 'shop' ? 'shop' : 'operate' }, 'methods');
    for (const method of METHODS.filter(each => !known.has(each))) {
      expect([method, [404, 405].includes(await ask({ method, path }, { token }))])
        .toEqual([method, true]);
    }
  });

  test.each(PATHS)('%s gives no other site leave', async (path, [{ who }]) => {
    const token = who === 'shop' ? SECRETS.shopToken : tokenOf('operate', 'methods');
    const { headers, status } = await fetch(it.server.url + real(path), {
      method: 'OPTIONS', redirect: 'manual', headers: {
        origin: 'https://evil.example', authorization: `Bearer ${token}`,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization',
      },
    });
    expect([...headers.keys()].filter(name => name.startsWith('access-control'))).toEqual([]);
    expect(status).toBeLessThan(500);
  });
});

describe('bodies', () => {
  const CHANGES = ROWS.filter(({ method }) => method === 'POST')
    .map(row => [row.name, row, row.path.endsWith('/whatsapp') ? 1_048_576 : BODY_MAX]);

  test.each(CHANGES)('%s: one that is not JSON is refused', async (_, row) => {
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'image/png']) {
      const status = await ask(row, { type, body: 'a=1', token: rightToken(row, 'bodies') });
      expect([type, status >= 400 && status < 500]).toEqual([type, true]);
    }
  });

  test.each(CHANGES)('%s: a large one is refused', async (_, row, limit) => {
    const token = rightToken(row, 'bodies');
    const type = 'application/json';
    const body = JSON.stringify({ reason: 'x'.repeat(limit) });
    expect(await ask(row, { type, body, token })).toBe(413);
  });
});

describe('guesses', () => {
  test.each(PRIVATE)('%s: are limited, and a right token is not', async (_, row, i) => {
    const from = `10.0.1.${i}`;
    const statuses = new Set();
    for (let n = 0; n < GUESSES_MAX && !statuses.has(429); n++) {
      statuses.add(await ask(row, { from, token: `a-guess-of-some-length-${n}` }));
    }
    expect([...statuses].filter(status => status !== 401)).toEqual([429]);
    const status = await ask(row, { from, token: rightToken(row, 'guesses') });
    expect(isRefusal(status)).toBe(false);
  });
});
