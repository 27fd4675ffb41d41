// Programs written for async-retry and retry and their published types, with the import changed.
// All but the marked lines also compile with @types/async-retry and @types/retry.

import retry = require('sekering/async-retry');
import { type Options, type RetryFunction } from 'sekering/async-retry';
import operations = require('sekering/retry');

const options: Options<Error> = {
  retries: 3,
  randomize: true,
  onRetry: (error, attempt) => console.log(error.message, attempt),
};
const load: RetryFunction<string, Error> = async (bail, attempt) => {
  if (attempt > 2) bail(new Error('no'));
  return 'text';
};

// ---- Wrappers of retry() -----------------------------------------------------------------------

function again<T> (
  fn: (bail: (e: Error) => void, attempt: number) => Promise<T>, opts: retry.Options<Error>
): Promise<T> {
  return retry(fn, opts);
}

function withDefaults<T> (fn: retry.RetryFunction<T>, opts?: retry.Options): Promise<T> {
  return retry(fn, { retries: 5, ...opts });
}

async function awaited<T> (fn: () => Promise<T>): Promise<T> {
  return await retry(async () => fn(), { minTimeout: 1, onRetry: () => {} });
}

const plain = <T,>(fn: () => T | Promise<T>): Promise<T> => retry<T>(() => fn());
const typed = <T, E>(fn: retry.RetryFunction<T, E>, opts: retry.Options<E>): Promise<T> =>
  retry<T, E>(fn, opts);

interface LoggedOptions extends retry.Options<Error> {
  label: string;
}

class Client<Answer extends object> {
  readonly #options: LoggedOptions;

  constructor (own: Partial<LoggedOptions> = {}) {
    this.#options = { label: 'client', retries: 2, ...own };
  }

  fetch (make: (attempt: number) => Promise<Answer>): Promise<Answer> {
    return retry((_bail, attempt) => make(attempt), this.#options);
  }

  fetchOr<Other> (make: () => Promise<Answer>, other: Other): Promise<Answer | Other> {
    return retry<Answer | Other>(async bail => {
      try {
        return await make();
      } catch (error) {
        bail(error as Error);
        return other;
      }
    }, this.#options as retry.Options);
  }
}

function decorated<A extends unknown[], R> (
  fn: (...args: A) => Promise<R>, opts?: retry.Options | number[]
): (...args: A) => Promise<R> {
  return (...args) => retry(() => fn(...args), opts);
}

type Retrier = typeof retry;
const inject = (retrier: Retrier): Promise<number> => retrier(async () => 1);
const optionsOfRetry: Parameters<typeof retry>[1] = { factor: 2, forever: false, unref: true };
const never = (): Promise<never> => retry(async bail => { bail(new Error('x')); throw 1; });
const nothing: Promise<void> = retry(async () => {});

// ---- By hand -----------------------------------------------------------------------------------

function byHand (address: string, done: (error: Error | null, found?: string) => void): void {
  const operation: operations.RetryOperation = operations.operation({ retries: 2, factor: 3 });
  operation.attempt((current: number) => {
    const error = current < 2 ? new Error(address) : undefined;
    if (operation.retry(error)) return;
    done(operation.mainError(), address);
  });
}

function promised<T> (
  fn: (attempt: number) => Promise<T>, opts?: operations.OperationOptions
): Promise<T> {
  const operation = operations.operation(opts);
  return new Promise<T>((resolve, reject) => {
    operation.attempt(async attempt => {
      try {
        resolve(await fn(attempt));
      } catch (error) {
        if (!operation.retry(error as Error)) reject(operation.mainError());
      }
    }, { timeout: 1000, callback: () => {} });
  });
}

const limits: operations.AttemptTimeoutOptions = { timeout: 20, callback () {} };
const late: operations.AttemptTimeoutOptions = { timeout: 20, cb: attempt => attempt }; // Ours.
const delays: operations.OperationOptions = [1, 2, 3];
const timeoutsOptions: operations.TimeoutsOptions = { retries: 3, minTimeout: 10 };
const createOptions: operations.CreateTimeoutOptions =
  { factor: 2, minTimeout: 1, maxTimeout: 9, randomize: false };
const wrapOptions: operations.WrapOptions = { maxRetryTime: 10, forever: true, unref: true };

// Their tests make operations of their own.
class FakeOperation implements operations.RetryOperation {
  #errors: Error[] = [];
  attempt (fn: (currentAttempt: number) => void): void { fn(1); }
  retry (error?: Error): boolean { return error !== undefined && this.#errors.push(error) > 9; }
  stop (): void {}
  reset (): void {}
  errors (): Error[] { return this.#errors; }
  attempts (): number { return 1; }
  mainError (): Error | null { return this.#errors[0] ?? null; }
}

interface Service {
  load (id: string, done: (error: Error | null, found?: object) => void): void;
}

function wrapped (service: Service): Service {
  operations.wrap(service, ['load']);
  operations.wrap(service, wrapOptions, ['load']);
  operations.wrap(service);
  return service;
}

async function main (): Promise<string[]> {
  const text: string = await retry(load, options);
  const same: string = await retry<string, Error>(() => text, { onRetry: error => error.message });
  const length: number = await retry((bail: (error: Error) => void) => bail.length, [10, 20]);
  byHand(same, (error, found) => console.log(error?.message, found, length));
  const list: string[] = await again(async bail => {
    bail(new Error('x'));
    return [text];
  }, options);
  const mixed: string | number = await retry(async () => (text ? 1 : text));
  const maybe: string | undefined = await withDefaults(() => list[0]);
  const found: { id: number } = await new Client<{ id: number }>().fetch(async id => ({ id }));
  const either: { id: number } | null =
    await new Client<{ id: number }>({ label: 'x' }).fetchOr(async () => found, null);
  const sum: number = await decorated(async (a: number, b: number) => a + b, [5])(1, 2);
  await Promise.all([awaited(async () => 1), plain(() => 2), typed(load, options), nothing,
    inject(retry), promised(async n => n, delays), never().catch(() => sum)]);
  const operation: operations.RetryOperation = new FakeOperation();
  const errors: Error[] = operation.errors();
  console.log(mixed, maybe, either, errors, limits, late, optionsOfRetry, wrapped);
  return [...operations.timeouts(timeoutsOptions), operations.createTimeout(1, createOptions)]
    .map(ms => ms.toFixed());
}

export = main;
