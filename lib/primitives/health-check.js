'use strict';

// breaker.healthCheck: a question asked at intervals, whose failure opens the circuit.

const clock = require('../base/clock');

const INTERVAL_MS = 5000;

function watchHealth (breaker, func, interval) {
  const ms = interval || INTERVAL_MS;
  if (typeof func !== 'function') throw new TypeError('Health check function must be a function');
  if (isNaN(ms)) throw new TypeError('Health check interval must be a number');
  const ill = error => {
    if (breaker.isShutdown) return;
    breaker.emit('healthCheckFailed', error);
    breaker.open();
  };
  const examine = () => {
    if (breaker.isShutdown) return;
    breaker._rare.health = clock.setTimer(examine, Number(ms), false);
    try {
      Promise.resolve(func.apply(breaker)).catch(ill);
    } catch (error) {
      ill(error);
    }
  };
  examine();
}

module.exports = { watchHealth };
