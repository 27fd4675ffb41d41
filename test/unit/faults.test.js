'use strict';

// The faults of the fakes: which one strikes, and how often.

const { is, optionsOf } = require('../../lib/base/options');
const { FREQUENCY_WITH_ONCE, Faults } = require('../../lib/testing/fake-server');

const FAULT = optionsOf({ ...FREQUENCY_WITH_ONCE, kind: is.text('name') });
const faultsOf = given => new Faults(given,
  fault => FAULT.read(typeof fault === 'string' ? { kind: fault } : fault, 'fault'));
const always = () => true;

/** Which of `count` requests are struck. */
const struck = (faults, count, key) => Array.from({ length: count },
  () => faults.strike(always, key) !== null);

test('without faults, nothing strikes', () => {
  for (const none of [null, undefined, []]) {
    const faults = faultsOf(none);
    expect(faults.first).toBeUndefined();
    expect(faults.strike(always)).toBeNull();
  }
});

test('every strikes each n-th time, times limits the strikes', () => {
  expect(struck(faultsOf({ kind: 'reset', every: 3 }), 6))
    .toEqual([false, false, true, false, false, true]);
  expect(struck(faultsOf({ kind: 'reset', times: 2 }), 4)).toEqual([true, true, false, false]);
  expect(struck(faultsOf({ kind: 'reset', every: 2, times: 1 }), 5))
    .toEqual([false, true, false, false, false]);
});

test('once strikes each key once', () => {
  const faults = faultsOf({ kind: 'reset', once: true });
  expect(struck(faults, 2, 'a')).toEqual([true, false]);
  expect(struck(faults, 2, 'b')).toEqual([true, false]);
});

test('of several faults the first that fits strikes, and only that one counts', () => {
  const faults = faultsOf(['hang', { kind: 'reset', every: 2 }]);
  expect(faults.first.kind).toBe('hang');
  expect(faults.strike(always).kind).toBe('hang');
  const others = fault => fault.kind !== 'hang';
  expect(faults.strike(others)).toBeNull();
  expect(faults.strike(() => false)).toBeNull();
  expect(faults.strike(others).kind).toBe('reset');
});

test.each([[{ every: 0 }], [{ every: 1.5 }], [{ times: 0 }], [{ times: '1' }], [{ ever: 2 }]])(
  '%j is rejected', wrong => {
    expect(() => faultsOf({ kind: 'reset', ...wrong }))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });
