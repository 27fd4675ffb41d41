'use strict';

// A worker that is about to be killed: a job takes 5 ms, and then appends its id to a file.

const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');

async function main () {
  const { subject, options = {}, url, file } = JSON.parse(process.argv[2]);
  const { open, work } = require(`./${subject}`);
  const done = fs.openSync(file, 'a');
  await work(await open({ url }), options, async id => {
    await sleep(5);
    fs.writeSync(done, `${id}\n`);
  });
  process.send('started');
}

main();
