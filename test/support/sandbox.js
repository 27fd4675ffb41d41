'use strict';

// Temporary projects that install the packed tarball as a user would.

const { execFile } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');

const { ROOT, buildPrebuild } = require('./setup');

const execute = promisify(execFile);

/** The environment without what npm tells the scripts that it runs, such as ignore-scripts. */
function cleanEnv (extra) {
  const env = Object.fromEntries(Object.entries(process.env)
    .filter(([name]) => !/^(npm_|NODE_|INIT_CWD$|SEKERING_|PREBUILDS_ONLY$)/.test(name)));
  const npm = { npm_config_ignore_scripts: 'false', npm_config_prefer_offline: 'true' };
  return { ...env, ...npm, ...extra };
}

/** Runs a program to its end and answers { stdout, stderr, code }; never rejects. */
async function run (command, args, { cwd = ROOT, env = cleanEnv(), timeout = 0 } = {}) {
  try {
    return { ...await execute(command, args, { cwd, env, timeout, maxBuffer: 2 ** 26 }), code: 0 };
  } catch ({ stdout, stderr, code, signal, message }) {
    return { stdout, stderr: stderr || message, code: code ?? signal };
  }
}

function makeFolder () {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-test-'));
}

/** A folder to use as PATH: Node.js and npm with the shell they need, and no compiler. */
function makeBareBin (folder) {
  const bin = path.join(folder, 'bin');
  fs.mkdirSync(bin);
  for (const name of ['npm', 'npx', 'env', 'sh']) {
    fs.symlinkSync(findOnPath(name), path.join(bin, name));
  }
  fs.symlinkSync(process.execPath, path.join(bin, 'node'));
  return bin;
}

function findOnPath (name) {
  const folder = process.env.PATH.split(path.delimiter)
    .find(candidate => fs.existsSync(path.join(candidate, name)));
  if (!folder) throw new Error(`${name} is not on the PATH`);
  return path.join(folder, name);
}

/** Packs the checkout with a prebuilt binary inside; answers { file, names }. */
async function pack (folder) {
  buildPrebuild();
  const { stdout } = await execute('npm', ['pack', '--json', '--pack-destination', folder],
    { cwd: ROOT, env: cleanEnv() });
  const [{ filename, files }] = JSON.parse(stdout);
  return { file: path.join(folder, filename), names: files.map(file => file.path) };
}

function makeProject (folder, name, manifest = {}) {
  const project = path.join(folder, name);
  fs.mkdirSync(project);
  fs.writeFileSync(path.join(project, 'package.json'),
    JSON.stringify({ name, version: '1.0.0', private: true, ...manifest }));
  return project;
}

module.exports = { cleanEnv, run, makeFolder, makeBareBin, pack, makeProject };
