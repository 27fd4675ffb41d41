'use strict';

// One prebuilt binary for every supported version of Node.js. Each version is 100 MB of download,
// so this runs in continuous integration, or when SEKERING_NODE_VERSIONS=1 asks for it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { ROOT, buildPrebuild } = require('../support/setup');
const { cleanEnv, run } = require('../support/sandbox');

const VERSIONS = [20, 22, 24, 26];
const CACHE = path.join(os.tmpdir(), 'sekering-node-versions');
const SMOKE = path.join(ROOT, 'test', 'support', 'smoke.js');

jest.setTimeout(300_000);

async function installNode (version) {
  const name = `node-${process.platform}-${os.arch()}`;
  const prefix = path.join(CACHE, String(version));
  const binary = path.join(prefix, 'node_modules', name, 'bin', 'node');
  if (fs.existsSync(binary)) return binary;
  fs.mkdirSync(prefix, { recursive: true });
  fs.writeFileSync(path.join(prefix, 'package.json'), '{ "private": true }');
  const { code, stderr } = await run('npm', ['install', '--no-audit', '--no-fund', '--no-save',
    `${name}@${version}`], { cwd: prefix, env: cleanEnv() });
  if (code !== 0) throw new Error(stderr);
  return binary;
}

const asked = process.env.SEKERING_NODE_VERSIONS === '1' || Boolean(process.env.CI);
const describeWhenAsked = asked ? describe : describe.skip;

describeWhenAsked('the prebuilt binary', () => {
  beforeAll(buildPrebuild);

  test.each(VERSIONS)('works under Node.js %i', async version => {
    const binary = await installNode(version);
    const { stdout, stderr, code } = await run(binary, [SMOKE], {
      cwd: ROOT, env: cleanEnv({ PREBUILDS_ONLY: '1' }),
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const { node, answers } = JSON.parse(stdout);
    expect(node).toMatch(`v${version}.`);
    expect(answers).toContain('EOPENBREAKER');
  });
});
