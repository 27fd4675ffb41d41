'use strict';

// The settings of a PostgreSQL session. A role, a database or a server may have settings that
// change the form of values, or make single statements conflict with each other.

/** The settings that the form of values depends on, in both directions. */
const FORM = {
  datestyle: 'ISO', bytea_output: 'hex', intervalstyle: 'postgres', extra_float_digits: 1,
  array_nulls: 'on', standard_conforming_strings: 'on',
};

const assign = (settings, set = 'SET') => Object.entries(settings)
  .map(([name, value]) => `${set} ${name} = '${value}'`).join('; ');

/** We need no stricter level, which would reject concurrent statements. */
const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED';
/** For a session that is not ours: after the transaction it is as it was. */
const BEGIN_AS_GUEST = `${BEGIN}; ${assign(FORM, 'SET LOCAL')}`;

/**
 * Sets up a session of ours, in one query, since each costs a round trip. Startup parameters would
 * not do: poolers reject them. `path` is where names are looked up.
 */
const takeOver = settings => `${assign({
  ...FORM, default_transaction_isolation: 'read committed', ...settings,
})}; SELECT pg_catalog.to_json(pg_catalog.current_schemas(false)) AS path`;

/**
 * Where somebody has put schemas before PostgreSQL's own, whose functions would hide those that we
 * mean: what to set instead. When it is not listed, PostgreSQL's own comes first.
 * @param {string[]} path
 * @param {(name: string) => string} quote
 * @returns {string | undefined}
 */
function mendPath (path, quote) {
  if (path.indexOf('pg_catalog') < 1) return undefined;
  return `SET search_path = ${path.filter(name => name !== 'pg_catalog').map(quote).join(', ')}`;
}

const LOOK = `SELECT current_setting('datestyle') AS style, current_setting('array_nulls')::boolean
    AND current_setting('standard_conforming_strings')::boolean
    AND current_setting('extra_float_digits')::int > 0 AS plain,
  current_setting('default_transaction_isolation') = 'read committed' AS "isWeak",
  pg_backend_pid() AS pid`;

/** A session that belongs to the user: its settings stay as they are. */
class GuestSession {
  #client;
  #run;
  #looked;
  #style;
  #turn = Promise.resolve();

  /** @param {(statement: object) => Promise<{ rows: object[] }>} run on the client */
  constructor (client, run) {
    this.#client = client;
    this.#run = run;
  }

  /** Whether statements by themselves work as in a session of our own. */
  async isPlain () {
    const { plain, isWeak } = await this.#look();
    return plain && isWeak && this.#isIso;
  }

  /** Runs a statement within a transaction of the user's. */
  async within (statement, run) {
    const { plain, pid } = await this.#look();
    // A pooler may lead the user's next transaction to where nothing has been prepared.
    const given = pid === this.#client.processID ? statement : { ...statement, name: undefined };
    if (plain && this.#isIso) return run(given);
    // What is set for one must not be taken back under another.
    const turn = this.#turn.then(() => this.#inForm(given, run));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  get #isIso () { return this.#style.startsWith('ISO'); }

  async #look () {
    this.#looked ??= this.#ask();
    try {
      return await this.#looked;
    } catch (error) {
      this.#looked = undefined;
      throw error;
    }
  }

  async #ask () {
    const { rows: [{ style, ...rest }] } = await this.#run({ text: LOOK });
    this.#style = style;
    // The server tells when this one changes.
    this.#client.connection?.on?.('parameterStatus', ({ parameterName, parameterValue }) => {
      if (parameterName === 'DateStyle') this.#style = parameterValue;
    });
    return rest;
  }

  async #inForm (statement, run) {
    const { rows: [before] } = await this.#run({ text: `SELECT ${Object.keys(FORM)
      .map(name => `current_setting('${name}') AS ${name}`).join(', ')}` });
    await this.#run({ text: assign(FORM, 'SET LOCAL') });
    const answer = await run(statement);
    await this.#run({ text: assign(before, 'SET LOCAL') });
    return answer;
  }
}

module.exports = { BEGIN, BEGIN_AS_GUEST, GuestSession, mendPath, takeOver };
