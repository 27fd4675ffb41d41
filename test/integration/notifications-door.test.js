'use strict';

// Messages that can never be sent are refused when they are handed over, with all that is wrong.

const { NonRetryableError, retry } = require('../../lib');
const { createGateway } = require('../../lib/gateway');
const {
  SECRETS, collector, configFor, startAll, startFakes, until
} = require('../support/gateway-helpers');

const { shopToken } = SECRETS;
const mail = more => ({
  channel: 'EMAIL', recipient: 'ann@example.com', subject: 'Paid', body: 'Thank you', ...more
});
const chat = more => ({ channel: 'WHATSAPP', recipient: '+6281234567890', body: 'Paid', ...more });

let it;
let store;
beforeAll(async () => {
  it = await startAll({}, { schedule: { deadLetters: false } });
  ({ store } = it.gateway);
}, 60_000);
afterAll(() => it?.close());
beforeEach(() => store.query('TRUNCATE sekering.notification_outbox'));

const post = body => it.ask('/notifications', { token: shopToken, body });
const waiting = async () => (await store.outbox.list()).length;
const row = id => store.outbox.get(id);

// What is wrong, the message, the paths of its faults.
const TABLE = [
  ['two recipients in one', mail({ recipient: 'a@b.co, c@d.co' }), ['recipient']],
  ['two with names', mail({ recipient: 'A <a@b.co>, C <c@d.co>' }), ['recipient']],
  ['an address without a domain', mail({ recipient: 'ann' }), ['recipient']],
  ['an address with spaces', mail({ recipient: 'ann @example.com' }), ['recipient']],
  ['two at-signs', mail({ recipient: 'ann@bob@example.com' }), ['recipient']],
  ['no recipient', mail({ recipient: undefined }), ['recipient']],
  ['a list with faults', mail({ recipient: ['a@b.co', 'c', 'd@e.fg, h@i.jk'] }),
    ['recipient[1]', 'recipient[2]']],
  ['an empty list', mail({ recipient: [] }), ['recipient']],
  ['a group', mail({ recipient: 'Friends: a@b.co, c@d.co;' }), ['recipient']],
  ['a group of one', mail({ recipient: 'Friends: a@b.co;' }), ['recipient']],
  ['a quoted local part', mail({ recipient: '"a b"@c.de' }), ['recipient']],
  ['a local part that is too long', mail({ recipient: `${'a'.repeat(65)}@b.co` }), ['recipient']],
  ['an address that is too long', mail({
    recipient: `a@${'b'.repeat(60)}.${'c'.repeat(60)}.${'d'.repeat(60)}.${'e'.repeat(60)}.${
      'f'.repeat(10)}`
  }), ['recipient']],
  ['a label that is too long in ASCII', mail({ recipient: `a@${'ü'.repeat(60)}.de` }),
    ['recipient']],
  ['an IP address', mail({ recipient: 'a@127.0.0.1' }), ['recipient']],
  ['a line break in the recipient', mail({ recipient: 'a@b.co\r\nBcc: c@d.co' }), ['recipient']],
  ['a line break in the subject', mail({ subject: 'a\r\nBcc: c@d.co' }), ['subject']],
  ['a line break from a template', mail({
    body: undefined, subject: undefined, template: { subject: '{{a}}', text: 'x' },
    data: { a: 'b\r\nBcc: c@d.co' }
  }), ['template.subject']],
  ['HTML with a section that is never closed', mail({ template: { html: '{{#a}}<b>' } }),
    ['template.html'], 'ERR_OUTBOX_TEMPLATE'],
  ['a telephone number in an e-mail', mail({ recipient: '+6281234567890' }), ['recipient']],
  ['an address in a chat', chat({ recipient: 'ann@example.com' }), ['recipient']],
  ['a number in national form', chat({ recipient: '0812 3456 7890' }), ['recipient']],
  ['a number that is too short', chat({ recipient: '+62 81' }), ['recipient']],
  ['two numbers', chat({ recipient: '+6281234567890, +6281234567891' }), ['recipient']],
  ['no text', chat({ body: undefined }), ['body']],
  ['a text that is too long', chat({ body: 'x'.repeat(4097) }), ['body']],
  ['a text that is too long once it is filled in', chat({
    body: undefined, template: '{{a}}{{a}}', data: { a: 'x'.repeat(3000) }
  }), ['body']],
  ['a message of WhatsApp\'s own that is none', chat({
    data: { whatsapp: { type: 'template', template: { name: '?', language: { code: 'id' } } } }
  }), ['data.whatsapp.template.name']],
  ['a template that is never closed', mail({ body: undefined, template: 'Hi {{name' }),
    ['template'], 'ERR_OUTBOX_TEMPLATE'],
  ['a template closed too late', mail({
    body: undefined, template: '{{ {name}}', data: { name: 'Ann' }
  }), ['template'], 'ERR_OUTBOX_TEMPLATE'],
  ['a template without a name', mail({ body: undefined, template: '{{ }}', data: {} }),
    ['template'], 'ERR_OUTBOX_TEMPLATE'],
  ['a template without its data', mail({ body: undefined, template: '{{name}}' }),
    ['template'], 'ERR_OUTBOX_TEMPLATE'],
  ['all at once', chat({
    recipient: '12', subject: 'a\nb', body: undefined, template: '{{', delay: -1, priority: 1000,
    maxAttempts: 0, orderKey: '', surprise: 1
  }), ['delay', 'maxAttempts', 'orderKey', 'priority', 'recipient', 'subject', 'surprise',
    'template']],
];

describe.each(TABLE)('%s', (_, message, paths, code = 'ERR_OUTBOX_MESSAGE') => {
  const pathsOf = faults => faults.map(({ path }) => path).toSorted();

  test('is refused over HTTP, all faults in one 400', async () => {
    const { status, body } = await post(message);
    expect({ status, code: body.code, paths: pathsOf(body.faults) }).toEqual(
      { status: 400, code, paths });
    for (const fault of body.faults) expect(fault.message).toMatch(/^(Expected|The template's) /);
    expect(await waiting()).toBe(0);
  });

  test.each([
    ['notify', given => it.gateway.notify(given)],
    ['notify in a transaction', given =>
      store.transaction(client => it.gateway.notify(given, { client }))],
    ['enqueue', given => store.outbox.enqueue(given)],
  ])('is refused by %s, in a list by its index', async (name, take) => {
    const error = await take(message).catch(e => e);
    expect(error).toMatchObject({ name: 'StoreError', code, retryable: false });
    expect(pathsOf(error.faults)).toEqual(paths);
    const letter = await store.deadLetters.add(message, 'no').catch(e => e);
    expect(pathsOf(letter.faults)).toEqual(paths);
    const several = await take([mail(), message, chat(), message]).catch(e => e);
    expect(several.code).toBe(code);
    expect(pathsOf(several.faults)).toEqual([1, 3].flatMap(i => paths.map(p => `[${i}].${p}`)));
    expect(several.message).toContain(`[1].${paths[0]}: `);
    expect(await waiting()).toBe(0);
  });
});

test('a list with one bad message is refused whole over HTTP, and names it', async () => {
  const { status, body } = await post([mail(), mail({ recipient: 'a@b.co, c@d.co' })]);
  expect(status).toBe(400);
  expect(body).toMatchObject({
    code: 'ERR_OUTBOX_MESSAGE', detail: expect.stringContaining('[1].recipient'),
    faults: [{ path: '[1].recipient' }],
  });
  const other = await post([mail(), { ...mail(), channel: 'FAX' }, { ...mail(), channel: 'X' }]);
  expect(other.body).toMatchObject({
    code: 'ERR_OUTBOX_CHANNEL', faults: [{ path: '[1].channel' }, { path: '[2].channel' }],
  });
  expect(await waiting()).toBe(0);
});

test('a fault does not show what was received: it is somebody\'s own', async () => {
  const { text } = await post(mail({ recipient: 'secret-person' }));
  expect(text).not.toContain('secret-person');
});

describe('what can be sent is sent', () => {
  const isSent = id => until(async () => (await row(id)).status === 'SENT');

  test.each([
    ['+62 812-3456-7890'], ['(62) 812.3456.7890'], ['62 812 3456 7890'], ['+[62]81234567890'],
    ['+62\u00a0812\u20113456\u20117890'], ['0062 812 3456 7890'], ['+62 (0)812 3456 7890'],
    ['+62 0812 3456 7890'], ['\u202a+62 812-3456-7890\u202c'],
  ])('to the number %s', async recipient => {
    const before = it.whatsapp.messages.length;
    const { status, body } = await post(chat({ recipient }));
    expect(status).toBe(202);
    await isSent(body.id);
    expect(it.whatsapp.messages.slice(before).map(({ to }) => to)).toEqual(['6281234567890']);
    expect((await row(body.id)).recipient).toBe('+6281234567890');
  });

  test.each([
    ['Ann <ann@example.com>'], ['"Lee, Ann" <ann@example.com>'], ['ann@example.com'],
  ])('to %s alone', async recipient => {
    const before = it.smtp.messages.length;
    const { status, body } = await post(mail({ recipient }));
    expect(status).toBe(202);
    await isSent(body.id);
    expect(it.smtp.messages.slice(before).map(({ to }) => to)).toEqual([['ann@example.com']]);
  });

  test('each recipient of a list gets its own message, with HTML', async () => {
    const before = it.smtp.messages.length;
    const { status, body } = await post(mail({
      recipient: ['a@b.co', 'C <c@xn--mller-kva.de>', 'd@müller.de'], subject: undefined,
      body: undefined, data: { n: '<1>' }, template: { subject: 'No. {{n}}', html: '<b>{{n}}</b>' }
    }));
    expect(status).toBe(202);
    await Promise.all(body.map(({ id }) => isSent(id)));
    const sent = it.smtp.messages.slice(before);
    expect(sent.map(({ to }) => to.length)).toEqual([1, 1, 1]);
    for (const { raw } of sent) {
      expect(raw).toContain('Subject: No. <1>');
      expect(raw).toContain('<b>&lt;1&gt;</b>');
    }
  });

  test('with its template', async () => {
    const { status, body } = await post(mail({
      body: undefined, template: 'Hi {{ customer.name }} {x}}', data: { customer: { name: 'Ann' } }
    }));
    expect(status).toBe(202);
    await isSent(body.id);
    expect(it.smtp.messages.at(-1).raw).toContain('Hi Ann {x}}');
  });
});

describe('what got in all the same', () => {
  // As another program, or an earlier release, has put it in.
  async function putIn (message, set, values) {
    const { id } = await store.outbox.enqueue({ ...message, delay: 3_600_000 });
    await store.query(`UPDATE sekering.notification_outbox SET ${set}, next_retry_at = now()
      WHERE id = $1`, [id, ...values]);
    const arrival = new Promise(resolve => { store.deadLetters.once('arrival', resolve); });
    await store.outbox.enqueue(mail());
    return arrival;
  }

  test.each([
    ['a list of addresses', mail(), 'recipient = $2', ['a@b.co, c@d.co'], 'ERR_INVALID_INPUT'],
    ['no telephone number', chat(), 'recipient = $2', ['ann'], 'ERR_INVALID_INPUT'],
    ['a template without data', mail(), 'body = NULL, body_template = $2', ['{{name}}'],
      'ERR_OUTBOX_TEMPLATE'],
  ])('%s is dead at the first attempt, and nothing is sent', async (...[, message, ...how]) => {
    const [set, values, kind] = how;
    const before = [it.smtp, it.whatsapp].map(fake => fake.messages.length);
    const letter = await putIn(message, set, values);
    expect(letter.kind).toBe(kind);
    expect(letter.attemptCount).toBe(1);
    await until(async () => (await waiting()) === 0 ||
      (await store.outbox.list()).every(({ status }) => status === 'SENT' || status === 'DLQ'));
    expect(it.whatsapp.messages).toHaveLength(before[1]);
    expect(it.smtp.messages.slice(before[0]).map(({ to }) => to)).toEqual([['ann@example.com']]);
  });
});

test('numbers in national form get the country of the configuration', async () => {
  const { numberOf } = require('../../lib/clients/whatsapp-input');
  expect(['0812-3456-7890', '62 812 3456 7890', '+1 202 555 0100', '1 202 555 0100', 'x@g.us']
    .map(number => numberOf(number, '62'))).toEqual(
    ['+6281234567890', '+6281234567890', '+12025550100', '1 202 555 0100', 'x@g.us']);
});

test.each([
  ['bail of a retry', () => retry(bail => bail(new Error('never'))).catch(error => error)],
  ['bail of a second attempt', () => retry((bail, attempt) => {
    if (attempt === 1) throw new Error('once');
    bail(new Error('never'));
  }, { minTimeout: 1 }).catch(error => error)],
  ['bail: true', () => Object.assign(new Error('never'), { bail: true })],
  ['NonRetryableError', () => new NonRetryableError('never')],
  ['retryable: false', () => Object.assign(new Error('never'), { retryable: false })],
])('a sender of one\'s own that says "never" (%s) is asked once; its channel takes what it likes',
  async (_, never) => {
    const fakes = await startFakes();
    let calls = 0;
    const send = async () => {
      calls++;
      throw await never();
    };
    const gateway = await createGateway(configFor(fakes, {}),
      { logger: collector(), senders: { EMAIL: send } });
    const arrival = new Promise(resolve => {
      gateway.store.deadLetters.once('arrival', resolve);
    });
    await gateway.start();
    await gateway.notify({ channel: 'EMAIL', recipient: 'customer 5', body: 'x' });
    expect((await arrival).attemptCount).toBe(1);
    expect(calls).toBe(1);
    await gateway.stop();
    await fakes.close();
  });
