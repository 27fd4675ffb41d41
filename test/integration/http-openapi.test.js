'use strict';

// The API document: it is valid, real answers are as it says, and a client that is made from it
// compiles and works.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const ts = require('typescript');
const { z } = require('zod');

const { FIELDS } = require('../../lib/store/outbox-message');
const { SECRETS, order, startAll } = require('../support/gateway-helpers');
const { run } = require('../support/sandbox');
const { ROOT } = require('../support/setup');

const { shopToken, readToken, operateToken } = SECRETS;
const EXAMPLE = 'order-client.mjs';

let it;
let document;
let folder;
beforeAll(async () => {
  // No answer is too late.
  it = await startAll({}, {
    midtrans: { timeout: 60_000 }, retry: { fallback: { maxWait: 60_000 } },
  });
  const { headers, body } = await it.ask('/openapi.json');
  expect(headers.get('content-type')).toMatch(/^application\/json/);
  document = body;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-openapi-'));
  fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
  fs.writeFileSync(path.join(folder, 'openapi.json'), JSON.stringify(document));
  fs.copyFileSync(path.join(ROOT, 'examples', EXAMPLE), path.join(folder, EXAMPLE));
});
afterAll(async () => {
  await it?.close();
  if (folder) fs.rmSync(folder, { recursive: true });
});

/** Runs a program with ES modules. */
async function runProgram (name, text, env) {
  const file = path.join(folder, name);
  if (text !== undefined) fs.writeFileSync(file, text);
  return run(process.execPath, [file], { cwd: folder, env: { ...process.env, ...env } });
}

test('it is a valid document of OpenAPI 3.1', async () => {
  const { code, stdout } = await runProgram('validate.mjs', `
    import { readFileSync } from 'node:fs';
    import { Validator } from '@seriousme/openapi-schema-validator';
    const check = async text => {
      const validator = new Validator();
      const { valid, errors } = await validator.validate(JSON.parse(text));
      return { valid, version: validator.version, ...!valid && { errors } };
    };
    const text = readFileSync('openapi.json', 'utf8');
    const broken = text.replace('"responses"', '"answers"');
    const { errors, ...rest } = await check(broken.replace('"in":"header"', '"in":"nowhere"'));
    console.log(JSON.stringify([await check(text), rest]));
  `);
  expect({ code, checked: JSON.parse(stdout) }).toEqual({ code: 0, checked: [
    { valid: true, version: '3.1' }, { valid: false, version: '3.1' },
  ] });
});

/** The schema of zod for what an operation answers with a status. */
function schemaFor (method, address, status) {
  const { responses } = document.paths[address][method.toLowerCase()];
  const [{ schema }] = Object.values(responses[status].content);
  const text = JSON.stringify({ ...schema, $defs: document.components.schemas });
  return z.fromJSONSchema(JSON.parse(text.replaceAll('#/components/schemas/', '#/$defs/')));
}

/** Asks, and holds the answer against the document. */
async function ask (method, address, { path: place = address, ...options }, status) {
  const answer = await it.ask(place, { method, ...options });
  expect([address, answer.status]).toEqual([address, status]);
  const { responses } = document.paths[address][method.toLowerCase()];
  const [type] = Object.keys(responses[status].content);
  expect(answer.headers.get('content-type')).toMatch(type);
  const { error } = schemaFor(method, address, status).safeParse(answer.body);
  expect([address, error?.issues]).toEqual([address, undefined]);
  return answer;
}

describe('real answers are as it says', () => {
  const shop = { token: shopToken };

  test('to orders', async () => {
    await ask('POST', '/orders', { ...shop, body: order('paged') }, 201);
    await ask('GET', '/orders/{id}', { ...shop, path: '/orders/paged' }, 200);
    it.midtrans.set('error');
    await ask('POST', '/orders', { ...shop, body: order('queued') }, 202);
    await ask('GET', '/orders/{id}', { ...shop, path: '/orders/queued' }, 200);
    it.midtrans.set(null);
    await ask('POST', '/orders', { ...shop, body: {} }, 400);
    await ask('POST', '/orders', { body: order('x') }, 401);
    await ask('POST', '/orders', { ...shop, body: order('paged', 7) }, 409);
    await ask('GET', '/orders/{id}', { ...shop, path: '/orders/none' }, 404);
  });

  test('to messages', async () => {
    const mail = { channel: 'EMAIL', recipient: 'ani@example.com', body: 'Hello' };
    await ask('POST', '/notifications', { ...shop, body: mail }, 202);
    await ask('POST', '/notifications', { ...shop, body: [mail, mail] }, 202);
    await ask('POST', '/notifications', { ...shop, body: { ...mail, colour: 'red' } }, 400);
  });

  test('to whoever watches', async () => {
    const pages = Object.entries(document.paths)
      .filter(([, { get }]) => get?.responses[200]?.content['application/json'])
      .map(([address]) => address).filter(address => !address.includes('{'));
    expect(pages.length).toBeGreaterThan(15);
    for (const address of pages) await ask('GET', address, { token: readToken }, 200);
  });

  test('an answer that differs would be noticed', () => {
    const schema = schemaFor('POST', '/orders', 201);
    const answer = { queued: false, orderId: 'a', state: 'created', token: 't',
      redirectUrl: 'https://a.example/' };
    expect(schema.safeParse(answer).success).toBe(true);
    expect(schema.safeParse({ ...answer, state: 'lost' }).success).toBe(false);
    expect(schema.safeParse({ ...answer, token: undefined }).success).toBe(false);
  });
});

describe('what it accepts', () => {
  test('a message has the members that are checked', () => {
    const { properties, additionalProperties } = document.components.schemas.Message;
    expect(Object.keys(properties).toSorted()).toEqual([...FIELDS].toSorted());
    expect(additionalProperties).toBe(false);
  });

  // Unknown parameters are refused, so each that is named here must be known.
  test('each parameter of a list is known, with each value of its', async () => {
    const lists = Object.entries(document.paths)
      .filter(([address, { get }]) => get?.parameters?.every(p => p.in === 'query') &&
        address.startsWith('/admin'));
    expect(lists.length).toBeGreaterThan(5);
    for (const [address, { get: { parameters } }] of lists) {
      for (const { name, schema } of parameters) {
        const values = schema.enum ?? (name === 'before' ? ['1'] : ['7']);
        for (const value of values) {
          const { status } = await it.ask(`${address}?${name}=${value}`, { token: readToken });
          expect([address, name, value, status]).toEqual([address, name, value, 200]);
        }
      }
    }
  });

  test('each member of a change is known', async () => {
    const changes = Object.entries(document.paths)
      .filter(([, { post }]) => post?.tags[0] === 'Admin');
    expect(changes.length).toBeGreaterThan(6);
    for (const [address, { post }] of changes) {
      const { properties } = post.requestBody.content['application/json'].schema;
      expect(Object.keys(properties).length).toBeGreaterThan(0);
      const place = address.replace(/\{\w+\}/, '1');
      const known = Object.keys(properties).map(key => [key, {}]);
      const unknown = { ...Object.fromEntries(known), no: 1 };
      const { body } = await it.ask(place, { token: operateToken, method: 'POST', body: unknown });
      const { message } = body.faults.find(fault => fault.message.includes('nrecognized'));
      expect([address, message]).toEqual([address, expect.stringMatching(/: "no"$/)]);
    }
  });
});

describe('a client that is made from it', () => {
  beforeAll(async () => {
    const { code, stderr } = await runProgram('generate.mjs', `
      import { readFileSync, writeFileSync } from 'node:fs';
      import generate, { astToString } from 'openapi-typescript';
      const document = JSON.parse(readFileSync('openapi.json', 'utf8'));
      writeFileSync('api.d.ts', astToString(await generate(document)));
    `);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  test('compiles, and mistakes do not', () => {
    const text = fs.readFileSync(path.join(folder, EXAMPLE), 'utf8');
    const variants = [text, text.replace('order_id: id', 'order: id'),
      text.replace('data.redirectUrl', 'data.url'),
      text.replace("'/orders/{id}'", "'/order/{id}'")];
    const files = variants.map((variant, i) => {
      const file = path.join(folder, `variant-${i}.mjs`);
      fs.writeFileSync(file, variant);
      return file;
    });
    const program = ts.createProgram(files, {
      module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
      target: ts.ScriptTarget.ES2022, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'], strict: true,
      noEmit: true, skipLibCheck: true, allowJs: true, checkJs: true, types: ['node'],
      typeRoots: [path.join(ROOT, 'node_modules', '@types')],
    });
    const faults = ts.getPreEmitDiagnostics(program).map(({ file, messageText }) =>
      [path.basename(file?.fileName ?? ''), ts.flattenDiagnosticMessageText(messageText, '\n')]);
    expect(faults.filter(([file]) => file === 'variant-0.mjs')).toEqual([]);
    expect([...new Set(faults.map(([file]) => file))].toSorted())
      .toEqual(['variant-1.mjs', 'variant-2.mjs', 'variant-3.mjs']);
  });

  test('works', async () => {
    const { code, stdout, stderr } = await run(process.execPath, [path.join(folder, EXAMPLE)], {
      cwd: folder, env: { ...process.env, SEKERING_URL: it.server.url, SEKERING_TOKEN: shopToken },
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout.trimEnd().split('\n').filter(line => !/^[ [\]{}]/.test(line))).toEqual([
      '201 order-1 can be paid at its page: true',
      '201 order-1 can be paid at its page: true',
      expect.stringMatching(/^400 ERR_INVALID_INPUT/),
      'created IDR 15000000',
      '202 false',
    ]);
  });
});
