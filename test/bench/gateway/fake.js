'use strict';

// The fake Midtrans in a process of its own, and what it is asked about itself.

const { startMidtransFake } = require('../../../lib/testing');
const { serve } = require('./processes');

/** Each page that was made: how often it was asked for makes no second one. */
const sums = ({ orders, counts }) => ({
  created: counts.created,
  tokens: [...orders.values()].map(({ orderId, token }) => [orderId, token]),
});

async function main () {
  const fake = await startMidtransFake();
  serve({
    set: fault => fake.set(fault),
    sums: () => sums(fake),
    forget: () => { fake.orders.clear(); },
  }, fake.url);
}

main();
