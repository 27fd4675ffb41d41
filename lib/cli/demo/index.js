'use strict';

// sekering demo: the whole gateway on an embedded database, against upstreams that break. Ends with
// 0 when the numbers add up, with 1 when they do not.

const os = require('node:os');
const path = require('node:path');

const clock = require('../../base/clock');
const { checkPeers } = require('../../base/peer');

const FRAME_MS = 100;
const PORT = 3000;
// Without a terminal nobody may be there to end it. With the time that the queues may take to empty
// this stays below a minute.
const UNATTENDED_S = 15;
const PEERS = ['express', 'prom-client', 'undici', 'nodemailer', '@electric-sql/pglite',
  'smtp-server'];

/** Stays from run to run, so that a later one finds what an earlier one has left. */
const defaultDirectory = () =>
  path.join(os.tmpdir(), `sekering-demo-${os.userInfo().username.replace(/\W/g, '')}`);

/** The first signal ends it in order, the second at once. */
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
    const { sumsOf } = require('./sums');
    const sums = sumsOf(demo);
    view.end(sums);
    return sums.ok ? 0 : 1;
  } finally {
    clock.clearTimer(frame);
    view.close();
  }
}

/** The usual port if it is free and nobody asked for another one. */
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

/**
 * Without `seconds` it goes on until it is told to end on a terminal, and for a while elsewhere.
 * @param {{ seconds?: number, port?: number, directory?: string, json?: boolean }} options
 * @returns {Promise<number>} the exit code
 */
async function runDemo ({ seconds, port, directory = defaultDirectory(), json }) {
  checkPeers(PEERS, 'sekering demo');
  const { Demo } = require('./scenario');
  const { viewFor } = require('./view');
  // A reader that goes away (as `head` does) ends the run without a complaint.
  process.stdout.on('error', error => process.exit(error.code === 'EPIPE' ? 0 : 1));
  const length = seconds ?? (process.stdout.isTTY ? Infinity : UNATTENDED_S);
  const demo = await open(Demo, { seconds: length, port, directory });
  const view = viewFor(demo, process.stdout, { json });
  demo.on('event', event => view.event(event));
  const off = onSignals(demo, () => {
    view.close();
    process.exit(130);
  });
  try {
    return await show(demo, view);
  } finally {
    await demo.close();
    off();
  }
}

module.exports = { runDemo };
