#!/usr/bin/env node
'use strict';

// The demonstration: `npm start`. Exit codes: 0 the numbers add up, 1 they do not, 2 wrong usage.

const { parseArgs } = require('node:util');

const clock = require('../base/clock');

const SECONDS_DEFAULT = 25;
const SECONDS_MIN = 5;
const SECONDS_MAX = 3600;
const FRAME_MS = 100;

const USAGE = `Usage: npm start -- [options]

Runs a Midtrans server, a mail relay and the WhatsApp Cloud API on loopback, sends orders, e-mails
and messages to them by sekering's clients, breaks each of them for a while, and shows what the
breakers make of it. The closing sums are checked against what the servers counted.

  --seconds N  how long orders keep coming: ${SECONDS_MIN} to ${SECONDS_MAX}, or ${SECONDS_DEFAULT}
  --json       print events, states and the summary as one JSON object per line
  --help       print this
`;

function optionsOf (args) {
  const { values } = parseArgs({
    args,
    options: {
      seconds: { type: 'string' }, json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' }
    }
  });
  const seconds = Number(values.seconds ?? SECONDS_DEFAULT);
  if (!(seconds >= SECONDS_MIN && seconds <= SECONDS_MAX)) {
    throw new RangeError(`--seconds must be a number from ${SECONDS_MIN} to ${SECONDS_MAX}`);
  }
  return { ...values, seconds };
}

async function show ({ seconds, json }) {
  // Loaded here so that --help needs no build.
  const { Demo } = require('./demo-scenario');
  const { sumsOf } = require('./demo-sums');
  const { viewFor } = require('./demo-view');
  const demo = new Demo(seconds);
  const view = viewFor(demo, process.stdout, { json });
  let frame;
  const draw = () => {
    if (demo.channels.orders !== undefined) view.tick();
    frame = clock.setTimer(draw, FRAME_MS, false);
  };
  demo.on('event', event => view.event(event));
  const stop = () => {
    // The second time is meant: leave at once.
    if (demo.stopped) {
      view.close();
      process.exit(130);
    }
    demo.stop();
  };
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  try {
    frame = clock.setTimer(draw, 0, false);
    await demo.run();
    const sums = sumsOf(demo);
    view.end(sums);
    return sums.ok ? 0 : 1;
  } finally {
    clock.clearTimer(frame);
    view.close();
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
    await demo.close();
  }
}

/** @returns {Promise<number>} the exit code */
async function main (args) {
  let options;
  try {
    options = optionsOf(args);
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${USAGE}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  // A reader that goes away (as `head` does) ends the run without a complaint.
  process.stdout.on('error', error => process.exit(error.code === 'EPIPE' ? 0 : 1));
  return show(options);
}

if (require.main === module) {
  main(process.argv.slice(2)).then(code => { process.exitCode = code; }, error => {
    process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  });
}

module.exports = { main };
