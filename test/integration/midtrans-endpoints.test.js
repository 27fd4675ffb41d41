'use strict';

// The calls of Midtrans besides transactions: cards, accounts, subscriptions, payouts of Iris, any
// other request, and headers. Each sends the same request as the official client.

const midtransClient = require('midtrans-client');

const { IrisClient } = require('../../lib/clients/midtrans');
const {
  KEY, charge, clientOf, closeAll, count, keep, order, settle, start
} = require('../support/midtrans-helpers');

afterEach(closeAll);

const CREATOR = 'IRIS-creator-fake';
const APPROVER = 'IRIS-approver-fake';
const unknown = { code: 'ERR_MIDTRANS_UNKNOWN_OUTCOME', ambiguous: true };

/** A fake, and clients of it. */
async function startAll ({ fake: options, ...more } = {}) {
  const { fake, client } = await start({ fake: options, clientKey: 'SB-Mid-client', ...more });
  const iris = keep(new IrisClient({
    apiKey: CREATOR, approverKey: APPROVER, baseUrls: { iris: fake.url }, breaker: false,
    ...more, retry: more.retry ?? { retries: 3, minTimeout: 1, randomize: false },
  }));
  return { fake, client, iris };
}

const payout = (account = '1', amount = 10000) => ({ payouts: [{
  beneficiary_name: 'Budi', beneficiary_account: account, beneficiary_bank: 'bca',
  amount: String(amount), notes: 'x'
}] });
const subscription = { name: 'S', amount: '5000', currency: 'IDR', payment_type: 'credit_card' };
const card = { card_number: '4811111111111114', card_cvv: '123' };

describe('the requests are those of the official client', () => {
  test.each([
    ['client', 'statusb2b', ['o'], 'core.transaction.statusb2b'],
    ['client', 'cardRegister', [{ ...card, client_key: 'k' }], 'core.cardRegister'],
    ['client', 'cardToken', [{ ...card, client_key: 'k' }], 'core.cardToken'],
    ['client', 'cardPointInquiry', ['t'], 'core.cardPointInquiry'],
    ['client', 'linkPaymentAccount', [{ payment_type: 'gopay' }], 'core.linkPaymentAccount'],
    ['client', 'getPaymentAccount', ['a'], 'core.getPaymentAccount'],
    ['client', 'unlinkPaymentAccount', ['a'], 'core.unlinkPaymentAccount'],
    ['client', 'createSubscription', [subscription], 'core.createSubscription'],
    ['client', 'getSubscription', ['s'], 'core.getSubscription'],
    ['client', 'disableSubscription', ['s'], 'core.disableSubscription'],
    ['client', 'enableSubscription', ['s'], 'core.enableSubscription'],
    ['client', 'updateSubscription', ['s', { name: 'T' }], 'core.updateSubscription'],
    ['client', 'createTransactionToken', [order('o')], 'snap.createTransactionToken'],
    ['client', 'createTransactionRedirectUrl', [order('o')], 'snap.createTransactionRedirectUrl'],
    ['iris', 'ping', [], 'iris.ping'],
    ['iris', 'createBeneficiaries', [{ alias_name: 'b' }], 'iris.createBeneficiaries'],
    ['iris', 'updateBeneficiaries', ['b', { name: 'B' }], 'iris.updateBeneficiaries'],
    ['iris', 'getBeneficiaries', [], 'iris.getBeneficiaries'],
    ['iris', 'createPayouts', [payout()], 'iris.createPayouts'],
    ['iris', 'approvePayouts', [{ reference_nos: ['r'] }], 'approver.approvePayouts'],
    ['iris', 'rejectPayouts', [{ reference_nos: ['r'] }], 'approver.rejectPayouts'],
    ['iris', 'getPayoutDetails', ['r'], 'iris.getPayoutDetails'],
    ['iris', 'getTopupChannels', [], 'iris.getTopupChannels'],
    ['iris', 'getBalance', [], 'iris.getBalance'],
    ['iris', 'getFacilitatorBankAccounts', [], 'iris.getFacilitatorBankAccounts'],
    ['iris', 'getFacilitatorBalance', ['b'], 'iris.getFacilitatorBalance'],
    ['iris', 'getBeneficiaryBanks', [], 'iris.getBeneficiaryBanks'],
    ['iris', 'validateBankAccount', [{ bank: 'bca', account: '1' }], 'iris.validateBankAccount'],
  ])('%s.%s', async (who, method, args, theirPath) => {
    const { fake, ...clients } = await startAll();
    const of = (Class, serverKey) => {
      const made = new Class({ isProduction: false, serverKey, clientKey: 'k' });
      const { apiConfig } = made;
      apiConfig.getCoreApiBaseUrl = () => fake.url;
      apiConfig.getSnapApiBaseUrl = () => `${fake.url}/snap/v1`;
      apiConfig.getIrisApiBaseUrl = () => `${fake.url}/iris/api/v1`;
      return made;
    };
    const { CoreApi, Snap, Iris } = midtransClient;
    const official = {
      core: of(CoreApi, KEY), snap: of(Snap, KEY), iris: of(Iris, CREATOR),
      approver: of(Iris, APPROVER)
    };
    await settle(clients[who][method](...args));
    const ours = fake.log.splice(0);
    const names = theirPath.split('.');
    const last = names.pop();
    await settle(names.reduce((object, name) => object[name], official)[last](...args));
    const shown = ({ method: verb, path, query, headers, text }) => ({
      verb, path, query, authorization: headers.authorization,
      ...verb !== 'GET' && { body: text && text !== 'null' ? JSON.parse(text) : undefined },
    });
    expect(ours.map(shown)).toEqual(fake.log.map(shown));
    expect(ours).toHaveLength(1);
    const { headers } = ours[0];
    const key = headers[who === 'iris' ? 'x-idempotency-key' : 'idempotency-key'];
    expect(key).toEqual(ours[0].method === 'GET' ? undefined : expect.any(String));
  });
});

describe('what they do', () => {
  test('cards, with the client key of the client', async () => {
    const { fake, client } = await startAll();
    expect(await client.cardRegister(card)).toMatchObject({ status_code: '200' });
    expect((await client.cardToken(card)).token_id).toEqual(expect.any(String));
    for (const { query } of fake.log) expect(query.client_key).toBe('SB-Mid-client');
    await expect(clientOf(fake.url).cardToken(card)).rejects.toMatchObject({
      code: 'ERR_INVALID_INPUT', faults: [{ path: 'client_key' }]
    });
  });

  test('accounts and subscriptions', async () => {
    const { client } = await startAll();
    const { account_id: account } = await client.linkPaymentAccount({ payment_type: 'gopay' });
    expect(await client.getPaymentAccount(account)).toMatchObject({ account_status: 'PENDING' });
    expect(await client.unlinkPaymentAccount(account))
      .toMatchObject({ account_status: 'DISABLED' });
    const { id } = await client.createSubscription({ ...subscription, amount: 5000 });
    await client.disableSubscription(id);
    expect(await client.getSubscription(id)).toMatchObject({ status: 'inactive', amount: '5000' });
    await client.enableSubscription(id);
    await client.updateSubscription(id, { amount: '6000.00' });
    expect(await client.getSubscription(id)).toMatchObject({ status: 'active', amount: '6000' });
    await client.cancelSubscription(id);
    expect(await client.getSubscription(id)).toMatchObject({ status: 'inactive' });
    await expect(client.getSubscription('none')).rejects
      .toMatchObject({ code: 'ERR_MIDTRANS_NOT_FOUND', message: /Subscription doesn't exist/ });
  });

  test('payouts, from the queue to the history', async () => {
    const { fake, iris } = await startAll();
    expect(await iris.ping()).toMatchObject({ ok: true });
    await iris.createBeneficiaries({ alias_name: 'b', account: '1', bank: 'bca' });
    expect(await iris.getBeneficiaries()).toHaveLength(1);
    const { payouts: [{ reference_no: no }, { reference_no: other }] } = await iris.createPayouts({
      payouts: [...payout().payouts, ...payout('2').payouts]
    });
    expect(await iris.getPayoutDetails(no)).toMatchObject({ status: 'queued', amount: '10000.0' });
    const { balance } = await iris.getBalance();
    await iris.approvePayouts({ reference_nos: [no], otp: '1' });
    await iris.rejectPayouts({ reference_nos: [other], reject_reason: 'no' });
    expect(Number((await iris.getBalance()).balance)).toBe(Number(balance) - 10000);
    expect([...fake.payouts.values()].map(({ status }) => status))
      .toEqual(['approved', 'rejected']);
    expect(await iris.getTransactionHistory()).toMatchObject([{ reference_no: no }]);
    await expect(iris.approvePayouts({ reference_nos: [no] })).rejects
      .toMatchObject({ code: 'ERR_MIDTRANS_REFUSED', message: /not in the queue/ });
    const creator = keep(new IrisClient({ apiKey: CREATOR, baseUrls: { iris: fake.url } }));
    await expect(creator.approvePayouts({ reference_nos: [no] })).rejects
      .toMatchObject({ code: 'ERR_MIDTRANS_UNAUTHORIZED' });
  });

  test('all faults of payouts at once', async () => {
    const { fake, iris } = await startAll();
    const { error } = await settle(iris.createPayouts({
      payouts: [{ amount: '1.5', beneficiary_name: '', beneficiary_bank: 'bca' }, null]
    }));
    expect(error.code).toBe('ERR_INVALID_INPUT');
    expect(error.faults.map(({ path }) => path)).toEqual(['payouts[0].amount',
      'payouts[0].beneficiary_name', 'payouts[0].beneficiary_account', 'payouts[1]']);
    expect(fake.counts.requests).toBe(0);
  });
});

describe('calls whose answer is lost', () => {
  test.each(['drop', 'late-error'])('%s: a payout is made once, by its key', async kind => {
    const { fake, iris } = await startAll();
    fake.set({ kind, on: 'createPayouts', times: 1 });
    const { payouts: [{ reference_no: no }] } = await iris.createPayouts(payout());
    expect([...fake.payouts.keys()]).toEqual([no]);
    expect(fake.log.map(({ path }) => path.split('/').at(-1)))
      .toEqual(['payouts', 'statements', 'statements', 'payouts']);
  });

  test('an upstream that ignores keys: the history keeps the payout from being made twice',
    async () => {
      const { fake, iris } = await startAll({ fake: { idempotency: false, listQueued: true } });
      fake.set({ kind: 'drop', on: 'createPayouts', times: 1 });
      const { error } = await settle(iris.createPayouts(payout()));
      expect(error).toMatchObject({ ...unknown, retryable: false });
      expect(fake.payouts.size).toBe(1);
      fake.set({ kind: 'reset', on: 'createPayouts', times: 1 });
      await iris.createPayouts(payout('2'));
      expect(fake.payouts.size).toBe(2);
    });

  test('if the history cannot be read, it stays unknown; resume repeats it with its key',
    async () => {
      const { fake, iris } = await startAll();
      fake.set([{ kind: 'drop', on: 'createPayouts' },
        { kind: 'error', on: 'getTransactionHistory' }]);
      const { error } = await settle(iris.createPayouts(payout()));
      expect(error).toMatchObject({ ...unknown, idempotencyKey: expect.any(String) });
      expect(count(fake, 'POST', /payouts/)).toBe(1);
      fake.set(null);
      await expect(iris.createPayouts(payout(), { resume: true })).rejects
        .toMatchObject({ code: 'ERR_INVALID_OPTION' });
      const headers = { 'X-Idempotency-Key': error.idempotencyKey };
      await iris.createPayouts(payout(), { resume: true, headers });
      expect(fake.payouts.size).toBe(1);
      // Another call with this key does not tell what became of the first.
      expect((await settle(iris.createPayouts(payout('9'), { resume: true, headers }))).error)
        .toMatchObject(unknown);
      expect(fake.payouts.size).toBe(1);
    });

  test('two equal payouts made on purpose stay two payouts', async () => {
    const { fake, iris } = await startAll();
    await Promise.all([iris.createPayouts(payout()), iris.createPayouts(payout())]);
    await iris.createPayouts(payout());
    expect(fake.payouts.size).toBe(3);
  });

  test.each(['drop', 'reset'])('%s: approvals are looked up', async kind => {
    const { fake, iris } = await startAll({ fake: { idempotency: false } });
    const { payouts: [{ reference_no: no }] } = await iris.createPayouts(payout());
    fake.set({ kind, on: 'approvePayouts', times: 1 });
    expect(await iris.approvePayouts({ reference_nos: [no] })).toEqual({ status: 'ok' });
    expect(count(fake, 'POST', /approve/)).toBe(kind === 'drop' ? 1 : 2);
    expect(fake.payouts.get(no).status).toBe('approved');
  });

  const lonely = ['createSubscription', 'linkPaymentAccount'];
  test.each(lonely)('%s: unknown, and never sent again', async name => {
    for (const kind of ['drop', 'reset', 'late-error', 'error']) {
      const { fake, client } = await startAll();
      fake.set({ kind, on: name });
      expect((await settle(client[name](subscription))).error)
        .toMatchObject({ ...unknown, retryable: false });
      expect((await settle(client[name](subscription, { resume: true }))).error)
        .toMatchObject(unknown);
      expect(fake.counts.requests).toBe(1);
    }
  });

  test('a call that certainly was not executed is sent again', async () => {
    const { fake, client } = await startAll();
    fake.set({ kind: 'error', status: 429, on: 'createSubscription', times: 2 });
    await client.createSubscription(subscription);
    expect(fake.subscriptions.size).toBe(1);
    expect(fake.counts.requests).toBe(3);
  });

  test.each(['drop', 'reset'])('%s: subscriptions and accounts are looked up', async kind => {
    const { fake, client } = await startAll({ breaker: false });
    const { id } = await client.createSubscription(subscription);
    const { account_id: account } = await client.linkPaymentAccount({ payment_type: 'gopay' });
    const once = on => fake.set({ kind, on, times: 1 });
    once('disableSubscription');
    await client.disableSubscription(id);
    expect(fake.subscriptions.get(id).status).toBe('inactive');
    once('enableSubscription');
    await client.enableSubscription(id);
    expect(fake.subscriptions.get(id).status).toBe('active');
    once('unlinkPaymentAccount');
    expect(await client.unlinkPaymentAccount(account))
      .toMatchObject({ account_status: 'DISABLED' });
    once('updateSubscription');
    await client.updateSubscription(id, { name: 'T' });
    expect(fake.subscriptions.get(id).name).toBe('T');
  });
});

describe('any other request', () => {
  test('goes to the given path, with a query or a body', async () => {
    const { fake, client, iris } = await startAll();
    await client.charge(charge('o'));
    expect(await client.request('get', '/v2/o/status')).toMatchObject({ order_id: 'o' });
    await client.request('POST', '/snap/v1/transactions', order('s'), { api: 'snap' });
    expect(fake.orders.has('s')).toBe(true);
    await iris.request('GET', '/account_validation', { bank: 'bca', account: '1' });
    expect(fake.log.at(-1)).toMatchObject({
      path: '/iris/api/v1/account_validation', query: { bank: 'bca', account: '1' }
    });
  });

  test('is sent again as `again` says; by default only a GET', async () => {
    const { fake, client } = await startAll({ breaker: false });
    fake.set({ kind: 'reset', every: 2 });
    await client.request('GET', '/v1/subscriptions/x').catch(() => {});
    fake.set({ kind: 'reset', times: 1 });
    expect((await settle(client.request('POST', '/v1/subscriptions', subscription))).error)
      .toMatchObject(unknown);
    expect(fake.subscriptions.size).toBe(0);
    fake.set({ kind: 'reset', times: 1 });
    await client.request('POST', '/v1/subscriptions', subscription, { again: 'idempotent' });
    expect(fake.subscriptions.size).toBe(1);
  });

  test.each([
    ['HEAD', '/v2/a'], ['GET', 'v2/a'], ['GET', '//evil.example/a'], ['GET', '/v2/../x'],
    ['GET', '/v2/%2E%2e/x'], ['GET', '/v2/a b'], ['GET', '/a\r\nb'], ['GET', '/a#b'],
    ['GET', `/${'a'.repeat(2000)}`], ['GET', undefined], [undefined, '/v2/a'],
    ['GET', '/v2/a?b=1', { c: 2 }], ['POST', '/v2/a', 5]
  ])('%s %j is refused', async (...args) => {
    const { fake, client } = await startAll();
    const { error } = await settle(client.request(...args));
    expect(error.code).toMatch(/^ERR_INVALID_(OPTION|INPUT)$/);
    expect(fake.counts.requests).toBe(0);
  });
});

describe('headers', () => {
  test('of the client and of a call; the call overrides', async () => {
    const { fake, client } = await start({ headers: {
      'X-Override-Notification': ['https://a.example/1', 'https://a.example/2'], 'X-Shop': 'one'
    } });
    await client.charge(charge('o'), { headers: {
      'x-shop': 'two', 'X-Append-Notification': 'https://b.example', 'Idempotency-Key': 'mine'
    } });
    expect(fake.log[0].headers).toMatchObject({
      'x-override-notification': 'https://a.example/1,https://a.example/2', 'x-shop': 'two',
      'x-append-notification': 'https://b.example', 'idempotency-key': 'mine'
    });
  });

  test.each([
    [{ Authorization: 'x' }], [{ Host: 'x' }], [{ 'Content-Type': 'x' }], [{ Cookie: 'x' }],
    [{ 'X-A': 'a\r\nb' }], [{ 'X-A': '' }], [{ 'X-A': 5 }], [{ 'X-A\r\n': 'a' }], [{ 'X-A:': 'a' }],
    [{ 'Idempotency-Key': 'x'.repeat(47) }], [{ 'X-Idempotency-Key': 'x'.repeat(101) }],
    [{ 'X-A': '1', 'x-a': '2' }], [{ 'X-Override-Notification': 'ftp://a.example' }],
    [{ 'X-Override-Notification': Array(4).fill('https://a.example') }], [5], [[]]
  ])('%j is refused', async headers => {
    const { fake, client } = await start();
    await expect(client.charge(charge('o'), { headers })).rejects
      .toMatchObject({ code: 'ERR_INVALID_OPTION' });
    expect(fake.counts.requests).toBe(0);
  });

  test('a client cannot have one key for all its calls', () => {
    expect(() => clientOf('http://a.example', { headers: { 'Idempotency-Key': 'x' } }))
      .toThrow(expect.objectContaining({ code: 'ERR_INVALID_OPTION' }));
  });
});

test('what shops pass to the official client', async () => {
  const { fake, client } = await start({ isProduction: false, clientKey: 'k' });
  await client.createTransaction({
    transaction_details: { order_id: 12345, gross_amount: '10000.00' },
    item_details: [{ price: '5000', quantity: '2', name: 'a' }]
  });
  expect(JSON.parse(fake.log[0].text)).toEqual({
    transaction_details: { order_id: '12345', gross_amount: 10000 },
    item_details: [{ price: 5000, quantity: 2, name: 'a' }]
  });
  await client.charge({ ...charge(678, '20000'), item_details: [] });
  expect(JSON.parse(fake.log[1].text)).toEqual(charge('678', 20000));
  fake.settle('678');
  await client.refund(678, { amount: '500' });
  expect(fake.transactions.get('678').refunds).toMatchObject([{ refund_amount: '500.00' }]);
});
