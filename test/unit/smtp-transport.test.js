'use strict';

// Transports that are no SMTP of nodemailer's: what can be known of a message that fails.

const { SmtpClient } = require('../../lib/clients/smtp');
const { useVirtualClock } = require('../../lib/testing');

const LETTER = { from: 'shop@example.com', to: 'ann@example.com', subject: 'x', text: 'x' };
const clientOf = (sendMail, options) => new SmtpClient({
  transport: { sendMail }, timeout: 50, retry: false, ...options
});
const coded = (code, more) => Object.assign(new Error(code), { code, ...more });

test('what it answers is what nodemailer would', async () => {
  const sent = [];
  const client = clientOf(async data => {
    sent.push(data);
    return { accepted: ['ann@example.com'], rejected: [], response: '250 OK' };
  });
  const { messageId, accepted } = await client.send(LETTER);
  expect(accepted).toEqual(['ann@example.com']);
  expect(sent[0]).toMatchObject({ messageId, envelope: { to: [{ address: 'ann@example.com' }] } });
  expect(sent[0]).not.toHaveProperty('signal');
});

test('a pause by hand, or a longer one, takes the place of a short one', async () => {
  const clock = useVirtualClock();
  try {
    const reply = response => coded('EENVELOPE',
      { command: 'MAIL FROM', response, responseCode: Number(response.slice(0, 3)) });
    const client = clientOf(async () => { throw reply('454 4.7.0 Try again later'); });
    const told = [];
    client.on('paused', ({ reason }) => told.push(reason));
    await expect(client.send(LETTER)).rejects.toMatchObject({ kind: 'pause', reason: 'rate' });
    client.pause('maintenance');
    await clock.advance(24 * 3600 * 1000);
    expect(client.paused).toMatchObject({ reason: 'maintenance' });
    await expect(client.send(LETTER)).rejects.toMatchObject({ code: 'ERR_SMTP_PAUSED' });
    expect(client.resume()).toBe(true);
    expect(client.paused).toBeNull();
    expect(told).toEqual(['rate', 'maintenance']);
  } finally {
    clock.restore();
  }
});

test('without lists everybody has got it', async () => {
  await expect(clientOf(async () => undefined).send(LETTER)).resolves.toMatchObject({
    accepted: ['ann@example.com'], rejected: [], deferred: []
  });
});

test.each([
  ['ECONNRESET', {}, true], ['ETIMEDOUT', {}, true], ['ECONNREFUSED', {}, false],
  ['EDNS', {}, false], ['ESOCKET', { originalCode: 'ECONNREFUSED' }, false],
  ['EMESSAGE', { responseCode: 451 }, false]
])('%s %j is ambiguous: %s', async (code, more, ambiguous) => {
  const client = clientOf(() => Promise.reject(coded(code, more)));
  await expect(client.send(LETTER)).rejects.toMatchObject({ code, ambiguous, kind: 'retry' });
});

test('what takes too long and cannot be stopped is ambiguous', async () => {
  await expect(clientOf(() => new Promise(() => {})).send(LETTER)).rejects.toMatchObject({
    code: 'ETIMEDOUT', ambiguous: true, attempts: 1
  });
});

test('one that throws, or rejects with nothing, does no harm', async () => {
  const thrown = clientOf(() => { throw new TypeError('no'); });
  await expect(thrown.send(LETTER)).rejects.toMatchObject({ kind: 'permanent', name: 'SmtpError' });
  await expect(clientOf(() => Promise.reject()).send(LETTER)).rejects.toMatchObject({
    kind: 'permanent', code: 'ERR_SMTP'
  });
});

test('the fallback of a breaker is no answer of the server\'s', async () => {
  const options = { breaker: { fallback: () => ({ accepted: ['ann@example.com'] }) } };
  const client = clientOf(() => Promise.reject(coded('EDNS')), options);
  await expect(client.send(LETTER)).rejects.toMatchObject({ code: 'EDNS', kind: 'retry' });
  client.breaker.open();
  await expect(client.send(LETTER)).rejects.toMatchObject({
    code: 'EOPENBREAKER', kind: 'retry', ambiguous: false
  });
  const slow = clientOf(() => new Promise(() => {}), options);
  await expect(slow.send(LETTER)).rejects.toMatchObject({ code: 'ETIMEDOUT', ambiguous: true });
});

test('a mail for which the breaker has no place can be sent again later', async () => {
  let finish;
  const gate = new Promise(resolve => { finish = resolve; });
  const client = clientOf(async () => {
    await gate;
    return { accepted: ['ann@example.com'], rejected: [] };
  }, { timeout: 60_000, breaker: { capacity: 1 } });
  const first = client.send(LETTER);
  await expect(client.send(LETTER)).rejects.toMatchObject({
    name: 'SmtpError', code: 'ESEMLOCKED', kind: 'retry', retryable: true, ambiguous: false
  });
  finish();
  await expect(first).resolves.toMatchObject({ accepted: ['ann@example.com'] });
  client.close();
});
