'use strict';

// What a worker of the outbox is given.

const { invalidOption } = require('../base/errors');
const { bag, func, number } = require('../base/options');

const OPTIONS = [
  'channels', 'concurrency', 'unsettled', 'batchSize', 'leaseMs', 'pollInterval'
];
const CHANNEL = ['send', 'breaker', 'concurrency', 'rate', 'timeout'];

/** One channel, if it is among those that are `known`. */
function readChannel (name, given, known) {
  if (!known.has(name)) {
    throw invalidOption('channels', `one of ${[...known.keys()].join(', ')}`, name, RangeError);
  }
  const options = typeof given === 'function'
    ? { send: given }
    : bag(`channels.${name}`, given, CHANNEL);
  const { send, breaker, concurrency = 5, rate, timeout = 30_000 } = options;
  func(`channels.${name}.send`, send);
  number('concurrency', concurrency, { min: 1, max: 1000, integer: true });
  number('timeout', timeout, { min: 1, max: 3_600_000, unit: 'ms' });
  if (breaker !== undefined && typeof breaker?.pendingClose !== 'boolean') {
    throw invalidOption('breaker', 'a circuit breaker', breaker);
  }
  return { send, breaker, concurrency, rate, timeout };
}

/** @returns {{ options: object, channels: [string, unknown][] }} */
function readWorker (options) {
  const given = bag('options', options, OPTIONS);
  const {
    concurrency = 20, unsettled = 0, batchSize = 500, leaseMs = 30_000, pollInterval = 1000,
  } = given;
  number('concurrency', concurrency, { min: 1, max: 10_000, integer: true });
  number('batchSize', batchSize, { min: 1, max: 1000, integer: true });
  number('leaseMs', leaseMs, { min: 1000, max: 3_600_000, unit: 'ms' });
  number('pollInterval', pollInterval, { min: 10, max: 3_600_000, unit: 'ms' });
  number('unsettled', unsettled, { min: 0, max: 10_000, integer: true });
  const channels = Object.entries(bag('channels', given.channels));
  if (channels.length === 0) throw invalidOption('channels', 'at least one', given.channels);
  return { options: { concurrency, unsettled, batchSize, leaseMs, pollInterval }, channels };
}

module.exports = { readChannel, readWorker };
