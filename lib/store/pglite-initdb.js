'use strict';

// The thread in which an empty database is made.

const { parentPort } = require('node:worker_threads');

const { PGlite } = require('@electric-sql/pglite');

async function main () {
  const pglite = await PGlite.create();
  // Nobody makes further databases here. These two would only age, for want of an autovacuum, until
  // the server stops for fear of transaction numbers coming round again.
  for (const name of ['template0', 'template1']) {
    await pglite.exec(`ALTER DATABASE ${name} IS_TEMPLATE false`);
    await pglite.exec(`DROP DATABASE ${name}`);
  }
  await pglite.exec('VACUUM (FREEZE, ANALYZE)');
  await pglite.exec('CHECKPOINT');
  const blob = await pglite.dumpDataDir('none');
  const tar = new Uint8Array(await blob.arrayBuffer());
  parentPort.postMessage(tar, [tar.buffer]);
}

main();
