'use strict';

const { fork } = require('node:child_process');
const path = require('node:path');

const CHILD = path.join(__dirname, 'child.js');

/** Runs a group (or the given part of it) in a new process; resolves with what it sends. */
function forkGroup (group, { part, options, extraFlags = [] }) {
  const { flags = [] } = require(`./groups/${group}`);
  return new Promise((resolve, reject) => {
    const child = fork(CHILD, [JSON.stringify({ group, part, options })], {
      execArgv: [...flags, ...extraFlags]
    });
    let results;
    child.on('message', message => { results = message; });
    child.on('error', reject);
    child.on('exit', (code, signal) => {
      if (code === 0 && results !== undefined) resolve(results);
      else reject(new Error(`The group ${group} ended with ${signal ?? code}`));
    });
  });
}

module.exports = { forkGroup };
