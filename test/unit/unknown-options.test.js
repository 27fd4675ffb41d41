'use strict';

// A name that is misspelt is refused wherever a bag of options is ours alone, and what stands under
// it is not shown: it may be a secret.

const { Bulkhead, RateLimiter, RetryBudget, staleCache } = require('../../lib');
const { MidtransClient } = require('../../lib/clients/midtrans');
const { SmtpClient } = require('../../lib/clients/smtp');
const { CloudApiClient, GreenApiClient } = require('../../lib/clients/whatsapp');
const { createDegradation, createHealth } = require('../../lib/gateway');
const { openStore } = require('../../lib/store');
const { OutboxWorker } = require('../../lib/store/outbox-worker');

const SECRET = 'planted-secret';
const known = new Map([['JOB', { delay: () => 0 }]]);
const worker = options => new OutboxWorker({ channels: known }, options);

const cases = [
  ['a bulkhead', 'maxQueu', value => new Bulkhead({ maxConcurrent: 1, maxQueu: value })],
  ['a rate limiter', 'brust', value => new RateLimiter({ limit: 1, interval: 1, brust: value })],
  ['a retry budget', 'ration', value => new RetryBudget({ ration: value })],
  ['a cache', 'stalettl', value => staleCache({ stalettl: value })],
  ['Midtrans', 'serverkey', value => new MidtransClient({ serverkey: value })],
  ['SMTP', 'hosts', value => new SmtpClient({ hosts: value })],
  ['the Cloud API', 'acessToken', value => new CloudApiClient({ acessToken: value })],
  ['Green API', 'tokens', value => new GreenApiClient({ tokens: value })],
  ['degradation', 'histeresis', value => createDegradation({ histeresis: value })],
  ['health', 'cache', value => createHealth({ cache: value })],
  ['a worker', 'leaseMS', value => worker({ channels: {}, leaseMS: value })],
  ['its channel', 'concurency', value => worker({ channels: { JOB: { concurency: value } } })],
  ['a store', 'uri', value => openStore({ uri: value })],
];

test.each(cases)('%s', async (_, name, make) => {
  const error = await new Promise(resolve => { resolve(make(SECRET)); }).catch(reason => reason);
  expect(error).toBeInstanceOf(RangeError);
  expect(error).toMatchObject({ code: 'ERR_INVALID_OPTION', option: name });
  expect(error.message).toMatch(`Unknown option ${name}`);
  expect(error.message).not.toContain(SECRET);
});
