'use strict';

// While Midtrans is down, orders are queued. They are sent when the breaker closes.

const { setTimeout: pause } = require('node:timers/promises');

const { CircuitBreaker, presets } = require('sekering');

let midtransIsDown = true;
const queue = [];

async function createTransaction (orderId) {
  if (midtransIsDown) throw new Error('503 Service Unavailable');
  return { token: `token-of-${orderId}` };
}

// The preset, but with a shorter reset time: an example should not take a minute.
const breaker = new CircuitBreaker(createTransaction, { ...presets.midtrans, resetTimeout: 200 });

breaker.fallback((orderId, error) => {
  queue.push(orderId);
  return { queued: true, error: error.message };
});

breaker.on('open', () => console.log('open'));
breaker.on('halfOpen', () => console.log('halfOpen'));
breaker.on('close', () => console.log('close'));

async function drain () {
  while (queue.length > 0 && breaker.closed) {
    const orderId = queue.shift();
    console.log(orderId, await breaker.fire(orderId));
  }
}

async function main () {
  // The fifth failure opens the circuit, so the sixth order does not reach Midtrans.
  for (let i = 1; i <= 6; i++) console.log(`order-${i}`, await breaker.fire(`order-${i}`));
  midtransIsDown = false;
  await pause(300);
  console.log('order-7', await breaker.fire('order-7'));
  await drain();
  breaker.shutdown();
}

main();
