// A consumer of payments and idempotency keys.

import { MidtransClient } from 'sekering/midtrans';
import { idempotent } from 'sekering/http';
import { openStore, type PaymentOrder } from 'sekering/store';

const midtrans = new MidtransClient({ serverKey: 'key' });
const store = await openStore({
  memory: true,
  idempotency: { ttl: 60_000, wait: 5000 },
  payments: {
    midtrans,
    hooks: {
      async onPaid (order, { id, from }, { signal }) {
        order.amountMinor satisfies bigint;
        `${id} ${from} ${signal.aborted}` satisfies string;
      },
      onRefund: (order, { refund }) => { refund?.amountMinor satisfies bigint | null | undefined; },
      onChargeback: ({ chargedBackMinor }, { chargeback }) => {
        [chargedBackMinor, chargeback?.amountMinor] satisfies Array<bigint | null | undefined>;
      },
      onDenied: (order, { attempt }) => {
        attempt?.paymentType satisfies string | null | undefined;
      },
      onTransition: undefined,
    },
  },
});

const body = { transaction_details: { order_id: 'a', gross_amount: 1000 } };
const { order, queued } = await store.payments.open(body, { signal: AbortSignal.timeout(1000) });
order satisfies PaymentOrder;
queued satisfies boolean;
await store.transaction(client => store.payments.defer(body, { client, reason: new Error('no') }));
await store.payments.createOrder({ orderId: 'b', amountMinor: 5, state: 'created', token: 't' });
// @ts-expect-error Other states are for Midtrans to say.
await store.payments.createOrder({ orderId: 'b', amountMinor: 5, state: 'paid' });
const { status, outcome } = await store.payments.handleNotification(Buffer.from('{}'), {});
(status === 200 || outcome === 'forged') satisfies boolean;
(await store.payments.listEvents({ outcome: 'held' })).map(({ reason }) => reason?.length);
await store.payments.review('a', 'apply', { by: 'me', reason: 'seen' });
(await store.payments.reconcile({ olderThan: 1000 })).checked satisfies number;
store.outbox.createWorker({ channels: { ...store.payments.senders() } });

const { value, replayed } = await store.idempotency.run('key', async ({ client, token }) => {
  await client.query('SELECT $1', [token]);
  return { done: true };
}, { transaction: true, payload: { any: 'thing' } });
(value.done && replayed) satisfies boolean;
store.idempotency.keyOf([1]) satisfies string;
(await store.idempotency.get('key'))?.expiresAt satisfies Date | undefined;

idempotent({
  idempotency: store.idempotency, required: true, scope: req => req.user.id, ttl: 1000
});
// @ts-expect-error It needs the store's.
idempotent({});
