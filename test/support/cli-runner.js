'use strict';

// Runs commands of the command line, one after the other, in one process: starting one for each
// takes longer than most of them. A parent sends { args, env } and gets { code, stdout, stderr }.

const { main } = require('../../lib/cli');

let heard;
for (const name of ['stdout', 'stderr']) {
  process[name].write = text => {
    heard[name] += text;
    return true;
  };
}

process.on('message', async ({ args, env }) => {
  heard = { stdout: '', stderr: '' };
  Object.assign(process.env, env);
  await main([process.execPath, 'sekering', ...args]);
  for (const name of Object.keys(env)) delete process.env[name];
  const code = process.exitCode ?? 0;
  process.exitCode = undefined;
  process.send({ code, ...heard });
});
