'use strict';

// The Midtrans client through a network that cuts, delays and swallows: every order charged exactly
// once, none reported paid that is not, none lost.
//
//   SEKERING_CHARGES=2000 npx jest midtrans-proxy      how many charges go through the storm
//   SEKERING_CUT_STEP=1 npx jest midtrans-proxy        at how many bytes from each other to cut

const { isPaid } = require('../../lib/clients/midtrans');
const { startTcpProxy } = require('../../lib/testing');
const {
  KEY, cardCharge, charge, clientOf, closeAll, keep, order, settle
} = require('../support/midtrans-helpers');
const { startMidtransFake } = require('../../lib/testing');

const CHARGES = Number(process.env.SEKERING_CHARGES ?? 2000);
const CUT_STEP = Number(process.env.SEKERING_CUT_STEP ?? 7);
const CONCURRENCY = 25;

afterEach(closeAll);

async function startBehindProxy (fakeOptions, options) {
  const fake = keep(await startMidtransFake({ serverKey: KEY, ...fakeOptions }));
  const proxy = keep(await startTcpProxy({ target: fake.url }));
  const client = clientOf(proxy.url, { breaker: false, ...options });
  return { fake, proxy, client };
}

/** Numbers that look random and are the same in every run. */
function makeRandom (seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** What a bad network does to a connection; none lasts for long. */
function weather (random) {
  const kind = Math.floor(random() * 12);
  const delayMs = random() < 0.3 ? [1, 10] : 0;
  const reset = random() < 0.5;
  switch (kind) {
    case 0: return { delayMs, reset, cutUp: Math.floor(random() * 2500) };
    case 1: return { delayMs, reset, cutDown: Math.floor(random() * 2500) };
    case 2: return { delayMs, dropAnswers: true };
    case 3: return { reset, refuse: true };
    case 4: return { delayMs, halfClose: 'down', cutDown: Math.floor(random() * 1200) };
    case 5: return { delayMs: [1, 100] };
    default: return { delayMs, reset, cutUp: 600 + Math.floor(random() * 4000) };
  }
}

/** Calls `work(i)` for each i below `total`, some at a time. */
async function each (total, work) {
  let next = 0;
  const worker = async () => {
    while (next < total) await work(next++);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
}

test(`${CHARGES} charges through a storm: each charged exactly once`, async () => {
  const { fake, proxy, client } = await startBehindProxy({}, {
    timeout: 1000, connections: CONCURRENCY,
    retry: { retries: 2, minTimeout: 2, maxTimeout: 50, jitter: 'full', randomize: false }
  });
  const random = makeRandom(CHARGES);
  proxy.set(() => weather(random));
  const outcomes = [];
  await each(CHARGES, async i => {
    const body = i % 3 === 0 ? charge(`o-${i}`) : cardCharge(`o-${i}`, i % 7 === 0 ? 'deny' : 't');
    outcomes[i] = await settle(client.charge(body));
    // What stayed unknown, or was never sent, is charged later, as an outbox does it.
    for (let round = 0; outcomes[i].error !== undefined && round < 50; round++) {
      const { error } = outcomes[i];
      expect(error).toMatchObject({ name: 'MidtransError' });
      expect(error.ambiguous || error.retryable).toBe(true);
      outcomes[i] = await settle(client.charge(body, { resume: error.ambiguous }));
    }
  });
  const seen = outcomes.map(({ value }) => value?.order_id).filter(Boolean);
  expect(new Set(seen).size).toBe(CHARGES); // None lost.
  expect(fake.transactions.size).toBe(CHARGES);
  for (const [orderId, transaction] of fake.transactions) {
    expect([orderId, transaction.charges]).toEqual([orderId, 1]);
    const { value } = outcomes[Number(orderId.slice(2))];
    expect(value.transaction_status).toBe(transaction.transaction_status);
    expect(isPaid(value)).toBe(transaction.transaction_status === 'capture');
  }
  expect(proxy.counts.cuts).toBeGreaterThan(CHARGES / 20); // There was a storm.
  expect(fake.counts.requests).toBeGreaterThan(CHARGES);
});

describe('cut at every byte', () => {
  // This fake charges as often as it is asked to: only the client's own care is tried here. Its
  // answers come at once, so that a look finds all that was carried out.
  const careless = { uniqueOrders: false, idempotency: false };

  /** How many bytes one charge takes, each way, on a connection of its own. */
  async function measure (call) {
    const { proxy, client } = await startBehindProxy(careless);
    let bytes = 0;
    proxy.set({ cutUp: 1e6 });
    await call(client, 'measure');
    for (const direction of ['cutUp', 'cutDown']) {
      // The first position at which nothing is cut any more.
      let low = 0;
      let high = 4096;
      while (low < high) {
        const middle = Math.floor((low + high) / 2);
        const cuts = await cutsAt({ [direction]: middle }, call, `m-${direction}-${middle}`);
        if (cuts > 0) low = middle + 1;
        else high = middle;
      }
      bytes = Math.max(bytes, low);
    }
    return bytes;
  }

  async function cutsAt (faults, call, orderId) {
    const { proxy, client } = await startBehindProxy(careless, { retry: false });
    proxy.set(connection => (connection === 1 ? faults : undefined));
    await settle(call(client, orderId));
    return proxy.counts.cuts;
  }

  const calls = {
    charge: (client, id) => client.charge(charge(id)),
    createTransaction: (client, id) => client.createTransaction(order(id)),
  };

  test.each(Object.keys(calls))('%s', async name => {
    const call = calls[name];
    const bytes = await measure(call);
    expect(bytes).toBeGreaterThan(200);
    const { fake, proxy } = await startBehindProxy(careless);
    for (const direction of ['cutUp', 'cutDown']) {
      for (let at = 0; at <= bytes; at += CUT_STEP) {
        const client = clientOf(proxy.url, { breaker: false });
        let first = true;
        proxy.set(() => {
          const faults = first ? { [direction]: at, reset: at % 2 === 0 } : undefined;
          first = false;
          return faults;
        });
        const id = `${direction}-${at}`;
        const { value, error } = await settle(call(client, id));
        expect(first).toBe(false);
        if (name === 'charge') {
          expect([id, value?.transaction_status]).toEqual([id, 'pending']);
          expect([id, fake.transactions.get(id)?.charges]).toEqual([id, 1]);
        } else {
          // A page, or the certainty that its token is lost; never two pages.
          expect([id, fake.orders.has(id)]).toEqual([id, true]);
          if (error) expect(error).toMatchObject({ tokenLost: true, ambiguous: true });
          else expect(value.token).toBe(fake.orders.get(id).token);
        }
      }
    }
  });
});

test('a page of Snap that was half closed, delayed and swallowed', async () => {
  const { fake, proxy, client } = await startBehindProxy({}, { timeout: 1000 });
  for (const faults of [{ halfClose: 'down' }, { halfClose: 'up', cutUp: 50 },
    { dropAnswers: true }, { delayMs: 2000 }]) {
    let first = true;
    proxy.cutAll();
    proxy.set(() => {
      const given = first ? faults : undefined;
      first = false;
      return given;
    });
    const id = `s-${JSON.stringify(faults).replace(/\W/g, '')}`;
    const { value, error } = await settle(client.createTransaction(order(id)));
    expect(first).toBe(false);
    if (error) expect(error).toMatchObject({ tokenLost: true });
    else expect(fake.orders.get(id).token).toBe(value.token);
  }
});
