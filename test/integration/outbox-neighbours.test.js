'use strict';

// Two workers of one process: what ends it ends both. The messages of one pay for those of the
// other no more than those of a single worker pay for each other.

const { killAll, supervise } = require('../support/poison');
const { describeEngines } = require('../support/postgres');

const DEATHS_MAX = 3;
const OTHERS = 300;

afterAll(killAll);

const many = (count, channel, recipient = 'x') =>
  Array.from({ length: count }, () => ({ channel, recipient }));

describeEngines('beside a message that ends its process', ({ name, place }) => {
  if (name !== 'postgresql') return;

  test('those of another worker are sent', async () => {
    const messages = [...many(OTHERS, 'OTHER'), ...many(1, 'JOB', 'exit'), ...many(20, 'JOB')];
    const { deaths, sent, list, letters } =
      await supervise(await place(), messages, { neighbour: true });
    expect(letters.map(({ recipient }) => recipient)).toEqual(['exit']);
    expect(deaths).toBeLessThanOrEqual(DEATHS_MAX);
    expect(new Set(sent).size).toBe(OTHERS + 20);
    // Claimed together with it, tried together with it: never charged while it was tried alone.
    for (const { channel, errorHistory } of list) {
      if (channel === 'OTHER') expect(errorHistory.length).toBeLessThan(DEATHS_MAX);
    }
  });
});
