'use strict';

// Sessions whose breakers belong to the whole host.

const { once } = require('node:events');

const { SessionPool } = require('../../lib/clients/whatsapp');
const { startSessionFake } = require('../../lib/testing/session-fake');
const { cleanUp, newNamespace, startProcess } = require('../support/shared-peers');

const TO = '+6281234567890';
const HELLO = { text: 'Hello' };

let pool;
afterEach(async () => {
  pool?.close();
  await cleanUp();
});

test('an instance that fails in one process is open in the other, and reset for both', async () => {
  const breaker = { scope: 'host', namespace: newNamespace() };
  pool = new SessionPool({ connect: startSessionFake().connect, reconnect: false, breaker });
  await pool.connect('bad');
  await pool.connect('good');

  const peer = await startProcess();
  const opened = once(pool, 'open');
  const failed = await peer.run(async (context, module, options) => {
    const there = new (context.require(module).SessionPool)({
      connect: async () => { throw new Error('WebSocket Error ()'); }, retry: false,
      reconnect: false, breaker: options
    });
    context.pool = there;
    const codes = [];
    for (let i = 0; i < 16; i++) {
      await there.connect('bad').catch(error => codes.push(error.circuit_breaker));
    }
    return codes;
  }, require.resolve('../../lib/clients/whatsapp'), breaker);
  expect(failed).toEqual([...Array(15).fill(false), true]);

  expect(await opened).toEqual(['bad']);
  await expect(pool.send('bad', TO, HELLO)).rejects
    .toMatchObject({ circuit_breaker: true });
  await expect(pool.send('good', TO, HELLO)).resolves.toMatchObject({ key: {} });
  expect(pool.health()).toMatchObject({ circuit_breaker_activations: 1 });

  expect(pool.reset('bad')).toBe(true);
  await expect(pool.send('bad', TO, HELLO)).resolves.toMatchObject({ key: {} });
  expect(await peer.run(context => context.pool.status('bad').circuit_breaker)).toBe('closed');
});
