'use strict';

// Processes that are asked by message: `start(file)` gives `ask`, and `serve(commands)` answers it.

const { fork } = require('node:child_process');
const path = require('node:path');
const { setInterval: ticks } = require('node:timers/promises');

/**
 * @param {string} file of this folder
 * @param {object} [given] its argument
 * @returns {Promise<{ ready: unknown, ask: (name: string, value?: unknown) => Promise<unknown>,
 *   stop: () => Promise<void> }>}
 */
function start (file, given = {}, execArgv = []) {
  const child = fork(path.join(__dirname, file), [JSON.stringify(given)],
    { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv });
  const waiting = new Map();
  let count = 0;
  const ask = (name, value) => new Promise((resolve, reject) => {
    count += 1;
    waiting.set(count, { resolve, reject });
    child.send({ id: count, name, value });
  });
  const ended = new Promise(resolve => { child.once('exit', resolve); });
  const stop = () => {
    if (child.connected) child.disconnect();
    return ended;
  };
  return new Promise((resolve, reject) => {
    child.on('message', ({ id, ready, answer, error }) => {
      if (id === undefined) return resolve({ ready, ask, stop });
      const asked = waiting.get(id);
      waiting.delete(id);
      return error === undefined ? asked.resolve(answer) : asked.reject(new Error(error));
    });
    child.once('exit', (code, signal) => {
      const error = new Error(`${file} ended with ${signal ?? code}`);
      reject(error);
      for (const asked of waiting.values()) asked.reject(error);
    });
  });
}

/** What this process was given by `start`. */
const given = () => JSON.parse(process.argv[2]);

/** Begins `each(dueAt, n)` at a fixed rate, whatever becomes of those before; waits for all. */
async function atRate (perSecond, ms, each) {
  const pending = [];
  const total = Math.floor(perSecond * ms / 1000);
  for await (const began of ticks(1, performance.now())) {
    const due = Math.min(total, Math.floor((performance.now() - began) * perSecond / 1000));
    while (pending.length < due) {
      pending.push(each(began + pending.length * 1000 / perSecond, pending.length));
    }
    if (pending.length === total) break;
  }
  return Promise.all(pending);
}

/** Answers `start` in its child. @param {() => unknown} [stop] before it ends with its parent */
function serve (commands, ready, stop = () => {}) {
  process.on('message', async ({ id, name, value }) => {
    try {
      process.send({ id, answer: await commands[name](value) });
    } catch (error) {
      process.send({ id, error: error.stack });
    }
  });
  process.on('disconnect', async () => {
    await stop();
    process.exit();
  });
  process.send({ ready });
}

module.exports = { atRate, given, serve, start };
