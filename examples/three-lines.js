'use strict';

// A circuit breaker in three lines: wrap a function, say what to do when it opens, call it.

const { CircuitBreaker } = require('sekering');

// Any async function works. This one simulates an upstream that is down.
async function createToken (orderId) {
  throw new Error(`connect ECONNREFUSED (order ${orderId})`);
}

async function main () {
  const breaker = new CircuitBreaker(createToken, { timeout: 3000, resetTimeout: 60_000 });
  breaker.on('open', () => console.log('open: calls are refused at once from now on'));
  await breaker.fire('order-1').catch(error => console.log(`order-1: ${error.message}`));

  // This call does not reach the upstream.
  await breaker.fire('order-2').catch(error => console.log(`order-2: ${error.code}`));
}

main();
