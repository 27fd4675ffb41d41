'use strict';

// How the cost of some work grows with its input. CPU time is counted, so other processes of a busy
// machine hardly matter; the least of several runs leaves out what garbage collection adds.

const FACTOR = 8;
const RUNS = 3;
// Three times linear. Quadratic work takes 64 times as long.
const RATIO_MAX = 3 * FACTOR;
// Less is lost in the noise.
const FLOOR_MS = 4;
const ATTEMPTS = 4;

function cpuMs (work) {
  const { user, system } = process.cpuUsage();
  work();
  const used = process.cpuUsage({ user, system });
  return (used.user + used.system) / 1000;
}

/** Of three runs, or of one that takes so long that noise does not matter. */
function leastMs (work) {
  let least = Infinity;
  for (let run = 0; run < RUNS && !(least > 1000 && least < Infinity); run++) {
    least = Math.min(least, cpuMs(work));
  }
  return least;
}

/**
 * How many times as long `work(input)` takes with eight times the input. `make(n)` returns an input
 * of about n characters. Errors that have a code are answers like any other.
 */
function growthOf (make, work, n) {
  const timeOf = size => {
    const input = make(size);
    return leastMs(() => {
      try {
        work(input);
      } catch (error) {
        if (typeof error.code !== 'string') throw error;
      }
    });
  };
  return timeOf(n * FACTOR) / Math.max(timeOf(n), FLOOR_MS);
}

/** The growth, measured again if it is too much: only what is too much each time is. */
function leastGrowthOf (make, work, n) {
  let least = Infinity;
  for (let attempt = 0; attempt < ATTEMPTS && least > RATIO_MAX; attempt++) {
    least = Math.min(least, growthOf(make, work, n));
  }
  return least;
}

module.exports = { RATIO_MAX, leastGrowthOf };
