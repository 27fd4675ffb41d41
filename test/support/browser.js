'use strict';

// Chromium for tests.

const { chromium } = require('playwright-core');

// Less than a test has, so that what hangs is named.
const HANGS_MS = 300_000;
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update',
  '--disable-sync'];

/** @param {object} [options] of Playwright's contexts, such as `viewport` */
async function launchBrowser (options) {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium', args: ARGS, timeout: HANGS_MS,
  });
  async function newContext () {
    const context = await browser.newContext(options);
    context.setDefaultTimeout(HANGS_MS);
    return context;
  }
  return {
    newContext,
    newPage: async () => (await newContext()).newPage(),
    close: () => browser.close(),
  };
}

module.exports = { launchBrowser };
