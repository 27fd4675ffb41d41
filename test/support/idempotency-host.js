'use strict';

// Calls under idempotency keys whose work does what it is told, when it is told. Tests use it as an
// object. Run as a program with a channel to its parent, it is a process that can be killed or
// stopped:
//   fork('idempotency-host.js', [JSON.stringify({ url, schema })])

const { openDatabase } = require('../../lib/store/database');
const { createIdempotency } = require('../../lib/store/idempotency');
const { gate } = require('./outbox-helpers');

const PLANS = {
  value: context => ({ token: context.token }),
  fail: ({ token }) => { throw Object.assign(new Error(`failed ${token}`), { code: 'E_WORK' }); },
  odd: () => 5n,
};

/** What survives the way from one process to another. */
const plain = ({ code, message, retryable, retryAfterMs }) =>
  ({ code, message, retryable, retryAfterMs });

class Host {
  #idempotency;
  #effects;
  #tell;
  #calls = new Map();

  /** @param {(event: string, id: number, said: object) => void} tell of 'begun', 'settled', … */
  constructor (database, tell) {
    this.#idempotency = createIdempotency({
      database, onWarning: ({ code }) => tell('warned', undefined, { code }),
    });
    this.#effects = `${database.schema}.effects`;
    this.#tell = tell;
  }

  static async open (place, tell) {
    const database = await openDatabase({ ...place, onWarning: () => {} });
    return Object.assign(new Host(database, tell), { database });
  }

  /** @param {string} [plan] what the work does at once; without it, it waits for `end` */
  run (id, { key, options, plan }) {
    const call = { end: gate() };
    this.#calls.set(id, call);
    if (plan !== undefined) call.end.resolve(plan);
    this.#idempotency.run(key, async context => {
      call.context = context;
      const { token, client } = context;
      this.#tell('begun', id, { token });
      await client?.query(`INSERT INTO ${this.#effects} (key, token) VALUES ($1, $2)`,
        [key, token]);
      const made = PLANS[await call.end.promise];
      call.hasEnded = true;
      return made(context);
    }, options).then(
      answer => this.#tell('settled', id, answer),
      error => this.#tell('settled', id, { error: plain(error) }));
  }

  end (id, plan) { this.#calls.get(id).end.resolve(plan); }

  confirm (id) {
    const call = this.#calls.get(id);
    const { context: { signal } } = call;
    const told = error => this.#tell('confirmed', id, {
      code: error?.code, retryable: error?.retryable, isAborted: signal.aborted,
      hasEnded: call.hasEnded,
    });
    call.context.confirm().then(() => told(), told);
  }
}

async function main () {
  const tell = (event, id, said) => process.send({ event, id, said });
  const host = await Host.open(JSON.parse(process.argv[2]), tell);
  process.on('message', ({ method, args }) => host[method](...args));
  process.on('disconnect', () => process.exit());
  tell('ready');
}

if (require.main === module) main();

module.exports = { Host };
