#!/usr/bin/env node
'use strict';

// Load: `npm run bench:gateway`. Orders over HTTP through two workers, beside the same service
// without sekering, and while Midtrans is away.

const { main } = require('./command');
const { openFleet } = require('./fleet');
const { markdownOf } = require('./report');
const { costs, outage, sideBySide } = require('./runs');

const USAGE = `Usage: npm run bench:gateway -- [options]

  --rounds N     slices of each service, default 12
  --rate N       orders a second while Midtrans is away, default 100
  --write        write test/bench/GATEWAY-RESULTS.md
  --help         print this
`;

// How long each fault lasts, ms: a hanging Midtrans is only noticed when the first ones give up.
const OUTAGES = { error: 10_000, reset: 10_000, hang: 20_000 };

// Looks again soon, so that the bench ends.
const BREAKER = { resetTimeout: 5000 };

async function measure ({ rounds, rate }) {
  const fleet = await openFleet();
  try {
    const services = [];
    for (const name of ['gateway', 'shop', 'bare']) {
      services.push(await fleet.service(name, { breaker: BREAKER }));
    }
    const [gateway, shop] = services;
    services.push({ ...gateway, name: 'keyed', keyed: true });
    const load = await sideBySide(fleet, services, { rounds, sliceMs: 1500, warmMs: 10_000 });
    const asked = await costs(fleet, services.filter(({ name }) => name !== 'bare'));
    const outages = [];
    for (const [fault, ms] of Object.entries(OUTAGES)) {
      outages.push(await outage(fleet, gateway, { peer: shop, fault, perSecond: rate, ms }));
    }
    return { load, asked, outages, rounds, rate };
  } finally {
    await fleet.close();
  }
}

main({ usage: USAGE, numbers: { rounds: '12', rate: '100' }, part: 0, measure, markdownOf });
