'use strict';

/* global document, window */

// A day at the dashboard: what an operator sees and does, as wide as a desk's and a phone's screen,
// in light and dark. With SEKERING_PICTURES=docs/pictures it makes the pictures of the guide.

const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const { CircuitBreaker } = require('../..');
const { createDegradation } = require('../../lib/gateway/degradation');
const { createHealth, healthChecks } = require('../../lib/gateway/health');
const { makeReport, reportPage } = require('../../lib/gateway/report');
const { Schedule } = require('../../lib/gateway/schedule');
const {
  createAdminRouter, createBreakerHistory, createDashboardRouter, createEventStream,
} = require('../../lib/http');
const { createServiceHistory } = require('../../lib/http/service-history');
const { openStore } = require('../../lib/store');
const { launchBrowser } = require('../support/browser');
const { serve } = require('../support/http-helpers');
const { closeAll, order, start: startMidtrans } = require('../support/midtrans-helpers');
const { faintTexts, timesAreDrawn, tooWide } = require('../support/page-checks');
const { closeShared, sharedPostgres } = require('../support/postgres');
const { ROOT } = require('../support/setup');

const TOKEN = 'operator-token-0123456789';
const GUIDE = path.join(ROOT, 'docs', 'admin.md');
const PICTURES = ['overview-1280-light', 'overview-390-dark', 'order-1280-dark', 'mail-390-light',
  'report-390-light'];

const CHECKS = ['database', 'breakers', 'midtrans', 'smtp'];
const parts = [];
const began = Date.now();
let tab;
let browser;
let store;
let breakers;

beforeAll(async () => {
  const midtrans = await startMidtrans();
  store = await openStore({
    url: await (await sharedPostgres()).createDatabase(), payments: { midtrans: midtrans.client },
    channels: { EMAIL: { backoff: { strategy: 'fixed', minTimeout: 20 } } },
  });
  breakers = ['midtrans', 'smtp', 'whatsapp'].map(name => new CircuitBreaker(async fail => {
    if (fail) throw Object.assign(new Error('421 too many connections'), { code: 'ESMTP_BUSY' });
  }, { name, resetTimeout: 3_600_000, rollingCountTimeout: 3_600_000,
    volumeThreshold: 5 }));
  const [, smtp] = breakers;
  const degradation = createDegradation({
    services: { midtrans: breakers[0], smtp }, features: { reports: 'NORMAL' }, hysteresis: 0,
  });
  await degradation.start();
  const list = () => breakers;
  const checks = [healthChecks.database(store), healthChecks.breakers(list), async () => ({}),
    async () => ({})];
  const health = createHealth({
    checks: Object.fromEntries(CHECKS.map((name, i) => [name, checks[i]])),
  });
  const replies = ['450 4.2.1 greylisted', '452 4.2.2 mailbox full'];
  const worker = store.outbox.createWorker({
    channels: {
      EMAIL: async () => {
        throw Object.assign(new Error(replies.shift()), { code: 'ESMTP_DEFERRED' });
      },
    },
  });
  const schedule = new Schedule({
    store, timezone: 'UTC', onDone: () => {},
    jobs: {
      cleanUp: { pattern: '0 3 * * *', run: () => store.cleanUp() },
      health: { pattern: '* * * * *', run: () => health.check() },
    },
  });
  const events = createEventStream({ breakers: list, degradation, store });
  const history = createBreakerHistory({ breakers: list, interval: 100 });
  const service = createServiceHistory({ store, worker, breakers: list });
  // The same that a gateway makes its report of.
  const opened = {};
  for (const breaker of breakers) breaker.on('open', () => { opened[breaker.name] = 1; });
  const gateway = {
    store, degradation, health, worker, schedule,
    breakers: Object.fromEntries(breakers.map(breaker => [breaker.name, breaker])),
  };
  const startedAt = Date.now() - 5 * 3_600_000;
  const report = async ({ format }) => {
    const data = await makeReport(gateway, { startedAt, opened });
    return format === 'html' ? reportPage(data) : data;
  };
  const server = await serve(createDashboardRouter(), createAdminRouter({
    breakers: list, degradation, store, events, history, service, health, report,
    tokens: [{ token: TOKEN, name: 'Ani', role: 'operate' }],
  }));
  parts.push(events, history, service, server, { close: () => degradation.stop() });

  // A day of work.
  for (const i of Array(288).keys()) {
    const wave = Math.sin(i / 288 * Math.PI * 2 - 1.5) + 1.2;
    await store.query(`INSERT INTO ${store.schema}.service_minutes
      (minute, gateway, messages, errors) VALUES (now() - $1 * interval '5 min', 'a', $2, $3)`,
    [i, Math.round(wave * 40 + i * 7 % 13), i > 60 && i < 72 ? 60 : i % 9 === 0 ? 4 : 0]);
  }
  for (const id of ['FILM-7', 'FILM-8']) await store.payments.open(order(id));
  const dead = once(worker, 'dead');
  await store.outbox.enqueue({
    channel: 'EMAIL', recipient: 'budi@example.com', subject: 'Your tickets', body: 'Two tickets',
    html: '<div style="background:#0f6f66;color:#fff;padding:16px"><h2>Your tickets</h2></div>' +
      '<p>Two seats, row C, on Friday at 19:00.</p><img src="https://x.example/a.png" alt="map">',
    orderKey: 'FILM-7', maxAttempts: 2,
  });
  await worker.start();
  await dead;
  await worker.stop();
  await store.outbox.enqueue({
    channel: 'EMAIL', recipient: 'citra@example.com', subject: 'Your order', body: 'Thank you',
    orderKey: 'FILM-7', dedupeKey: 'order FILM-7',
  });
  midtrans.fake.choose('FILM-7');
  midtrans.fake.settle('FILM-7');
  const [notification] = midtrans.fake.notifications('FILM-7', { latest: true });
  await store.payments.handleNotification(JSON.stringify(notification));
  for (const fail of [false, true, true, true, true, true]) await smtp.fire(fail).catch(() => {});
  for (const each of [breakers[0], breakers[2]]) await each.fire(false);
  for (const job of ['cleanUp', 'health']) await schedule.run(job);

  browser = await launchBrowser({ viewport: { width: 1280, height: 900 } });
  tab = await browser.newPage();
  await tab.goto(`${server.url}/dashboard#overview`);
  await tab.getByLabel('Access token').fill(TOKEN);
  await tab.keyboard.press('Enter');
  await tab.getByText('live', { exact: true }).waitFor();
});

afterAll(async () => {
  await browser?.close();
  for (const each of parts) await each.close();
  for (const breaker of breakers ?? []) breaker.shutdown();
  await store?.close();
  await closeAll();
  await closeShared();
});

const part = name => tab.locator(`[data-part="${name}"]`);
const dialog = () => tab.getByRole('dialog');
const show = name => tab.getByRole('navigation').getByRole('link', { name }).click();

/** The whole page as WebP, which takes a third of PNG: users install these pictures. */
async function takePicture () {
  const protocol = await tab.context().newCDPSession(tab);
  const { data } = await protocol.send('Page.captureScreenshot',
    { format: 'webp', quality: 80, captureBeyondViewport: true });
  await protocol.detach();
  return Buffer.from(data, 'base64');
}

/** Checks one view at both widths, in light and dark, and makes pictures if that is asked for. */
async function look (name) {
  const folder = process.env.SEKERING_PICTURES;
  for (const width of [1280, 390]) {
    await tab.setViewportSize({ width, height: width === 390 ? 844 : 900 });
    for (const colorScheme of ['light', 'dark']) {
      await tab.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      expect(await tab.evaluate(tooWide)).toEqual([]);
      expect(await tab.evaluate(faintTexts)).toEqual([]);
      await tab.waitForFunction(timesAreDrawn);
      const picture = `${name}-${width}-${colorScheme}`;
      if (folder === undefined || !PICTURES.includes(picture)) continue;
      // The charts are drawn again for the new size.
      await tab.evaluate(() => new Promise(resolve => {
        window.requestAnimationFrame(() => window.requestAnimationFrame(resolve));
      }));
      fs.writeFileSync(path.join(folder, `${picture}.webp`), await takePicture());
    }
  }
  await tab.setViewportSize({ width: 1280, height: 900 });
}

test('an open breaker tells why, is silenced, and health agrees with it', async () => {
  const card = tab.getByRole('article', { name: 'Breaker smtp' });
  await card.getByText('automatically: 80 % of 5 calls failed').waitFor();
  await card.getByText('ESMTP_BUSY').waitFor();
  await card.getByText('Tries again').waitFor();
  await part('service').getByRole('img', { name: /In the last 24 hours: orders 2,/ }).waitFor();
  const smtp = part('health').getByRole('listitem').filter({ hasText: 'smtp' });
  await smtp.getByText('down', { exact: true }).waitFor();
  await smtp.getByText('the check succeeds, but calls fail').waitFor();
  const checked = await part('health').getByRole('listitem').locator('time')
    .evaluateAll(times => times.map(({ dateTime }) => new Date(dateTime).getTime()));
  expect(checked.length).toBe(CHECKS.length);
  for (const at of checked) {
    expect(at).toBeGreaterThanOrEqual(began);
    expect(at).toBeLessThanOrEqual(Date.now());
  }
  // The service, and two of each breaker.
  const charts = tab.locator('.chart canvas');
  await charts.nth(2 * breakers.length).waitFor();
  expect(await charts.count()).toBe(1 + 2 * breakers.length);
  await look('overview');
  await tab.getByRole('banner').getByText('1 open').waitFor();
  await card.getByRole('button', { name: 'Silence smtp' }).click();
  await dialog().getByLabel(/Reason/).fill('relay is being moved');
  await dialog().getByRole('button', { name: 'Silence' }).click();
  await card.getByText('relay is being moved').waitFor();
  await tab.getByRole('banner').getByText('no breaker open').waitFor();
  await card.getByRole('button', { name: 'End the silence of smtp' }).click();
  await dialog().getByLabel(/Reason/).fill('relay was moved');
  await dialog().getByRole('button', { name: 'End it' }).click();
  await tab.getByRole('banner').getByText('1 open').waitFor();
});

test('breakers are found by their state', async () => {
  const cards = tab.getByRole('article');
  const choose = name => tab.getByRole('search', { name: 'Breakers' })
    .getByRole('button', { name }).click();
  const seen = async (...names) => {
    await tab.waitForFunction(number => document.querySelectorAll('[data-breaker]').length ===
      number, names.length);
    expect(await cards.evaluateAll(list => list.map(({ dataset }) => dataset.breaker).sort()))
      .toEqual(names);
  };
  await seen('midtrans', 'smtp', 'whatsapp');
  await choose(/^Open/);
  await seen('smtp');
  await choose(/^Closed/);
  await seen('midtrans', 'whatsapp');
  await choose(/^Half open/);
  await part('breakers').getByText('No breaker matches.').waitFor();
  await choose(/^Half open/);
  await seen('midtrans', 'smtp', 'whatsapp');
});

test('events are found by their kind', async () => {
  await part('events').getByLabel('Kind').selectOption('payment');
  await part('events').getByText('Order FILM-7').first().waitFor();
  expect(await part('events').getByText('smtp is open').count()).toBe(0);
  await part('events').getByLabel('Find').fill('no such thing');
  await part('events').getByText('No event matches.').waitFor();
  await part('events').getByLabel('Find').fill('');
  await part('events').getByLabel('Kind').selectOption('breaker');
  await part('events').getByText('smtp is open').waitFor();
});

test('an order is found by its state, and has one timeline, with notes', async () => {
  await show('Payments');
  const other = tab.locator('[data-order="FILM-8"]');
  await part('payments').getByLabel('State').selectOption('created');
  await tab.locator('[data-order="FILM-7"]').waitFor({ state: 'detached' });
  await other.waitFor();
  await part('payments').getByLabel('State').selectOption('paid');
  await other.waitFor({ state: 'detached' });
  const row = tab.locator('[data-order="FILM-7"]');
  await row.getByRole('button', { name: /History/ }).click();
  await row.getByRole('button', { name: 'Add a note about FILM-7' }).click();
  await dialog().getByLabel('Note').fill('The customer asked for a receipt.');
  await dialog().getByRole('button', { name: 'Add' }).click();
  const timeline = row.getByRole('list', { name: 'Timeline' });
  await timeline.getByText('given up').first().waitFor();
  for (const text of ['greylisted', 'mailbox full']) await timeline.getByText(text).waitFor();
  await timeline.getByText('Midtrans told').first().waitFor();
  await row.getByText('The customer asked for a receipt.').first().waitFor();
  await look('order');
});

test('messages are found by status, channel and time, looked at, and cancelled', async () => {
  await show('Messages');
  const letter = part('dlq').locator('[data-letter]');
  await letter.getByRole('button', { name: /Details/ }).click();
  await letter.frameLocator('iframe').getByText('Two seats').waitFor();
  const attempts = letter.getByRole('list', { name: 'Attempts' }).getByRole('listitem');
  const said = [/^1\..*ESMTP_DEFERRED.*450 4\.2\.1 greylisted/,
    /^2\..*ESMTP_DEFERRED.*452 4\.2\.2 mailbox full/, /given up: Max retries \(2\) exceeded/];
  expect(await attempts.allTextContents()).toEqual(said.map(text => expect.stringMatching(text)));
  expect(await attempts.locator('time').count()).toBe(said.length);
  await look('mail');
  const ofBudi = part('list').locator('[data-message]').filter({ hasText: 'budi@example.com' });
  await ofBudi.waitFor();
  await part('list').getByLabel('Status').selectOption('PENDING');
  await ofBudi.waitFor({ state: 'detached' });
  await part('list').getByLabel('Channel').selectOption('EMAIL');
  await part('list').getByLabel('Time').selectOption('last hour');
  const message = part('list').locator('[data-message]').filter({ hasText: 'citra@example.com' });
  await message.getByRole('button', { name: /Details/ }).click();
  await message.getByRole('button', { name: /Cancel message/ }).click();
  await dialog().getByLabel(/Reason/).fill('sent by hand');
  await dialog().getByRole('button', { name: 'Cancel it' }).click();
  await message.waitFor({ state: 'detached' });
  await part('list').getByLabel('Status').selectOption('CANCELLED');
  await message.getByText('cancelled').first().waitFor();
  expect(await ofBudi.count()).toBe(0);
  await part('list').getByLabel('Before').fill('2020-01-01T00:00');
  await part('list').getByText('No messages.').waitFor();
});

test('the report is in words, and prints without what is around it', async () => {
  await show('Report');
  await part('report').getByText('something that it uses does not').waitFor();
  for (const words of ['The breaker smtp is open: 80 %', '1 message was given up']) {
    await part('report').getByText(words).waitFor();
  }
  await look('report');
  // On paper it is light, whatever the screen is.
  await tab.emulateMedia({ media: 'print', colorScheme: 'dark' });
  expect(await tab.evaluate(faintTexts)).toEqual([]);
  expect(await tab.getByRole('navigation').isVisible()).toBe(false);
  for (const width of [1280, 390]) {
    await tab.setViewportSize({ width, height: 844 });
    expect(await tab.evaluate(tooWide)).toEqual([]);
  }
  await tab.emulateMedia({ media: 'screen' });
});

test('the guide shows pictures that are there', () => {
  const guide = fs.readFileSync(GUIDE, 'utf8');
  for (const name of PICTURES) {
    expect(guide.includes(`pictures/${name}.webp`)).toBe(true);
    expect(fs.existsSync(path.join(ROOT, 'docs', 'pictures', `${name}.webp`))).toBe(true);
  }
});
