// A program written for opossum and its published types, with nothing but the import changed.

import CircuitBreaker = require('sekering/opossum');

interface Invoice { id: string; total: number }

class Invoices {
  readonly breaker: CircuitBreaker<[id: string, retries?: number], Invoice>;

  constructor (options: CircuitBreaker.Options = {}) {
    this.breaker = new CircuitBreaker(this.load.bind(this), { timeout: 3000, ...options });
    this.breaker.fallback((id: string, error: Error) => ({ id, total: 0, error: error.message }));
    this.breaker.on('fallback', (result, error) => console.log(result, error.message));
  }

  async load (id: string, retries = 0): Promise<Invoice> {
    return { id, total: retries };
  }
}

// Breakers of all kinds in one collection, as pages and exporters of metrics keep them.
const registry = new Map<string, CircuitBreaker>();

function register<TI extends unknown[], TR> (
  action: (...args: TI) => Promise<TR>, options?: CircuitBreaker.Options<TI>
): CircuitBreaker<TI, TR> {
  const breaker = new CircuitBreaker(action, options);
  registry.set(breaker.name, breaker);
  breaker.on('open', () => console.log(breaker.name));
  breaker.on('halfOpen', (resetTimeout: number) => console.log(resetTimeout));
  return breaker;
}

const options: CircuitBreaker.Options = {
  timeout: 3000,
  maxFailures: 3,
  errorThresholdPercentage: 50,
  resetTimeout: 30000,
  rollingCountTimeout: 10000,
  rollingCountBuckets: 10,
  name: 'invoices',
  group: 'billing',
  rollingPercentilesEnabled: true,
  capacity: 10,
  volumeThreshold: 5,
  cacheGetKey: (...args) => JSON.stringify(args),
  errorFilter: error => error.statusCode === 404,
  abortController: new AbortController(),
};

const transport: CircuitBreaker.CacheTransport = {
  get: (key: string) => key,
  set: (key: string, value: unknown, expiresAt: number) => { console.log(key, value, expiresAt); },
  flush: () => {},
};

function show (breaker: CircuitBreaker): string {
  const state: CircuitBreaker.State = breaker.toJSON().state;
  const stats: CircuitBreaker.Stats = breaker.stats;
  const window: CircuitBreaker.Window = breaker.status.window;
  const bucket: CircuitBreaker.Bucket | undefined = window[0];
  const latencies: number[] = stats.latencyTimes;
  return `${state.open} ${stats.percentiles[0.99]} ${bucket?.fires} ${latencies.length}`;
}

function restored (old: CircuitBreaker.Stats): CircuitBreaker {
  const status: CircuitBreaker.Status = CircuitBreaker.newStatus({
    rollingCountBuckets: 10, rollingCountTimeout: 10000, stats: old
  });
  status.on('snapshot', (snapshot: CircuitBreaker.Stats) => console.log(snapshot.fires));
  return new CircuitBreaker(async () => true, { status, enableSnapshots: true });
}

// A class of one's own, as some frameworks have.
class Named extends CircuitBreaker<[number], string> {
  constructor (options?: CircuitBreaker.Options<[number]>) {
    super(async n => `${n}`, options);
  }

  override async fire (n: number): Promise<string> {
    return this.opened ? 'closed for today' : super.fire(n);
  }
}

async function main (): Promise<void> {
  let breaker: CircuitBreaker;
  breaker = new CircuitBreaker((x: number, y: number) => Promise.resolve(x + y), options);
  breaker = new Named({ cache: true, cacheTransport: transport });
  breaker.healthCheck(async () => {}, 1000);
  const invoice: Invoice = await new Invoices(options).breaker.fire('a');
  const total: number = await register(async (n: number) => n * 2).call(null, invoice.total);
  console.log(show(breaker), show(restored(breaker.stats)), total);
  if (CircuitBreaker.isOurError(new Error())) breaker.shutdown();
}

export = main;
