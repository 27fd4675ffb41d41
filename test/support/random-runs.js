'use strict';

// Random sequences of operations on both engines, each against a model: many at once, in lanes. Of
// a sequence that fails, the test shows the shortest part that still does.

const { describeEngines, sharedPostgres } = require('./postgres');
const { Dice, inLanes, shorten } = require('./random');

/**
 * The operations of a seed. Each has a seed of its own, so that some can be left out.
 * @param {Record<string, number>} weights what happens, and how often
 * @param {number} steps
 * @param {number} [restarts] how likely it is that the server restarts in a step
 * @returns {(seed: number) => Array<{ kind: string, seed: number }>}
 */
function operationsBy (weights, steps, restarts = 0) {
  const kinds = Object.entries(weights).flatMap(([kind, weight]) => Array(weight).fill(kind));
  return seed => {
    const dice = new Dice(seed);
    return Array.from({ length: steps }, (_, i) => ({
      kind: dice.chance(restarts) ? 'restart' : dice.pick(kinds), seed: seed * 1000 + i,
    }));
  };
}

/** The server that all lanes share: how often it was restarted, and until when it restarts. */
const server = {
  restarts: 0,
  restarting: undefined,
  async restart (dice) {
    server.restarts += 1;
    server.restarting ??= (await sharedPostgres()).restart(dice.pick(['fast', 'immediate']))
      .finally(() => { server.restarting = undefined; });
    await server.restarting;
  },
};

/** What disturbs a sequence on a `lane` whose `proxy` leads to the server; PGlite has none. */
class Disturbed {
  /** Cuts all connections, and maybe does something to later ones. */
  async cut (dice) {
    const { proxy } = this.lane;
    if (proxy === undefined) return;
    this.isHurt = this.lane.isHurt = true;
    proxy.set(dice.pick([null, null, { refuse: true }, { cutDown: dice.between(1, 5000) },
      { cutUp: dice.between(1, 5000), reset: true }]));
    proxy.cutAll();
  }

  async restart (dice) {
    if (this.lane.proxy !== undefined) await server.restart(dice);
  }
}

/**
 * @param {string} title of the test
 * @param {object} parts
 * @param {Iterable<number> | object} parts.seeds of seedsOf; or by engine
 * @param {{ postgresql: number, pglite: number }} parts.lanes how many there are
 * @param {Function} parts.open (place, engine, number) => a lane, which has `close()`
 * @param {(seed: number) => Array<{ kind: string, seed: number }>} parts.operationsOf
 * @param {Function} parts.begin (lane, seed) => a run, whose `play(operations)` resolves with all
 *   that was wrong
 * @param {(run: object) => object} parts.tell what a failure shows besides
 */
function describeRuns (title, { seeds: given, lanes: counts, open, operationsOf, begin, tell }) {
  describeEngines('whatever happens', ({ name, place }) => {
    const lanes = [];
    const seeds = given[name] ?? given;

    beforeAll(async () => {
      const shared = name === 'postgresql' ? await place() : undefined;
      for (let i = 0; i < Math.min(counts[name], seeds.length); i++) {
        lanes.push(await open(shared ?? await place(), name, i));
      }
    });
    afterAll(() => Promise.all(lanes.map(lane => lane.close())));

    test(title, async () => {
      const failures = [];
      await inLanes(lanes, seeds, async (lane, seed) => {
        const play = async operations => {
          const run = await begin(lane, seed);
          const faults = await run.play(operations);
          return faults.length === 0 ? undefined : { run, faults };
        };
        const operations = operationsOf(seed);
        let failure = await play(operations);
        if (failure === undefined) return;
        const shorter = await shorten(operations, async list => {
          const again = await play(list);
          failure = again ?? failure;
          return again !== undefined;
        });
        const { faults, run } = failure;
        failures.push({
          seed, faults, operations: shorter.map(({ kind, seed: own }) => `${kind} ${own}`),
          ...tell(run),
        });
      }, () => failures.length > 0);
      expect(failures).toEqual([]);
    });
  });
}

module.exports = { Disturbed, describeRuns, operationsBy, server };
