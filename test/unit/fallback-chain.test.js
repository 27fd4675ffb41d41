'use strict';

// Strategies in turn: which answers, which declines, and what remains when none does.

const { CircuitBreaker } = require('../../lib/primitives/breaker');
const { fallbackChain } = require('../../lib/primitives/fallback-chain');
const { policy } = require('../../lib/primitives/policy');
const { staleCache } = require('../../lib/primitives/stale-cache');

const error = new Error('down');
const down = async () => { throw error; };

test('the first strategy that does not decline answers', async () => {
  const asked = [];
  const chain = fallbackChain([
    { use: () => { asked.push('when'); }, when: e => e.status === 404 },
    (...given) => { asked.push(given); return fallbackChain.declined; },
    { cache: {} },
    { use: async (order, e) => [order, e.message], name: 'mirror' },
    { value: 'never' }
  ]);
  expect(await chain.answer(error, { args: ['o1'] }))
    .toEqual({ value: ['o1', 'down'], by: 'mirror', stale: false, ageMs: 0 });
  expect(asked).toEqual([['o1', error]]);
  expect(await chain('o2', error)).toEqual(['o2', 'down']);
});

test('when all decline the error of the call remains', async () => {
  const chain = fallbackChain([{ value: 1, when: () => false }, () => fallbackChain.declined]);
  await expect(chain(error)).rejects.toBe(error);
});

test('a value may be undefined', async () => {
  expect(await fallbackChain([{ value: undefined }]).answer(error))
    .toEqual({ value: undefined, by: 'value', stale: false, ageMs: 0 });
});

describe('queue', () => {
  test('takes the arguments and answers { queued: true, error }', async () => {
    const queue = [];
    const job = { id: 7 };
    expect(await fallbackChain([{ queue: (...given) => { queue.push(given); } }])('o1', error))
      .toEqual({ queued: true, error });
    expect(await fallbackChain([{ queue: async () => job }])('o1', error))
      .toEqual({ queued: true, error, job });
    const outbox = { jobs: [], async enqueue (order) { this.jobs.push(order); } };
    await fallbackChain([{ queue: outbox }])('o2', error);
    const list = [];
    await fallbackChain([{ queue: list }])('o3', error);
    expect([queue, outbox.jobs, list]).toEqual([[['o1', error]], ['o2'], ['o3']]);
  });

  test('one that fails is reported, and the next strategy is asked', async () => {
    const failure = new Error('full');
    const reports = [];
    const onError = (...report) => reports.push(report);
    const queue = { queue: () => { throw failure; } };
    expect(await fallbackChain([queue, { value: 'later' }], { onError })(error)).toBe('later');
    await expect(fallbackChain([queue], { onError })(error)).rejects.toBe(error);
    expect(reports).toEqual([[failure, 'queue'], [failure, 'queue']]);
    const warn = jest.spyOn(process, 'emitWarning').mockReturnValue();
    await expect(fallbackChain([queue])(error)).rejects.toBe(error);
    expect(warn.mock.calls[0][0]).toBe("The fallback 'queue' failed: full");
    warn.mockRestore();
  });
});

describe('cache', () => {
  test('a key that cannot be made loses a copy and not the answer, and is reported', async () => {
    const failure = new Error('no key');
    const reports = [];
    const chain = fallbackChain([{ cache: {}, key: () => { throw failure; } }],
      { onError: (...report) => reports.push(report) });
    expect(await chain.execute(async () => 'page', { args: [1] })).toBe('page');
    expect(reports).toEqual([[failure, 'cache']]);
  });

  test('answers what execute remembered, however old', async () => {
    const copies = staleCache({ ttl: 0 });
    const chain = fallbackChain([{ cache: copies }]);
    expect(await chain.execute(async id => `page ${id}`, { args: [1] })).toBe('page 1');
    expect(await chain.execute(down, { args: [1] })).toBe('page 1');
    expect(await chain.answer(error, { args: [1] })).toMatchObject({ by: 'cache', stale: true });
    await expect(chain.execute(down, { args: [2] })).rejects.toBe(error);
  });

  test('has the key of the call, or one of its own', async () => {
    const chain = fallbackChain([{ cache: {}, key: user => user.id }]);
    await chain.remember('hello', { args: [{ id: 5, at: 1 }] });
    expect(await chain({ id: 5, at: 2 }, error)).toBe('hello');
    const keyed = fallbackChain([{ cache: {} }]);
    await keyed.remember('x', { key: 'k' });
    expect(await keyed.answer(error, { key: 'k' })).toMatchObject({ value: 'x', stale: false });
    await keyed.remember('nowhere');
    await expect(keyed(error)).rejects.toBe(error);
  });

  test('a policy fills it by its successes', async () => {
    let up = true;
    const load = async id => { if (up) return `page ${id}`; throw error; };
    const guarded = policy({ fallback: [{ cache: {} }, { value: 'sorry' }] }).wrap(load);
    expect(await guarded(1)).toBe('page 1');
    up = false;
    expect(await guarded(1)).toBe('page 1');
    expect(await guarded.answer(2))
      .toEqual({ value: 'sorry', source: 'fallback', stale: false, ageMs: 0, error });
  });
});

test('is the fallback of a breaker', async () => {
  const breaker = new CircuitBreaker(down, {
    fallback: fallbackChain([{ queue: () => {} }]), timeout: false
  });
  expect(await breaker.fire('o1')).toEqual({ queued: true, error });
  breaker.shutdown();
});

test.each([
  [[]], [undefined], [[5]], [[null]], [[{}]], [[{ value: 1, use: () => 1 }]], [[{ use: 5 }]],
  [[{ queue: {} }]], [[{ cache: 5 }]], [[{ cache: {}, key: 5 }]], [[{ value: 1, when: 1 }]]
])('refuses the strategies %j', strategies => {
  expect(() => fallbackChain(strategies))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});
