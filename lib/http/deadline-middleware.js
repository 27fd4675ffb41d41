'use strict';

// Requests that say how long their sender waits for the answer.

const { is, optionsOf } = require('../base/options');
const { readDeadlineHeaders, withDeadline } = require('../primitives/deadline');

const OPTIONS = optionsOf({
  max: is.ms('that a request may have, also if it does not say how long its sender waits',
    { min: 1, default: Infinity }),
});

function createDeadlineMiddleware (options) {
  const { max } = OPTIONS.read(options);
  return function limit (req, res, next) {
    const ms = Math.min(readDeadlineHeaders(req.headers) ?? Infinity, max);
    if (ms === Infinity) return next();
    const answered = new Promise(resolve => { res.once('close', resolve); });
    const keep = ({ signal }) => {
      req.deadlineSignal = signal;
      return answered;
    };
    // Without any time, no handler begins. Later, the handlers hear of it by the signal.
    withDeadline(ms, keep).catch(error => { if (ms === 0) next(error); });
    if (ms > 0) next();
  };
}

module.exports = { createDeadlineMiddleware };
