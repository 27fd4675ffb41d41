'use strict';

// A process that does work under idempotency keys, and kills itself where it is told to:
//   node idempotency-actor.js '{ "url", "calls", "crash": "before"|"after"|"stored", "options",
//     "stallUntil": a file, "confirms": true }'
// The work leaves a row in the table `effects`. Before that its event loop stands until the file
// exists, and it confirms that it holds the key. Prints a line of JSON for each call, before it
// `begun` for work that stalls, and `ERR_…` for each warning.

const fs = require('node:fs');

const { openDatabase } = require('../../lib/store/database');
const { createIdempotency } = require('../../lib/store/idempotency');

const { url, key, calls = 1, crash, options, stallUntil, confirms } = JSON.parse(process.argv[2]);
const print = value => process.stdout.write(`${JSON.stringify(value)}\n`);
const die = step => { if (crash === step) process.kill(process.pid, 'SIGKILL'); };

async function main () {
  const database = await openDatabase({ url });
  const idempotency = createIdempotency({ database, onWarning: ({ code }) => print(code) });
  const work = async ({ client = database, confirm, signal }) => {
    die('before');
    if (stallUntil !== undefined) {
      // Written at once: the loop stands from here on.
      fs.writeSync(1, '"begun"\n');
      while (!fs.existsSync(stallUntil));
    }
    if (confirms) {
      await confirm().catch(error => {
        throw signal.aborted && signal.reason === error ? error : new Error('not aborted');
      });
    }
    await client.query('INSERT INTO effects (pid) VALUES ($1)', [process.pid]);
    die('after');
    return { pid: process.pid, text: 'done', list: [1, 2, { three: 3 }] };
  };
  const answers = await Promise.all(Array.from({ length: calls }, () =>
    idempotency.run(key, work, options).catch(error => ({ code: error.code ?? error.message }))));
  die('stored');
  for (const answer of answers) print(answer);
  await database.close();
}

main();
