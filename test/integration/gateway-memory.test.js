'use strict';

// A small body may ask for large messages: a template repeats a value, and each of many recipients
// gets the text. A gateway with little memory refuses that, and goes on.

const { fork } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const { SECRETS } = require('../support/gateway-helpers');
const { closeShared, sharedPostgres } = require('../support/postgres');

const ACTOR = path.join(__dirname, '..', 'support', 'gateway-actor.js');
const TEMPLATE = '{{#l}}{{a}}{{/l}}';
const LOOPS = `{{#l}}${TEMPLATE}{{/l}}`;
const AT_ONCE = 4;

const list = (n, of) => Array.from({ length: n }, (_, i) => of(i));
const RECIPIENTS = list(1000, i => `r${i}@b.co`);
const SHORT = list(1000, i => `${i}`);

/** A message whose template gives so many characters. */
const message = (characters, more) => ({
  channel: 'EMAIL', recipient: RECIPIENTS, subject: 'x', template: { text: TEMPLATE },
  data: { l: list(characters / 1000, () => 1), a: 'x'.repeat(1000) }, ...more,
});

let child;
let ended;
let url;

beforeAll(async () => {
  const place = { url: await (await sharedPostgres()).createDatabase() };
  child = fork(ACTOR, [JSON.stringify({ place, over: { smtp: {}, whatsapp: {} } })], {
    execArgv: ['--max-old-space-size=256'], stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let output = '';
  child.stderr.setEncoding('utf8').on('data', text => { output += text; });
  ended = once(child, 'exit').then(([code, signal]) => ({ code, signal, output }));
  const started = once(child, 'message');
  [{ url }] = await Promise.race([started, ended.then(how => [how])]);
});
afterAll(async () => {
  if (child.connected) child.disconnect();
  await ended;
  await closeShared();
});

async function notify (body) {
  const text = JSON.stringify(body);
  expect(text.length).toBeLessThan(65_536);
  const response = await fetch(`${url}/notifications`, {
    method: 'POST', body: text,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${SECRETS.shopToken}` },
  });
  return { status: response.status, ...await response.json() };
}

const TOO_LARGE = { status: 413, code: 'ERR_OUTBOX_TOO_LARGE' };

test.each([
  ['six messages for a thousand each', list(6, () => message(1_000_000, { recipient: SHORT }))],
  ['a mail for a thousand', message(1_000_000)],
  ['a mail that is filled in when it is sent', message(1_000_000, { template: TEMPLATE })],
  ['many mails for one each', list(40, () => ({
    ...message(0), recipient: 'r@b.co', template: { text: LOOPS, html: LOOPS },
    data: { l: list(45, () => 1), a: 'x'.repeat(500) },
  }))],
  ['more rows than a call may have', list(11, () => ({
    channel: 'EMAIL', recipient: SHORT, subject: 'x', body: 'x' }))],
])('%s: refused at once', async (_, body) => {
  const answers = Promise.all(list(AT_ONCE, () => notify(body)));
  expect(await Promise.race([answers, ended])).toEqual(
    list(AT_ONCE, () => expect.objectContaining(TOO_LARGE)));
});

test('what is within the bounds is stored', async () => {
  expect(await Promise.race([notify(message(60_000)), ended])).toMatchObject({ status: 202 });
});
