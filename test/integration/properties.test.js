'use strict';

// Whatever comes in: there is an answer, each refusal has a code, nothing is a server error, and
// what is taken comes back as it was. The seed is the same each time; PROPERTY_RUNS and
// PROPERTY_SEED look further.

const { createHmac } = require('node:crypto');

const fc = require('fast-check');

const { circuitBreakers } = require('../..');
const { CloudApiClient } = require('../../lib/clients/whatsapp');
const { readConfig } = require('../../lib/gateway/config');
const { createWebhookRouter } = require('../../lib/http');
const { fill, fillHtml } = require('../../lib/store/template');
const { OPERATOR, breakerOf, endAll, start } = require('../support/admin-helpers');
const { serve } = require('../support/http-helpers');

const FACTOR = Number(process.env.PROPERTY_RUNS ?? 1);
const seed = Number(process.env.PROPERTY_SEED ?? 20_260_101);
const holds = (runs, ...rest) => {
  const isAsync = rest.at(-1).constructor.name === 'AsyncFunction';
  const property = isAsync ? fc.asyncProperty : fc.property;
  return fc.assert(property(...rest), { numRuns: runs * FACTOR, seed });
};
const GROWN_BYTES_MAX = 256 * 2 ** 20;

let before;
beforeAll(() => { before = process.memoryUsage().rss; });
afterEach(endAll);

/** What `work` returns, or the error's code, which there has to be. */
function answerOf (work) {
  try {
    return { value: work() };
  } catch (error) {
    if (typeof error.code !== 'string') throw error;
    return { code: error.code };
  }
}

const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), fc.string());

describe('templates', () => {
  const part = fc.oneof(text, fc.constantFrom(
    '{{', '}}', '{{{', '}}}', '{{#a}}', '{{^a}}', '{{/a}}', '{{a}}', '{{&a}}', '{{.}}', '{{a.b}}',
    '{{! a }}', '{{> a}}', '{{=<% %>=}}', ' ', '\n', '{{__proto__}}', '{{constructor}}'));
  const template = fc.array(part, { maxLength: 30 }).map(parts => parts.join(''));

  test('give a text or an error with a code', () => holds(3000, template, fc.jsonValue(),
    (written, data) => {
      for (const filled of [fill, fillHtml]) {
        const { value, code } = answerOf(() => filled(written, { a: data }));
        if (code === undefined) expect(typeof value).toBe('string');
        else expect(code).toMatch(/^ERR_OUTBOX_/);
      }
    }));

  test('a text without tags, and a value, come back as they were', () => holds(2000, text,
    written => {
      fc.pre(!written.includes('{{'));
      expect(fill(written, {})).toBe(written);
      expect(fill('{{a}}', { a: written })).toBe(written);
      expect(fillHtml('{{{a}}}', { a: written })).toBe(written);
      expect(fillHtml('{{a}}', { a: written })).not.toMatch(/[<>"']/);
    }));
});

describe('configurations', () => {
  const section = fc.constantFrom('smtp', 'server', 'store', 'midtrans', 'whatsapp', 'logging',
    'admin', 'health', 'retry', 'circuit_breaker', 'profile', '__proto__', 'constructor');
  const setting = fc.oneof(text, fc.constantFrom('host', 'port', 'from', 'url', 'tokens', 'level',
    'relays', 'trust_proxy', 'trustProxy', 'file', 'bodyLimit', 'shutdownTimeout', '__proto__'));
  const value = fc.oneof(fc.anything(), fc.constantFrom('1h', 'env:A', 'file:/', 'env:', 25, '25'));
  const config = fc.dictionary(section, fc.oneof(value, fc.dictionary(setting, value)));

  test('are taken or refused with a code', () => holds(2000, config, given => {
    const { value: taken, code } = answerOf(() => readConfig(given, { env: {} }));
    if (code !== undefined) return;
    expect(readConfig(taken, { env: {} })).toBe(taken);
    expect(typeof JSON.stringify(taken)).toBe('string');
  }));

  test('what is right comes back', () => holds(500, fc.integer({ min: 0, max: 65_535 }),
    fc.integer({ min: 1024, max: 1 << 24 }), fc.integer({ min: 0, max: 86_400 }),
    (port, bodyLimit, seconds) => {
      const server = { port, bodyLimit, shutdownTimeout: `${seconds}s` };
      expect(readConfig({ server }, { env: {} }).server)
        .toMatchObject({ port, bodyLimit, shutdownTimeout: seconds * 1000 });
    }));
});

describe('over HTTP', () => {
  const PATHS = ['/circuit-breakers', '/breaker-history', '/audit', '/session', '/level',
    '/events/x', '/circuit-breakers/x/reset', '/circuit-breakers/%', '/circuit-breakers/%00', '/'];
  const name = fc.oneof(text, fc.constantFrom('state', 'search', 'limit', 'before', 'ids', 'reason',
    'level', 'state[]', 'state[a]', '__proto__'));
  const asked = fc.oneof(text, fc.integer().map(String));
  const query = fc.array(fc.tuple(name, asked), { maxLength: 6 });
  const encoded = value => encodeURIComponent(value.toWellFormed());
  const writtenOf = pairs =>
    pairs.map(([key, value]) => `${encoded(key)}=${encoded(value)}`).join('&');
  const body = fc.oneof(fc.json(), text, fc.constant('['.repeat(20_000)),
    fc.constant(`${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`),
    fc.constant('{"__proto__":{"a":1}}'));

  const expectAnswer = (status, answer) => {
    expect(status).toBeLessThan(500);
    if (status >= 400) expect(answer?.code).toEqual(expect.any(String));
  };

  test('queries and bodies of the admin API', async () => {
    breakerOf();
    const onError = error => { throw error; };
    const { get, call } = await start({ breakers: circuitBreakers, onError });
    await holds(400, fc.constantFrom(...PATHS), query, body, async (path, pairs, sent) => {
      const place = `${path}?${writtenOf(pairs)}`;
      const shown = await get(place);
      expectAnswer(shown.status, shown.body);
      const changed = await call('POST', `/admin/reliability${place}`,
        { text: sent.toWellFormed(), token: OPERATOR });
      expectAnswer(changed.status, changed.body);
    });
  });

  test('bounds of the admin API: n is taken, n + 1 is not', async () => {
    const { get, post } = await start({ breakers: circuitBreakers });
    const statusOf = async path => (await get(path)).status;
    expect(await statusOf(`/circuit-breakers?search=${'x'.repeat(200)}`)).toBe(200);
    expect(await statusOf(`/circuit-breakers?search=${'x'.repeat(201)}`)).toBe(400);
    expect(await statusOf('/circuit-breakers?limit=500')).toBe(200);
    expect(await statusOf('/circuit-breakers?limit=501')).toBe(400);
    // A body of n bytes is read, and found to be wrong.
    const bodyOf = n => ({ x: 'x'.repeat(n - '{"x":""}'.length) });
    expect((await post('/circuit-breakers/x/reset', bodyOf(65_536))).status).toBe(400);
    expect((await post('/circuit-breakers/x/reset', bodyOf(65_537))).status).toBe(413);
  });

  test('webhooks of WhatsApp, signed and unsigned', async () => {
    const appSecret = 'planted-app-secret';
    const whatsapp = new CloudApiClient({
      phoneNumberId: '1', accessToken: 'planted-access-token', appSecret,
      verifyToken: 'planted-verify'
    });
    const failures = [];
    const { url, close } = await serve(createWebhookRouter({
      whatsapp, onError: error => failures.push(error)
    }));
    const message = fc.record({
      entry: fc.array(fc.oneof(fc.jsonValue(), fc.record({ changes: fc.array(fc.record({
        field: fc.constant('messages'),
        value: fc.oneof(fc.jsonValue(), fc.record({
          metadata: fc.jsonValue(), statuses: fc.jsonValue(), messages: fc.jsonValue()
        }, { requiredKeys: [] }))
      })) })))
    }).map(given => JSON.stringify(given));
    try {
      await holds(500, fc.oneof(message, body), fc.boolean(), async (sent, isSigned) => {
        const bytes = Buffer.from(sent);
        const signature = createHmac('sha256', isSigned ? appSecret : 'x')
          .update(bytes).digest('hex');
        const response = await fetch(`${url}/webhooks/whatsapp`, {
          method: 'POST', body: bytes,
          headers: {
            'content-type': 'application/json', 'x-hub-signature-256': `sha256=${signature}`
          }
        });
        const answer = await response.text();
        expectAnswer(response.status, answer.startsWith('{') ? JSON.parse(answer) : undefined);
        if (!isSigned) expect(response.status).toBeGreaterThanOrEqual(400);
      });
    } finally {
      await close();
    }
    expect(failures).toEqual([]);
  });
});

test('memory stays bounded', () => {
  globalThis.gc?.();
  expect(process.memoryUsage().rss - before).toBeLessThan(GROWN_BYTES_MAX * FACTOR);
});
