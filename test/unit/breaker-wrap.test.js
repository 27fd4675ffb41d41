'use strict';

// wrap(): a function that behaves like the one it calls, through a breaker.

const { CircuitBreaker } = require('../..');
const DropIn = require('../../lib/primitives/opossum');
const { make, namesOf, record, settle } = require('../support/breaker-helpers');

const unused = () => { throw new Error('the action is not for wrap()'); };

test('the function gets its arguments and its this, and keeps its name and length', async () => {
  const breaker = make(unused);
  async function charge (order, amount, note = '') {
    return [this, order, amount, note, arguments.length];
  }
  const client = { charge: breaker.wrap(charge) };
  expect([client.charge.name, client.charge.length]).toEqual(['charge', 2]);
  expect(await client.charge('order-1', 10)).toEqual([client, 'order-1', 10, '', 2]);
  expect(await client.charge()).toEqual([client, undefined, undefined, '', 0]);
  expect(breaker.stats).toMatchObject({ fires: 2, successes: 2 });
});

test('always a promise: synchronous functions, and those that throw', async () => {
  const breaker = make(unused, { errorThresholdPercentage: 100 });
  expect(await breaker.wrap(() => 'now')()).toBe('now');
  expect((await settle(breaker.wrap(() => { throw new Error('no'); })())).error.message).toBe('no');
});

test('several functions share the state, the counts and the events', async () => {
  const breaker = make(unused, { errorThresholdPercentage: 1 });
  const seen = record(breaker);
  const fail = breaker.wrap(async () => { throw new Error('down'); });
  const other = jest.fn();
  await settle(fail());
  expect((await settle(breaker.wrap(other)())).error.code).toBe('EOPENBREAKER');
  expect(other).not.toHaveBeenCalled();
  expect(namesOf(seen)).toEqual(['fire', 'failure', 'open', 'fire', 'reject']);
});

test('the fallback gets the arguments and the error', async () => {
  const breaker = make(unused, { fallback: (...args) => args });
  const error = new Error('down');
  expect(await breaker.wrap(async () => { throw error; })(1, 2)).toEqual([1, 2, error]);
});

test('a timeout and a capacity apply', async () => {
  const breaker = make(unused, { timeout: 1, capacity: 1, errorThresholdPercentage: 100 });
  const wait = breaker.wrap(() => new Promise(() => {}));
  const [first, second] = await Promise.all([settle(wait()), settle(wait())]);
  expect([first.error.code, second.error.code]).toEqual(['ETIMEDOUT', 'ESEMLOCKED']);
});

// Their keys consist of the arguments only: one function would get the answers of another.
test('neither cache nor coalescing mixes functions up', async () => {
  const breaker = make(unused, { cache: true, coalesce: true });
  const [a, b] = [breaker.wrap(async () => 'a'), breaker.wrap(async () => 'b')];
  expect(await Promise.all([a(1), b(1), a(1)])).toEqual(['a', 'b', 'a']);
});

test('a disabled breaker calls it, one that was shut down does not', async () => {
  const breaker = make(unused);
  const echo = breaker.wrap(async x => x);
  breaker.disable();
  expect(await echo(1)).toBe(1);
  breaker.shutdown();
  expect((await settle(echo(1))).error.code).toBe('ESHUTDOWN');
});

test.each([undefined, 'fn', {}])('%p is rejected at once', fn => {
  expect(() => new CircuitBreaker(unused).wrap(fn))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option: 'fn' }));
});

test('the drop-in has no wrap, as opossum has none', () => {
  expect(new DropIn(unused).wrap).toBeUndefined();
});
