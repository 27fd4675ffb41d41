// What the types promise beyond compiling: inference to the last tuple, and errors where there
// should be errors.

import {
  BreakerGroup, CircuitBreaker, policy, presets, protect, regions, retry, staleCache,
  type BulkheadOptions, type CircuitBreakerOptions, type PresetName, type RateLimitedError,
  type RetryOptions,
} from 'sekering';
import { useVirtualClock } from 'sekering/testing';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2)
  ? true : false;
declare function check<T extends true> (): T;

const breaker = new CircuitBreaker(async (id: number, name?: string) => new Map([[id, name]]));
type Result = Map<number, string | undefined>;
check<Equal<typeof breaker, CircuitBreaker<[id: number, name?: string], Result>>>();
check<Equal<ReturnType<typeof breaker.fire>, Promise<Result>>>();
check<Equal<Parameters<typeof breaker.call>, [context: unknown, id: number, name?: string]>>();

// Every event has its arguments, under every way to listen.
breaker.on('fire', args => { check<Equal<typeof args, [id: number, name?: string]>>(); });
breaker.once('success', result => { check<Equal<typeof result, Result>>(); });
breaker.prependListener('failure', (error, ms, args) => {
  check<Equal<typeof ms, number>>();
  check<Equal<typeof args, [id: number, name?: string]>>();
});
breaker.addListener('timeout', error => { check<Equal<typeof error, Error>>(); });
const onOpen = () => {};
breaker.on('open', onOpen).off('open', onOpen).removeListener('open', onOpen);
for (const event of ['open', 'halfOpen', 'close'] as const) breaker.on(event, () => {});
type Names = 'fire' | 'success' | 'failure' | 'timeout' | 'reject' | 'fallback' |
  'semaphoreLocked' | 'open' | 'halfOpen' | 'close' | 'shutdown' | 'healthCheckFailed' |
  'cacheHit' | 'cacheMiss' | 'coalesceCacheHit' | 'coalesceCacheMiss' | 'missed';
check<Equal<CircuitBreaker.EventName, Names>>();
// @ts-expect-error there is no such event
breaker.on('opened', () => {});
// @ts-expect-error halfOpen carries a number
breaker.on('halfOpen', (ms: string) => ms);
breaker.healthCheck(function () { return this.fire(1); });

// Resolved options are there; options that were given may not be.
const { options } = breaker;
check<Equal<typeof options.capacity, number>>();
check<Equal<typeof options.timeout, number | false>>();
check<Equal<typeof options.consecutiveFailures, number | undefined>>();
new CircuitBreaker(async () => {}, {
  preset: 'midtrans', scope: 'host', namespace: 'films', name: 'snap', shareTrip: { processes: 2 },
});
// @ts-expect-error there is no such scope
new CircuitBreaker(async () => {}, { scope: 'planet' });
// @ts-expect-error true is no time
new CircuitBreaker(async () => {}, { timeout: true });
// @ts-expect-error a growing time has a beginning
new CircuitBreaker(async () => {}, { resetTimeout: { factor: 2 } });
// @ts-expect-error the key is made of the arguments of the action
new CircuitBreaker(async (id: number) => id, { cacheGetKey: (id: string) => id });
new CircuitBreaker(async () => {}, { fallback: breaker, coalesceResetOn: ['error', 'timeout'] });

// The class is a type and a namespace under its own name, too.
const { CircuitBreaker: Same } = CircuitBreaker;
new Same(() => 1) satisfies CircuitBreaker<[], number>;
new CircuitBreaker.Semaphore(1) satisfies CircuitBreaker.Semaphore;
new CircuitBreaker.MemoryCache<string>().get('key') satisfies string | undefined;
new CircuitBreaker.Status().window satisfies CircuitBreaker.Window;
CircuitBreaker.breakers().map(one => one.stats.fires) satisfies number[];

const group = new BreakerGroup<[text: string], number, bigint>(async text => text.length);
group.on('success', (key, result, ms) => {
  check<Equal<typeof key, bigint>>();
  check<Equal<typeof result, number>>();
  ms.toFixed();
});
check<Equal<ReturnType<typeof group.keys>, bigint[]>>();
group.get(1n).key satisfies bigint;
// @ts-expect-error the key is a bigint
void group.fire('1', 'text');

// Options have names of their own, for functions that take them.
const given: CircuitBreakerOptions<[number]> = { ...presets['smtp' satisfies PresetName] };
new CircuitBreaker(async (n: number) => n, given);
const retries: RetryOptions<TypeError> = { onRetry: error => error.message };
check<Equal<Awaited<ReturnType<typeof retry<string>>>, string>>();
void retry<string, TypeError>(() => 'text', retries);
({ maxConcurrent: 1, maxQueue: undefined }) satisfies BulkheadOptions;
declare const limited: RateLimitedError;
limited.retryAfterMs.toFixed();

// Policies know what their fallback may answer.
const guarded = policy({ fallback: [{ value: null }], breaker: given, timeout: 100 });
const answer = await guarded.execute(async () => 'text');
check<Equal<typeof answer, string | null>>();
const wrapped = guarded.wrap(async (n: number) => `${n}`);
check<Equal<Parameters<typeof wrapped>, [n: number]>>();
const pages = staleCache<string>({ ttl: 1000 });
const { value, stale } = await pages.fetch('key', async () => 'text');
check<Equal<typeof value, string>>();
check<Equal<typeof stale, boolean>>();
// @ts-expect-error the parts have names
policy({ retries: 3 });

class Client {
  async send (text: string): Promise<number> { return text.length; }
}
const client = protect(new Client(), { methods: ['send'], retry: { retries: 1 } });
check<Equal<typeof client, Client>>();

for (const { namespace, bytes } of regions.list()) {
  if (bytes > 1e9) regions.remove(namespace) satisfies boolean;
}

const clock = useVirtualClock({ wall: 0 });
await clock.advanceAsync(clock.now);
