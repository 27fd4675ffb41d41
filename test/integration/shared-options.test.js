'use strict';

// What shared breakers are asked for: names, options that agree, groups.

const { once } = require('node:events');

const { BreakerGroup, CircuitBreaker } = require('../../lib');
const {
  all, cleanUp, newNamespace, startProcess, startProcesses
} = require('../support/shared-peers');

afterEach(cleanUp);

const action = async () => 'done';
const thrownBy = make => {
  try {
    make();
  } catch (error) {
    return error;
  }
  throw new Error('Nothing was thrown');
};

describe('wrong options are rejected', () => {
  test.each([
    [{ scope: 'world' }, 'scope', '"world"'],
    [{ scope: 1 }, 'scope', '1'],
    [{ scope: 'host', namespace: '' }, 'namespace', '""'],
    [{ scope: 'host', namespace: 'a/b' }, 'namespace', '"a/b"'],
    [{ scope: 'host', namespace: '../a' }, 'namespace', '"../a"'],
    [{ scope: 'host', namespace: 'a b' }, 'namespace', '"a b"'],
    [{ scope: 'host', namespace: 'x'.repeat(65) }, 'namespace', 'xxx'],
    [{ scope: 'host', namespace: 7 }, 'namespace', '7'],
    [{ scope: 'host', name: 'x'.repeat(256) }, 'name', 'xxx'],
    [{ scope: 'host', name: 'é'.repeat(128) }, 'name', 'éé'],
    [{ scope: 'host', name: 7 }, 'name', '7'],
    [{ scope: 'host', name: 'a', shareTrip: 'all' }, 'shareTrip', '"all"'],
    [{ scope: 'host', name: 'a', shareTrip: { processes: 0 } }, 'shareTrip', ''],
    [{ scope: 'host', name: 'a', shareTrip: { processes: 17 } }, 'shareTrip', ''],
    [{ scope: 'host', name: 'a', shareTrip: { processes: 1.5 } }, 'shareTrip', ''],
    [{ scope: 'host', name: 'a', shareTrip: {} }, 'shareTrip', ''],
    [{ scope: 'host', name: 'a', state: { closed: true } }, 'state', ''],
    [{ scope: 'host', name: 'a', status: {} }, 'status', '']
  ])('%j', (options, name, received) => {
    const error = thrownBy(() => new CircuitBreaker(action, options));
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION' });
    expect(error.message).toContain(` for ${name} but received`);
    expect(error.message).toContain(received);
  });

  test('a shared breaker needs a name', () => {
    const error = thrownBy(() => new CircuitBreaker(async () => {}, { scope: 'host' }));
    expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION' });
    expect(error.message).toContain("(scope is 'host')");
  });
});

describe('other options under the same name', () => {
  const first = () => ({ scope: 'host', namespace: newNamespace(), name: 'upstream' });

  test.each([
    [{ resetTimeout: 5000 }, ['resetTimeout']],
    [{ timeout: 500 }, ['timeout']],
    [{ halfOpenProbes: 2, successThreshold: 2 }, ['halfOpenProbes', 'successThreshold']],
    [{ resetTimeout: { initial: 1000, factor: 3, max: 9000 } }, ['resetTimeout']],
    [{ rollingCountBuckets: 20 }, ['rollingCountTimeout', 'rollingCountBuckets']],
    [{ volumeThreshold: 10, errorThresholdPercentage: 20, shareTrip: { processes: 2 } },
      ['errorThresholdPercentage', 'volumeThreshold', 'shareTrip']]
  ])('%j', async (other, names) => {
    const options = first();
    const peer = await startProcess();
    await peer.run((context, given) => context.make(given), options);
    const error = thrownBy(() => new CircuitBreaker(action, { ...options, ...other }));
    expect(error).toMatchObject({ code: 'ERR_OPTIONS_MISMATCH', options: names });
    for (const name of names) expect(error.message).toContain(name);
    expect(error.message).toContain("'upstream'");
    await expect(peer.run(context => context.fire(1, true))).resolves.toBe(1);
  });

  test('options of one process may differ', async () => {
    const options = first();
    const breakers = [
      new CircuitBreaker(action, options),
      new CircuitBreaker(action, { ...options, capacity: 3, cache: true, fallback: () => 'f' }),
      new CircuitBreaker(action, { ...options, errorFilter: () => true, group: 'g' })
    ];
    breakers[0].open();
    await Promise.all(breakers.slice(1).map(breaker => once(breaker, 'open')));
    expect(breakers.map(breaker => breaker.opened)).toEqual([true, true, true]);
  });

  test('another name, namespace or scope is another breaker', () => {
    const options = first();
    const one = new CircuitBreaker(action, options);
    const others = [
      new CircuitBreaker(action, { ...options, name: 'other', resetTimeout: 1000 }),
      new CircuitBreaker(action, { ...options, namespace: newNamespace(), resetTimeout: 1000 }),
      new CircuitBreaker(action, { ...options, scope: 'process', resetTimeout: 1000 }),
      new CircuitBreaker(action, { ...options, scope: 'instance', resetTimeout: 1000 })
    ];
    one.open();
    expect(others.map(breaker => breaker.closed)).toEqual([true, true, true, true]);
  });

  test('the name may be the action\'s, and any text of 255 bytes', async () => {
    const { namespace } = first();
    async function charge () {}
    const one = new CircuitBreaker(charge, { scope: 'host', namespace });
    const same = new CircuitBreaker(action, { scope: 'host', namespace, name: 'charge' });
    one.open();
    await once(same, 'open');
    expect(same.opened).toBe(true);
    const name = `${'é'.repeat(127)}/`;
    const long = new CircuitBreaker(action, { scope: 'host', namespace, name });
    expect([long.name, long.closed]).toEqual([name, true]);
  });
});

test('two breakers of one process with one name share their state', async () => {
  const options = { scope: 'host', namespace: newNamespace(), name: 'upstream' };
  const one = new CircuitBreaker(action, options);
  const other = new CircuitBreaker(action, options);
  one.open();
  await once(other, 'open');
  await one.fire().catch(() => {});
  await other.fire().catch(() => {});
  expect(one.stats).toMatchObject({ fires: 2, rejects: 2, local: { fires: 1, rejects: 1 } });
});

describe('groups', () => {
  test('members are shared by key', async () => {
    const options = {
      name: 'banks', scope: 'host', namespace: newNamespace(), consecutiveFailures: 2,
      timeout: false, resetTimeout: 60_000
    };
    const peers = await startProcesses(2);
    await all(peers, (context, given) => {
      context.group = new context.BreakerGroup(async works => {
        if (!works) throw new Error('refused');
      }, given);
      for (const event of ['open', 'close']) {
        context.group.on(event, key => context.log([event, key]));
      }
      context.group.get('bca');
      context.group.get('bni');
    }, options);
    await peers[0].run(async ({ group }) => {
      for (let i = 0; i < 2; i++) await group.fire('bca', false).catch(() => {});
    });
    await all(peers, context => context.until(() => context.events.length > 0));
    const seen = await all(peers, ({ events, group }) =>
      [events, group.get('bca').opened, group.get('bni').opened]);
    expect(seen).toEqual([0, 1].map(() => [[['open', 'bca']], true, false]));
    const alone = new CircuitBreaker(action, { ...options, name: 'banks/bca' });
    expect(alone.opened).toBe(true);
  });

  test('a group needs no name, and takes no name from a breaker', () => {
    const options = { scope: 'host', namespace: newNamespace(), resetTimeout: 60_000 };
    const group = new BreakerGroup(async () => {}, options);
    group.get('a').open();
    const other = new BreakerGroup(async () => {}, options);
    expect(other.get('a').opened).toBe(true);
    new BreakerGroup(action, { ...options, name: 'banks' });
    const namesake = new CircuitBreaker(action, { ...options, name: 'banks', resetTimeout: 1 });
    expect(namesake.closed).toBe(true);
  });

  test('a member that another process opened is not evicted', () => {
    const options = { scope: 'host', namespace: newNamespace(), resetTimeout: 60_000 };
    const group = new BreakerGroup(async () => {}, { ...options, name: 'banks', max: 2 });
    for (const key of ['bca', 'bni']) group.get(key);
    new CircuitBreaker(action, { ...options, name: 'banks/bca' }).open();
    group.get('bri');
    expect(group.keys()).toEqual(['bca', 'bri']);
  });

  test('a call is rejected if the group cannot make its breaker', async () => {
    const group = new BreakerGroup(action, { scope: 'host', namespace: newNamespace() });
    const call = group.fire('x'.repeat(300));
    await expect(call).rejects.toMatchObject({ code: 'ERR_INVALID_OPTION' });
  });
});
