'use strict';

/* global document, window */

// The browser piece in real Chromium, on pages with a strict content policy.

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const { launchBrowser } = require('../support/browser');

const FILE = path.join(__dirname, '..', '..', 'lib', 'browser', 'auto-retry.js');
const POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'";
// What a page of a user's does; `order` is what the test asks for.
const SCRIPT = `
  import * as all from '/auto-retry.js';
  Object.assign(window, all);
  window.load = options => {
    window.outcome = autoRetry(() => fetch('/data', { cache: 'no-store' }), options)
      .then(response => response.text())
      .then(text => { document.querySelector('#films').append(text); return text; });
    window.outcome.catch(() => {});
  };
`;
const page = body => `<!doctype html><html lang="en"><title>Films</title><body>${body}</body>`;

let browser;
let server;
let base;
let tab;
// Statuses that /data and /page answer with, one after the other; 200 after them.
let answers;
let asked;
let complaints;

function serve (request, response) {
  const send = (status, type, text) => {
    response.writeHead(status, { 'content-type': type, 'content-security-policy': POLICY });
    response.end(text);
  };
  switch (request.url) {
    case '/': return send(200, 'text/html', page('<main id="films"></main><div id="b"></div>' +
      '<script type="module" src="/page.js"></script>'));
    case '/page.js': return send(200, 'text/javascript', SCRIPT);
    case '/auto-retry.js': return send(200, 'text/javascript', fs.readFileSync(FILE));
    case '/favicon.ico': return send(204, 'text/plain');
  }
  asked.push(Date.now());
  const status = answers.shift() ?? 200;
  if (status === 'reset') return request.socket.destroy();
  if (request.url === '/data') return send(status, 'text/plain', 'Gundala');
  send(status, 'text/html', status === 200 ? page('<h1>Welcome back</h1>')
    : page('<h1>503</h1><div data-auto-retry data-tries="3" data-interval="200"></div>' +
      '<script type="module" src="/auto-retry.js"></script>'));
}

beforeAll(async () => {
  server = http.createServer(serve);
  await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
  base = `http://127.0.0.1:${server.address().port}`;
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  server.closeAllConnections();
  await new Promise(resolve => { server.close(resolve); });
});

beforeEach(async () => {
  answers = [];
  asked = [];
  complaints = [];
  tab = await browser.newPage();
  tab.on('pageerror', error => complaints.push(error.message));
  tab.on('console', message => {
    if (/Content Security Policy/.test(message.text())) complaints.push(message.text());
  });
});

afterEach(async () => {
  await tab.close();
  expect(complaints).toEqual([]);
});

const status = () => tab.getByRole('status');
const button = () => tab.getByRole('button', { name: 'Refresh' });
async function open (options, { paused = false } = {}) {
  // From then on the page's time stands still unless it is told to run.
  if (paused) await tab.clock.install({ time: 0 });
  await tab.goto(base);
  await tab.waitForFunction(() => window.load !== undefined);
  if (paused) await tab.clock.pauseAt(60_000);
  await tab.evaluate(given => window.load(given), options);
}
const films = text => tab.waitForFunction(
  expected => document.querySelector('#films').textContent === expected, text);

test('is a small module without dependencies', () => {
  const text = fs.readFileSync(FILE, 'utf8');
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(3072);
  expect(text).not.toMatch(/\bimport\b|require\(|innerHTML|\beval\b/);
});

test('a success at once shows nothing', async () => {
  await open({ container: '#films', interval: 200 });
  await films('Gundala');
  expect(asked).toHaveLength(1);
  expect(await status().count()).toBe(0);
});

test('a failure is retried with progress, and then shown', async () => {
  answers = [503, 502];
  await open({ container: '#films', interval: 60_000 }, { paused: true });
  await status().filter({ hasText: 'Trying again in 60 s (1 of 3).' }).waitFor();
  expect(await status().getAttribute('aria-live')).toBe('polite');
  // The bar moves, and is not what screen readers read out.
  await tab.clock.runFor(30_000);
  const bar = tab.getByRole('progressbar');
  expect(await bar.evaluate(node => node.value)).toBe(0.5);
  expect(await bar.evaluate(node => node.closest('[role=status]'))).toBeNull();
  await tab.clock.runFor(30_100);
  await status().filter({ hasText: '(2 of 3)' }).waitFor();
  await tab.clock.runFor(60_100);
  await films('Gundala');
  expect(asked).toHaveLength(3);
  expect(await status().count()).toBe(0);
  expect(await bar.count()).toBe(0);
});

test('three tries, five seconds apart, then a button', async () => {
  answers = [503, 503, 503, 503, 503];
  await open({ container: '#films' }, { paused: true });
  for (let n = 1; n <= 3; n++) {
    await status().filter({ hasText: `Trying again in 5 s (${n} of 3).` }).waitFor();
    await tab.clock.runFor(4800);
    expect(asked).toHaveLength(n);
    await tab.clock.runFor(400);
    while (asked.length < n + 1) await new Promise(resolve => setTimeout(resolve, 5));
  }
  await button().waitFor();
  expect(await status().textContent()).toBe('That did not work.');
  await tab.clock.runFor(60_000);
  expect(asked).toHaveLength(4);
  // The button tries once, and is there again after a failure; it works by keyboard.
  await button().click();
  while (asked.length < 5) await new Promise(resolve => setTimeout(resolve, 5));
  await button().waitFor();
  expect(asked).toHaveLength(5);
  await button().focus();
  await tab.keyboard.press('Enter');
  await films('Gundala');
  expect(asked).toHaveLength(6);
  expect(await button().count()).toBe(0);
});

// One page for several of them: it is making pages that takes time.
test('404, 403 and 400 are retried only by the button', async () => {
  for (const code of [404, 403, 400]) {
    answers = [code];
    asked = [];
    await open({ container: '#films', interval: 50 });
    await button().click();
    await films('Gundala');
    expect([code, asked.length]).toEqual([code, 2]);
  }
});

test('500, 502, 429 and 408 are retried', async () => {
  for (const code of [500, 502, 429, 408]) {
    answers = [code];
    asked = [];
    await open({ container: '#films', interval: 50 });
    await films('Gundala');
    expect([code, asked.length]).toEqual([code, 2]);
  }
});

test('an error page loads itself again when the server is back', async () => {
  answers = [503, 503, 503];
  expect((await tab.goto(`${base}/page`)).status()).toBe(503);
  await tab.getByRole('heading', { name: 'Welcome back' }).waitFor();
  // The page, three tries of which the last found it well, and the page again.
  expect(asked).toHaveLength(5);
});

test('an error page ends with the button, which works', async () => {
  answers = Array(4).fill(503);
  await tab.goto(`${base}/page`);
  await button().click();
  await tab.getByRole('heading', { name: 'Welcome back' }).waitFor();
});

test('custom texts are text, never markup', async () => {
  answers = [503];
  await tab.goto(base);
  await tab.waitForFunction(() => window.load !== undefined);
  await tab.evaluate(() => window.load({
    container: document.querySelector('#films'), tries: 0,
    text: { failed: '<img src=x onerror=alert(1)>', button: 'Muat ulang' }
  }));
  await tab.getByRole('button', { name: 'Muat ulang' }).waitFor();
  expect(await status().textContent()).toBe('<img src=x onerror=alert(1)>');
  expect(await tab.locator('img').count()).toBe(0);
});

test('ends with its signal, and leaves nothing behind', async () => {
  answers = [503, 503];
  await tab.goto(base);
  await tab.waitForFunction(() => window.load !== undefined);
  const reason = await tab.evaluate(async () => {
    const controller = new AbortController();
    window.load({ container: '#films', interval: 60_000, signal: controller.signal });
    // Once it waits to try again.
    const timer = setInterval(() => {
      if (document.querySelector('progress') === null) return;
      clearInterval(timer);
      controller.abort(new Error('left the page'));
    }, 10);
    return window.outcome.catch(error => error.message);
  });
  expect(reason).toBe('left the page');
  expect(await status().count()).toBe(0);
  expect(asked).toHaveLength(1);
});

test('a stale copy is marked once', async () => {
  await open({ container: '#films' });
  await films('Gundala');
  await tab.evaluate(() => {
    window.staleNotice('#b', 30_000);
    window.staleNotice('#b', 12 * 60_000);
  });
  expect(await status().allTextContents()).toEqual(['This may be outdated (12 min old).']);
  const own = await tab.evaluate(() =>
    window.staleNotice(document.body, 1, minutes => `Usia: ${minutes}`).textContent);
  expect(own).toBe('Usia: 1');
});

test('two parts of a page fail independently', async () => {
  answers = [503];
  await open({ container: '#films', interval: 1000 }, { paused: true });
  await tab.evaluate(() => { window.autoRetry(() => 'ready', { container: '#b', failed: true }); });
  await tab.waitForFunction(() => document.querySelectorAll('progress').length === 2);
  // The other one waits for five seconds.
  await tab.clock.runFor(1100);
  await films('Gundala');
  expect(await tab.locator('#b progress').count()).toBe(1);
});
