'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { readConfig } = require('../../lib/gateway/config');
const { createLogger } = require('../../lib/gateway/logger');

const KEY = 'planted "server" key';
const TOKEN = 'planted-token-0123456789';

const configWith = logging => readConfig({
  midtrans: { serverKey: TOKEN }, smtp: { host: 'x', from: 'a@b.example', password: KEY }, logging
});

test('lines go into a file as JSON, from the level on, without a secret wherever it is', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-log-'));
  const file = path.join(folder, 'logs', 'gateway.log');
  const log = createLogger(configWith({ console: false, file, level: 'info' }));
  log.debug({ order: 'o1' }, 'too little to say');
  log.info({ order: 'o1', amount: 5n, at: new Date(0) }, `as ${TOKEN} says`);
  const error = Object.assign(new Error(`bad ${KEY}`), { code: 'E1', response: TOKEN });
  log.error({ err: error, deep: { list: [KEY, null, 7] } }, 'failed');
  const text = fs.readFileSync(file, 'utf8');
  fs.rmSync(folder, { recursive: true });
  const lines = text.trim().split('\n').map(line => JSON.parse(line));
  expect(lines).toMatchObject([
    { level: 30, order: 'o1', amount: '5', msg: 'as [secret] says' },
    {
      level: 50, err: { code: 'E1', message: 'bad [secret]' }, deep: { list: ['[secret]', null, 7] }
    }
  ]);
  expect(text).not.toMatch(/planted/);
});

test('a logger of the caller\'s gets the same; methods that it lacks are not missed', () => {
  const seen = [];
  const log = createLogger(configWith(), { warn: (...line) => seen.push(line) });
  log.warn({ url: `https://x/${TOKEN}` }, TOKEN);
  log.error({}, 'nobody hears it');
  expect(seen).toEqual([[{ url: 'https://x/[secret]' }, '[secret]']]);
});

test('line breaks in what somebody says begin no line of their own', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-log-'));
  const file = path.join(folder, 'gateway.log');
  createLogger(configWith({ console: false, file })).info({ path: '/a\n{"level":60}' }, 'x\r\ny');
  expect(fs.readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(1);
  fs.rmSync(folder, { recursive: true });
});

describe('what is too much for a line', () => {
  const logged = fields => {
    let line;
    createLogger(configWith(), { warn: taken => { line = taken; } }).warn(fields, 'x');
    return line;
  };

  test('a cut through a secret leaves nothing of it', () => {
    for (const before of [3990, 3999, 4000]) {
      const { text } = logged({ text: 'x'.repeat(before) + TOKEN });
      expect(text).not.toContain('p');
      expect(text.length).toBeLessThanOrEqual(4000);
    }
  });

  test('names of members are redacted', () => {
    expect(logged({ [`a ${TOKEN}`]: { [KEY]: 1 } })).toEqual({ 'a [secret]': { '[secret]': 1 } });
  });

  test('a line has about 10,000 values at most, however often an object refers to itself', () => {
    const counted = value => (value === null || typeof value !== 'object' ? 1
      : Object.values(value).reduce((sum, inner) => sum + counted(inner), 1));
    const knot = {};
    for (let i = 0; i < 30; i++) knot[`m${i}`] = knot;
    expect(counted(logged(knot))).toBeLessThan(11_000);
    expect(logged(Array.from({ length: 10_000 }, () => 1))).toHaveLength(10_000);
    expect(logged(Array.from({ length: 10_001 }, () => 1)).slice(-2)).toEqual([1, '[more]']);
  });
});
