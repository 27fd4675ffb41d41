'use strict';

// Every address of a gateway: who may ask, by which methods, with bodies of which type and size.
// The addresses are read from the application itself, so a new one needs a row here.

const { SessionPool } = require('../../lib/clients/whatsapp');
const refusals = require('../../lib/http/refusals');
const { useVirtualClock } = require('../../lib/testing');
const { SECRETS, order, startAll, until } = require('../support/gateway-helpers');

const ADMIN = '/admin/reliability';

// The limits for strangers. `failures`: after some requests without a valid token, 429. `refusals`:
// what was refused more than a hundred times a second waits. Others have none, because:
const PROBES = 'none: probes and load balancers must not wait';
const FILES = 'none: it is the same for all, and in memory';
const hasNone = limit => limit.startsWith('none: ');

// Who may ask, and what limits strangers. `anybody` needs nothing, `provider` a signature, the
// others a token.
const ROWS = [
  ['POST', '/orders', 'shop', 'failures'],
  ['GET', '/orders/:id', 'shop', 'failures'],
  ['POST', '/notifications', 'shop', 'failures'],
  ['POST', '/webhooks/midtrans', 'provider', 'refusals'],
  ['GET', '/webhooks/whatsapp', 'provider', 'refusals'],
  ['HEAD', '/webhooks/whatsapp', 'provider', 'refusals'],
  ['POST', '/webhooks/whatsapp', 'provider', 'refusals'],
  ['GET', '/health', 'anybody', PROBES],
  ['GET', '/health/live', 'anybody', PROBES],
  ['GET', '/health/ready', 'anybody', PROBES],
  ['GET', '/api/health', 'anybody', PROBES],
  ['GET', '/health/detailed', 'monitor', 'failures'],
  ['GET', '/health/circuit-breakers', 'monitor', 'failures'],
  ['GET', '/health/degradation', 'monitor', 'failures'],
  ['GET', '/health/dlq', 'monitor', 'failures'],
  ['GET', '/circuit-breaker-status/:id', 'monitor', 'failures'],
  ['GET', '/metrics', 'monitor', 'failures'],
  ...['/breaker-history', '/circuit-breakers', '/circuit-breakers/:name', '/degradation', '/dlq',
    '/dlq/summary', '/dlq/:id', '/outbox/stats', '/outbox', '/outbox/:id', '/undelivered',
    '/payments', '/payments/:id', '/payments/:id/events', '/payment-events', '/session', '/audit',
    '/events', '/health', '/service', '/notes', '/silences', '/payments/:id/timeline',
    '/report', '/reports/reliability',
  ].map(path => ['GET', ADMIN + path, 'read', 'failures']),
  ...['/circuit-breakers/:name/reset', '/degradation', '/degradation/set-level', '/dlq/retry',
    '/dlq/purge', '/dlq/:id/retry', '/circuit-breakers/:name/note',
    '/circuit-breakers/:name/silence',
    '/outbox/:id/cancel', '/outbox/:id/note',
    '/payments/:id/note', '/payments/:id/review',
  ].map(path => ['POST', ADMIN + path, 'operate', 'failures']),
  ['POST', '/reset-circuit-breaker/:id', 'operate', 'failures'],
  ['GET', '/openapi.json', 'anybody', FILES],
  ['USE', '/dashboard', 'anybody', FILES],
  ['GET', '/', 'anybody', FILES], // Leads to the dashboard.
].map(([method, path, who, limit]) => ({ method, path, who, limit, name: `${method} ${path}` }));

// What a POST takes, besides `{ reason }`.
const BODIES = {
  '/orders': order('content-type'),
  '/notifications': { channel: 'EMAIL', recipient: 'a@b.example', subject: 'a', body: 'a' },
  [`${ADMIN}/degradation`]: { level: null, reason: 'a' },
  [`${ADMIN}/degradation/set-level`]: { level: null, reason: 'a' },
  [`${ADMIN}/dlq/retry`]: { ids: ['1'] },
  [`${ADMIN}/dlq/purge`]: { ids: ['1'], reason: 'a' },
  [`${ADMIN}/circuit-breakers/:name/silence`]: { minutes: 0, reason: 'a' },
  [`${ADMIN}/payments/:id/review`]: { decision: 'dismiss', reason: 'a' },
};
const bodyOf = path => JSON.stringify(
  BODIES[path] ?? (path.endsWith('/note') ? { note: 'a' } : { reason: 'a' }));

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

const send = ({ method, path }, { from, token, type, body } = {}) =>
  fetch(it.server.url + real(path), {
    method: method === 'USE' ? 'GET' : method,
    redirect: 'manual',
    headers: {
      ...from && { 'x-forwarded-for': from },
      ...token && { authorization: `Bearer ${token}` },
      ...type && { 'content-type': type },
    },
    body,
  });

/** Asks from an address of its own, and does not wait for the end of a stream. */
async function ask (...request) {
  const response = await send(...request);
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

  const TYPES = ['text/plain', 'application/x-www-form-urlencoded', 'image/png'];
  const isWebhook = ([, { who }]) => who === 'provider';

  test.each(CHANGES.filter(row => !isWebhook(row)))(
    '%s: one that is not said to be JSON is refused, and is fine otherwise', async (_, row) => {
      const [body, token] = [bodyOf(row.path), rightToken(row, 'bodies')];
      for (const type of TYPES) {
        expect([type, await ask(row, { type, body, token })]).toEqual([type, 415]);
      }
      const response = await send(row, { type: 'application/json', body, token });
      const { code = 'done' } = await response.json();
      // There is nothing with this name or number, or nothing to do about it.
      expect(['done', 'ERR_NOT_FOUND', 'ERR_OUTBOX_MESSAGE', 'ERR_PAYMENT_ORDER']).toContain(code);
    });

  test.each(CHANGES.filter(isWebhook))(
    '%s: its type does not matter, since its bytes are signed', async (_, row) => {
      const body = JSON.stringify({ order_id: 'x'.repeat(50) });
      const expected = await ask(row, { type: 'application/json', body });
      expect([400, 403]).toContain(expected);
      for (const type of TYPES) {
        expect([type, await ask(row, { type, body })]).toEqual([type, expected]);
      }
    });

  test.each(CHANGES)('%s: a large one is refused', async (_, row, limit) => {
    const token = rightToken(row, 'bodies');
    const type = 'application/json';
    const body = JSON.stringify({ reason: 'x'.repeat(limit) });
    expect(await ask(row, { type, body, token })).toBe(413);
  });
});

describe('the limit for strangers', () => {
  const limitedBy = test => ROWS.filter(({ limit }) => test(limit))
    .map((row, i) => [row.name, row, i]);
  const CONNECTIONS = 20;
  const REQUESTS = 200;

  test('is told for each address', () => {
    const known = limit => ['failures', 'refusals'].includes(limit) || hasNone(limit);
    expect(ROWS.filter(({ limit }) => !known(limit))).toEqual([]);
  });

  /**
   * Whether any of so many requests waits. No more are sent then. The clock stands still meanwhile,
   * so that what may be sent at once is used up, however slow the machine is.
   */
  async function doesWait (row) {
    const clock = useVirtualClock();
    const answers = new Set();
    const note = (req, res) => {
      answers.add(res);
      res.on('close', () => answers.delete(res));
    };
    it.server.server.on('request', note);
    let left = REQUESTS;
    let isOver = false;
    const loop = async () => {
      while (left > 0) {
        left -= 1;
        await ask(row, row.method === 'POST' ? { body: '{}' } : {});
      }
    };
    const all = Promise.all(Array.from({ length: CONNECTIONS }, loop))
      .finally(() => { isOver = true; });
    let isFound = false;
    await until(() => {
      isFound = [...answers].some(res => refusals.has(res));
      return isFound || isOver;
    });
    left = 0;
    await until(async () => {
      await clock.advance(100);
      return isOver;
    });
    await all;
    clock.restore();
    it.server.server.off('request', note);
    return isFound;
  }

  test.each(limitedBy(limit => limit === 'refusals'))('%s: refusals wait', async (_, row) => {
    expect(await doesWait(row)).toBe(true);
  });

  test.each(limitedBy(hasNone))('%s: none', async (_, row) => {
    expect(await doesWait(row)).toBe(false);
  });

  const byFailures = limitedBy(limit => limit === 'failures');
  test.each(byFailures)('%s: guesses get 429, and a right token does not', async (_, row, i) => {
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
