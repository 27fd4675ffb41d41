// A consumer that is CommonJS, in the two ways that TypeScript has for it.

import CircuitBreaker = require('sekering/opossum');
import MemoryCache = require('sekering/opossum/lib/cache');
import Semaphore = require('sekering/opossum/lib/semaphore.js');
import retry = require('sekering/async-retry');
import sekering = require('sekering');
import { CircuitBreaker as Named, type BreakerGroup } from 'sekering';

const options: CircuitBreaker.Options<[number]> = {
  cache: true,
  cacheTransport: new MemoryCache(100),
  cacheGetKey: id => `id ${id}`,
};
const breaker: Named<[number], string> = new CircuitBreaker(async (id: number) => `${id}`, options);
breaker.fallback(new CircuitBreaker(async () => 'other'));
const stats: CircuitBreaker.Stats = breaker.stats;
const permits: Semaphore = new Semaphore(5);
const retryOptions: retry.Options = { retries: 3, onRetry: (error, attempt) => attempt };

async function main (group: BreakerGroup<[string], number, string>): Promise<string> {
  const release = await permits.take();
  release();
  await group.fire('key', 'argument');
  const value: string = await retry(() => breaker.fire(1), retryOptions);
  return value + stats.fires + sekering.presets.smtp.timeout;
}

export = main;
