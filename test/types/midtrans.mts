// A consumer of sekering/midtrans and of its fakes.

import {
  MidtransClient, MidtransError, advance, amountOf, canMove, isFinalState, isPaid,
  transactionStates,
} from 'sekering/midtrans';
import { CircuitBreaker, presets, protect, retryPresets } from 'sekering';
import { startMidtransFake, startTcpProxy } from 'sekering/testing';

const fake = await startMidtransFake({ serverKey: 'key', fees: 4500, fault: 'drop' });
const proxy = await startTcpProxy({ target: fake.url, faults: { cutDown: 10, delayMs: [1, 5] } });
proxy.set(connection => (connection > 1 ? { reset: true, cutUp: 5 } : undefined));
fake.set({ kind: 'business', status: 406, on: 'charge', times: 2 });

const client = new MidtransClient({
  serverKey: 'key',
  baseUrls: { snap: fake.url, core: proxy.url },
  timeout: { initial: 5000, increment: 1000 },
  retry: retryPresets.payment,
  breaker: new CircuitBreaker(() => {}, presets.midtrans),
});
client.on('alert', ({ kind, error }) => {
  kind satisfies 'unauthorized' | 'unknown-outcome';
  error.validationMessages satisfies string[];
});
client.once('retry', ({ operation, orderId, attempt, error, delay }) => {
  [operation, orderId ?? '', error.code] satisfies string[];
  [attempt, delay] satisfies number[];
});

const details = { order_id: 'a', gross_amount: 10000 };
const { token, redirect_url: url } = await client.createTransaction({
  transaction_details: details, item_details: [{ price: 5000, quantity: 2, name: 'Ticket' }],
  customer_details: { first_name: 'A' },
}, { signal: AbortSignal.timeout(1000), resume: true });
`${token} ${url}` satisfies string;
const charged = await client.charge({ payment_type: 'gopay', transaction_details: details });
charged.status_code satisfies string;
if (isPaid(charged)) amountOf(charged)?.toFixed();
await client.refund('a', { refund_key: 'k', amount: 5 });
await client.directRefund('a');
(await client.ping()).latencyMs satisfies number;
client.verifyNotification('{}') satisfies boolean;
const { state, paid } = await client.confirmNotification({});
const { verdict } = advance(null, state, { confirmed: true });
verdict satisfies string;
canMove('pending', 'settlement') === isFinalState('deny') === paid;
transactionStates.map(name => name.length);
try {
  await client.cancel('a');
} catch (error) {
  if (error instanceof MidtransError && error.ambiguous) error.refundKey?.length;
}
const safe: MidtransClient = protect(client, {
  methods: ['charge', 'status'], bulkhead: { maxConcurrent: 5 },
});
void safe;
await client.close();

// @ts-expect-error the server key is needed
new MidtransClient({ production: true });
new MidtransClient({ serverKey: 'k', isProduction: true });
const text = { order_id: 'a', gross_amount: '5' };
void client.charge({ payment_type: 'x', transaction_details: text });
// @ts-expect-error an amount is needed
void client.charge({ payment_type: 'x', transaction_details: { order_id: 'a' } });
