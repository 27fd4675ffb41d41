'use strict';

// A process that does work under idempotency keys, and kills itself where it is told to:
//   node idempotency-actor.js '{ "url", "calls", "crash": "before"|"after"|"stored", "options" }'
// The work leaves a row in the table `effects`. Prints a line of JSON for each call.

const { openDatabase } = require('../../lib/store/database');
const { createIdempotency } = require('../../lib/store/idempotency');

const { url, key, calls = 1, crash, options } = JSON.parse(process.argv[2]);
const die = step => { if (crash === step) process.kill(process.pid, 'SIGKILL'); };

async function main () {
  const database = await openDatabase({ url });
  const idempotency = createIdempotency({ database });
  const work = async ({ client = database }) => {
    die('before');
    await client.query('INSERT INTO effects (pid) VALUES ($1)', [process.pid]);
    die('after');
    return { pid: process.pid, text: 'done', list: [1, 2, { three: 3 }] };
  };
  const answers = await Promise.all(Array.from({ length: calls }, () =>
    idempotency.run(key, work, options).catch(error => ({ code: error.code ?? error.message }))));
  die('stored');
  for (const answer of answers) process.stdout.write(`${JSON.stringify(answer)}\n`);
  await database.close();
}

main();
