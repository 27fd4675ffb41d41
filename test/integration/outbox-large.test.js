'use strict';

// Messages as large as they can be, and more of them than fit into the memory of a small process.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { describeEngines } = require('../support/postgres');

const ACTOR = path.join(__dirname, '..', 'support', 'poison-actor.js');
const COUNT = 80;

describeEngines('large messages', ({ place }) => {
  let child;
  afterEach(() => child?.kill('SIGKILL'));

  test('are sent by a small process', async () => {
    const given = { place: await place(), worker: { concurrency: COUNT } };
    child = fork(ACTOR, [JSON.stringify(given)], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'], execArgv: ['--max-old-space-size=40'],
    });
    const sent = new Set();
    child.on('message', ({ event, id }) => {
      if (event === 'opened') child.send({ enqueue: [], large: COUNT });
      else if (event === 'sent') sent.add(id);
    });
    const [code, signal] = await once(child, 'close');
    expect({ code, signal, sent: sent.size }).toEqual({ code: 0, signal: null, sent: COUNT });
  });
});
