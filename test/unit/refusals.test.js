'use strict';

const refusals = require('../../lib/http/refusals');
const { useVirtualClock } = require('../../lib/testing');

const AT_ONCE = 100;
const WAITING_MAX = 500;
const STEP_MS = 50;

/** As much of a response as is read. */
const response = () => {
  const headers = {};
  return { headers, headersSent: false, setHeader: (name, value) => { headers[name] = value; } };
};

test('refusals beyond the first hundred of a second wait, and do not end together', async () => {
  const clock = useVirtualClock();
  try {
    const sent = [];
    const refuse = () => {
      const res = response();
      refusals.answer(res, () => sent.push(res));
      return res;
    };
    for (let i = 0; i < AT_ONCE; i++) refuse();
    expect(sent).toHaveLength(AT_ONCE);
    const late = Array.from({ length: WAITING_MAX }, refuse);
    expect(sent).toHaveLength(AT_ONCE);
    expect(late.every(res => refusals.has(res))).toBe(true);

    // There is no room for more that wait.
    expect(refuse().headers).toEqual({ Connection: 'close' });
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
    expect(late.some(res => refusals.has(res))).toBe(false);
  } finally {
    clock.restore();
  }
});
