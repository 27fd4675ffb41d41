'use strict';

// Client objects whose methods are protected and which otherwise are what they were.

const { EventEmitter } = require('node:events');
const midtransClient = require('midtrans-client');
const nodemailer = require('nodemailer');

const { CircuitBreaker } = require('../../lib/primitives/breaker');
const { protect } = require('../../lib/primitives/protect');

const error = new Error('down');

class Client extends EventEmitter {
  static version = 3;
  #secret = 'private';
  name = 'client';

  get secret () { return this.#secret; }
  set secret (value) { this.#secret = value; }
  async load (id) { return `${this.#secret} ${id}`; }
  async fail () { throw error; }
  loadTwice (id) { return Promise.all([this.load(id), this.load(id)]); }
  chain () { return this; }
  legacy (x, callback) {
    if (callback === undefined) return Promise.resolve(x * 2);
    if (x < 0) callback(error);
    else callback(null, x * 2);
    return undefined;
  }
}

const guarded = (client, options) => protect(client, {
  methods: ['load', 'fail'], breaker: { timeout: false, volumeThreshold: 5 }, ...options
});

test('methods that are listed pass the policy, and the client stays as it was', async () => {
  const breaker = new CircuitBreaker(() => {}, { volumeThreshold: 5 });
  const client = new Client();
  const safe = guarded(client, { breaker });
  expect(await safe.load(1)).toBe('private 1');
  await expect(safe.fail()).rejects.toBe(error);
  expect(breaker.stats).toMatchObject({ successes: 1, failures: 1 });
  breaker.open();
  await expect(safe.load(1)).rejects.toMatchObject({ code: 'EOPENBREAKER' });
  expect(await client.load(1)).toBe('private 1');
  // What a method calls inside is its own affair.
  expect(await safe.loadTwice(2)).toEqual(['private 2', 'private 2']);
});

test('shape: prototype, properties, accessors, names, identity of methods', () => {
  const client = new Client();
  const safe = guarded(client);
  expect(safe).toBeInstanceOf(Client);
  expect(Object.getPrototypeOf(safe)).toBe(Client.prototype);
  expect(safe.constructor).toBe(Client);
  expect(Object.keys(safe)).toEqual(Object.keys(client));
  expect([safe.name, safe.secret, 'load' in safe]).toEqual(['client', 'private', true]);
  safe.secret = 'new';
  expect(client.secret).toBe('new');
  expect([safe.load.name, safe.load.length]).toEqual(['load', 1]);
  expect(safe.load).toBe(safe.load);
  expect(safe.loadTwice).toBe(safe.loadTwice);
});

test('a method that returns the client returns the protected one', () => {
  const safe = guarded(new Client());
  expect(safe.chain()).toBe(safe);
  expect(safe.on('x', () => {})).toBe(safe);
});

test('a method that is replaced later is protected too', async () => {
  const safe = guarded(new Client(), { fallback: { value: 'fallback' } });
  expect(await safe.fail()).toBe('fallback');
  safe.load = async () => { throw error; };
  expect(await safe.load()).toBe('fallback');
});

test('cache and key', async () => {
  const client = { load: jest.fn(async x => x.id) };
  const safe = protect(client, { methods: ['load'], cache: {}, key: x => x.id });
  expect([await safe.load({ id: 1, a: 1 }), await safe.load({ id: 1, a: 2 })]).toEqual([1, 1]);
  expect(client.load).toHaveBeenCalledTimes(1);
});

test('callbacks, where the methods take them', async () => {
  const safe = protect(new Client(), { methods: ['legacy'], callbacks: true, timeout: 1000 });
  expect(await safe.legacy(4)).toBe(8);
  const call = x => new Promise(resolve => {
    expect(safe.legacy(x, (...given) => resolve(given))).toBeUndefined();
  });
  expect(await call(4)).toEqual([null, 8]);
  expect(await call(-1)).toEqual([error]);
});

test('objects within: only their listed methods', async () => {
  const client = { deep: { status: async () => { throw error; }, other: async () => 5 } };
  const safe = protect(client, { methods: ['deep.status'], fallback: { value: 'known' } });
  expect(await safe.deep.status()).toBe('known');
  expect(await safe.deep.other()).toBe(5);
  expect(safe.deep).toBe(safe.deep);
});

test('classes, functions and frozen values that hang on a client', () => {
  class Part { constructor (x) { this.x = x; } }
  const tool = Object.assign(() => 1, { extra: 2 });
  const fixed = Object.freeze({ go: async () => 1, other: () => 2 });
  const safe = protect({ Part, tool, go: async () => 1, fixed }, { methods: ['go'] });
  expect(new safe.Part(3)).toBeInstanceOf(Part);
  expect([safe.tool(), safe.tool.extra, safe.fixed.other()]).toEqual([1, 2, 2]);
  expect(() => protect(fixed, { methods: ['go'] })).toThrow(/frozen/);
});

test('the official Midtrans client', async () => {
  const keys = { isProduction: false, serverKey: 'SB-Mid-server-x', clientKey: 'c' };
  const core = new midtransClient.CoreApi(keys);
  core.httpClient.request = async (method, key, url) => {
    if (url.endsWith('/charge')) throw error;
    return { url };
  };
  const safe = protect(core, {
    methods: ['charge', 'transaction.status'], breaker: { timeout: false, resetTimeout: 1000 }
  });
  expect(safe).toBeInstanceOf(midtransClient.CoreApi);
  expect(safe.apiConfig.get().serverKey).toBe('SB-Mid-server-x');
  expect((await safe.transaction.status('o1')).url).toMatch(/\/v2\/o1\/status$/);
  await expect(safe.charge({})).rejects.toBe(error);
  await expect(safe.charge({})).rejects.toBe(error); // One in two is not more than half.
  await expect(safe.transaction.status('o1')).rejects.toMatchObject({ code: 'EOPENBREAKER' });
});

test('a nodemailer transport', async () => {
  const transport = nodemailer.createTransport({ jsonTransport: true });
  const safe = protect(transport, { methods: ['sendMail'], callbacks: true, timeout: 5000 });
  const mail = { from: 'a@example.com', to: 'b@example.com', subject: 'Hello', text: 'x' };
  expect((await safe.sendMail(mail)).envelope.to).toEqual(['b@example.com']);
  const called = await new Promise(resolve => {
    safe.sendMail(mail, (...given) => resolve(given));
  });
  expect(called[1].envelope.to).toEqual(['b@example.com']);
  expect(safe.use('compile', (m, done) => done())).toBe(safe);
  safe.close();
});

test.each([
  [null, { methods: ['a'] }], [{}, undefined], [{}, { methods: [] }], [{}, { methods: 'a' }],
  [{ a () {} }, { methods: [5] }], [{ a: 1 }, { methods: ['a'] }], [{}, { methods: ['a.b'] }],
  [{ a () {} }, { methods: ['a'], retries: 5 }], [{ a () {} }, { methods: ['a'], key: 5 }]
])('refuses %j with %j', (client, options) => {
  expect(() => protect(client, options))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});
