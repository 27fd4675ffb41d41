'use strict';

// A process with an embedded store, to be killed. Argument 1 says what it does, 2 is the folder.

const { openDatabase } = require('../../lib/store/database');
const { lockDirectory } = require('../../lib/store/pglite-lock');

const [task, directory] = process.argv.slice(2);

const tasks = {
  /** Tells what it finds, then writes rows and tells of each that was acknowledged. */
  async write () {
    const database = await openDatabase({ directory });
    await database.query('CREATE TABLE IF NOT EXISTS rows (id int PRIMARY KEY, text text)');
    const { rows: [found] } = await database.query(
      'SELECT count(*)::int AS count, coalesce(max(id), 0) AS last FROM rows');
    process.send({ found });
    for (let id = found.last + 1; ; id++) {
      await database.query({
        name: 'write', text: 'INSERT INTO rows VALUES ($1, $2)', values: [id, 'x'.repeat(500)],
      });
      // A parent that stands still reads nothing: a row is told of before the next one is written.
      await new Promise(resolve => { process.send({ id }, resolve); });
    }
  },

  /** Opens it and is done, without closing it. */
  async leave () {
    const database = await openDatabase({ directory });
    await database.listen('news', () => {});
    await database.query('SELECT 1');
    process.disconnect();
  },

  /** Tries to get the folder whenever it is told to. */
  async lock () {
    process.on('message', async () => {
      const lock = await lockDirectory(directory).catch(({ code }) => code);
      process.send({ lock: typeof lock === 'string' ? lock : 'mine' });
    });
    process.send('ready');
  },
};

tasks[task]();
