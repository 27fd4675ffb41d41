'use strict';

const { CircuitBreaker } = require('../..');
const { createDegradation } = require('../../lib/gateway');
const { useVirtualClock } = require('../../lib/testing');

let clock;
let made = [];

beforeEach(() => { clock = useVirtualClock({ wall: Date.UTC(2026, 0, 1) }); });

afterEach(() => {
  for (const each of made) each.stop?.() ?? each.shutdown?.();
  made = [];
  clock.restore();
});

const keep = each => {
  made.push(each);
  return each;
};

const breakerOf = name => keep(new CircuitBreaker(async ok => {
  if (!ok) throw new Error('down');
}, { name, resetTimeout: 60_000 }));

async function makeFour (options) {
  const breakers = Object.fromEntries(['midtrans', 'database', 'smtp', 'whatsapp']
    .map(name => [name, breakerOf(name)]));
  const degradation = keep(createDegradation({ services: breakers, ...options }));
  const changes = [];
  degradation.on('level', change => changes.push(change));
  await degradation.start();
  return { ...breakers, degradation, changes };
}

describe('four levels', () => {
  test('by the number of services that are down, at once', async () => {
    const { midtrans, smtp, whatsapp, degradation, changes } = await makeFour();
    expect(degradation.level).toEqual({ name: 'NORMAL', index: 0 });
    midtrans.open();
    expect(degradation.level).toEqual({ name: 'DEGRADED', index: 1 });
    smtp.open();
    expect(degradation.level).toEqual({ name: 'SEVERE', index: 2 });
    whatsapp.open();
    expect(degradation.level).toEqual({ name: 'EMERGENCY', index: 3 });
    expect(changes).toEqual([
      { from: 'NORMAL', to: 'DEGRADED', reason: 'down: midtrans', by: 'automatic' },
      { from: 'DEGRADED', to: 'SEVERE', reason: 'down: midtrans, smtp', by: 'automatic' },
      { from: 'SEVERE', to: 'EMERGENCY', reason: 'down: midtrans, smtp, whatsapp',
        by: 'automatic' },
    ]);
  });

  test('what a call trips counts as well', async () => {
    const { midtrans, degradation } = await makeFour();
    await expect(midtrans.fire(false)).rejects.toThrow('down');
    expect(degradation.level.name).toBe('DEGRADED');
  });

  test('a service that is required must not be down', async () => {
    const { midtrans, degradation } = await makeFour();
    expect(degradation.requireService('midtrans')).toBeUndefined();
    midtrans.open();
    expect(degradation.requireService('smtp')).toBeUndefined();
    expect(() => degradation.requireService('midtrans')).toThrow(expect.objectContaining({
      name: 'SekeringError', code: 'ERR_SERVICE_DOWN', message: 'The service midtrans is down',
      service: 'midtrans', status: 503, retryAfter: 60, retryAfterMs: 60_000,
      headers: { 'Retry-After': '60' },
    }));
    expect(() => degradation.requireService('midtrans', { retryAfter: 5 }))
      .toThrow(expect.objectContaining({ retryAfter: 5, retryAfterMs: 5000 }));
    // Half open, it has to be let through.
    await clock.advance(60_000);
    expect(degradation.requireService('midtrans')).toBeUndefined();
    for (const name of ['midtrnas', undefined, 7]) {
      expect(() => degradation.requireService(name)).toThrow(expect.objectContaining({
        code: 'ERR_INVALID_OPTION', option: 'service',
        message: expect.stringContaining("one of 'midtrans', 'database', 'smtp', 'whatsapp'"),
      }));
    }
    expect(() => keep(createDegradation()).requireService('midtrans'))
      .toThrow('Expected one of none for service');
  });

  test('orders need midtrans and database, notifications smtp or whatsapp', async () => {
    const { midtrans, database, smtp, whatsapp, degradation } = await makeFour();
    const can = () => [degradation.canAcceptOrders(), degradation.canSendNotifications()];
    expect(can()).toEqual([true, true]);
    smtp.open();
    expect(can()).toEqual([true, true]);
    whatsapp.open();
    expect(can()).toEqual([true, false]);
    database.open();
    expect(can()).toEqual([false, false]);
    database.close();
    midtrans.open();
    expect(can()).toEqual([false, false]);
    const conditions = ['midtrans', 'database', 'other'].map(name => degradation.conditionOf(name));
    expect(conditions).toEqual(['down', 'up', undefined]);
    // Half open, it has to be let through, or nothing would ever close it.
    await clock.advance(60_000);
    expect(midtrans.halfOpen).toBe(true);
    expect(can()).toEqual([true, true]);
  });

  test('a service that is not watched is not up', () => {
    const degradation = createDegradation({ services: { midtrans: breakerOf('m') } });
    expect(degradation.canAcceptOrders()).toBe(false);
    expect(degradation.canSendNotifications()).toBe(false);
  });
});

describe('five levels', () => {
  test('by what is impaired, and then by what is down', async () => {
    const { midtrans, smtp, database, degradation } = await makeFour({
      scheme: 'levels', hysteresis: 0,
    });
    midtrans.open();
    expect(degradation.level).toEqual({ name: 'MODERATE', index: 2 });
    await clock.advance(60_000);
    expect(midtrans.halfOpen).toBe(true);
    expect(degradation.level).toEqual({ name: 'MINOR', index: 1 });
    smtp.open();
    database.open();
    expect(degradation.level).toEqual({ name: 'SEVERE', index: 3 });
    midtrans.open();
    expect(degradation.level).toEqual({ name: 'CRITICAL', index: 4 });
  });

  test('rules of one\'s own, the worst that holds', async () => {
    const { midtrans, database, smtp, degradation } = await makeFour({
      scheme: 'levels', hysteresis: 0,
      rules: [
        { level: 'CRITICAL', services: ['database'] },
        { level: 'SEVERE', services: ['midtrans'], down: 2 },
        { level: 'MINOR', down: 1 },
      ],
    });
    const levels = [];
    for (const breaker of [midtrans, smtp, database]) {
      breaker.open();
      levels.push(degradation.level.name);
    }
    database.close();
    midtrans.close();
    levels.push(degradation.level.name);
    expect(levels).toEqual(['MINOR', 'SEVERE', 'CRITICAL', 'MINOR']);
  });
});

describe('hysteresis', () => {
  test('a better level is taken after it would have done for all that time', async () => {
    const { midtrans, smtp, degradation, changes } = await makeFour({ hysteresis: 20_000 });
    midtrans.open();
    smtp.open();
    midtrans.close();
    await clock.advance(10_000);
    smtp.close(); // Now DEGRADED would have done for 10 s and NORMAL for none.
    expect(degradation.level.name).toBe('SEVERE');
    await clock.advance(9_999);
    expect(degradation.level.name).toBe('SEVERE');
    await clock.advance(1);
    expect(degradation.level.name).toBe('DEGRADED');
    await clock.advance(9_999);
    expect(degradation.level.name).toBe('DEGRADED');
    await clock.advance(1);
    expect(degradation.level.name).toBe('NORMAL');
    expect(changes.at(-1)).toEqual(
      { from: 'DEGRADED', to: 'NORMAL', reason: 'all services are up', by: 'automatic' });
  });

  test('a relapse begins the wait anew, and one that flaps changes the level once', async () => {
    const { midtrans, degradation, changes } = await makeFour({ hysteresis: 20_000 });
    for (let i = 0; i < 10; i++) {
      midtrans.open();
      await clock.advance(1000);
      midtrans.close();
      await clock.advance(19_000);
    }
    expect(changes).toHaveLength(1);
    await clock.advance(1000);
    expect(degradation.level.name).toBe('NORMAL');
    expect(changes).toHaveLength(2);
  });

  test('with random outages the level is what the definition says at each moment', async () => {
    const held = 7000;
    const { degradation, ...rest } = await makeFour({ hysteresis: held, interval: 3000 });
    const breakers = [rest.midtrans, rest.database, rest.smtp, rest.whatsapp];
    const timeline = []; // How many were down, for each second.
    let seed = 42;
    const random = n => { seed = (seed * 1103515245 + 12345) % 2 ** 31; return seed % n; };
    for (let second = 0; second < 400; second++) {
      if (random(3) === 0) {
        const breaker = breakers[random(4)];
        breaker.opened ? breaker.close() : breaker.open();
      }
      await clock.advance(0);
      const target = Math.min(breakers.filter(b => b.opened).length, 3);
      timeline.push(target);
      expect(degradation.level.index).toBeGreaterThanOrEqual(target);
      await clock.advance(1000);
      // What was worse than now is held for 7 s.
      const worst = Math.max(...timeline.slice(-held / 1000));
      expect([second, degradation.level.index]).toEqual([second, worst]);
    }
  });
});

describe('services that are asked', () => {
  test('are asked at once and every 30 s, one question at a time', async () => {
    const answers = [true, false, 'impaired', 'down', undefined];
    const asked = [];
    const degradation = keep(createDegradation({
      scheme: 'levels', hysteresis: 0,
      services: { database: () => { asked.push(clock.now); return answers[asked.length - 1]; } },
    }));
    await degradation.start();
    const levels = [degradation.level.name];
    for (let i = 1; i < answers.length; i++) {
      await clock.advance(29_999);
      expect(asked).toHaveLength(i);
      await clock.advance(1);
      levels.push(degradation.level.name);
    }
    expect(levels).toEqual(['NORMAL', 'MODERATE', 'MINOR', 'MODERATE', 'NORMAL']);
    degradation.stop();
    await clock.advance(300_000);
    expect(asked).toHaveLength(answers.length);
  });

  test('are down when they fail or do not answer in time', async () => {
    const asked = { hangs: 0, fails: 0 };
    const signals = [];
    const degradation = keep(createDegradation({
      services: {
        hangs: ({ signal }) => {
          asked.hangs += 1;
          signals.push(signal);
          return new Promise(() => {});
        },
        fails: async () => { asked.fails += 1; throw new Error('no'); },
      },
      timeout: 2000, interval: 5000,
    }));
    const first = degradation.start();
    await clock.advance(2000);
    await first;
    expect(degradation.level.name).toBe('SEVERE');
    expect(degradation.snapshot().services).toEqual({ hangs: 'down', fails: 'down' });
    expect(signals[0].aborted).toBe(true);
    // What hangs is asked again after ten times its limit, and not before.
    await clock.advanceAsync(19_000);
    expect(asked).toEqual({ hangs: 1, fails: 4 });
    await clock.advanceAsync(5000);
    expect(asked.hangs).toBe(2);
  });
});

test('a service that was up and hangs is down when its time is over, not at the next look',
  async () => {
    const answers = [true, new Promise(() => {}), true];
    const changes = [];
    const degradation = keep(createDegradation({
      services: { database: () => answers.shift() }, timeout: 5000, interval: 60_000,
    }));
    degradation.on('level', ({ to }) => changes.push(to));
    await degradation.start();
    await clock.advanceAsync(60_000);
    await clock.advanceAsync(4900);
    expect([degradation.conditionOf('database'), changes]).toEqual(['up', []]);
    await clock.advanceAsync(200);
    expect([degradation.conditionOf('database'), changes]).toEqual(['down', ['DEGRADED']]);
    degradation.stop();
  });

describe('by hand', () => {
  test('a level stays, whatever happens, until it is automatic again', async () => {
    const { midtrans, smtp, degradation, changes } = await makeFour({ hysteresis: 0 });
    expect(degradation.setLevel('SEVERE', { reason: 'database upgrade', by: 'ana' }))
      .toEqual({ name: 'SEVERE', index: 2 });
    midtrans.open();
    midtrans.close();
    expect(degradation.level.name).toBe('SEVERE');
    smtp.open();
    expect(degradation.snapshot()).toMatchObject({
      level: { name: 'SEVERE', index: 2 }, automatic: { name: 'DEGRADED', index: 1 },
      manual: true, reason: 'database upgrade', by: 'ana', since: '2026-01-01T00:00:00.000Z',
    });
    expect(degradation.setLevel(null, { by: 'ana' })).toEqual({ name: 'DEGRADED', index: 1 });
    expect(degradation.snapshot()).toMatchObject({ manual: false });
    expect(changes).toEqual([
      { from: 'NORMAL', to: 'SEVERE', reason: 'database upgrade', by: 'ana' },
      { from: 'SEVERE', to: 'DEGRADED', reason: 'automatic again', by: 'ana' },
    ]);
  });

  test('each time is told, also when the level stays; its time may be an earlier one', async () => {
    const { degradation, changes } = await makeFour();
    const told = [];
    degradation.on('manual', news => told.push(news));
    const since = new Date(Date.UTC(2025, 11, 24));
    degradation.setLevel('NORMAL', { reason: 'sale', by: 'ana', since });
    expect(degradation.snapshot()).toMatchObject({ manual: true, since: since.toISOString() });
    degradation.setLevel(null);
    expect(told).toEqual([
      { level: 'NORMAL', reason: 'sale', by: 'ana' },
      { level: null, reason: 'automatic again', by: 'operator' },
    ]);
    expect(changes).toEqual([]);
    expect(degradation.snapshot()).toMatchObject({ since: '2026-01-01T00:00:00.000Z' });
  });

  test.each([
    ['a level that is not one', 'MINOR', { reason: 'x' }, /one of 'NORMAL', 'DEGRADED'/],
    ['no reason', 'SEVERE', {}, /Expected 1 to 500 characters in one line for reason/],
    ['an empty reason', 'SEVERE', { reason: ' ' }, /for reason/],
    ['a reason of two lines', 'SEVERE', { reason: 'a\nlevel=NORMAL' }, /for reason/],
    ['a long reason', 'SEVERE', { reason: 'x'.repeat(501) }, /for reason/],
    ['a name of two lines', 'SEVERE', { reason: 'x', by: 'a\r\nb' }, /for by/],
    ['no time', 'SEVERE', { reason: 'x', since: new Date(NaN) }, /a Date for since/],
    ['a time that is no Date', 'SEVERE', { reason: 'x', since: 1 }, /a Date for since/],
  ])('%s is refused', async (_, level, options, message) => {
    const { degradation, changes } = await makeFour();
    expect(() => degradation.setLevel(level, options)).toThrow(message);
    expect(changes).toEqual([]);
  });
});

describe('features', () => {
  test('go off past the worst level at which they stay', async () => {
    const { midtrans, smtp, database, degradation } = await makeFour({
      features: { recommendations: 'NORMAL', writes: 'DEGRADED', checkout: 'EMERGENCY' },
    });
    const on = () => ['recommendations', 'writes', 'checkout']
      .map(name => degradation.isEnabled(name));
    expect(on()).toEqual([true, true, true]);
    midtrans.open();
    expect(on()).toEqual([false, true, true]);
    smtp.open();
    expect(on()).toEqual([false, false, true]);
    database.open();
    expect(on()).toEqual([false, false, true]);
    expect(degradation.snapshot().features)
      .toEqual({ recommendations: false, writes: false, checkout: true });
  });

  test('one that is unknown is refused, by guards too', async () => {
    const { degradation } = await makeFour({ features: { writes: 'NORMAL' } });
    expect(() => degradation.isEnabled('reads')).toThrow(/Expected one of writes for feature/);
    expect(() => degradation.guard('reads')).toThrow(/Expected one of writes for feature/);
  });
});

test('a stopped one leaves nothing behind', async () => {
  const { midtrans, degradation } = await makeFour();
  const before = ['open', 'halfOpen', 'close'].map(event => midtrans.listenerCount(event));
  degradation.stop();
  expect(before).toEqual([1, 1, 1]);
  expect(['open', 'halfOpen', 'close'].map(event => midtrans.listenerCount(event)))
    .toEqual([0, 0, 0]);
  midtrans.open();
  expect(degradation.level.name).toBe('NORMAL');
  await degradation.start();
  expect(degradation.level.name).toBe('DEGRADED');
});

test.each([
  [{ scheme: 'three' }, /Expected one of 'services', 'levels' for scheme/],
  [{ services: { a: 1 } }, /Expected a breaker or a function for services\.a/],
  [{ services: { 'a b': () => true } }, /Expected names of 1 to 64 .* for services/],
  [{ rules: {} }, /Expected an array for rules/],
  [{ rules: [{ level: 'MINOR', down: 1 }] }, /for rules\[0\]\.level/],
  [{ rules: [{ level: 'SEVERE' }] }, /Expected one of down, impaired, services for rules\[0\]/],
  [{ rules: [{ level: 'SEVERE', down: 1.5 }] }, /Expected an integer of at least 0/],
  [{ rules: [{ level: 'SEVERE', services: ['x'] }] }, /for rules\[0\]\.services\[0\]/],
  [{ rules: [{ level: 'SEVERE', dwon: 1 }] }, /Unknown option dwon in rules\[0\]/],
  [{ features: { a: 'CRITICAL' } }, /for features\.a/],
  [{ interval: 1 }, /Expected a number from 10 to 86400000 \(ms\) for interval/],
  [{ hysteresis: -1 }, /for hysteresis/],
  [{ timeout: '5s' }, /for timeout/],
])('%j is refused', (options, message) => {
  expect(() => createDegradation(options)).toThrow(message);
  expect(() => createDegradation(options))
    .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
});
