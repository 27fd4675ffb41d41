'use strict';

// The one reader of options, and deadlines.

const { withDeadline } = require('../../lib/base/deadline');
const { NAMES, is, optionsOf } = require('../../lib/base/options');

const table = optionsOf({
  size: is.integer('of the pool', { min: 1, max: 10, default: 5 }),
  timeout: is.ms('for one attempt', { or: [false, Infinity], default: 1000 }),
  mode: is.oneOf('how', ['fast', 'safe'], { default: 'safe' }),
  name: is.text('shown', { pattern: /^[a-z]+$/, expected: 'lower-case letters' }),
  send: is.func('delivers', { required: true }),
  inner: is.table('further', optionsOf({ flag: is.boolean('a switch', { default: false }) })),
  store: is.having('where', ['query', 'close']),
  signal: is.signal('of the caller'),
});
const send = () => {};

test('gives every option, with its default', () => {
  expect(table.read({ send, inner: {} })).toEqual({
    size: 5, timeout: 1000, mode: 'safe', name: undefined, send, inner: { flag: false },
    store: undefined, signal: undefined,
  });
  const given = { send, timeout: false, size: 10 };
  expect(table.read(given)).toMatchObject(given);
});

test.each([
  [undefined, 'send', 'Expected a function for send but received undefined'],
  [{ send, size: 0 }, 'size', 'Expected an integer from 1 to 10 for size but received 0'],
  [{ send, size: '5' }, 'size', 'Expected an integer from 1 to 10 for size but received "5"'],
  [{ send, size: null }, 'size', 'received null'],
  [{ send, timeout: true }, 'timeout',
    'Expected a number of at least 0 (ms) or false or Infinity for timeout'],
  [{ send, mode: 'slow' }, 'mode', "Expected one of 'fast', 'safe' for mode"],
  [{ send, name: 'A' }, 'name', 'Expected lower-case letters for name'],
  [{ send, inner: { flag: 1 } }, 'inner.flag', 'Expected true or false for inner.flag'],
  [{ send, inner: { flags: 1 } }, 'inner.flags',
    'Unknown option flags in inner. Did you mean flag?'],
  [{ send, store: {} }, 'store', 'Expected an object with query, close for store'],
  [{ send, signal: {} }, 'signal', 'Expected an AbortSignal for signal'],
  [{ send, tiemout: 1 }, 'tiemout', 'Unknown option tiemout. Did you mean timeout?'],
  [{ send, zebra: 1 }, 'zebra', 'Unknown option zebra. Known options: size, timeout,'],
  [7, 'options', 'Expected an object for options'],
])('%o is rejected: %s', (given, option, message) => {
  const read = () => table.read(given);
  expect(read).toThrow(message);
  expect(read).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }));
});

test('errors say where the options stand', () => {
  expect(() => table.read({ send, size: 0 }, 'channels.EMAIL'))
    .toThrow('for channels.EMAIL.size but');
});

test('a table with other defaults', () => {
  const other = table.withDefaults({ size: 7, timeout: undefined });
  expect(other.read({ send })).toEqual({ ...table.read({ send }), size: 7 });
  expect(() => other.read({ send, size: 0 })).toThrow('for size but');
});

describe('withDeadline', () => {
  test('gives what the work gives, or its error', async () => {
    await expect(withDeadline(undefined, 60_000, () => 1)).resolves.toBe(1);
    await expect(withDeadline(undefined, 60_000, () => { throw new Error('no'); }))
      .rejects.toThrow('no');
  });

  test('ends when the time is over, and aborts the signal of the work', async () => {
    let own;
    const work = signal => { own = signal; return new Promise(() => {}); };
    const error = await withDeadline(undefined, 1, work).catch(reason => reason);
    expect(error).toMatchObject({ code: 'ETIMEDOUT', message: 'Timed out after 1ms' });
    expect(own.reason).toBe(error);
  });

  test('ends when the caller aborts', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const ended = withDeadline(controller.signal, Infinity, () => new Promise(() => {}));
    controller.abort(reason);
    await expect(ended).rejects.toBe(reason);
  });
});

describe('records and lists', () => {
  const nested = optionsOf({
    checks: is.record('by name', is.func('asks'), { names: NAMES }),
    limits: is.record('by the name of the user', is.integer('of each', { min: 0 })),
    paths: is.list('to protect', is.text('a path'), { min: 1, max: 2, of: 'paths' }),
    rest: is.list('of anything', is.any('a value')),
  });

  test('hold values of one kind, under names of the user', () => {
    const given = { checks: { a: send }, limits: { 'any name': 1 }, paths: ['/'], rest: [] };
    expect(nested.read(given)).toEqual(given);
  });

  test.each([
    [{ checks: [1] }, 'checks.0', 'Expected a function for checks.0 but received 1'],
    [{ checks: { 'a b': send } }, 'checks', 'Expected names of 1 to 64 letters, digits, dots,'],
    [{ checks: { a: undefined } }, 'checks.a', 'Expected a function for checks.a'],
    [{ limits: { x: -1 } }, 'limits.x', 'Expected an integer of at least 0 for limits.x'],
    [{ paths: [] }, 'paths', 'Expected an array of 1 to 2 paths for paths'],
    [{ paths: ['a', 'b', 'c'] }, 'paths', 'Expected an array of 1 to 2 paths for paths'],
    [{ paths: ['/', 1] }, 'paths[1]', 'Expected a string for paths[1] but received 1'],
    [{ rest: 'all' }, 'rest', 'Expected an array for rest'],
  ])('%o is rejected: %s', (given, option, message) => {
    const read = () => nested.read(given);
    expect(read).toThrow(message);
    expect(read).toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }));
  });

  test('a table without options rejects all', () => {
    expect(optionsOf({}).read()).toEqual({});
    expect(() => optionsOf({}).read({ path: '/' }))
      .toThrow('Unknown option path. Known options: none');
  });
});
