'use strict';

/* global document, getComputedStyle, window */

// The dashboard in real Chromium, over a real admin API and a store on PostgreSQL.

const { CircuitBreaker } = require('../..');
const { createDegradation } = require('../../lib/gateway/degradation');
const {
  createAdminRouter, createBreakerHistory, createDashboardRouter, createEventStream,
} = require('../../lib/http');
const { openStore } = require('../../lib/store');
const { launchBrowser } = require('../support/browser');
const { serve } = require('../support/http-helpers');
const { closeAll, order, start: startMidtrans } = require('../support/midtrans-helpers');
const { faintTexts, isDrawn, timesAreDrawn, tooWide } = require('../support/page-checks');
const { closeShared, sharedPostgres } = require('../support/postgres');

const OPERATOR = 'operator-token-0123456789';
const READER = 'reader-token-0123456789';
const EVIL = '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>';

let browser;
let context;
let server;
let store;
let fake;
let breaker;
let degradation;
let events;
let history;
let tab;
let requests;
let complaints;

beforeAll(async () => {
  const midtrans = await startMidtrans();
  fake = midtrans.fake;
  store = await openStore({
    url: await (await sharedPostgres()).createDatabase(), payments: { midtrans: midtrans.client },
  });
  breaker = new CircuitBreaker(async fail => {
    if (fail) throw new Error('down');
  }, { name: `midtrans ${EVIL}`, resetTimeout: 600_000 });
  degradation = createDegradation({
    services: { midtrans: breaker }, features: { reports: 'NORMAL' }, hysteresis: 0,
  });
  await degradation.start();
  const breakers = () => [breaker];
  events = createEventStream({ breakers, degradation, store });
  history = createBreakerHistory({ breakers, interval: 50 });
  const report = async ({ format }) =>
    format === 'html' ? '<h1>Report</h1>' : { breakers: [{ name: breaker.name, calls: 12 }] };
  server = await serve(createDashboardRouter(), createAdminRouter({
    breakers, degradation, store, events, history, report,
    health: { check: async () => ({ status: 'healthy', checks: {} }) },
    tokens: [{ token: OPERATOR, name: 'Ani', role: 'operate' },
      { token: READER, name: 'Budi', role: 'read' }],
  }));
  browser = await launchBrowser({ viewport: { width: 1280, height: 900 } });
  // One for all, so that the pages' programs are compiled once. The token is that of a tab.
  context = await browser.newContext();
});

afterAll(async () => {
  await browser?.close();
  events?.close();
  history?.close();
  degradation?.stop();
  breaker?.shutdown();
  await server?.close();
  await store?.close();
  await closeAll();
  await closeShared();
});

beforeEach(async () => {
  complaints = [];
  requests = [];
  breaker.reset();
  degradation.setLevel(null);
  tab = await context.newPage();
  tab.on('request', request => requests.push(request.url()));
  tab.on('pageerror', error => complaints.push(error.message));
  tab.on('console', message => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
});

// Nothing from elsewhere, nothing that the content policy had to stop, nothing run that was shown.
afterEach(async () => {
  expect(await tab.evaluate(() => window.hurt)).toBeUndefined();
  await tab.close();
  expect(complaints).toEqual([]);
  expect(requests.filter(url => !url.startsWith(server.url) && !url.startsWith('blob:')))
    .toEqual([]);
});

async function enter (view = 'overview', token = OPERATOR) {
  await tab.goto(`${server.url}/dashboard#${view}`);
  await tab.getByLabel('Access token').fill(token);
  await tab.keyboard.press('Enter');
  await tab.getByText('live', { exact: true }).waitFor();
}

const part = name => tab.locator(`[data-part="${name}"]`);
const card = () => tab.getByRole('article');
const dialog = () => tab.getByRole('dialog');
const letter = (recipient, reason = 'mailbox full') => store.deadLetters.add(
  { channel: 'EMAIL', recipient, subject: `Ticket ${recipient}`, body: EVIL }, reason,
  { kind: 'EFULL' });

describe('the token', () => {
  test('is asked for, refused when wrong, kept for the tab, and forgotten at the end', async () => {
    await tab.goto(`${server.url}/dashboard/`);
    const field = tab.getByLabel('Access token');
    await field.fill('wrong-token-0123456789');
    await tab.keyboard.press('Enter');
    await tab.getByRole('alert').filter({ hasText: 'This token is not valid.' }).waitFor();
    // What Chromium says of an answer of 401.
    expect(complaints.splice(0)).toEqual([expect.stringMatching('401')]);
    await field.fill(OPERATOR);
    await tab.keyboard.press('Enter');
    await tab.getByText('Ani').waitFor();
    await tab.reload();
    await tab.getByText('Ani').waitFor();
    await tab.getByRole('button', { name: 'Log out' }).click();
    await field.waitFor();
    expect(await tab.evaluate(() => [window.sessionStorage.length, window.localStorage.length,
      document.cookie])).toEqual([0, 0, '']);
    expect(requests.join()).not.toMatch(OPERATOR);
  });

  test('that may only read is offered nothing to change', async () => {
    await letter('reader@example.com');
    await enter('overview', READER);
    await card().waitFor();
    expect(await tab.getByRole('button', { name: /Reset/ }).count()).toBe(0);
    await tab.getByRole('link', { name: 'Messages' }).click();
    await part('dlq').getByText('reader@example.com').first().waitFor();
    expect(await tab.getByRole('button', { name: /Retry|Delete/ }).count()).toBe(0);
    await store.deadLetters.purge();
  });
});

describe('breakers', () => {
  test('change as one looks on, in words as well, and are reset', async () => {
    await enter();
    await card().getByText('Closed', { exact: true }).waitFor();
    await breaker.fire(true).catch(() => {});
    await card().getByText('Open', { exact: true }).waitFor();
    await card().getByText('calls are rejected').waitFor();
    expect(await part('announcer').textContent()).toMatch(/is open|DEGRADED/);
    await part('events').getByText('is open').first().waitFor();
    await tab.getByRole('banner').getByText('1 open').waitFor();
    expect(await tab.title()).toMatch('(1 open)');
    // Charts have a text for those who do not see them.
    await card().getByRole('img', { name: /Error rate, now 100 %/ }).waitFor();
    expect(await card().locator('canvas').count()).toBe(2);

    await card().getByRole('button', { name: /Reset/ }).click();
    await card().getByText('Closed', { exact: true }).waitFor();
    expect(breaker.opened).toBe(false);
    await tab.getByRole('link', { name: 'Audit' }).click();
    await part('audit').getByText('breaker.reset').first().waitFor();
  });

  test('charts begin with what the server has seen, also after a reload', async () => {
    await breaker.fire(true).catch(() => {});
    const rates = () => history.read({}).breakers[breaker.name].errorRate;
    while (rates().filter(rate => rate === 100).length < 20) {
      await new Promise(resolve => setTimeout(resolve, 20));
    }
    // From now on there is nothing to draw: whatever is in a chart is of the time before.
    breaker.reset();
    await enter();
    await tab.waitForFunction(isDrawn);
    await tab.reload();
    await tab.waitForFunction(isDrawn);
    await tab.waitForFunction(timesAreDrawn);
  });

  test('names are text', async () => {
    await enter();
    expect(await card().getByRole('heading').textContent()).toBe(breaker.name);
    expect(await tab.locator('img[src=x]').count()).toBe(0);
    await tab.getByRole('link', { name: 'Report' }).click();
    await part('report').getByText(breaker.name).waitFor();
    const [download] = await Promise.all([tab.waitForEvent('download'),
      tab.getByRole('button', { name: 'Save as HTML' }).click()]);
    expect(download.suggestedFilename()).toMatch(/^reliability-.*\.html$/);
  });
});

test('the level is set with a reason, by keyboard alone', async () => {
  await enter();
  const severe = part('degradation').getByRole('button', { name: /SEVERE/ });
  await severe.focus();
  await tab.keyboard.press('Enter');
  await dialog().waitFor();
  // The dialog holds the focus, and Escape leaves it.
  await tab.keyboard.press('Escape');
  expect(await dialog().count()).toBe(0);
  await severe.focus();
  await tab.keyboard.press('Enter');
  await dialog().getByLabel(/Reason/).fill('moving house');
  await tab.keyboard.press('Enter');
  await part('degradation').getByText('moving house').waitFor();
  expect(await severe.evaluate(button => button === document.activeElement)).toBe(true);
  expect(degradation.snapshot()).toMatchObject({
    level: { name: 'SEVERE' }, reason: 'moving house', by: 'Ani',
  });
  await tab.getByRole('banner').getByText('SEVERE').waitFor();
  await part('degradation').getByText('off', { exact: true }).waitFor();
  await tab.getByRole('button', { name: 'Back to automatic' }).click();
  await dialog().getByLabel(/Reason/).fill('moved');
  await dialog().getByRole('button', { name: 'Make automatic' }).click();
  await tab.getByRole('banner').getByText('NORMAL').waitFor();
});

test('every step can be reached by keyboard, and shows where one is', async () => {
  await enter();
  await card().waitFor();
  await tab.evaluate(() => document.activeElement.blur());
  const seen = [];
  for (let i = 0; i < 16; i++) {
    await tab.keyboard.press('Tab');
    const [name, outline] = await tab.evaluate(() => {
      const { activeElement: element } = document;
      return [element.getAttribute('aria-label') ?? element.textContent.trim(),
        getComputedStyle(element).outlineStyle];
    });
    seen.push(name);
    if (name !== '') expect(outline).toBe('solid');
  }
  expect(seen[0]).toBe('Skip to content');
  for (const name of ['Log out', 'Messages', 'Audit']) expect(seen).toContain(name);
  expect(seen.some(name => name.startsWith('Reset midtrans'))).toBe(true);
  for (const role of ['banner', 'navigation', 'main']) {
    expect(await tab.getByRole(role).count()).toBe(1);
  }
});

test('a connection that is lost shows, and comes back by itself', async () => {
  await enter();
  await card().waitFor();
  await tab.context().setOffline(true);
  await tab.getByText('not connected').waitFor();
  await tab.getByRole('alert').filter({ hasText: 'Could not load' }).first().waitFor();
  await tab.context().setOffline(false);
  await tab.getByText('live', { exact: true }).waitFor();
  await tab.getByRole('alert').waitFor({ state: 'detached' });
  for (const text of complaints.splice(0)) expect(text).toMatch('ERR_INTERNET_DISCONNECTED');
});

describe('dead letters', () => {
  const rows = () => part('dlq').locator('[data-letter]');

  test('come up by themselves, are shown as text, and are tried again', async () => {
    await enter('messages');
    await part('dlq').getByText('No dead letters.').waitFor();
    const { id } = await letter(EVIL, `550 ${EVIL} \u202e\u0000`.replace('\0', ''));
    const row = rows().filter({ hasText: 'Ticket' });
    await row.waitFor();
    expect(await row.textContent()).toContain(EVIL);
    expect(await row.textContent()).toContain('\\u{202e}');
    await store.query('UPDATE sekering.notification_outbox SET last_error = $2 WHERE id = $1',
      [id, 'over quota']);
    await row.getByText('over quota').waitFor();
    await row.getByRole('button', { name: /Details/ }).click();
    expect(await row.getByRole('region', { name: 'Text' }).textContent()).toBe(EVIL);
    await row.getByRole('button', { name: /Retry/ }).click();
    await part('dlq').getByText('No dead letters.').waitFor();
    expect(await tab.evaluate(() => document.activeElement.id)).toBe('dlq-title');
    expect(await store.outbox.get(id)).toMatchObject({ status: 'PENDING' });
  });

  test('that were retried tell how often they failed, and what of that is shown', async () => {
    const { id } = await letter('lives@example.com');
    const fail = (count, more) => store.query(`UPDATE sekering.notification_outbox
      SET attempt_count = 5, error_history = (SELECT jsonb_agg(jsonb_build_object('attempt',
        1 + (i - 1) % 5, 'at', now(), 'name', 'Error', 'message', 'no ' || i) || $3::jsonb)
        FROM generate_series(1, $2::int) AS i) WHERE id = $1`, [id, count, JSON.stringify(more)]);
    await fail(5, {});
    await enter('messages');
    const row = part('dlq').locator(`[data-letter="${id}"]`);
    const errors = row.getByRole('list', { name: 'Attempts' }).getByRole('listitem');
    const look = async count => {
      await tab.reload();
      await row.getByRole('button', { name: /Details/ }).click();
      await errors.nth(count).waitFor();
      return row.textContent();
    };
    expect(await look(5)).not.toContain('in all');
    await fail(10, {});
    expect(await look(10)).toContain('10 attempts failed in all.');
    await fail(100, { omitted: 1137 });
    const text = await look(100);
    expect(text).toContain('1,237 attempts failed in all; the last 100 are shown.');
    expect(text).toContain('5 of 5');
    await store.deadLetters.purge({ ids: [id] });
  });

  test('show their HTML as a page without scripts, and its source', async () => {
    const html = `<h1 style="color: rgb(1, 2, 3)">Paid</h1>${EVIL}
      <a href="https://elsewhere.example">x</a>
      <img src="https://elsewhere.example/a.png" alt="logo">`;
    const { id } = await store.deadLetters.add(
      { channel: 'EMAIL', recipient: 'page@example.com', subject: 'Page', html }, 'mailbox full');
    await enter('messages');
    const row = part('dlq').locator(`[data-letter="${id}"]`);
    await row.getByRole('button', { name: /Details/ }).click();
    const mail = row.frameLocator('iframe');
    const heading = mail.getByRole('heading', { name: 'Paid' });
    await heading.waitFor();
    expect(await heading.evaluate(element => getComputedStyle(element).color))
      .toBe('rgb(1, 2, 3)');
    await mail.getByText('[picture: logo]').waitFor();
    expect(await mail.locator('script, img, [href], [onerror]').count()).toBe(0);
    await row.getByText('Source').click();
    expect(await row.getByRole('region', { name: 'HTML' }).textContent()).toBe(html);
    // Chromium tells of each script that it did not run.
    for (const text of complaints.splice(0)) {
      expect(text).toMatch(/^Blocked script execution in .*preview\.html/);
    }
    expect(await row.locator('h1').count()).toBe(0);
    await store.deadLetters.purge({ ids: [id] });
  });

  test('are found, chosen, retried at a rate, and deleted only when that is meant', async () => {
    const letters = [];
    for (const name of ['ani', 'budi', 'citra']) letters.push(await letter(`${name}@example.com`));
    const [ani, budi, citra] = letters;
    await enter('messages');
    await rows().nth(2).waitFor();
    await part('dlq').getByLabel('Find').fill('budi');
    await rows().nth(1).waitFor({ state: 'detached' });
    expect(await rows().count()).toBe(1);
    await part('dlq').getByLabel('Find').fill('');
    await rows().nth(2).waitFor();
    await tab.getByLabel(`Select message ${ani.id}`).check();
    await tab.getByLabel(`Select message ${budi.id}`).check();
    await tab.getByRole('button', { name: 'Retry 2 selected …' }).click();
    await dialog().getByLabel(/per second/).fill('2');
    await dialog().getByRole('button', { name: 'Retry' }).click();
    await rows().nth(1).waitFor({ state: 'detached' });
    expect(await store.deadLetters.list()).toMatchObject([{ id: citra.id }]);

    await tab.getByRole('button', { name: 'Delete all 1 …' }).click();
    await dialog().getByLabel(/Reason/).fill('test');
    await dialog().getByRole('button', { name: 'Delete for good' }).click();
    // The box has to be ticked first.
    expect(await store.deadLetters.count()).toBe(1);
    await dialog().getByLabel(/Yes, delete/).check();
    await dialog().getByRole('button', { name: 'Delete for good' }).click();
    await part('dlq').getByText('No dead letters.').waitFor();
    expect(await store.deadLetters.count()).toBe(0);
  });

  test('are found by time, by keyboard alone, and only these are retried or deleted', async () => {
    const old = await letter('old@example.com');
    await store.query(`UPDATE sekering.notification_outbox
      SET created_at = created_at - interval '2 h' WHERE id <= $1`, [old.id]);
    const young = await letter('young@example.com');
    const row = ({ id }) => part('dlq').locator(`[data-letter="${id}"]`);
    const created = part('dlq').getByLabel('Created');
    const before = part('dlq').getByLabel('Before');
    await enter('messages');
    await row(old).waitFor();
    await created.focus();
    await tab.keyboard.press('ArrowDown');
    expect(await created.locator('option:checked').textContent()).toBe('last hour');
    await row(old).waitFor({ state: 'detached' });
    await row(young).waitFor();
    const retry = tab.getByRole('button', { name: 'Retry all matching …' });
    await retry.focus();
    await tab.keyboard.press('Enter');
    await dialog().getByRole('button', { name: 'Retry' }).click();
    await row(young).waitFor({ state: 'detached' });
    expect(await store.deadLetters.list()).toMatchObject([{ id: old.id }]);

    await created.focus();
    await tab.keyboard.press('ArrowUp');
    await row(old).waitFor();
    await before.fill('2020-01-01T00:00');
    await part('dlq').getByText('No dead letters match').waitFor();
    await before.fill('');
    await row(old).waitFor();
    await store.deadLetters.purge();
  });
});

test('a list is looked through page by page', async () => {
  const { id } = await store.outbox.enqueue({ channel: 'EMAIL', recipient: 'first@example.com',
    subject: 'The first', body: 'x' });
  // As many as a page looks at.
  await store.query(`INSERT INTO sekering.notification_outbox (channel, recipient, status)
    SELECT 'EMAIL', 'later', 'SENT' FROM generate_series(1, 10000)`);
  await enter('messages');
  const list = part('list');
  const button = name => list.getByRole('button', { name });
  await list.getByLabel('Find').fill('first@example.com');
  await list.getByText('None among the newest. Press Older to look further.').waitFor();
  await button('Older').click();
  await list.getByText('first@example.com').waitFor();
  expect(await button('Older').isDisabled()).toBe(true);
  await button('Newer').click();
  await list.getByText('None among the newest.').waitFor();
  await store.query('DELETE FROM sekering.notification_outbox WHERE id >= $1', [id]);
});

test('a payment that is held is looked at and decided', async () => {
  await store.payments.open(order('FILM-1'));
  fake.choose('FILM-1');
  fake.settle('FILM-1');
  await store.query(`UPDATE ${store.schema}.payment_orders SET amount_minor = 900000`);
  const [notification] = fake.notifications('FILM-1', { latest: true });
  await enter('payments');
  const row = tab.locator('[data-order="FILM-1"]');
  await row.getByText('created').waitFor();
  expect(await store.payments.handleNotification(JSON.stringify(notification)))
    .toMatchObject({ outcome: 'held' });
  await row.getByText('held', { exact: true }).waitFor();
  expect(await row.textContent()).toContain('IDR 9,000');
  await row.getByRole('button', { name: /History/ }).click();
  await row.getByRole('button', { name: 'Body' }).click();
  const body = await row.getByRole('region', { name: /Body/ }).textContent();
  expect(body).toContain('"gross_amount":"10000.00"');
  expect(body).not.toContain(notification.signature_key);
  await row.getByRole('button', { name: 'Apply FILM-1' }).click();
  await dialog().getByLabel(/Reason/).fill('seen at the bank');
  await dialog().getByRole('button', { name: 'Apply' }).click();
  await row.getByText('paid', { exact: true }).first().waitFor();
  expect(await store.payments.get('FILM-1')).toMatchObject({ state: 'paid', held: false });
});

test('what an older release held of an unrecorded order is shown, and decided', async () => {
  await store.payments.open(order('STRAY-1'));
  fake.choose('STRAY-1');
  fake.settle('STRAY-1');
  await store.query(`DELETE FROM ${store.schema}.payment_orders WHERE order_id = 'STRAY-1'`);
  const [notification] = fake.notifications('STRAY-1', { latest: true });
  expect(await store.payments.handleNotification(JSON.stringify(notification)))
    .toMatchObject({ outcome: 'unknown_order' });
  await store.query(`UPDATE ${store.schema}.payment_events
    SET outcome = 'held', reason = 'unknown_order' WHERE order_id = 'STRAY-1'`);
  await enter('payments');
  const stray = part('strays').locator('[data-stray="STRAY-1"]');
  await stray.getByText('the order is not recorded here').waitFor();
  await stray.getByRole('button', { name: 'Apply STRAY-1' }).click();
  await dialog().getByLabel(/Reason/).fill('made by hand');
  await dialog().getByRole('button', { name: 'Apply' }).click();
  await stray.waitFor({ state: 'detached' });
  await tab.locator('[data-order="STRAY-1"]').getByText('paid', { exact: true }).waitFor();
});

test('what a provider told of a message is shown beside it', async () => {
  const { id } = await letter('lost@example.com');
  const { createdAt } = await store.outbox.get(id);
  await enter('messages');
  await part('dlq').locator(`[data-letter="${id}"]`).waitFor();
  await store.deliveries.record([{
    messageId: 'wamid.1', status: 'failed', recipient: '628123', at: Date.now(),
    reference: `${id}.${createdAt.getTime().toString(36)}`, errors: [{ code: 131026, title: EVIL }],
  }]);
  const message = tab.locator(`[data-message="${id}"]`);
  await message.getByText('not delivered').waitFor();
  await part('undelivered').getByText('628123').waitFor();
  await message.getByRole('button', { name: /Details/ }).click();
  expect(await message.getByText('Delivery').locator('..').textContent())
    .toMatch(/not delivered.*131026/s);
  await tab.getByRole('link', { name: 'Overview' }).click();
  await part('events').getByText(`Message ${id} to 628123 was not delivered`).waitFor();
  await store.deadLetters.purge();
});

test('fits a narrow screen, and can be read in light and dark', async () => {
  await tab.setViewportSize({ width: 360, height: 740 });
  const { id } = await letter('a-quite-long-address-of-somebody@a-quite-long-host.example.com');
  breaker.open();
  await enter();
  for (const name of ['Overview', 'Messages', 'Payments', 'Report', 'Audit']) {
    await tab.getByRole('link', { name }).click();
    await tab.getByRole('heading', { level: 2 }).first().waitFor();
    if (name === 'Messages') await part('dlq').locator(`[data-letter="${id}"]`).waitFor();
    expect(await tab.evaluate(tooWide)).toEqual([]);
    for (const colorScheme of ['light', 'dark']) {
      await tab.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      expect(await tab.evaluate(faintTexts)).toEqual([]);
    }
  }
  await store.deadLetters.purge();
});
