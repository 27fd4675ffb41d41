'use strict';

// Retries with growing delays, which end at once when another attempt cannot help.

const { retry, retryable } = require('sekering');

let calls = 0;

async function checkStatus (orderId) {
  calls += 1;
  if (orderId === 'order-0') throw Object.assign(new Error('Not found'), { statusCode: 404 });
  if (calls < 3) throw Object.assign(new Error('Service Unavailable'), { statusCode: 503 });
  return 'settlement';
}

const options = {
  retries: 5,
  minTimeout: 20,
  maxTimeout: 1000,
  onRetry: (error, attempt) => console.log(`attempt ${attempt} failed: ${error.message}`)
};

async function main () {
  console.log(await retry(() => checkStatus('order-1'), options));

  // bail() ends the retries: a 404 stays a 404.
  await retry(async bail => {
    try {
      return await checkStatus('order-0');
    } catch (error) {
      if (error.statusCode === 404) return bail(error);
      throw error;
    }
  }, options).catch(error => console.log(`given up: ${error.message}`));

  // The same as a wrapper that passes its arguments on.
  calls = 0;
  const checkStatusPatiently = retryable(checkStatus, options);
  console.log(await checkStatusPatiently('order-2'));
}

main();
