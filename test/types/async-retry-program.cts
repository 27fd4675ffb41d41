// Programs written for async-retry and retry and their published types, with the import changed.

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

function byHand (address: string, done: (error: Error | null, found?: string) => void): void {
  const operation: operations.RetryOperation = operations.operation({ retries: 2, factor: 3 });
  operation.attempt((current: number) => {
    const error = current < 2 ? new Error(address) : undefined;
    if (operation.retry(error)) return;
    done(operation.mainError(), address);
  });
}

async function main (): Promise<string[]> {
  const text: string = await retry(load, options);
  const same: string = await retry<string, Error>(() => text, { onRetry: error => error.message });
  const typed: number = await retry((bail: (error: Error) => void) => bail.length, [10, 20]);
  byHand(same, (error, found) => console.log(error?.message, found, typed));
  return operations.timeouts({ retries: 2 }).map(ms => ms.toFixed());
}

export = main;
