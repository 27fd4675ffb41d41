#!/usr/bin/env node
'use strict';

/* global document, window */

// How fast the dashboard appears when there is much to show: `npm run bench:dashboard`, in
// Chromium, with a PostgreSQL of its own. Each look is that of a browser that has nothing in its
// cache.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { CircuitBreaker } = require('../..');
const { createHealth } = require('../../lib/gateway/health');
const {
  createAdminRouter, createBreakerHistory, createDashboardRouter, createEventStream,
} = require('../../lib/http');
const { createServiceHistory } = require('../../lib/http/service-history');
const { launchBrowser } = require('../support/browser');
const { serve } = require('../support/http-helpers');
const { closeAll, start: startMidtrans } = require('../support/midtrans-helpers');
const { startPostgres } = require('../support/postgres');
const { openFilled } = require('./filling');
const { machineOf } = require('./report');

const RESULTS = path.join(__dirname, 'DASHBOARD-RESULTS.md');
const ROWS = 100_000;
const BREAKERS = 1000;
// Every so many of them is open.
const OPEN_EVERY = 20;
const LOOKS = 7;
const MS_MAX = 1000;
const TOKEN = 'operator-token-0123456789';

/** The views, and which elements are there once their data are: a selector, and how many. */
const VIEWS = {
  overview: ['[data-breaker]', 24],
  messages: ['[data-message]', 1],
  payments: ['[data-order]', 1],
};

async function openService (postgres) {
  const midtrans = await startMidtrans();
  const store = await openFilled(postgres, ROWS, { payments: { midtrans: midtrans.client } });
  const breakers = Array.from({ length: BREAKERS }, (_, i) => new CircuitBreaker(async () => {
    if (i % OPEN_EVERY === 0) throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' });
  }, { name: `upstream-${i}`, volumeThreshold: 5, resetTimeout: 3_600_000 }));
  for (const breaker of breakers) {
    for (let i = 0; i < 10; i++) await breaker.fire().catch(() => {});
  }
  const list = () => breakers;
  const health = createHealth({ checks: { midtrans: async () => ({}) } });
  const events = createEventStream({ breakers: list, store });
  const history = createBreakerHistory({ breakers: list });
  const service = createServiceHistory({ store, breakers: list });
  const server = await serve(createDashboardRouter(), createAdminRouter({
    breakers: list, store, events, history, service, health,
    tokens: [{ token: TOKEN, name: 'Ani', role: 'operate' }],
  }));
  const close = async () => {
    for (const part of [events, history, service, server]) await part.close();
    for (const breaker of breakers) breaker.shutdown();
    await store.close();
    await closeAll();
  };
  return { url: server.url, close };
}

/** When something is painted for the first time, and when the data are: ms from the navigation. */
async function look (browser, url, view) {
  const context = await browser.newContext();
  try {
    await context.addInitScript(token => sessionStorage.setItem('sekering-token', token), TOKEN);
    const tab = await context.newPage();
    await tab.goto(`${url}/dashboard#${view}`, { waitUntil: 'commit' });
    const [selector, count] = VIEWS[view];
    await tab.locator(selector).nth(count - 1).waitFor({ state: 'attached' });
    // Two frames later it is on the screen.
    return await tab.evaluate(() => new Promise(resolve => {
      window.requestAnimationFrame(() => window.requestAnimationFrame(data => {
        const [paint] = performance.getEntriesByName('first-contentful-paint');
        resolve({ paint: paint.startTime, data, nodes: document.querySelectorAll('*').length });
      }));
    }));
  } finally {
    await context.close();
  }
}

const median = values => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function measure () {
  const postgres = await startPostgres();
  const service = await openService(postgres);
  const browser = await launchBrowser({ viewport: { width: 1280, height: 900 } });
  try {
    const rows = [];
    for (const view of Object.keys(VIEWS)) {
      const looks = [];
      for (let i = 0; i < LOOKS; i++) looks.push(await look(browser, service.url, view));
      const of = name => median(looks.map(found => found[name]));
      rows.push({ view, paint: of('paint'), data: of('data'), nodes: of('nodes') });
    }
    return rows;
  } finally {
    await browser.close();
    await service.close();
    await postgres.close();
  }
}

const isMet = ({ data }) => data <= MS_MAX;

function markdownOf (rows) {
  const head = ['view', 'first paint', 'with its data', 'elements', 'verdict'];
  const table = [
    head, head.map(() => '---'),
    ...rows.map(row => [row.view, `${row.paint.toFixed(0)} ms`, `${row.data.toFixed(0)} ms`,
      row.nodes, isMet(row) ? 'met' : 'missed']),
  ];
  return ['# The dashboard, when there is much to show', '',
    '`npm run bench:dashboard -- --write`, PostgreSQL 15, Chromium on the same machine.', '',
    `Machine: ${machineOf()}`, '',
    `${ROWS.toLocaleString('en')} messages sent, as many dead, as many waiting, as many orders; ` +
      `${BREAKERS.toLocaleString('en')} breakers,`,
    `of which one in ${OPEN_EVERY} is open. Times from the start of the navigation, with nothing ` +
      'cached; the medians',
    `of ${LOOKS} looks. Gate: the data are painted within ${MS_MAX} ms.`, '',
    ...table.map(cells => `| ${cells.join(' | ')} |`), ''].join('\n');
}

async function main () {
  const { values: options } = parseArgs({
    options: { write: { type: 'boolean' }, gate: { type: 'boolean' } },
  });
  const rows = await measure();
  const text = markdownOf(rows);
  process.stdout.write(text);
  if (options.write) fs.writeFileSync(RESULTS, text);
  if (options.gate && !rows.every(isMet)) process.exitCode = 1;
}

main();
