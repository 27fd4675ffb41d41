'use strict';

// Every code of the Cloud API and every status of Green API, and what is to be done about it.

const { isRetryable } = require('../../lib');
const {
  WhatsAppError, classifyCloudError, classifyGreenError
} = require('../../lib/clients/whatsapp');
const { errorOfAnswer } = require('../../lib/clients/whatsapp-errors');

const range = (low, high) => Array.from({ length: high - low + 1 }, (_, i) => low + i);

const CODES = [
  ...[1, 2, 4, 17, 32, 341, 613, 80007, 130429, 131000, 131016, 131057, 132069, 133004]
    .map(code => [code, 'retry']),
  [131056, 'recipient'],
  ...[0, 3, 10, 190].map(code => [code, 'pause', 'credentials']),
  ...[200, 210, 299].map(code => [code, 'pause', 'credentials']),
  ...[368, 131031, 131037, 133010].map(code => [code, 'pause', 'account']),
  ...[131042, 131048].map(code => [code, 'pause', 'quota']),
  ...[100, 131008, 131009, 131021, 131026, 131047, 131049, 131051, 130497]
    .map(code => [code, 'dead']),
  ...[132000, 132001, 132005, 132007, 132012, 132015, 132016, 132068, 132070, 132999]
    .map(code => [code, 'dead'])
];

// A rest of arguments, since Jest hands a callback to whoever takes one more than the row has.
test.each(CODES)('code %d is for %s %s', (code, kind, ...[reason]) => {
  const expected = {
    kind, reason, retryable: kind !== 'dead', trips: kind === 'retry', pauses: kind === 'pause',
    needsTemplate: code === 131047, doubtful: code === 130497
  };
  // Whatever HTTP says beside it.
  for (const status of [undefined, 200, 400, 401, 403, 429, 500, 503]) {
    expect(classifyCloudError({ code }, status)).toEqual(expected);
  }
  const judged = classifyCloudError({ code });
  const error = errorOfAnswer({ status: 400, headers: {} }, judged, { providerCode: code });
  expect(error).toMatchObject({ kind, retryable: expected.retryable, providerCode: code });
  expect(isRetryable(error)).toBe(expected.retryable);
  expect(error.bail).toBe(kind === 'dead' || kind === 'pause');
});

test('permissions are the whole range from 200 to 299, templates that from 132000 on', () => {
  expect(range(200, 299).every(code => classifyCloudError({ code }).kind === 'pause')).toBe(true);
  expect(range(132000, 132999).filter(code => code !== 132069)
    .every(code => classifyCloudError({ code }).kind === 'dead'))
    .toBe(true);
  for (const code of [199, 300, 131999, 133000]) {
    expect(classifyCloudError({ code }, 400).kind).toBe('dead');
  }
});

test.each([
  [{ code: 999999 }, 500, 'retry'], [{ code: 999999 }, 429, 'retry'],
  [{ code: 999999 }, 400, 'dead'], [{ code: 999999 }, 401, 'pause'],
  [{ code: 999999 }, 403, 'dead'], [{}, 403, 'dead'],
  [{ code: 999999, is_transient: true }, 400, 'retry'], [undefined, 502, 'retry'],
  [undefined, 408, 'retry'], [undefined, 403, 'pause'], [undefined, 404, 'dead'],
  [{ code: '190' }, 400, 'dead'], [null, 503, 'retry'], [{ code: 999999 }, undefined, 'dead']
])('%j with HTTP %p, which is not known, is for %s', (error, status, kind) => {
  expect(classifyCloudError(error, status).kind).toBe(kind);
});

test.each([
  [466, '', 'pause', 'quota'], [401, '', 'pause', 'credentials'], [403, '', 'pause', 'credentials'],
  [404, '', 'pause', 'credentials'], [429, '', 'retry'], [500, '', 'retry'], [502, '', 'retry'],
  [400, 'Instance is starting, try later', 'retry'],
  [400, '{"message":"instance in starting process"}', 'retry'],
  [400, 'Validation failed: chatId', 'dead'], [413, '', 'dead']
])('Green API: %d %s is for %s %s', (status, text, kind, ...[reason]) => {
  expect(classifyGreenError(status, text)).toMatchObject({
    kind, reason, pauses: kind === 'pause', trips: kind === 'retry', retryable: kind !== 'dead'
  });
});

test('an error has one line, however its text came, and JSON holds it', () => {
  const error = errorOfAnswer({ status: 400, headers: { 'retry-after': '7' } },
    classifyCloudError({ code: 4 }), { providerCode: 4, message: `a\r\nb${'c'.repeat(1000)}` });
  expect(error.message).toMatch(/^WhatsApp refused the message \(4, HTTP 400\): a bc{100,}$/);
  expect(error.message.length).toBeLessThan(400);
  expect(error.retryAfter).toBe(7000);
  expect(error instanceof WhatsAppError).toBe(true);
  expect(new Error('x') instanceof WhatsAppError).toBe(false);
  expect(JSON.parse(JSON.stringify(error))).toMatchObject({
    name: 'WhatsAppError', code: 'ERR_WHATSAPP_UNAVAILABLE', kind: 'retry', providerCode: 4
  });
});
