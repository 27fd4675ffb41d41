'use strict';

// What becomes of a message whose connection fails while it is sent.

const { SessionPool, SessionError } = require('../../lib/clients/whatsapp');
const { startSessionFake } = require('../../lib/testing/session-fake');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');

const TO = '+6281234567890';
const HELLO = { text: 'Hello' };

let fake;
let pool;
let clock;
const poolOf = options => {
  pool = new SessionPool({ connect: fake.connect, retry: false, reconnect: false, ...options });
  return pool;
};
beforeEach(() => { fake = startSessionFake(); });
afterEach(() => {
  pool.close();
  clock?.restore();
  clock = undefined;
});

/** The line is dead, and nobody has noticed. */
const sever = id => fake.socketOf(id).end();
const boom = (message, statusCode) =>
  Object.assign(new Error(message), { output: { statusCode } });

test('nothing was written: it is sent over a new connection, once', async () => {
  poolOf();
  const lost = [];
  pool.on('disconnected', (id, { message }) => lost.push([id, message]));
  await pool.send('a', TO, HELLO);
  sever('a');
  await expect(pool.send('a', TO, HELLO)).resolves.toMatchObject({ key: {} });
  expect(fake.connects.get('a')).toBe(2);
  expect(fake.messages).toHaveLength(2);
  expect(lost).toEqual([['a', expect.stringContaining('WebSocket')]]);
  expect(pool.breakers.get('a').stats.failures).toBe(1);
});

test('many at once share the new connection', async () => {
  poolOf();
  await pool.send('a', TO, HELLO);
  sever('a');
  await Promise.all([1, 2, 3, 4].map(() => pool.send('a', TO, HELLO)));
  expect(fake.connects.get('a')).toBe(2);
  expect(fake.messages).toHaveLength(5);
});

test('the words of a WebSocket say so, too', async () => {
  let isFirst = true;
  const sockets = () => {
    const fails = isFirst;
    isFirst = false;
    return {
      async sendMessage () {
        if (fails) throw new Error('WebSocket is not open: readyState 3 (CLOSED)');
        return 'sent';
      }
    };
  };
  poolOf({ connect: sockets });
  await expect(pool.send('a', TO, HELLO)).resolves.toBe('sent');
});

test('a second dead line is the answer', async () => {
  poolOf({ connect: async () => ({
    async sendMessage () { throw boom('Connection Closed', 428); }
  }) });
  await expect(pool.send('a', TO, HELLO)).rejects.toMatchObject({
    name: 'SessionError', trouble: 'web-socket', ambiguous: false, retryable: true
  });
  expect(pool.breakers.get('a').stats.failures).toBe(2);
});

test('no new connection: its failure is the answer, and nothing is ambiguous', async () => {
  poolOf();
  await pool.send('a', TO, HELLO);
  sever('a');
  fake.set('a', 'connect-rejects');
  const error = await pool.send('a', TO, HELLO).catch(failure => failure);
  expect(error).toBeInstanceOf(SessionError);
  expect(error).toMatchObject({ ambiguous: false, trouble: 'web-socket' });
  expect(fake.connects.get('a')).toBe(2);
});

test('an instance that was removed meanwhile stays so', async () => {
  poolOf();
  await pool.send('a', TO, HELLO);
  sever('a');
  pool.once('disconnected', () => pool.remove('a'));
  await expect(pool.send('a', TO, HELLO)).rejects.toMatchObject({ trouble: 'web-socket' });
  expect(pool.size).toBe(0);
  expect(fake.connects.get('a')).toBe(1);
});

test.each([
  ['silence', 'send-hangs', undefined, true],
  ['a connection that is cut', 'send-rejects', new Error('read ECONNRESET'), true],
  ['a message that is refused', 'send-rejects', boom('Bad Request', 400), false],
])('%s: it is sent once, and the error says what is known', async (_, kind, error, ambiguous) => {
  clock = useVirtualClock();
  poolOf({ timeout: 50 });
  await pool.send('a', TO, HELLO);
  fake.set('a', kind, error);
  const sent = jest.spyOn(fake.socketOf('a'), 'sendMessage');
  const failing = pool.send('a', TO, HELLO).catch(thrown => thrown);
  await clock.advanceAsync(50);
  const failure = await failing;
  expect(failure).toMatchObject({ name: 'SessionError', ambiguous });
  expect(JSON.parse(JSON.stringify(failure))).toMatchObject({ ambiguous });
  expect(sent).toHaveBeenCalledTimes(1);
  expect(fake.connects.get('a')).toBe(1);
});
