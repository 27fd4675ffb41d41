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

const LOCATION = { type: 'location', location: { latitude: -6.2, longitude: 106.8 } };

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
  ['neither text nor HTML', mail({ body: undefined }), ['body']],
  ['only a recipient', { channel: 'EMAIL', recipient: 'a@b.co' }, ['body']],
  ['white space for a text', mail({ body: ' \n\u200b', html: ' ', data: { html: 'x' } }),
    ['body']],
  ['a template that comes to nothing', mail({
    body: undefined, template: '{{#a}}Hi{{/a}}', data: { a: [] }
  }), ['body']],
  ['parts that come to nothing', mail({
    body: undefined, template: { text: '{{a}}', html: ' {{a}} ' }, data: { a: ' ' }
  }), ['body']],
  ['white space in a chat', chat({ body: ' \n\u00a0' }), ['body']],
  ['HTML in a chat', chat({ html: '<b>Paid</b>' }), ['html']],
  ['HTML of a template in a chat', chat({
    body: undefined, template: { text: 'Paid', html: '<b>Paid</b>' }
  }), ['template.html']],
  ['a text beside a message of WhatsApp\'s own', chat({ data: { whatsapp: LOCATION } }), ['body']],
  ['a template beside one', chat({
    body: undefined, template: 'Paid', data: { whatsapp: LOCATION }
  }), ['template']],
  ['a part of a template beside one', chat({
    body: undefined, template: { text: 'Paid' }, data: { whatsapp: LOCATION }
  }), ['template.text']],
  ['a message of WhatsApp\'s own to somebody else', chat({
    body: undefined, data: { whatsapp: { ...LOCATION, to: '+6281234567891' } }
  }), ['data.whatsapp.to']],
  ['a message of WhatsApp\'s own with a reference', chat({
    body: undefined, data: { whatsapp: { ...LOCATION, biz_opaque_callback_data: 'mine' } }
  }), ['data.whatsapp.biz_opaque_callback_data']],
  ['a line break from a subject beside a template', mail({
    body: undefined, subject: '{{a}}', template: 'x', data: { a: 'b\r\nBcc: c@d.co' }
  }), ['subject']],
  ['a subject beside a template without its data', mail({
    body: undefined, subject: 'Hi {{n}}', template: 'x'
  }), ['subject'], 'ERR_OUTBOX_TEMPLATE'],
  ['one mailbox twice',
    mail({ recipient: ['a@b.co', 'A@b.co', ' a@b.co ', 'A <a@b.co>', 'a@B.co'] }),
    ['recipient[2]', 'recipient[3]', 'recipient[4]']],
  ['a domain in two scripts', mail({ recipient: ['a@müller.de', 'A <a@xn--MLLER-kva.de>'] }),
    ['recipient[1]']],
  ['one number twice', chat({ recipient: ['+6281234567890', '+62 812-3456-7890'] }),
    ['recipient[1]']],
  ['a message of WhatsApp\'s own that is none', chat({
    body: undefined,
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

  test.each([
    ['a@b.co', 'a@b.co'], [' Ann.B@EXAMPLE.com ', 'Ann.B@example.com'],
    ['<Ann@Example.com>', 'Ann@example.com'],
    ['  Ann Lee <Ann@Example.COM> ', 'Ann Lee <Ann@example.com>'],
  ])('%j is stored as %j', async (recipient, stored) => {
    const { id } = await store.outbox.enqueue(mail({ recipient, delay: 3_600_000 }));
    expect((await row(id)).recipient).toBe(stored);
  });

  test('a dedupeKey counts for a mailbox, however it is spelled', async () => {
    const send = recipient => store.outbox.enqueue(
      mail({ recipient: [recipient], dedupeKey: 'k', delay: 3_600_000 }));
    const [first] = await send('a@b.co');
    for (const spelled of [' a@b.co', 'A <a@B.co>']) {
      expect(await send(spelled)).toEqual([{ id: first.id, duplicate: true }]);
    }
    expect(await send('A@b.co')).toMatchObject([{ duplicate: false }]);
  });

  test.each([
    ['with HTML alone', { body: undefined, html: '<b>Paid</b>' }, '<b>Paid</b>'],
    ['with HTML in its data', { body: undefined, data: { html: '<i>Paid</i>' } }, '<i>Paid</i>'],
    ['without a subject', { subject: undefined, body: 'Only this' }, 'Only this'],
  ])('%s', async (_, more, text) => {
    const { id } = await store.outbox.enqueue(mail(more));
    await isSent(id);
    expect(it.smtp.messages.at(-1).raw).toContain(text);
  });

  test('a message of WhatsApp\'s own that names its recipient', async () => {
    const own = { ...LOCATION, to: '+62 812-3456-7890' };
    const { id } = await store.outbox.enqueue(chat({ body: undefined, data: { whatsapp: own } }));
    await isSent(id);
    expect(it.whatsapp.messages.at(-1)).toMatchObject({ to: '6281234567890', body: LOCATION });
  });

  test.each([
    ['a template', { template: 'B {{n}}' }],
    ['the parts of a template', { template: { text: 'B {{n}}' } }],
  ])('the subject beside %s is filled in as well', async (_, { template }) => {
    const { id } = await store.outbox.enqueue(mail({
      subject: 'Hai {{n}} {{{n}}}', body: undefined, template, data: { n: 'A&B' }
    }));
    await isSent(id);
    const { raw } = it.smtp.messages.at(-1);
    expect(raw).toContain('Subject: Hai A&B A&B');
    expect(raw).toContain('B A&B');
    expect((await row(id)).subject).toBe('Hai A&B A&B');
  });

  test('without a template, a subject is what it is', async () => {
    const { id } = await store.outbox.enqueue(mail({ subject: 'Hai {{n}}', data: { n: 1 } }));
    await isSent(id);
    expect(it.smtp.messages.at(-1).raw).toContain('Subject: Hai {{n}}');
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

test('messages for Green API lose nothing either', async () => {
  const fakes = await startFakes();
  const { instanceId, token, baseUrl } = fakes.whatsapp.green;
  const gateway = await createGateway(
    configFor(fakes, {}, { whatsapp: { cloud: undefined, green: { instanceId, token, baseUrl } } }),
    { logger: collector() });
  const faultsOf = message => gateway.notify(message).then(() => [],
    ({ faults }) => faults.map(({ path }) => path).toSorted());
  const file = { url: 'https://shop.example/a.pdf', filename: 'a.pdf' };
  const own = (more, whatsapp) => chat({ body: undefined, data: { whatsapp }, ...more });
  expect(await Promise.all([
    own({}, file), own({}, { ...file, to: '6281234567890' }),
    own({ body: 'Paid', html: '<b>' }, file),
    own({}, { ...file, to: '+6281234567891', reference: 'mine' }),
    own({}, { ...file, filename: 'a' }), own({}, {}), chat({ body: ' ' }),
    chat({ recipient: ['6281234567890@c.us', '+6281234567890'] }),
  ].map(faultsOf))).toEqual([
    [], [], ['body', 'html'], ['data.whatsapp.reference', 'data.whatsapp.to'],
    ['data.whatsapp.filename'], ['data.whatsapp.message'], ['body'], ['recipient[1]'],
  ]);
  await gateway.stop();
  await fakes.close();
});

describe('bodies that are no JSON', () => {
  const { operateToken } = SECRETS;
  const BODIES = [
    ['damaged JSON', { body: '{"secret": 1,}' }, 400, 'ERR_REQUEST_JSON', /JSON object or array/],
    ['a number', { body: '5' }, 400, 'ERR_REQUEST_JSON', /JSON object or array/],
    ['over the limit', { body: `{"a":"${'x'.repeat(70_000)}"}` }, 413, 'ERR_REQUEST_TOO_LARGE',
      /at most \d+ bytes/],
    ...['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', ''].map(type =>
      [`the type ${type || '(none)'}`, { body: 'a=1', headers: { 'content-type': type } }, 415,
        'ERR_REQUEST_CONTENT_TYPE',
        new RegExp(`application/json but received ${type || 'a body without it'}`)]),
    ['compressed', { body: '{}', headers: { 'content-encoding': 'gzip' } }, 415,
      'ERR_REQUEST_CONTENT_TYPE', /Content-Encoding/],
    ['in another charset', {
      body: '{}', headers: { 'content-type': 'application/json; charset=latin1' }
    }, 415, 'ERR_REQUEST_CONTENT_TYPE', /UTF-8/],
  ];
  const ROUTES = [
    ['/notifications', shopToken], ['/orders', shopToken],
    ['/admin/reliability/degradation', operateToken],
    ['/admin/reliability/dlq/retry', operateToken],
    ['/admin/reliability/circuit-breakers/smtp/reset', operateToken],
    ['/reset-circuit-breaker/smtp', operateToken],
  ];

  test.each(ROUTES.flatMap(([path, token]) => BODIES.map(row => [path, ...row, token])))(
    '%s: %s', async (path, _, request, status, code, detail, token) => {
      const answer = await it.ask(path, { token, method: 'POST', ...request });
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
      expect([answer.status, answer.body.code]).toEqual([status, code]);
      expect(answer.body.detail).toMatch(detail);
      expect(answer.text).not.toContain('secret');
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

test('a request that has lost its key to another process enqueues nothing', async () => {
  const headers = { 'Idempotency-Key': '"stalled"' };
  const send = () => it.ask('/notifications', { token: shopToken, body: mail(), headers });
  const { idempotency } = store;
  const { run } = idempotency;
  const answers = [];
  const spy = jest.spyOn(idempotency, 'run').mockImplementationOnce((key, work, options) =>
    run.call(idempotency, key, async context => {
      // Its process stands still for longer than its lock, and the client asks again.
      await store.query(
        'UPDATE sekering.idempotency_store SET locked_until = clock_timestamp()');
      answers.push(await send());
      return work(context);
    }, options));
  answers.push(await send());
  spy.mockRestore();
  expect(answers.map(({ status }) => status)).toEqual([202, 202]);
  expect(answers[1].body).toEqual(answers[0].body);
  expect(await waiting()).toBe(1);
});
