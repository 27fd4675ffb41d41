'use strict';

// The quick start as a reader follows it: its own commands, in an empty folder, with the packed
// package. And the first code of the README, as each kind of module.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');

const { ROOT } = require('../support/setup');
const { cleanEnv, makeFolder, pack, run } = require('../support/sandbox');

const COMMANDS_MAX = 6;

let folder;
let tarball;

beforeAll(async () => {
  folder = makeFolder();
  tarball = (await pack(folder)).file;
});
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const read = name => fs.readFileSync(path.join(ROOT, name), 'utf8');

/** The blocks of a document: { info, code }. */
const blocksOf = text => [...text.matchAll(/^```(.+)\n([^]*?)^```$/gm)]
  .map(([, info, code]) => ({ info, code }));

const makeEmpty = name => {
  const empty = path.join(folder, name);
  fs.mkdirSync(empty);
  return empty;
};

/** Runs a command of a guide; where it installs the package, that is the packed one. */
async function follow (command, cwd) {
  const [program, ...args] = command.replace(/(?<=npm install )sekering\b/, tarball).split(' ');
  const { code, stdout, stderr } = await run(program, args, { cwd, env: cleanEnv() });
  expect([command, code, code === 0 ? '' : stderr]).toEqual([command, 0, '']);
  return stdout;
}

/** Starts a command, and resolves with what it has printed once that has the given line. */
async function begin (command, cwd, line) {
  const [program, ...args] = command.split(' ');
  const child = spawn(program, args, { cwd, env: cleanEnv() });
  let text = '';
  child.stderr.on('data', chunk => { text += chunk; });
  for await (const chunk of child.stdout.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += chunk;
    if (line.test(text)) break;
  }
  child.stdout.resume();
  return { child, text };
}

test('in six commands from an empty folder to a protected call, and to a paid order', async () => {
  const guide = read('docs/quick-start.md');
  const blocks = blocksOf(guide);
  const commands = blocks.filter(({ info }) => info === 'sh')
    .flatMap(({ code }) => code.trim().split('\n'));
  expect(commands.length).toBeLessThanOrEqual(COMMANDS_MAX);
  const project = makeEmpty('quick');
  const [, file] = /Write this into `(.+?)`/.exec(guide);
  fs.writeFileSync(path.join(project, file), blocks.find(({ info }) => info === 'js run').code);
  const outputs = blocks.filter(({ info }) => info.startsWith('text')).map(({ code }) => code);
  const said = [];
  let server;
  try {
    for (const command of commands) {
      if (!/ serve /.test(command)) said.push(await follow(command, project));
      else {
        server = await begin(command, project, /^ {2}on {2}.*\n/m);
        expect(server.text).toMatch(/^Listening on http/m);
      }
    }
    for (const output of outputs) expect(said).toContain(output);
    const config = fs.readFileSync(path.join(project, 'sekering.toml'), 'utf8');
    const [, token] = /name = "operations"\n.*\ntoken = "(.+)"/.exec(config);
    const [, url] = /^Listening on (\S+)$/m.exec(server.text);
    const order = await fetch(`${url}/admin/reliability/payments/order-1`,
      { headers: { authorization: `Bearer ${token}` } });
    expect(await order.json()).toMatchObject({ orderId: 'order-1', state: 'paid' });
  } finally {
    server?.child.kill('SIGTERM');
  }
  // What npx has started has its pipes.
  if (server.child.exitCode === null) await once(server.child, 'close');
});

describe('the first code of the README runs when it is pasted', () => {
  const [readme] = [read('README.md')];
  const blocks = blocksOf(readme);
  const first = blocks.findIndex(({ info }) => info === 'js run');
  const { code } = blocks[first];
  const output = blocks[first + 1].code;
  const [, line] = /only the first line differs:\n`(import .+)`/.exec(readme);
  const asModule = code.replace(/^const .*;$/m, line);
  let project;

  beforeAll(async () => {
    project = makeEmpty('pasted');
    await follow('npm install sekering', project);
  });

  test.each([
    ['a script', 'first.js', () => code], ['CommonJS', 'first.cjs', () => code],
    ['an ES module', 'first.mjs', () => asModule],
  ])('as %s', async (_, name, text) => {
    fs.writeFileSync(path.join(project, name), text());
    expect(await run(process.execPath, [name], { cwd: project, env: cleanEnv() }))
      .toEqual({ code: 0, stdout: output, stderr: '' });
  });

  test('as TypeScript, with strict types', async () => {
    fs.writeFileSync(path.join(project, 'first.mts'), asModule);
    fs.cpSync(path.join(ROOT, 'node_modules', '@types'),
      path.join(project, 'node_modules', '@types'), { recursive: true });
    fs.cpSync(path.join(ROOT, 'node_modules', 'undici-types'),
      path.join(project, 'node_modules', 'undici-types'), { recursive: true });
    const compiler = require.resolve('typescript/bin/tsc');
    const args = ['--strict', '--module', 'nodenext', '--target', 'es2022', '--types', 'node',
      '--outDir', 'made', 'first.mts'];
    expect(await run(process.execPath, [compiler, ...args], { cwd: project, env: cleanEnv() }))
      .toEqual({ code: 0, stdout: '', stderr: '' });
    expect(await run(process.execPath, ['made/first.mjs'], { cwd: project, env: cleanEnv() }))
      .toEqual({ code: 0, stdout: output, stderr: '' });
  });
});
