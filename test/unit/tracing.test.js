'use strict';

const { AsyncLocalStorage } = require('node:async_hooks');
const api = require('@opentelemetry/api');

const { CircuitBreaker } = require('../..');
const { createTracing } = require('../../lib/http');

const SECRET = 'hunter2hunter2';

/** A provider as an SDK has it, which keeps what it is told. */
class Provider {
  spans = [];

  getTracer (name) {
    return {
      startActiveSpan: (spanName, options, fn) => {
        const parent = api.trace.getSpan(api.context.active());
        const span = {
          tracer: name, name: spanName, attributes: { ...options.attributes }, parent: parent?.name,
          status: undefined, ended: false,
          setAttribute (key, value) { this.attributes[key] = value; },
          setStatus (status) { this.status = status; },
          end () { this.ended = true; },
        };
        this.spans.push(span);
        return api.context.with(api.trace.setSpan(api.context.active(), span), () => fn(span));
      },
    };
  }
}

const storage = new AsyncLocalStorage();

beforeAll(() => api.context.setGlobalContextManager({
  active: () => storage.getStore() ?? api.ROOT_CONTEXT,
  with: (context, fn, self, ...args) => storage.run(context, () => fn.apply(self, args)),
  bind: (context, target) => target,
  enable () { return this; },
  disable () { return this; },
}));
afterAll(() => api.context.disable());

let provider;
let tracing;

beforeEach(() => {
  provider = new Provider();
  tracing = createTracing({ tracerProvider: provider });
});

const leaky = () =>
  Object.assign(new Error(`postgres://app:${SECRET}@db`), { code: 'ECONNREFUSED' });

test('a call through a breaker', async () => {
  const breaker = new CircuitBreaker(async (order, error) => {
    if (error) throw error;
    return `token of ${order}`;
  }, { name: 'midtrans', errorThresholdPercentage: 40 });
  const fire = tracing.breaker(breaker);
  expect(await fire('order-1')).toBe('token of order-1');
  await expect(fire('order-2', leaky())).rejects.toThrow(SECRET);
  await expect(fire('order-3')).rejects.toThrow('Breaker is open');
  const of = state => ({ 'sekering.breaker.name': 'midtrans', 'sekering.breaker.state': state });
  expect(provider.spans).toMatchObject([
    { tracer: 'sekering', name: 'breaker midtrans', attributes: of('closed'), status: undefined,
      ended: true },
    { attributes: { ...of('closed'), 'error.type': 'ECONNREFUSED' },
      status: { code: api.SpanStatusCode.ERROR, message: 'ECONNREFUSED' }, ended: true },
    { attributes: { ...of('open'), 'error.type': 'EOPENBREAKER' }, ended: true },
  ]);
  expect(JSON.stringify(provider.spans)).not.toContain(SECRET);
  expect(JSON.stringify(provider.spans)).not.toContain('order-');
  breaker.shutdown();
});

test('a retry, and in it each attempt', async () => {
  const result = await tracing.retry('load', async (bail, attempt) => {
    if (attempt < 3) throw new TypeError('not yet');
    return attempt;
  }, { minTimeout: 1 });
  expect(result).toBe(3);
  expect(provider.spans.map(({ name, parent, attributes }) => [name, parent, attributes])).toEqual([
    ['retry load', undefined, { 'sekering.retry.attempts': 3 }],
    ['attempt load', 'retry load', { 'sekering.retry.attempt': 1, 'error.type': 'TypeError' }],
    ['attempt load', 'retry load', { 'sekering.retry.attempt': 2, 'error.type': 'TypeError' }],
    ['attempt load', 'retry load', { 'sekering.retry.attempt': 3 }],
  ]);
  expect(provider.spans.every(({ ended }) => ended)).toBe(true);
});

test('a message that is sent', async () => {
  const send = tracing.sender(async ({ body }, { attempt }) => {
    if (attempt === 1) {
      throw Object.assign(new Error(body), { code: `bad ${SECRET}`, name: `${SECRET} ` });
    }
    return 'id-1';
  });
  const message = { id: '7', channel: 'EMAIL', recipient: 'ana@example.com', body: SECRET };
  await expect(send(message, { attempt: 1 })).rejects.toThrow(SECRET);
  expect(await send(message, { attempt: 2 })).toBe('id-1');
  expect(provider.spans.map(({ name, attributes }) => [name, attributes])).toMatchObject([
    ['send EMAIL', { 'messaging.message.id': '7', 'sekering.retry.attempt': 1,
      'error.type': 'error' }],
    ['send EMAIL', { 'messaging.destination.name': 'EMAIL', 'sekering.retry.attempt': 2 }],
  ]);
  expect(JSON.stringify(provider.spans)).not.toMatch(/hunter2|example\.com/);
});

test('without an SDK it costs a call and changes nothing', async () => {
  expect(await createTracing().span('a', {}, () => 1)).toBe(1);
});

test.each([
  [() => tracing.breaker({}), /Expected a function for breaker\.fire/],
  [() => tracing.span('', {}, () => {}), /Expected a text for name/],
  [() => tracing.sender(), /Expected a function for send/],
])('%s is refused', (wrong, message) => {
  expect(wrong).toThrow(message);
});
