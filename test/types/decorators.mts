// Decorated methods keep their types; methods that do not return a promise cannot be decorated.

import {
  CircuitBreaker, circuitBreakers, getCircuitBreaker, presets, retryPresets,
} from 'sekering';
import { circuitBreaker, retry } from 'sekering/decorators';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2)
  ? true : false;
declare function check<T extends true> (): T;

const midtrans = getCircuitBreaker('midtrans', presets.midtrans);

class Films {
  base = 'films';

  @retry(retryPresets.pageFetch)
  @circuitBreaker({ consecutiveFailures: 5, errorFilter: error => error.status === 404 })
  async load (id: number, language?: string): Promise<{ id: number; language: string }> {
    return { id, language: language ?? this.base };
  }

  @retry([100, 200]) @circuitBreaker(midtrans)
  static async list<T extends string> (...names: T[]): Promise<T[]> { return names; }

  @circuitBreaker()
  async #check (id: number): Promise<boolean> { return id > 0; }

  check (id: number): Promise<boolean> { return this.#check(id); }

  // @ts-expect-error a method that returns no promise would return one
  @circuitBreaker()
  title (): string { return this.base; }

  // @ts-expect-error there is no such option
  @retry({ tries: 3 })
  async more (): Promise<void> {}

  // @ts-expect-error a decorator is called with its options
  @retry
  async again (): Promise<void> {}

  // @ts-expect-error fields are not methods
  @circuitBreaker()
  field = async () => {};
}

type Load = (id: number, language?: string) => Promise<{ id: number; language: string }>;
check<Equal<Films['load'], Load>>();
const names: Promise<('a' | 'b')[]> = Films.list('a', 'b');

// Functions that a breaker wraps.
const plus = midtrans.wrap((a: number, b?: string) => `${a}${b}`);
check<Equal<Parameters<typeof plus>, [a: number, b?: string]>>();
check<Equal<ReturnType<typeof plus>, Promise<string>>>();
const load = new CircuitBreaker(async () => {}).wrap(
  async function (this: Films, id: number) { return [this.base, id] as const; });
check<Equal<ThisParameterType<typeof load>, Films>>();
check<Equal<ReturnType<typeof load>, Promise<readonly [string, number]>>>();
// @ts-expect-error the argument is a number
plus('1');

// Breakers by name.
const ran: Promise<number> = midtrans.run(async ({ signal }) => Number(signal.aborted));
const fired: Promise<unknown> = midtrans.fire((a: number) => a, 1);
const list: CircuitBreaker<any, any>[] = circuitBreakers();
// @ts-expect-error there is no such option
getCircuitBreaker('midtrans', { failureThreshold: 5 });

export { fired, list, names, ran };
