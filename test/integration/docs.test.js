'use strict';

// The documentation is true: its programs run and print what it says, its fragments parse, and its
// links lead somewhere. Its tables: test/unit/guides.test.js.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const vm = require('node:vm');
const ts = require('typescript');

const { run } = require('../support/sandbox');
const { ROOT } = require('../support/setup');

const PROGRAM_MS_MAX = 600_000;
/** What programs of the guides use besides sekering. */
const PEERS = ['express', 'fastify', 'pino', '@nestjs/common', '@nestjs/core', 'reflect-metadata',
  '@opentelemetry/sdk-trace-node'];

const read = name => fs.readFileSync(path.join(ROOT, name), 'utf8');
const guides = fs.readdirSync(path.join(ROOT, 'docs')).filter(name => name.endsWith('.md'))
  .map(name => `docs/${name}`);
const documents = ['README.md', 'HACKING.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md',
  'THIRD-PARTY.md', ...guides];

/** The fenced blocks of a document: { name, info, code, next }. */
function blocksOf (document) {
  const blocks = [];
  let open;
  read(document).split('\n').forEach((line, i) => {
    if (!line.startsWith('```')) open?.lines.push(line);
    else if (open === undefined) {
      open = { name: `${document}:${i + 1}`, info: line.slice(3).trim(), lines: [] };
    } else {
      blocks.push({ ...open, code: `${open.lines.join('\n')}\n` });
      open = undefined;
    }
  });
  blocks.forEach((block, i) => { block.next = blocks[i + 1]; });
  return blocks;
}

const blocks = documents.flatMap(blocksOf);
const named = info => blocks.filter(block => block.info === info).map(block => [block.name, block]);

/** A folder in which the package is installed as this checkout. */
function makeProject () {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-docs-'));
  const modules = path.join(folder, 'node_modules');
  fs.mkdirSync(modules);
  fs.symlinkSync(ROOT, path.join(modules, 'sekering'));
  fs.symlinkSync(path.join(ROOT, 'node_modules', '@types'), path.join(modules, '@types'));
  for (const name of PEERS) {
    // Not a link: links are kept as they are, and a package would look for its parts beside it.
    fs.mkdirSync(path.join(modules, name), { recursive: true });
    const target = require.resolve(name, { paths: [ROOT] });
    fs.writeFileSync(path.join(modules, name, 'index.js'),
      `module.exports = require(${JSON.stringify(target)});\n`);
  }
  return folder;
}

const AT_ONCE = os.availableParallelism();

/** Runs programs, some at a time; what each of them came to, by its name. */
async function runAll (project, programs) {
  const results = new Map();
  const left = [...programs.entries()];
  const worker = async () => {
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      const [i, [name, { info, code }]] = next;
      const file = path.join(project, `program-${i}.${info.split(' ')[0]}`);
      fs.writeFileSync(file, code);
      const env = { ...process.env, NO_COLOR: '1' };
      results.set(name, await run(process.execPath, ['--preserve-symlinks', file], {
        cwd: project, env, timeout: PROGRAM_MS_MAX,
      }));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}

describe('programs', () => {
  const programs = [...named('js run'), ...named('mjs run')];
  let project;
  let results;
  beforeAll(async () => {
    project = makeProject();
    results = await runAll(project, programs);
  }, programs.length * PROGRAM_MS_MAX); // Each has its own limit.
  afterAll(() => fs.rmSync(project, { recursive: true }));

  test.each(programs)('%s', (name, { next }) => {
    const { code, stdout, stderr } = results.get(name);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    if (next?.info === 'text output') expect(stdout).toBe(next.code);
  });

  test('the first code of the README is a program that runs as it is', () => {
    const [first] = blocksOf('README.md').filter(({ info }) => /^(m?js|ts)\b/.test(info));
    expect([first.info, first.next.info]).toEqual(['js run', 'text output']);
  });

  test('each output block belongs to a program', () => {
    const owners = blocks.filter(({ next }) => next?.info === 'text output');
    expect(owners.filter(({ info }) => !/^m?js run$/.test(info)).map(({ name }) => name))
      .toEqual([]);
    expect(named('js run').length).toBeGreaterThan(10);
  });

  test.each(named('js'))('the fragment at %s parses', (name, { code }) => {
    expect(() => new vm.Script(`async function fragment () {\n${code}\n}`)).not.toThrow();
  });

  test('TypeScript compiles', () => {
    const files = named('ts').map(([, { code }], i) => {
      const file = path.join(project, `fragment-${i}.mts`);
      fs.writeFileSync(file, code);
      return file;
    });
    expect(files).not.toEqual([]);
    const fragments = ts.createProgram(files, {
      module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
      target: ts.ScriptTarget.ES2022, strict: true, noEmit: true,
      skipLibCheck: true, types: ['node'],
      typeRoots: [path.join(ROOT, 'node_modules', '@types')], preserveSymlinks: true,
    });
    const faults = ts.getPreEmitDiagnostics(fragments)
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
    expect(faults).toEqual([]);
  });

  test('all blocks are of the kinds that these tests check', () => {
    const kinds = ['js', 'js run', 'mjs run', 'ts', 'text', 'text output', 'sh', 'sql', 'toml', ''];
    expect(blocks.filter(({ info }) => !kinds.includes(info)).map(({ name }) => name)).toEqual([]);
  });
});

describe('links', () => {
  // Written by `npm run bench -- --write`.
  const generated = ['test/bench/RESULTS.md'];
  const prose = document => read(document).replace(/^```[^]*?^```/gm, '');

  /** The anchors that a renderer gives to headings. */
  const anchorsOf = document => [...prose(document).matchAll(/^#+ (.*)$/gm)]
    .map(([, title]) => title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, '').replace(/ /g, '-'));

  test.each(documents)('%s', document => {
    const targets = [...prose(document).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target)
      .filter(target => !/^https?:/.test(target));
    const broken = targets.filter(target => {
      const [file, anchor] = target.split('#');
      const name = path.posix.join(path.posix.dirname(document), file || path.basename(document));
      if (generated.includes(name)) return false;
      if (!fs.existsSync(path.join(ROOT, name))) return true;
      return anchor !== undefined && !anchorsOf(name).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  test('README links to every guide', () => {
    expect(guides.filter(guide => !read('README.md').includes(`(${guide})`))).toEqual([]);
  });
});
