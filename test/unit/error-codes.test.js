'use strict';

// The table of error codes is complete and true, and docs/errors.md shows it.

const fs = require('node:fs');
const path = require('node:path');

const { CODES } = require('../../lib/base/error-codes');
const { SekeringError } = require('../../lib/base/errors');
const { GUIDE, codesByArea, withTables } = require('../support/errors-guide');
const { ROOT } = require('../support/setup');

// Codes that lib reads but does not create: those of Node.js, nodemailer, and HTTP clients.
const FOREIGN = new Set([
  'EACCES', 'EADDRNOTAVAIL', 'ECONNABORTED', 'ECONNREFUSED', 'ECONNRESET', 'EDQUOT', 'EEXIST',
  'EHOSTDOWN', 'EHOSTUNREACH', 'ENETDOWN', 'ENETUNREACH', 'ENOENT', 'ENOSPC', 'ENOTDIR',
  'ENOTFOUND', 'EPROTO', 'ESERVFAIL', 'ESOCKETTIMEDOUT', 'ETIMEOUT',
  'ERR_BUFFER_TOO_LARGE', 'ERR_DLOPEN_DISABLED',
  'ERR_HTTP_REQUEST_TIMEOUT', 'ERR_SOCKET_CONNECTION_TIMEOUT', 'ERR_STREAM_PREMATURE_CLOSE',
  'EABORT', 'ECONFIG', 'ECONNECTION', 'EENVELOPE', 'EFETCH', 'EFILEACCESS', 'EMAXLIMIT',
  'EMAXRECIPIENTS', 'EMESSAGE', 'ENOAUTH', 'EPROTOCOL', 'EPROXY', 'EREQUIRETLS', 'ESOCKET',
  'ESTREAM', 'EURLACCESS',
  // The drop-in for midtrans-client has errors of axios.
  'ERR_BAD_REQUEST', 'ERR_BAD_RESPONSE', 'ERR_NOT_SUPPORT',
]);
// Other words that look like a code.
const WORDS = new Set(['EMERGENCY']);

const sources = fs.readdirSync(path.join(ROOT, 'lib'), { recursive: true })
  .filter(name => name.endsWith('.js') && !name.endsWith('error-codes.js'))
  .map(file => ({ file, text: fs.readFileSync(path.join(ROOT, 'lib', file), 'utf8') }));

/** The codes in the sources of lib. */
const inLib = sources.flatMap(({ file, text }) => {
  const codes = text.match(/(?<=')(?:ERR_[A-Z0-9_]+|E[A-Z]{5,})(?=')/g) ?? [];
  return [...new Set(codes)].map(code => ({ file, code }));
});

// A code that only answers over HTTP have is of no class: its `class` is in lower case.
const classes = new Set(Object.values(CODES).flatMap(row => row.class.split(/, | or /))
  .filter(name => /^[A-Z]/.test(name)));

/** The class of this name that is global or that the package exports. */
function findClass (name) {
  if (name in globalThis) return globalThis[name];
  const { exports: entries } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  for (const { default: file } of Object.values(entries)) {
    if (file === undefined || file.includes('/browser/')) continue;
    const found = require(path.join(ROOT, file))[name];
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Whether lib declares a class of errors of this name. */
const isDeclared = name =>
  sources.some(({ text }) => new RegExp(`^class ${name} extends \\w+Error\\b`, 'm').test(text));

test('every code that lib uses is in the table', () => {
  expect(inLib.length).toBeGreaterThan(100);
  expect(inLib.filter(({ code }) => !(code in CODES) && !FOREIGN.has(code) && !WORDS.has(code)))
    .toEqual([]);
});

test('every code of the table is used, and so is every foreign one', () => {
  const used = new Set(inLib.map(({ code }) => code));
  expect([...Object.keys(CODES), ...FOREIGN, ...WORDS].filter(code => !used.has(code)))
    .toEqual([]);
});

test('every row is whole', () => {
  const faulty = Object.entries(CODES).filter(([, { message, retryable, fault }]) =>
    typeof message !== 'string' || message === '' ||
    ![true, false, undefined].includes(retryable) ||
    !['caller', 'upstream', 'local', 'operator'].includes(fault));
  expect(faulty).toEqual([]);
});

describe('the classes', () => {
  test.each([...classes])('%s is a class of errors', name => {
    expect(findClass(name)?.prototype instanceof Error || isDeclared(name)).toBe(true);
  });

  // The classes whose constructor needs nothing but a code.
  const simple = Object.entries(CODES)
    .filter(([, row]) => ['SekeringError', 'StoreError'].includes(row.class));

  test.each(simple)('%s has its class and message', (code, row) => {
    const error = new (findClass(row.class))(code);
    expect(error).toBeInstanceOf(SekeringError);
    expect(error).toMatchObject({ name: row.class, code, message: row.message });
  });

  test.each(['RetryableError', 'NonRetryableError'])('%s has its code', name => {
    const Class = findClass(name);
    expect(CODES[new Class('message').code].class).toBe(name);
  });
});

describe('docs/errors.md', () => {
  test('shows the table (if not: node test/support/errors-guide.js)', () => {
    const guide = fs.readFileSync(GUIDE, 'utf8');
    expect(guide.split('\n')).toEqual(withTables(guide).split('\n'));
  });

  test('every code belongs to an area', () => {
    expect(codesByArea().undefined).toBeUndefined();
  });
});
