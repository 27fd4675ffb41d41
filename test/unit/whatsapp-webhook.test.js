'use strict';

// Webhooks of the Cloud API: handshake, signature, statuses.

const crypto = require('node:crypto');

const { CloudApiClient, laterStatus } = require('../../lib/clients/whatsapp');
const { useVirtualClock } = require('../../lib/testing');

const SECRET = 'planted-app-secret';
const OPTIONS = {
  accessToken: 'token-123', phoneNumberId: '100200300', appSecret: SECRET, verifyToken: 'verify-me'
};

let client;
beforeEach(() => { client = new CloudApiClient(OPTIONS); });
afterEach(() => client.close());

const sign = (raw, secret = SECRET) =>
  `sha256=${crypto.createHmac('sha256', secret).update(raw).digest('hex')}`;
const hook = (...statuses) => JSON.stringify({
  object: 'whatsapp_business_account',
  entry: [{
    changes: [{
      field: 'messages', value: { metadata: { phone_number_id: '100200300' }, statuses }
    }]
  }]
});
const handle = body => client.handleWebhook(body, sign(body));

describe('the handshake', () => {
  const query = {
    'hub.mode': 'subscribe', 'hub.verify_token': 'verify-me', 'hub.challenge': '1158201444'
  };

  test('answers the challenge to who knows the token', () => {
    expect(client.handshake(query)).toBe('1158201444');
    // As query parsers that nest have it.
    const nested = { mode: 'subscribe', verify_token: 'verify-me', challenge: '42' };
    expect(client.handshake({ hub: nested })).toBe('42');
  });

  test.each([
    [{ 'hub.verify_token': 'verify-m' }], [{ 'hub.verify_token': undefined }],
    [{ 'hub.verify_token': ['verify-me'] }], [{ 'hub.mode': 'unsubscribe' }],
    [{ 'hub.challenge': '<script>alert(1)</script>' }], [{ 'hub.challenge': '' }],
    [{ 'hub.challenge': undefined }]
  ])('and nothing to %j', wrong => {
    expect(client.handshake({ ...query, ...wrong })).toBeUndefined();
    expect(client.handshake(undefined)).toBeUndefined();
  });
});

test('a header is found in whatever case a server keeps its name', () => {
  const body = hook({ id: 'm', status: 'sent' });
  const handleWith = name => client.handleWebhook(body, { [name]: sign(body) }).statuses;
  for (const name of ['x-hub-signature-256', 'X-Hub-Signature-256', 'X-HUB-SIGNATURE-256']) {
    expect(handleWith(name)).toHaveLength(1);
  }
});

describe('the signature', () => {
  // Escaped as the provider does it: whoever parses and writes it again gets other bytes.
  const raw = '{"a":"\\u00e9","b" : 1}';

  test('is that of the raw body, as text or bytes', () => {
    expect(client.verifySignature(raw, sign(raw))).toBe(true);
    expect(client.verifySignature(Buffer.from(raw), sign(raw))).toBe(true);
    expect(client.verifySignature(raw, sign(raw).replace(/[a-f]/g, c => c.toUpperCase())))
      .toBe(true);
    expect(client.verifySignature(JSON.stringify(JSON.parse(raw)), sign(raw))).toBe(false);
  });

  test.each([
    ['another secret', sign('{"a":1}', 'other')], ['none', undefined], ['no text', 5], ['', ''],
    ['half of it', sign('{"a":1}').slice(0, 40)], ['another hash', `sha1=${'a'.repeat(40)}`],
    ['a list', [sign('{"a":1}')]], ['no hexadecimal', `sha256=${'z'.repeat(64)}`]
  ])('is refused: %s', (_, header) => {
    expect(client.verifySignature('{"a":1}', header)).toBe(false);
    expect(() => client.handleWebhook('{"a":1}', header)).toThrow(
      expect.objectContaining({ code: 'ERR_WHATSAPP_SIGNATURE' }));
  });

  test('cannot be checked of what was parsed, or without the secret', () => {
    expect(client.verifySignature({ a: 1 }, sign('{"a":1}'))).toBe(false);
    const bare = new CloudApiClient({ accessToken: 'token-123', phoneNumberId: '1' });
    expect(() => bare.verifySignature('x', 'y')).toThrow(/appSecret/);
    expect(() => bare.handshake({})).toThrow(/verifyToken/);
  });
});

describe('statuses', () => {
  const status = {
    id: 'wamid.1', status: 'delivered', timestamp: '1700000000', recipient_id: '6281234567890',
    biz_opaque_callback_data: 'order-1'
  };

  test('are told one by one, with our own reference', () => {
    const heard = [];
    client.on('status', news => heard.push(news));
    const { statuses } = handle(hook(status, { ...status, status: 'read' }));
    expect(statuses).toEqual(heard);
    expect(statuses[0]).toEqual({
      messageId: 'wamid.1', status: 'delivered', recipient: '6281234567890', reference: 'order-1',
      at: 1700000000000, phoneNumberId: '100200300', errors: []
    });
    expect(statuses[1].status).toBe('read');
  });

  test('a quota that is used up pauses the channel, once', () => {
    const failed = {
      ...status, status: 'failed', errors: [{ code: 131042, title: 'Payment issue' }]
    };
    const alerts = [];
    client.on('alert', alert => alerts.push(alert));
    handle(hook(failed, failed));
    expect(client.paused).toMatchObject({ reason: 'quota', error: { providerCode: 131042 } });
    expect(client.paused.error.message).toContain('(131042): Payment issue');
    expect(alerts).toHaveLength(1);
    expect(alerts[0].error.reference).toBe('order-1');
  });

  test('an error of the account is emitted once a day, with its details, and pauses', async () => {
    const clock = useVirtualClock();
    const told = [];
    client.on('webhookError', error => told.push(error));
    const body = JSON.stringify({
      entry: [{ changes: [{ field: 'messages', value: {
        metadata: { phone_number_id: '100200300' },
        errors: [{
          code: 131031, title: 'Locked', error_data: { details: 'The account is locked' }
        }],
      } }] }]
    });
    for (let i = 0; i < 3; i++) expect(handle(body).errors).toHaveLength(1);
    expect(told).toEqual([{
      code: 131031, title: 'Locked', message: undefined, details: 'The account is locked',
      verdict: expect.objectContaining({ kind: 'pause' }), phoneNumberId: '100200300',
    }]);
    expect(client.paused).toMatchObject({ reason: 'account' });
    await clock.advance(86_400_000);
    handle(body);
    expect(told).toHaveLength(2);
    clock.restore();
  });

  test('a message that failed for itself pauses nothing', () => {
    const { statuses: [news] } = handle(hook({
      ...status, status: 'failed', errors: [{ code: 131047 }]
    }));
    expect(news.errors[0].verdict).toMatchObject({ kind: 'dead', needsTemplate: true });
    expect(client.paused).toBeNull();
  });

  test.each(['{}', '[]', 'null', '5', 'no json', '{"entry":[null,{"changes":[null]}]}', '',
    hook(null, 5, { errors: 'x' }), '{"entry":{"changes":5}}'
  ])('odd news do no harm: %s', body => {
    expect(() => handle(body)).not.toThrow();
  });

  test.each([
    [undefined, 'sent', 'sent'], ['sent', 'delivered', 'delivered'], ['sent', 'read', 'read'],
    ['read', 'delivered', 'read'], ['delivered', 'delivered', 'delivered'],
    ['sent', 'failed', 'failed'], ['failed', 'sent', 'failed'],
    ['failed', 'delivered', 'delivered'], ['delivered', 'failed', 'delivered'],
    ['read', 'odd', 'read'], [undefined, 'odd', 'odd']
  ])('after %s came %s: it is %s', (known, heard, later) => {
    expect(laterStatus(known, heard)).toBe(later);
  });
});
