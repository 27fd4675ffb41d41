'use strict';

// A client of an HTTP API whose retries, breaker and fallbacks are in a TOML file. A server that
// fails on command stands in for the API.

const http = require('node:http');
const path = require('node:path');

const { policy, retryOn } = require('sekering');
const { readConfig } = require('sekering/gateway');

const { retry: { circuitBreaker, policy: rules, fallback, ...retries } } =
  readConfig(path.join(__dirname, 'api-client.toml'));
const { namespace, ...breaker } = circuitBreaker;

/** Whether the error is the caller's fault, not the API's. */
const isOurs = error => error.status === 404;

const client = policy({
  // Tried in this order: a copy from the last hour, the default, a degraded service.
  fallback: [
    { name: 'cache', cache: { ttl: fallback.cacheTtl, staleTtl: fallback.cacheTtl } },
    { name: 'default', value: { rates: {} }, when: (error, url) => url.includes('/rates') },
    { name: 'degraded service', use: () => ({ readOnly: true }), when: error => !isOurs(error) },
  ],
  retry: {
    ...retries,
    shouldRetry: retryOn({ statuses: rules.retryableStatuses, codes: rules.retryableErrors }),
  },
  breaker: { name: 'api', errorFilter: isOurs, ...breaker },
  timeout: 5000,
});
client.breaker.on('open', () => console.log('the breaker is open'));

const get = client.wrap(async url => {
  const response = await fetch(url);
  if (response.ok) return response.json();
  throw Object.assign(new Error(`HTTP ${response.status}`), { status: response.status });
});

async function main () {
  let status = 200;
  let requests = 0;
  const server = http.createServer((request, response) => {
    requests += 1;
    response.writeHead(status, { Connection: 'close' }).end(JSON.stringify({ path: request.url }));
  });
  await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });
  const show = async where => {
    const before = requests;
    const url = `http://127.0.0.1:${server.address().port}${where}`;
    const { value, source, error } = await get.answer(url)
      .catch(reason => ({ value: null, source: 'none', error: reason }));
    console.log(`${where} [${requests - before} requests] ${source}`,
      ...error === undefined ? [] : [error.message], value);
  };

  await show('/films');
  status = 404;
  await show('/films/none');
  status = 503;
  await show('/films');
  await show('/rates');
  await show('/films/7');

  const { attempts, successRate, maxRetriesReached } = client.retryStats;
  console.log({ attempts, successRate, maxRetriesReached });
  server.close();
}

main();
