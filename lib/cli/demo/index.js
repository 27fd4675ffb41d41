'use strict';

// sekering demo: the whole gateway on an embedded database, against fake upstreams that break. The
// exit code is 0 if the numbers add up, and 1 if they do not.

const os = require('node:os');
const path = require('node:path');

const clock = require('../../base/clock');
const { GATEWAY, checkPeers } = require('../../base/peer');

const FRAME_MS = 100;
const PORT = 3000;
// Without a terminal, nobody may be there to stop it. Together with the time for the queues to
// empty, this stays below a minute.
const UNATTENDED_S = 15;

const PACKAGES = [...GATEWAY, 'smtp-server'];

/** The same folder for all runs: a later run delivers what an earlier one has left. */
const defaultDirectory = () =>
  path.join(os.tmpdir(), `sekering-demo-${os.userInfo().username.replace(/\W/g, '')}`);

/** The first signal ends the demo in order, the second one at once. */
function onSignals (demo, leave) {
  const stop = () => {
    if (demo.stopped) leave();
    demo.stop();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return () => process.off('SIGINT', stop).off('SIGTERM', stop);
}

async function show (demo, view) {
  let frame;
  const draw = () => {
    view.tick();
    frame = clock.setTimer(draw, FRAME_MS, false);
  };
  try {
    draw();
    await demo.run();
    const sums = require('./scenario').sumsOf(demo);
    view.end(sums);
    return sums.ok ? 0 : 1;
  } finally {
    clock.clearTimer(frame);
    view.close();
  }
}

/** Without --port: the usual port, or a free one if it is taken. */
async function open (Demo, { port, ...options }) {
  for (const choice of port === undefined ? [PORT, 0] : [port]) {
    const demo = new Demo({ ...options, port: choice });
    try {
      await demo.open();
      return demo;
    } catch (error) {
      await demo.close();
      if (error.code !== 'ERR_LISTEN' || choice === 0 || port !== undefined) throw error;
    }
  }
}

/** The exit code. Without `seconds` it runs until it is stopped; without a terminal, a while. */
async function runDemo ({ seconds, port, directory = defaultDirectory(), json }) {
  checkPeers(PACKAGES, 'sekering demo');
  const { Demo } = require('./scenario');
  const { viewFor } = require('./view');
  // If the reader of a pipe goes away, as `head` does, the run ends quietly.
  process.stdout.on('error', error => process.exit(error.code === 'EPIPE' ? 0 : 1));
  const length = seconds ?? (process.stdout.isTTY ? Infinity : UNATTENDED_S);
  const demo = await open(Demo, { seconds: length, port, directory });
  let leave = () => process.exit(130);
  // Before anybody can see that it runs.
  const off = onSignals(demo, () => leave());
  const view = viewFor(demo, process.stdout, { json });
  leave = () => {
    view.close();
    process.exit(130);
  };
  demo.on('event', event => view.event(event));
  try {
    return await show(demo, view);
  } finally {
    await demo.close();
    off();
  }
}

module.exports = { runDemo };
