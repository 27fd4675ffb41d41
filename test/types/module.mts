// A consumer that is an ES module: named imports, inference, and what must not compile.

import {
  AdaptiveLimiter, BreakerGroup, Bulkhead, CircuitBreaker, NonRetryableError, RateLimiter,
  RetryBudget, RetryableError, SekeringError, breakers, isRetryable, preset, presets, profiles,
  retry, retryAfterMs, retryOn, retryPresets, retryable,
} from 'sekering';
import Opossum from 'sekering/opossum';
import Status from 'sekering/opossum/lib/status';
import asyncRetry from 'sekering/async-retry';
import midtransClient, { CoreApi } from 'sekering/midtrans-client';
import { operation } from 'sekering/retry';
import { startMidtransFake, startSmtpFake, useVirtualClock } from 'sekering/testing';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2)
  ? true : false;
declare function check<T extends true> (): T;

// Arguments and result come from the action.
const breaker = new CircuitBreaker(async (id: number, name: string) => ({ id, name }), {
  timeout: 3000,
  resetTimeout: { initial: 1000, factor: 2, max: 60_000 },
  errorFilter: (error, id, name) => {
    check<Equal<typeof id, number>>();
    check<Equal<typeof name, string>>();
    return error.status === 404;
  },
  fallback: () => null,
});
const fired = await breaker.fire(1, 'a');
check<Equal<typeof fired, { id: number; name: string }>>();
const ran = await breaker.run(async ({ signal }) => signal.aborted);
check<Equal<typeof ran, boolean>>();
breaker.on('success', (result, ms) => {
  check<Equal<typeof result, { id: number; name: string }>>();
  check<Equal<typeof ms, number>>();
}).once('halfOpen', ms => ms.toFixed()).on('open', () => {});
const { stats } = breaker;
check<Equal<typeof stats.fires, number>>();
check<Equal<typeof stats.latencyTimes, number[]>>();
const status: Status = breaker.status;
status.on('snapshot', snapshot => snapshot.latencyMean.toFixed());
breaker.toJSON().state.halfOpen satisfies boolean;

// @ts-expect-error the arguments are those of the action
void breaker.fire('1', 'a');
// @ts-expect-error there is no such option
new CircuitBreaker(async () => {}, { resetTimeOut: 5 });
// @ts-expect-error a name that is not a preset
preset('nothing');

// A synchronous action, and a result that is narrower than unknown.
const sync = new CircuitBreaker((a: number) => a * 2, presets.midtrans);
const doubled = await sync.fire(2);
check<Equal<typeof doubled, number>>();

// The drop-ins are the same things.
const same: typeof CircuitBreaker = Opossum;
const options: Opossum.Options = { ...presets.smtp, ...profiles.testing.breaker };
new same(async () => 1, options).fallback(() => 2);
Opossum.isOurError(new Error()) satisfies boolean;

const group = new BreakerGroup(async (text: string) => text.length, { max: 100, idleTtl: 1000 });
const length = await group.fire('tenant', 'text');
check<Equal<typeof length, number>>();
group.on('failure', (key, error, ms, args) => args[0] satisfies string);

const tried = await retry(async (bail, attempt, { signal }) => {
  if (attempt > 5) bail(new NonRetryableError('no', { cause: signal.reason }));
  return attempt;
}, { retries: 3, jitter: 'full', budget: new RetryBudget({ ratio: 0.2 }), shouldRetry: retryOn() });
check<Equal<typeof tried, number>>();
await retry(() => 1, [10, 20, 30]);
const again = retryable(async (url: string) => new URL(url), retryPresets.payment);
const url = await again('about:blank');
check<Equal<typeof url, URL>>();
again.stats.successRate satisfies number;
await asyncRetry(() => 1, { retries: 1 });
const generic = <T,>(fn: () => Promise<T>): Promise<T> => retry(fn, retryPresets.apiClient);
await generic(async () => 1);
await retry(() => 1, { shouldRetry: { statuses: ['5xx'], otherwise: true } });
operation({ retries: 2 }).attempt(attempt => attempt.toFixed());

const first = await new Bulkhead({ maxConcurrent: 2 }).execute(({ signal }) => signal);
check<Equal<typeof first, AbortSignal | undefined>>();
const adaptive = new AdaptiveLimiter({ max: 50, isOverload: error => error.status === 429 });
const { signal } = new AbortController();
const third = await adaptive.execute(async () => 3, { signal, priority: 9 });
check<Equal<typeof third, number>>();
adaptive.baseLatency satisfies number | undefined;
const limiter = new RateLimiter({ limit: 10, interval: 1000 });
limiter.tryTake(2) satisfies boolean;

for (const one of breakers()) one.name satisfies string;
const error: Error = new RetryableError('later', { retryAfter: 1000 });
if (error instanceof SekeringError) error.code satisfies string;
isRetryable(error) satisfies boolean;
retryAfterMs(error) satisfies number | undefined;

const clock = useVirtualClock();
await clock.advance(1000);
clock.restore();
const midtrans = await startMidtransFake({ fault: 'drop' });
midtrans.set({ kind: 'error', status: 503 });
const smtp = await startSmtpFake({ auth: { user: 'u', pass: 'p' } });
smtp.messages[0]?.subject satisfies string | undefined;

// The official client of Midtrans has no types.
const core: CoreApi = new midtransClient.CoreApi({ serverKey: 'key' });
check<Equal<typeof core.httpClient.http_client.defaults.timeout, number>>();
