'use strict';

// Runs the tools of the test stages. Each function answers whether the tool was content.

const { spawn, spawnSync } = require('node:child_process');
const os = require('node:os');

const { ROOT } = require('./setup');

const CORES = String(os.availableParallelism());

function runTool (command, args, { env } = {}) {
  const options = { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } };
  return spawnSync(command, args, options).status === 0;
}

/** Like runTool, for several at a time; `quiet`: shows the output when the tool has ended. */
function startTool (command, args, { quiet = false, env } = {}) {
  return new Promise(resolve => {
    const chunks = [];
    const stdio = quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit';
    const tool = spawn(command, args, { cwd: ROOT, stdio, env: { ...process.env, ...env } });
    for (const output of [tool.stdout, tool.stderr]) output?.on('data', data => chunks.push(data));
    tool.on('error', error => chunks.push(Buffer.from(`${error.message}\n`)));
    tool.on('close', status => {
      process.stderr.write(Buffer.concat(chunks));
      resolve(status === 0);
    });
  });
}

/** Like runTool, but shows the output only when the tool failed, and its last lines otherwise. */
function runQuietly (command, args, { lines = 0, env } = {}) {
  const options = {
    cwd: ROOT, encoding: 'utf8', maxBuffer: 2 ** 28, env: { ...process.env, ...env },
  };
  const { status, stdout, stderr, error } = spawnSync(command, args, options);
  const passed = status === 0;
  const output = `${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`.trimEnd();
  const all = output.split('\n');
  const shown = passed ? all.slice(all.length - lines) : all;
  if (shown.length > 0) console.log(shown.join('\n'));
  return passed;
}

/** Configures and builds with CMake, then runs the GoogleTest binary through ctest. */
function runNativeTests ({ folder, results, sanitize = '', addon = false, env }) {
  return runQuietly('cmake', ['-B', folder, `-DSANITIZE=${sanitize}`,
    `-DSEKERING_ADDON=${addon ? 'ON' : 'OFF'}`]) &&
    runQuietly('cmake', ['--build', folder, '--parallel', CORES]) &&
    runQuietly('ctest', ['--test-dir', folder, '--output-on-failure', '--no-tests=error',
      '--parallel', CORES, '--output-junit', results], { lines: 3, env });
}

module.exports = { runQuietly, runTool, runNativeTests, startTool };
