'use strict';

// A supervisor of processes that messages end, or block for ever: it starts them again.

const { fork } = require('node:child_process');
const path = require('node:path');

const ACTOR = path.join(__dirname, 'poison-actor.js');

const children = new Set();

/**
 * Runs one process after the other until nothing waits any longer.
 * @param {object} [given] what else the processes get
 * @returns {Promise<{ deaths: number, sent: string[], list: object[], letters: object[] }>}
 */
async function supervise (place, messages, given) {
  const result = { deaths: 0, sent: [] };
  for (let isFirst = true; result.list === undefined; isFirst = false) {
    const child = fork(ACTOR, [JSON.stringify({ place, ...given })], {
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'], execArgv: ['--max-old-space-size=96'],
    });
    children.add(child);
    child.on('message', ({ event, id, list, letters }) => {
      if (event === 'opened') child.send({ enqueue: isFirst ? messages : [] });
      else if (event === 'sent') result.sent.push(id);
      // It stands still: a supervisor kills it.
      else if (event === 'blocks') child.kill('SIGKILL');
      else if (event === 'over') Object.assign(result, { list, letters });
    });
    await new Promise(resolve => { child.once('close', resolve); });
    children.delete(child);
    if (result.list === undefined) result.deaths++;
  }
  return result;
}

/** Ends what a failed test has left. */
function killAll () {
  for (const child of children) child.kill('SIGKILL');
}

module.exports = { killAll, supervise };
