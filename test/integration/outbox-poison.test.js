'use strict';

// Messages that end their process, or block it for ever. A supervisor starts it again each time.
// Such a message becomes a dead letter after so many deaths; all others are sent.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { killAll, supervise } = require('../support/poison');
const { closeShared, sharedPostgres } = require('../support/postgres');

const ATTEMPTS = 3;
const POISONS = ['exit', 'abort', 'segfault', 'kill', 'memory', 'rejection', 'later', 'block'];

afterAll(async () => {
  killAll();
  await closeShared();
});

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-poison-'));
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));

const PLACES = {
  PostgreSQL: async () => ({ url: await (await sharedPostgres()).createDatabase() }),
  PGlite: async () => ({ directory: fs.mkdtempSync(path.join(folder, 'store-')) }),
};

const jobs = (count, recipient = 'x') =>
  Array.from({ length: count }, () => ({ channel: 'JOB', recipient }));

describe.each([['PostgreSQL', POISONS], ['PGlite', ['exit', 'block']]])('on %s', (
  engine, kinds
) => {
  test.concurrent.each(kinds)('a message that does this to its process dies: %s', async poison => {
    const place = await PLACES[engine]();
    const { deaths, sent, list, letters } =
      await supervise(place, [...jobs(20), ...jobs(1, poison), ...jobs(20)]);
    expect(letters).toMatchObject([{ recipient: poison, kind: 'ERR_OUTBOX_CRASHED' }]);
    // On a busy machine a lease may end before its process does, which counts as a death, too.
    expect(letters[0].errorHistory.length).toBeGreaterThanOrEqual(ATTEMPTS);
    expect(deaths).toBeLessThanOrEqual(ATTEMPTS);
    expect(deaths).toBeGreaterThan(0);
    expect(list.filter(({ status }) => status === 'SENT')).toHaveLength(40);
    expect(new Set(sent).size).toBe(40);
  });

  test.concurrent.each([
    ['one among 1000', 999, POISONS.slice(0, 1)], ['five among 200', 195, POISONS.slice(2, 7)],
  ])('%s: all others are sent', async (_name, count, poisons) => {
    const place = await PLACES[engine]();
    const before = Math.floor(count / 3);
    const messages = [...jobs(before), ...poisons.flatMap(poison => jobs(1, poison)),
      ...jobs(count - before)];
    const { deaths, sent, letters } = await supervise(place, messages);
    expect(letters.map(({ recipient }) => recipient).sort()).toEqual([...poisons].sort());
    expect(deaths).toBeLessThanOrEqual(ATTEMPTS * poisons.length);
    expect(new Set(sent).size).toBe(count);
  });
});
