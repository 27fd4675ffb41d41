// Programs that wrap breakers in all the ways that are in use. They compile with @types/opossum
// when only the import is changed, and so they must compile here.

import CircuitBreaker = require('sekering/opossum');
import { EventEmitter } from 'node:events';

// Functions that wrap.
function wrap<TI extends unknown[], TR> (
  fn: (...args: TI) => Promise<TR>, options?: CircuitBreaker.Options
): CircuitBreaker<TI, TR> {
  return new CircuitBreaker(fn, options);
}

function wrapTyped<TI extends unknown[], TR> (
  fn: (...args: TI) => Promise<TR>, options: CircuitBreaker.Options<TI> = {}
): (...args: TI) => Promise<TR> {
  const breaker = new CircuitBreaker<TI, TR>(fn, options);
  breaker.fallback(() => undefined);
  breaker.on('success', (result: TR, latency: number) => console.log(result, latency));
  breaker.on('failure', (error: Error, latency: number, args: TI) => {
    console.log(error, latency, args);
  });
  return (...args: TI) => breaker.fire(...args);
}

function wrapAny<T> (fn: (...args: any[]) => Promise<T>, options?: CircuitBreaker.Options) {
  const breaker = new CircuitBreaker(fn, options);
  return (...args: any[]): Promise<T> => breaker.fire(...args);
}

const wrapArrow = <A extends any[], R>(fn: (...a: A) => Promise<R>): CircuitBreaker<A, R> =>
  new CircuitBreaker(fn, { timeout: 1000 });

function wrapMethod<T extends (...args: any[]) => Promise<any>> (
  fn: T, name: string
): CircuitBreaker<Parameters<T>, Awaited<ReturnType<T>>> {
  return new CircuitBreaker<Parameters<T>, Awaited<ReturnType<T>>>(fn, { name });
}

async function guard<T> (work: () => Promise<T>): Promise<T> {
  const breaker = new CircuitBreaker(work, { timeout: false });
  return breaker.fire();
}

async function through<T> (
  breaker: CircuitBreaker<unknown[], unknown>, ...args: unknown[]
): Promise<T> {
  return breaker.fire(...args) as Promise<T>;
}

function withFallback<TI extends unknown[], TR> (
  breaker: CircuitBreaker<TI, TR>, fallback: (...args: any[]) => any
): CircuitBreaker<TI, TR> {
  return breaker.fallback(fallback);
}

function chained<TI extends unknown[], TR> (first: CircuitBreaker<TI, TR>, second: CircuitBreaker) {
  return first.fallback(second);
}

// Factories and registries.
class Factory {
  private readonly breakers = new Map<string, CircuitBreaker>();
  private readonly typed: Record<string, CircuitBreaker<any, any>> = {};

  create<TI extends unknown[] = unknown[], TR = unknown> (
    name: string, action: (...args: TI) => Promise<TR>, options?: CircuitBreaker.Options<TI>
  ): CircuitBreaker<TI, TR> {
    const breaker = new CircuitBreaker<TI, TR>(action, { ...options, name });
    this.typed[name] = breaker;
    this.watch(breaker);
    return breaker;
  }

  plain (action: () => Promise<string>): CircuitBreaker<[], string> {
    const breaker = new CircuitBreaker(action);
    this.breakers.set('a', breaker as unknown as CircuitBreaker);
    return breaker;
  }

  private watch (breaker: CircuitBreaker<any, any>): void {
    breaker
      .on('open', () => {}).on('close', () => {}).on('halfOpen', ms => ms.toFixed())
      .on('fire', args => args).on('reject', error => error.message)
      .on('timeout', error => error.message).on('shutdown', () => {})
      .on('semaphoreLocked', error => error.message)
      .on('healthCheckFailed', error => error.message)
      .on('cacheHit', () => {}).on('cacheMiss', () => {})
      .on('fallback', (result, error) => [result, error.message]);
    breaker.once('open', () => {});
    breaker.off('open', () => {});
    breaker.addListener('anything', () => {});
  }
}

// Fields and type arguments.
interface Charge { id: string }
type ChargeBreaker = CircuitBreaker<[string, number], Charge>;

class Payments {
  private breaker!: CircuitBreaker<[string, number], Charge>;
  private readonly other: ChargeBreaker = new CircuitBreaker(this.charge.bind(this));
  private readonly bound = new CircuitBreaker<[string], Charge>((id: string) => this.charge(id, 1));
  private readonly any: CircuitBreaker;

  constructor (private readonly options: CircuitBreaker.Options = { timeout: 3000 }) {
    this.breaker = new CircuitBreaker(this.charge.bind(this), this.options);
    this.any = new CircuitBreaker(async () => 1);
  }

  private async charge (id: string, amount: number): Promise<Charge> {
    return { id: `${id}${amount}` };
  }

  async pay (id: string): Promise<Charge> {
    const one: Charge = await this.breaker.fire(id, 1);
    const two: Charge = await this.other.call(this, id, 2);
    const three: Charge = await this.bound.fire(id);
    await this.any.fire(1, 'two');
    return one ?? two ?? three;
  }
}

// What handlers get.
function handle (error: unknown): number {
  if (error instanceof Error && CircuitBreaker.isOurError(error)) return 503;
  return 500;
}

function onError (error: Error): boolean { return CircuitBreaker.isOurError(error); }

// Options, built up and changed.
const defaults: CircuitBreaker.Options = { timeout: 1000, errorFilter: err => err.status < 500 };
const merged: CircuitBreaker.Options = { ...defaults, resetTimeout: 5, cacheTTL: 5 };
merged.timeout = 20;
merged.enabled = false;
type Some = Pick<CircuitBreaker.Options, 'timeout' | 'name'>;
const some: Some = { timeout: false };
const required: Required<CircuitBreaker.Options>['capacity'] = 5;
interface Extended extends CircuitBreaker.Options { region: string }
const extended: Extended = { region: 'a', timeout: 5 };
const fromExtended = new CircuitBreaker(async (x: number) => x, extended);
const keyed: CircuitBreaker.Options<[number]> = { cacheGetKey: x => `${x}`, cache: true };
const fromKeyed = new CircuitBreaker(async (x: number) => x, keyed);
const inline = new CircuitBreaker(async (a: string, b?: number) => a.length + (b ?? 0), {
  cache: true, cacheGetKey: (a, b) => `${a}${b}`, errorFilter: error => error.code === 'E',
});
const inlined: Promise<number> = inline.fire('a', 1);

// Statuses.
const status: CircuitBreaker.Status = CircuitBreaker.newStatus({ rollingCountBuckets: 3 });
const again = new CircuitBreaker(async () => 1, { status });
function report (breaker: CircuitBreaker): CircuitBreaker.Stats { return breaker.status.stats; }
report(again as unknown as CircuitBreaker);
const figures = ({ failures, fires }: CircuitBreaker.Stats): number => failures / fires;
figures(again.stats);
const buckets: CircuitBreaker.Bucket[] = again.status.window;
const p99: number | undefined = again.stats.percentiles['0.99'] ?? again.stats.percentiles[0.99];
again.status.on('snapshot', snapshot => figures(snapshot));

// Functions over breakers.
const health = (breakers: CircuitBreaker<any, any>[]): boolean => breakers.every(b => !b.opened);
health([again, inline, fromExtended, fromKeyed]);
const emitter: EventEmitter = again;
type ActionOf<B> =
  B extends CircuitBreaker<infer TI, infer TR> ? (...args: TI) => Promise<TR> : never;
const action: ActionOf<ChargeBreaker> = async (id, amount) => ({ id: `${id}${amount}` });
type BreakerClass = typeof CircuitBreaker;
function make (Class: BreakerClass) { return new Class(async (n: number) => n); }
const made: Promise<number> = make(CircuitBreaker).fire(1);

// Classes that extend it.
class Logged<TI extends unknown[], TR> extends CircuitBreaker<TI, TR> {
  constructor (action: (...args: TI) => Promise<TR>, options?: CircuitBreaker.Options<TI>) {
    super(action, options);
    this.on('open', () => console.log(this.name));
  }
  override fire (...args: TI): Promise<TR> { return super.fire(...args); }
  override open (): void { super.open(); }
  override fallback (func: ((...args: any[]) => any) | CircuitBreaker): this {
    return super.fallback(func);
  }
}
const logged: Promise<string> = new Logged(async (n: number) => `${n}`).fire(1);

// A decorator.
function Breaker (options?: CircuitBreaker.Options) {
  return function (
    _target: object, _key: string, descriptor: PropertyDescriptor
  ): PropertyDescriptor {
    const original = descriptor.value as (...args: unknown[]) => Promise<unknown>;
    const breakers = new WeakMap<object, CircuitBreaker<unknown[], unknown>>();
    descriptor.value = function (this: object, ...args: unknown[]) {
      let breaker = breakers.get(this);
      if (!breaker) breakers.set(this, breaker = new CircuitBreaker(original.bind(this), options));
      return breaker.fire(...args);
    };
    return descriptor;
  };
}

const json: { state: CircuitBreaker.State; status: CircuitBreaker.Stats } = again.toJSON();
again.healthCheck(async () => {}, 100);
const transport: CircuitBreaker.CacheTransport = new (class {
  get (key: string): unknown { return key; }
  set (key: string, value: any, ttl: number): void { console.log(key, value, ttl); }
  flush (): void {}
})();

export {
  wrap, wrapTyped, wrapAny, wrapArrow, wrapMethod, guard, through, withFallback, chained, Factory,
  Payments, handle, onError, merged, some, required, inlined, buckets, p99, emitter, action, made,
  logged, Breaker, json, transport,
};

// Objects of its types, as tests of programs make them.
const emptyBucket: CircuitBreaker.Bucket = {
  failures: 0, fallbacks: 0, successes: 0, rejects: 0, fires: 0, timeouts: 0, cacheHits: 0,
  cacheMisses: 0, semaphoreRejections: 0, percentiles: {}, latencyTimes: [],
};
const emptyStats: CircuitBreaker.Stats = { ...emptyBucket, latencyMean: 0 };
const primed = new CircuitBreaker(async () => 1, {
  status: CircuitBreaker.newStatus({ stats: emptyStats }),
});
class Cache implements CircuitBreaker.MemoryCache {
  private readonly entries = new Map<string, unknown>();
  get (key: string): unknown { return this.entries.get(key); }
  set (key: string, value: any, ttl: number): void { if (ttl >= 0) this.entries.set(key, value); }
  flush (): void { this.entries.clear(); }
}
const cached = new CircuitBreaker(async (id: string) => id, {
  cache: true, cacheTransport: new Cache(),
});
function wait (breaker: CircuitBreaker, event: 'open' | 'close'): Promise<void> {
  return new Promise(resolve => { breaker.once(event, resolve); });
}
const spied: Pick<CircuitBreaker<[number], string>, 'fire' | 'opened'> = {
  fire: async n => `${n}`, opened: false,
};
export { primed, cached, wait, spied };
