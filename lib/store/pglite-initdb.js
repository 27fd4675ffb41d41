'use strict';

// The thread in which an empty database is made.

const { parentPort } = require('node:worker_threads');

const { PGlite } = require('@electric-sql/pglite');

async function main () {
  const pglite = await PGlite.create();
  await pglite.exec('CHECKPOINT');
  const blob = await pglite.dumpDataDir('none');
  const tar = new Uint8Array(await blob.arrayBuffer());
  parentPort.postMessage(tar, [tar.buffer]);
}

main();
