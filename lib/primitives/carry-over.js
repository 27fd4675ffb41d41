'use strict';

// What a new breaker takes over from another one: options.status and options.state, as a program
// that runs in short stretches hands them from one to the next.

const clock = require('../base/clock');
const native = require('../base/native');
const Status = require('./status');
const { importStats } = require('./stats');

// As in native/core/breaker.h.
const OPEN = 1;
const HALF_OPEN = 2;

function takeStatus (breaker, status) {
  const counted = status instanceof Status ? status : { stats: status };
  importStats(breaker._id, counted.stats);
  if (status instanceof Status) {
    status._adopt(breaker._id, breaker);
    breaker._rare.status = status;
  }
}

/** `state` is that of toJSON(). */
function takeState (breaker, state) {
  if (state.enabled === false) breaker.disable();
  if (state.shutdown) {
    breaker.shutdown();
  } else if (state.closed === false) {
    const due = clock.wall() - state.lastTimerAt > breaker._resetMs();
    native.moveTo(breaker._id, state.halfOpen || due ? HALF_OPEN : OPEN);
    breaker._announce();
  }
}

module.exports = { takeState, takeStatus };
