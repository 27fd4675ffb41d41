'use strict';

// Sessions of PostgreSQL: whether connections are sessions at all, and the settings that they need.
// A role, a database or a server may have settings that change the form of values, or that make
// single statements conflict with each other.

const { BEGIN, quote } = require('./sql-client');

/** The settings that the form of values depends on, in both directions. */
const FORM = {
  datestyle: 'ISO', bytea_output: 'hex', intervalstyle: 'postgres', extra_float_digits: 1,
  array_nulls: 'on', standard_conforming_strings: 'on',
};

/** To compile a plan takes longer than to run any of ours, all of which are bounded. */
const PLANS = { jit: 'off' };

/**
 * Time limits besides those of the store would end statements that wait for a lock, or sessions
 * that listen. Older servers do not know all of them.
 */
const NO_LIMITS = `SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
  WHERE name IN ('lock_timeout', 'idle_session_timeout', 'transaction_timeout') AND setting <> '0'`;

const assign = (settings, set = 'SET') => Object.entries(settings)
  .map(([name, value]) => `${set} ${name} = '${value}'`).join('; ');

/**
 * Statements that begin in a session whose settings are not ours, and not within a transaction. A
 * hot standby runs nothing that is serializable.
 */
const readCommitted = text => `SET TRANSACTION ISOLATION LEVEL READ COMMITTED; ${text}`;

// ---- Our own sessions --------------------------------------------------------------------------

/**
 * Sets up a session of ours, in one query, since each costs a round trip. Startup parameters would
 * not do: poolers reject them.
 * @param {(statement: object) => Promise<{ rows: object[] }>} run
 * @param {Record<string, unknown>} [settings] further ones
 */
async function takeOver (run, settings) {
  const { rows: [{ path }] } = await run({ text: readCommitted(`${assign({
    ...settings, ...FORM, ...PLANS, default_transaction_isolation: 'read committed',
    client_encoding: 'UTF8',
  })}; ${NO_LIMITS}; SELECT pg_catalog.to_json(pg_catalog.current_schemas(false)) AS path`) });
  // Functions of schemas that come before PostgreSQL's own would hide those that we mean. When
  // pg_catalog is not listed, it comes first.
  if (path.indexOf('pg_catalog') < 1) return;
  const others = path.filter(name => name !== 'pg_catalog').map(quote).join(', ');
  await run({ text: `SET search_path = ${others}` });
}

// ---- Sessions for one transaction only ---------------------------------------------------------

/** As in takeOver: PostgreSQL's own functions are found first. */
const CATALOG_FIRST = `SELECT pg_catalog.set_config('search_path', (SELECT coalesce(
    pg_catalog.string_agg(pg_catalog.quote_ident(name), ', '), '')
  FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS name
  WHERE name <> 'pg_catalog'), true)`;

/**
 * Begins a transaction of ours behind a pooler that may use another session for each transaction.
 * The settings end with the transaction.
 */
const beginPooled = settings =>
  `${BEGIN}; ${assign({ ...settings, lock_timeout: 0, ...FORM, ...PLANS }, 'SET LOCAL')};
    ${CATALOG_FIRST}`;

// ---- The user's sessions -----------------------------------------------------------------------

/** Begins a transaction in a session that is not ours: afterwards it is as it was. */
const beginAsGuest = settings =>
  `${BEGIN}; ${assign({ ...settings, lock_timeout: 0, ...FORM }, 'SET LOCAL')}`;

const LOOK = `SELECT current_setting('datestyle') AS style, current_setting('array_nulls')::boolean
    AND current_setting('standard_conforming_strings')::boolean
    AND current_setting('extra_float_digits')::int > 0 AS plain,
  current_setting('default_transaction_isolation') = 'read committed' AS "isWeak",
  (SELECT min(extract(epoch FROM current_setting(name)::interval) * 1000)::float8
    FROM unnest(ARRAY['statement_timeout', 'lock_timeout']) AS name
    WHERE current_setting(name) <> '0') AS limit,
  pg_backend_pid() AS pid`;

/** A session that belongs to the user: its settings stay as they are. */
class GuestSession {
  #client;
  #run;
  #timeout;
  #looking;
  #style;
  #turn = Promise.resolve();

  /**
   * @param {(statement: object) => Promise<{ rows: object[] }>} run on the client
   * @param {number} timeout of the store's statements, in ms
   */
  constructor (client, run, timeout) {
    this.#client = client;
    this.#run = run;
    this.#timeout = timeout;
  }

  /** Whether single statements work as in a session of our own. */
  async isPlain () {
    const { plain, isWeak, limit } = await this.#look(readCommitted(LOOK));
    return plain && isWeak && this.#isIso && (limit === null || limit >= this.#timeout);
  }

  /** Runs a statement within a transaction of the user's. */
  async within (statement, run) {
    const { plain, pid } = await this.#look();
    // A pooler may send the user's next transaction to a server that has prepared nothing.
    const safe = pid === this.#client.processID ? statement : { ...statement, name: undefined };
    if (plain && this.#isIso) return run(safe);
    // One at a time: the settings of one must not be restored while another runs.
    const turn = this.#turn.then(() => this.#inForm(safe, run));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  get #isIso () { return this.#style.startsWith('ISO'); }

  async #look (text = LOOK) {
    this.#looking ??= this.#ask(text);
    try {
      return await this.#looking;
    } catch (error) {
      this.#looking = undefined;
      throw error;
    }
  }

  async #ask (text) {
    const { rows: [{ style, ...rest }] } = await this.#run({ text });
    this.#style = style;
    // Of these settings, this is the one whose changes the server reports.
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

// ---- Poolers -----------------------------------------------------------------------------------

// Even if each answer came from one of two servers by chance, only one pooler in sixteen million
// would be mistaken for a session.
const ROUNDS = 12;

/** Who answers. A process id alone could be that of several servers. */
const WHO = `SELECT pg_catalog.pg_backend_pid() AS pid, (SELECT backend_start::text
  FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid())) AS began`;

/**
 * Whether connections are sessions. A pooler may send each transaction, or each statement, to
 * another server connection. Then LISTEN gets nothing, and prepared statements and settings turn up
 * in the sessions of others.
 * @param {() => Promise<object>} lease gives a client
 * @param {(client: object, statement: object) => Promise<{ rows: object[] }>} run
 */
async function haveSessions (lease, run) {
  const who = async client => (await run(client, { text: readCommitted(WHO) })).rows[0];
  const a = await lease();
  const { pid } = await who(a);
  // A server sends its process id at the start. A pooler sends a number of its own.
  if (a.processID === pid) return true;
  const b = await lease();
  const ask = async client => {
    const { pid: process, began } = await who(client);
    return `${process} ${began}`;
  };
  // A session has one server as long as it lasts: `a` always gets the same one, and `b` never that
  // one. `a` asks twice in a row, since a pooler may take the server that was idle for longest, and
  // each asks once, since it may take the one that was used last.
  const home = await ask(a);
  for (let round = 0; round < ROUNDS; round++) {
    if (await ask(a) !== home || await ask(a) !== home || await ask(b) === home) return false;
  }
  return true;
}

module.exports = {
  GuestSession, beginAsGuest, beginPooled, haveSessions, readCommitted, takeOver,
};
