'use strict';

// What a server's background processes do, and nobody does in a process of one session: old
// versions of rows are cleared away, and the log is cut, all of which is gone through after a kill.

const { quote } = require('./sql-text');

// Changed rows after which the tables of the schema are gone through.
const CHANGES_PER_VACUUM = 20_000;
// Every so many times the catalogs are as well: their transaction numbers must not get too old.
const VACUUMS_PER_ROUND = 100;
// Changed rows, and statements that count for many, between looks at the length of the log.
const WORK_PER_LOOK = 4000;
const WORK_PER_STATEMENT = 20;
const LOG_BYTES_MAX = 64 * 1024 * 1024;

const TIMEOUT_MS = 600_000;

const LOG_BYTES = {
  name: 'log_bytes',
  text: 'SELECT (pg_current_wal_lsn() - redo_lsn)::float8 AS bytes FROM pg_control_checkpoint()',
};

class Upkeep {
  #database;
  #run;
  #changes = 0;
  #work = 0;
  #vacuums = 0;
  #isRunning = false;

  /**
   * @param {object} database
   * @param {(text: string, timeout: number) => Promise<object>} run takes a turn of its own
   */
  constructor (database, run) {
    this.#database = database;
    this.#run = run;
  }

  /** Takes note of a statement's result. */
  note ({ command, rowCount }) {
    if (command === 'SELECT') return;
    this.#changes += rowCount;
    this.#work += rowCount + WORK_PER_STATEMENT;
  }

  get isDue () {
    return !this.#isRunning &&
      (this.#changes >= CHANGES_PER_VACUUM || this.#work >= WORK_PER_LOOK);
  }

  async run () {
    this.#isRunning = true;
    try {
      if (this.#changes >= CHANGES_PER_VACUUM) await this.#vacuum();
      if (this.#work >= WORK_PER_LOOK) await this.#cutLog();
    } finally {
      this.#isRunning = false;
    }
  }

  async #vacuum () {
    this.#changes = 0;
    this.#vacuums++;
    const { schema } = this.#database;
    const { rows } = await this.#database.query(
      `SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'r'`,
      [schema]);
    // Table by table, so that others have their turns between.
    for (const { relname } of rows) {
      await this.#run(`VACUUM (ANALYZE) ${schema}.${quote(relname)}`, TIMEOUT_MS);
    }
    if (this.#vacuums % VACUUMS_PER_ROUND === 0) await this.#run('VACUUM', TIMEOUT_MS);
  }

  async #cutLog () {
    this.#work = 0;
    const { rows: [{ bytes }] } = await this.#database.query(LOG_BYTES);
    if (bytes >= LOG_BYTES_MAX) await this.#run('CHECKPOINT', TIMEOUT_MS);
  }
}

module.exports = { Upkeep };
