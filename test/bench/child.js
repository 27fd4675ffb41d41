'use strict';

// Measures one group, or one part of it, in a process of its own, and sends the results home.

const { forkGroup } = require('./processes');

async function main () {
  const { group, part, options } = JSON.parse(process.argv[2]);
  const { run, part: runPart } = require(`./groups/${group}`);
  const results = part === undefined
    ? await run({ ...options, fork: (name, given) => forkGroup(name, { part: given, options }) })
    : await runPart(part);
  await new Promise(resolve => { process.send(results, resolve); });
  process.exit(0);
}

main().catch(error => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
