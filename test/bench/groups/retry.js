'use strict';

const { compare, loopOf } = require('../measure');
const { retry, asyncRetry, loadPRetry } = require('../subjects');

async function run (options) {
  const bareAction = async () => 1;
  const bare = loopOf(bareAction);
  const ours = loopOf(((fn) => () => retry(fn))(async () => 1));
  const pRetry = await loadPRetry();
  return {
    'retry.bare': await compare(ours, bare, options),
    'retry.asyncRetry':
      await compare(loopOf(((fn) => () => asyncRetry(fn))(async () => 1)), ours, options),
    'retry.pRetry':
      await compare(loopOf(((fn) => () => pRetry(fn))(async () => 1)), ours, options)
  };
}

module.exports = { processes: 3, run };
