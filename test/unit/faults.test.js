'use strict';

// The switches of the fakes: how often a fault strikes, and whom.

const { Faults } = require('../../lib/testing/faults');

const kind = name => ({ kind: name });
const faultsOf = given => new Faults(given, fault => kind(fault.kind ?? fault));
const always = () => true;

/** Whether each of so many requests is struck. */
const struck = (faults, count, key) => Array.from({ length: count },
  () => faults.strike(always, key) !== null);

test('no fault strikes nobody', () => {
  for (const none of [null, undefined, []]) {
    const faults = faultsOf(none);
    expect(faults.first).toBeUndefined();
    expect(faults.strike(always)).toBeNull();
  }
});

test('each n-th, so many times', () => {
  expect(struck(faultsOf({ kind: 'reset', every: 3 }), 6))
    .toEqual([false, false, true, false, false, true]);
  expect(struck(faultsOf({ kind: 'reset', times: 2 }), 4)).toEqual([true, true, false, false]);
  expect(struck(faultsOf({ kind: 'reset', every: 2, times: 1 }), 5))
    .toEqual([false, true, false, false, false]);
});

test('once is for each key', () => {
  const faults = faultsOf({ kind: 'reset', once: true });
  expect(struck(faults, 2, 'a')).toEqual([true, false]);
  expect(struck(faults, 2, 'b')).toEqual([true, false]);
});

test('of several, the first that fits; whom it does not fit is not counted', () => {
  const faults = faultsOf(['hang', { kind: 'reset', every: 2 }]);
  expect(faults.first.kind).toBe('hang');
  expect(faults.strike(always).kind).toBe('hang');
  const others = fault => fault.kind !== 'hang';
  expect(faults.strike(others)).toBeNull();
  expect(faults.strike(() => false)).toBeNull();
  expect(faults.strike(others).kind).toBe('reset');
});

test.each([[{ every: 0 }], [{ every: 1.5 }], [{ times: 0 }], [{ times: '1' }]])(
  '%j is refused', wrong => {
    expect(() => faultsOf({ kind: 'reset', ...wrong }))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });
