'use strict';

// Measures one thing of one subject, in a process and a database of its own.

const special = require('./special');

async function main () {
  const { subject, row, place, options } = JSON.parse(process.argv[2]);
  if (row in special) return special[row](place, options);
  const { open, fill, drain, enqueue } = require(`./${subject}`);
  const handle = await open(place);
  try {
    if (row === 'enqueue') return await enqueue(handle, options) / options.ms * 1000;
    await fill(handle, options.count);
    return options.count / await drain(handle, options) * 1000;
  } finally {
    await handle.close();
  }
}

main().then(value => {
  process.send(value, () => process.exit(0));
}, error => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
