'use strict';

/**
 * Lets virtual time pass, a millisecond in each turn of the event loop, until `promise` settles.
 * Limits of time then depend on what the process has done, and not on how busy the machine is.
 * @param {{ advance: (ms: number) => Promise<void> }} clock what useVirtualClock gives
 */
async function passTime (clock, promise) {
  const state = { isOver: false };
  const end = () => { state.isOver = true; };
  promise.then(end, end);
  while (!state.isOver) await clock.advance(1);
  return promise;
}

module.exports = { passTime };
