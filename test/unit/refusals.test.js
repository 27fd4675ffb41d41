'use strict';

const { EventEmitter } = require('node:events');

const refusals = require('../../lib/http/refusals');
const { useVirtualClock } = require('../../lib/testing');

const AT_ONCE = 100;
const WAITING_MAX = 500;
const STEP_MS = 50;

/** As much of a response as is used. */
class Response extends EventEmitter {
  destroyed = false;

  destroy () {
    this.destroyed = true;
    this.emit('close');
  }
}

// One for all tests: the limit belongs to the process.
const clock = useVirtualClock();
afterAll(() => clock.restore());

let sent;
beforeEach(async () => {
  // So that none waits, and a hundred may be sent at once again.
  await clock.advance(2000);
  sent = [];
});

const refuse = () => {
  const res = new Response();
  refusals.answer(res, () => sent.push(res));
  return res;
};
const many = n => Array.from({ length: n }, refuse);

test('refusals beyond the first hundred of a second wait, and do not end together', async () => {
  many(AT_ONCE);
  expect(sent).toHaveLength(AT_ONCE);
  const late = many(WAITING_MAX);
  expect(sent).toHaveLength(AT_ONCE);
  expect(late.every(res => refusals.has(res))).toBe(true);
  sent.splice(0);

  await clock.advance(499);
  expect(sent).toEqual([]);
  let most = 0;
  for (let ms = 500; ms <= 1500; ms += STEP_MS) {
    const before = sent.length;
    await clock.advance(STEP_MS);
    most = Math.max(most, sent.length - before);
  }
  expect(new Set(sent)).toEqual(new Set(late));
  // On average 25 in each step.
  expect(most).toBeLessThan(WAITING_MAX / 4);
  expect(late.some(res => refusals.has(res) || res.destroyed)).toBe(false);
  expect(late.every(res => res.listenerCount('close') === 0)).toBe(true);
});

test('when 500 wait, further connections are ended without an answer', async () => {
  many(AT_ONCE);
  const [first] = many(WAITING_MAX);
  const further = refuse();
  expect([further.destroyed, refusals.has(further)]).toEqual([true, false]);

  // Whoever goes away makes room for one more.
  first.destroy();
  expect(refusals.has(first)).toBe(false);
  const next = refuse();
  expect([next.destroyed, refusals.has(next)]).toEqual([false, true]);
  expect(refuse().destroyed).toBe(true);
  await clock.advance(2000);
  expect(sent).toHaveLength(AT_ONCE + WAITING_MAX);
  expect(sent).not.toContain(first);
  expect(sent).not.toContain(further);
});
