'use strict';

// The fake Midtrans in a process of its own, and what it is asked about itself.

const { startMidtransFake } = require('../../../lib/testing');
const { serve } = require('./processes');

async function main () {
  const fake = await startMidtransFake();
  serve({
    set: fault => fake.set(fault),
    pages: () => [...fake.orders.values()].map(({ orderId, token }) => [orderId, token]),
    forget: () => fake.orders.clear(),
  }, fake.url);
}

main();
