'use strict';

// A process that works with a store all the time, as argument 1 addresses it, and tells of each row
// that was acknowledged, of news, and of errors that are not passing.

const { openStore } = require('../../lib/store');
const { openDatabase } = require('../../lib/store/database');

const LOOPS = 4;
const url = process.argv[2];
const pause = ms => new Promise(resolve => { setTimeout(resolve, ms); });

const stopping = new AbortController();
process.on('message', () => stopping.abort());

async function write (store, id) {
  const insert = { text: 'INSERT INTO load VALUES ($1)', values: [id] };
  if (Math.random() < 0.5) await store.query(insert);
  else {
    await store.transaction(async client => {
      await client.query(insert);
      await client.query('SELECT 1');
    });
  }
}

async function loop (store, number) {
  for (let i = 0; !stopping.signal.aborted; i++) {
    const id = `${number}.${i}`;
    try {
      await write(store, id);
      process.send({ id });
    } catch (error) {
      // It may have been written; the next try has a row of its own.
      if (!error.retryable) process.send({ fault: error.stack });
      await pause(20);
    }
  }
}

async function main () {
  const database = await openDatabase({ url, timeout: 3000 });
  await database.query('CREATE TABLE IF NOT EXISTS load (id text)');
  await database.listen('load', news => process.send({ news }),
    () => process.send({ again: true }));
  const store = await openStore({ url, timeout: 3000, connections: LOOPS });
  let warnings = 0;
  store.on('warning', () => { warnings++; });
  process.send({ ready: true });
  await Promise.all(Array.from({ length: LOOPS }, (_, number) => loop(store, number)));
  await store.close();
  await database.close();
  process.send({ warnings });
  process.disconnect();
}

main();
