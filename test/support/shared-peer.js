'use strict';

// The other end of shared-peers.js: a process or thread that runs the functions that it is sent.

const { parentPort } = require('node:worker_threads');

const sekering = require('../../lib');

const send = parentPort === null
  ? message => process.send(message)
  : message => parentPort.postMessage(message);

const ACTIONS = {
  ok: async () => 'done',
  fail: async () => { throw new Error('refused'); },
  hang: () => new Promise(() => {}),
  given: async works => { if (!works) throw new Error('refused'); },
};
const EVENTS = ['open', 'halfOpen', 'close'];

const waiting = new Set();

/** What the functions are given. */
const context = {
  ...sekering,
  require,
  warnings: [],
  events: [],

  /** Makes the breaker `context.breaker`, whose transitions are logged in `events`. */
  make (options, action = 'given') {
    const breaker = new sekering.CircuitBreaker(ACTIONS[action], options);
    context.breaker = breaker;
    for (const event of EVENTS) breaker.on(event, () => context.log(event));
    breaker.on('missed', count => context.log({ missed: count }));
    return undefined;
  },

  log (entry) {
    context.events.push(entry);
    for (const check of waiting) check();
  },

  /** Resolves once `condition` holds; it is looked at after each event. */
  until (condition) {
    return new Promise(resolve => {
      const check = () => {
        if (!condition()) return;
        waiting.delete(check);
        resolve();
      };
      waiting.add(check);
      check();
    });
  },

  /** Fires `count` times, one after the other; how many were let through. All see the counts. */
  async fire (count, ...args) {
    let passed = 0;
    for (let i = 0; i < count; i++) {
      const error = await context.breaker.fire(...args).then(() => null, e => e);
      if (error?.code !== 'EOPENBREAKER') passed += 1;
    }
    // Whoever looks makes what this environment has counted visible to the others.
    return context.breaker.stats && passed;
  },
};

process.on('warning', warning => context.warnings.push(warning.message));

async function answer ({ id, code, args }) {
  try {
    const run = new Function(`return (${code})`)();
    send({ id, value: await run(context, ...args) });
  } catch (error) {
    send({ id, error: { message: error.message, code: error.code, options: error.options } });
  }
}

(parentPort ?? process).on('message', answer);
send({ id: 0 });
