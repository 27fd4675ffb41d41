// A consumer of the policies: what comes out of them is inferred from what goes in.

import {
  AdaptiveLimiter, LoadShedder, RetryBudget, Timeout, chaos, deadlineHeaders, fallbackChain, hedge,
  policy, protect, readDeadlineHeaders, staleCache, timeLeft, withDeadline
} from 'sekering';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2)
  ? true : false;
declare function check<T extends true> (): T;

const counted = policy({ retry: { retries: 3 }, timeout: 5000, breaker: { volumeThreshold: 5 } })
  .execute(async ({ attempt, signal }) => (signal.aborted ? 0 : attempt));
check<Equal<typeof counted, Promise<number>>>();

const adaptive = new AdaptiveLimiter({ initial: 5, queueTimeout: undefined });
for (const given of [adaptive, { tolerance: 2 }, null]) {
  policy({ adaptiveLimit: given }).adaptiveLimit?.limit satisfies number | undefined;
}

await policy({ bulkhead: { maxConcurrent: 1 } }).execute(() => 1, { priority: 0 });
policy({}).wrap((n: number) => n, { priority: 9, key: n => n });
// @ts-expect-error a priority is a number
policy({}).wrap(() => 1, { priority: 'high' });

// The fallback's answers are part of the result.
const wrapped = policy({ fallback: (): string => 'x' }).wrap(async (n: number) => n);
check<Equal<ReturnType<typeof wrapped>, Promise<number | string>>>();
check<Equal<Parameters<typeof wrapped>, [n: number]>>();
const answer = await policy({ fallback: [{ value: 'a' }], cache: {} }).answer(() => 1);
answer.value satisfies number | 'a';
answer.source satisfies 'call' | 'cache' | 'stale' | 'fallback';

const pages = staleCache<Date>({ ttl: 1000 });
const { value, stale } = await pages.fetch('key', async () => new Date());
check<Equal<typeof value, Date>>();
check<Equal<typeof stale, boolean>>();
const chain = fallbackChain([
  { queue: (order: number) => order }, () => fallbackChain.declined, { cache: pages }, { value: 5 },
]);
const saved = await policy({ fallback: chain }).execute(() => 'token');
saved satisfies string | Date | 5 | { queued: true };

class Client {
  transaction = { status: (id: string): Promise<string> => Promise.resolve(id) };
  async send (count: number) { return count; }
}
const safe = protect(new Client(), { methods: ['send', 'transaction.status'], timeout: 5 });
check<Equal<typeof safe, Client>>();
const grown = await new Timeout({ initial: 15000, increment: 5000 }).execute(async () => 1);
check<Equal<typeof grown, number>>();

const read = hedge({
  safeToRepeat: true, delay: { quantile: 0.95, max: 500 }, budget: new RetryBudget({ ratio: 0.05 }),
});
const repeated = await read.execute(async ({ signal, hedge: number }) => signal.aborted || number);
check<Equal<typeof repeated, number | true>>();
policy({ hedge: read }).execute(({ hedge: number }) => number satisfies number | undefined);
// @ts-expect-error that it is safe to repeat must be said
hedge({ delay: 100 });
// @ts-expect-error a client's methods are not hedged
protect(new Client(), { methods: ['send'], hedge: read });

const inTime: number = await withDeadline(100, ({ signal }) => timeLeft(signal), {});
await withDeadline(new Date(), async ({ signal }) => {
  const headers: Record<string, string> = { ...deadlineHeaders(signal) };
  const ms: number | undefined = readDeadlineHeaders(headers) ?? readDeadlineHeaders(new Headers());
  return [ms, inTime];
});
policy({ deadline: 100 }).wrap(async (id: number, options: { signal?: AbortSignal }) => id, {
  signal: (_id, options) => options.signal
});

const shedder = new LoadShedder({ maxDelay: 20 });
const taken: number = await shedder.execute(async () => 1, { priority: 9 });
policy({ shed: shedder }).shed?.stats.shed satisfies number | undefined;
shedder.stats.byPriority[9]?.calls satisfies number | undefined;
policy({ shed: { interval: 50 } }).execute(() => taken, { priority: 1 });

const faults = chaos({
  seed: 1,
  faults: [{ rate: 0.1, latency: [10, 500] }, { rate: 0.1, error: new Error('x') },
    { rate: 0.1, result: () => 'fake', name: 'fake' }],
});
const disturbed = faults.wrap(async (n: number) => `${n}`);
check<Equal<typeof disturbed, (n: number) => Promise<string>>>();
const called = await faults.execute(({ signal }) => signal?.aborted);
check<Equal<typeof called, boolean | undefined>>();
faults.stats.faults.latency satisfies number | undefined;
policy({ chaos: faults }).chaos?.disable();
// @ts-expect-error a fault has a rate
chaos({ faults: [{ latency: 5 }] });

// @ts-expect-error a time limit is a number
policy({ timeout: 'x' });
// @ts-expect-error there is no such part
policy({ retries: 5 });
