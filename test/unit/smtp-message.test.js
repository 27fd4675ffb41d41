'use strict';

// What may be sent: addresses, headers and bodies, checked as a whole before anything goes out.

const { Readable } = require('node:stream');

const { readMessage } = require('../../lib/clients/smtp-message');

const LETTER = { from: 'shop@example.com', to: 'ann@example.com', subject: 'Receipt', text: 'x' };
const letter = (more, defaults) => readMessage({ ...LETTER, ...more }, defaults);
const recipients = more => letter(more).begin().envelope.to.map(({ address }) => address);

function faultsOf (more) {
  try {
    letter(more);
  } catch (error) {
    expect(error).toBeInstanceOf(TypeError);
    expect(error.code).toBe('ERR_INVALID_INPUT');
    return error.faults.map(({ path }) => path);
  }
  return [];
}

describe('addresses', () => {
  test.each([
    ['ann@example.com', ['ann@example.com']],
    ['Ann <ann@example.com>, bob@example.com', ['ann@example.com', 'bob@example.com']],
    ['"Ann, B. <x>" <ann@example.com>,,', ['ann@example.com']],
    ['"Ann \\"A\\"" <ann@example.com>', ['ann@example.com']],
    [{ name: 'Ann', address: 'ann@example.com' }, ['ann@example.com']],
    [[{ address: 'a@example.com' }, 'b@example.com, c@example.com'],
      ['a@example.com', 'b@example.com', 'c@example.com']],
    ['ann+tag@mail.example.co.id', ['ann+tag@mail.example.co.id']],
    ['ann@localhost', ['ann@localhost']],
    ['ann@bücher.example', ['ann@bücher.example']],
    ['søren@example.com', ['søren@example.com']],
    ['ann@example.com, ann@example.com', ['ann@example.com']]
  ])('%j is read', (to, expected) => {
    expect(recipients({ to })).toEqual(expected);
  });

  test('cc and bcc get it too, and each of them once', () => {
    expect(recipients({ cc: ['b@example.com'], bcc: 'c@example.com, ann@example.com' }))
      .toEqual(['ann@example.com', 'b@example.com', 'c@example.com']);
  });

  test.each([
    'ann', 'ann@', '@example.com', 'ann@@example.com', 'a b@example.com', 'ann@exa mple.com',
    '.ann@example.com', 'ann.@example.com', 'a..b@example.com', 'ann@-example.com',
    'ann@example..com', 'ann@example.com.', '"a@evil.example"@example.com', 'a@b@example.com',
    'ann@example.com> RCPT TO:<x@evil.example', 'ann@[127.0.0.1]', `${'a'.repeat(65)}@example.com`,
    `ann@${'a'.repeat(64)}.com`, `a@${'abcdefgh.'.repeat(30)}com`, 'group: a@example.com;', 7, true
  ])('%j is refused', to => {
    expect(faultsOf({ to })).toContain('to');
  });

  test('an array has up to 1,000 entries, whatever is in them', () => {
    const many = count => Array.from({ length: count }, (_, i) => `a${i}@example.com`);
    expect(faultsOf({ replyTo: many(1000) })).toEqual([]);
    expect(faultsOf({ replyTo: many(1001) })).toEqual(['replyTo']);
    expect(faultsOf({ replyTo: new Array(1e6).fill('nobody') })).toEqual(['replyTo']);
    expect(faultsOf({ to: [many(1), new Array(1001).fill('')] })).toEqual(['to[1]']);
    expect(() => letter({ replyTo: many(1001) })).toThrow('a list of up to 1000 addresses');
  });

  test('an envelope of its own is checked, and taken in place of the headers', () => {
    const { envelope, to } = letter({
      envelope: { from: 'bounce@example.com', to: ['z@example.com'] }
    }).begin();
    expect(envelope).toEqual({
      from: { name: '', address: 'bounce@example.com' },
      to: [{ name: '', address: 'z@example.com' }]
    });
    expect(to).toEqual([{ name: '', address: 'ann@example.com' }]);
    expect(faultsOf({ envelope: { to: 'x' } })).toEqual(['envelope.to']);
    expect(letter({ envelope: { from: '', to: 'z@example.com' } }).begin().envelope.from).toBe('');
  });

  test('from one hundred recipients on it is too many', () => {
    const many = n => Array.from({ length: n }, (_, i) => `a${i}@example.com`);
    expect(faultsOf({ to: many(100) })).toEqual([]);
    expect(faultsOf({ to: many(101) })).toEqual(['to']);
  });
});

describe('header injection', () => {
  const lines = ['\r\n', '\n', '\r', '\0', '\u000b', '\u007f', '\u0085', '\u2028', '\u2029'];

  test.each(lines)('%j is refused wherever a header is made of it', line => {
    const text = `a${line}Bcc: victim@example.com`;
    expect(faultsOf({ subject: text })).toEqual(['subject']);
    expect(faultsOf({ to: `ann@example.com${line}` })).toEqual(['to']);
    expect(faultsOf({ to: { name: text, address: 'ann@example.com' } })).toEqual(['to.name']);
    expect(faultsOf({ from: { name: text, address: 'a@example.com' } })).toEqual(['from.name']);
    expect(faultsOf({ replyTo: `${text}@example.com` })).toEqual(['replyTo']);
    expect(faultsOf({ headers: { 'X-Order': text } })).toEqual(['headers["X-Order"]']);
    expect(faultsOf({ headers: [{ key: 'X-Order', value: [1, text] }] }))
      .toEqual(['headers["X-Order"][1]']);
    expect(faultsOf({ headers: { 'X-Order': { prepared: true, value: text } } }))
      .toEqual(['headers["X-Order"]']);
    expect(faultsOf({ headers: { [text]: 'x' } })).toEqual([`headers[${JSON.stringify(text)}]`]);
    expect(faultsOf({ inReplyTo: text })).toEqual(['inReplyTo']);
    expect(faultsOf({ references: ['<a@b>', text] })).toEqual(['references[1]']);
    expect(faultsOf({ messageId: `<a@b>${line}X: 1` })).toEqual(['messageId']);
    expect(faultsOf({ list: { help: { url: text, comment: 'x' } } })).toEqual(['list.help.url']);
    expect(faultsOf({ attachments: [{ filename: text, content: 'x' }] }))
      .toEqual(['attachments[0].filename']);
    expect(faultsOf({ attachments: [{ content: 'x', headers: { 'X-A': text } }] }))
      .toEqual(['attachments[0].headers.X-A']);
  });

  test('line breaks in the bodies are what bodies are made of', () => {
    expect(faultsOf({ text: 'a\r\nb', html: '<p>\n</p>' })).toEqual([]);
  });

  test('headers with an option of their own are not smuggled in', () => {
    expect(faultsOf({ headers: { Bcc: 'x@example.com', 'reply-TO': 'y@example.com' } }))
      .toEqual(['headers["Bcc"]', 'headers["reply-TO"]']);
  });
});

test('all faults of a message are listed at once, and say what was expected', () => {
  const message = {
    from: 'shop@example.com, other@example.com', to: ['ann@example.com', 'bob'], subject: 5,
    text: Readable.from(['x']), attachments: [{ content: Readable.from(['x']) }, 'x'],
    messageId: 'one', headers: { 'a b': 1 }
  };
  expect(faultsOf(message)).toEqual(['to[1]', 'from', 'subject', 'headers["a b"]', 'text',
    'attachments[0]', 'attachments[1]', 'messageId']);
  expect(() => letter({ to: 'bob' })).toThrow(
    'Nothing was sent by send: Expected an address of the form name@domain, up to 254 octets ' +
    'for to but received "bob" of type string');
  expect(faultsOf({ from: undefined, to: undefined })).toEqual(['to', 'from']);
  expect(() => readMessage(null)).toThrow('Expected an object for message but received null');
});

describe('one message, however often it is tried', () => {
  test('has one Message-ID and one date', () => {
    const message = letter();
    const [first, second] = [message.begin(), message.begin()];
    expect(first.messageId).toMatch(/^<[0-9a-f-]{36}@example\.com>$/);
    expect(second.messageId).toBe(first.messageId);
    expect(second.date).toBe(first.date);
    expect(letter().begin().messageId).not.toBe(first.messageId);
  });

  test.each([
    ['messageId', { messageId: '<o1@shop.example>' }],
    ['messageId without its brackets', { messageId: 'o1@shop.example' }],
    ['a header', { headers: { 'message-ID': '<o1@shop.example>' } }],
    ['a header in a list', { headers: [{ key: 'Message-Id', value: 'o1@shop.example' }] }]
  ])('takes it from %s', (_, more) => {
    const data = letter(more).begin();
    expect(data.messageId).toBe('<o1@shop.example>');
    expect(data.headers).toEqual([]);
  });

  test('asks only for those who have not got it', () => {
    const message = letter({ to: 'a@bücher.example, b@example.com, c@example.com' });
    message.begin();
    message.settle({
      accepted: ['a@xn--bcher-kva.example'],
      rejected: ['b@example.com', 'c@example.com'],
      rejectedErrors: [
        { recipient: 'b@example.com', responseCode: 450, response: '450 later' },
        { recipient: 'c@example.com', responseCode: 550, response: '550 no' }
      ],
      response: '250 OK'
    });
    expect(message.isPending).toBe(true);
    expect(message.deferral()).toMatchObject({ kind: 'retry', responseCode: 450 });
    expect(message.begin().envelope.to).toEqual([{ name: '', address: 'b@example.com' }]);
    message.settle({ accepted: ['b@example.com'], rejected: [], response: '250 OK again' });
    expect(message.isPending).toBe(false);
    expect(message.toResult()).toMatchObject({
      accepted: ['a@bücher.example', 'b@example.com'], rejected: ['c@example.com'], deferred: [],
      attempts: 2, ambiguous: false
    });
  });

  test('silence after the last line is ambiguous, an answer is not', () => {
    const silent = Object.assign(new Error('closed'), { code: 'ECONNECTION' });
    const refused = Object.assign(new Error('no'), { code: 'EMESSAGE', responseCode: 451 });
    const before = letter();
    before.begin();
    expect(before.fail(silent).ambiguous).toBe(false);
    before.begin();
    before.handOver();
    expect(before.fail(refused).ambiguous).toBe(false);
    before.begin();
    before.handOver();
    expect(before.fail(silent).ambiguous).toBe(true);
    // And stays so: a later attempt cannot take it back.
    before.begin();
    expect(before.fail(refused).ambiguous).toBe(true);
  });
});
