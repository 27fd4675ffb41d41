'use strict';

// A game day: faults are injected into an upstream that works, to see what users would get.

const { chaos, policy } = require('sekering');

const faults = chaos({
  seed: 3, // The same faults each time.
  enabled: false,
  faults: [
    { name: 'hangs', rate: 0.3, latency: Infinity },
    { name: 'fails', rate: 0.4, error: () => new Error('503 Service Unavailable') }
  ]
});

const prices = policy({
  fallback: [{ value: 'the prices of yesterday' }],
  breaker: { consecutiveFailures: 3, resetTimeout: 60_000 },
  timeout: 20,
  chaos: faults
});

async function ask () {
  const { value, error } = await prices.answer(() => 'the prices of today');
  console.log(error === undefined ? value : `${value} (${error.message})`);
}

async function main () {
  await ask();

  faults.enable();
  while (!prices.breaker.opened) await ask();
  await ask();
  console.log(faults.stats);

  faults.disable();
  prices.breaker.close();
  await ask();
}

main();
