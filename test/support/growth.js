'use strict';

// How the cost of some work grows with its input. CPU time is counted, so other processes of a busy
// machine hardly matter; what they add all the same, and garbage collection, the least of several
// runs leaves out.

const FACTOR = 8;
// Three times linear. Quadratic work takes 64 times as long.
const RATIO_MAX = 3 * FACTOR;
// Less is lost in the noise.
const FLOOR_MS = 4;
const ATTEMPTS = 4;

async function cpuMs (work) {
  const { user, system } = process.cpuUsage();
  await work();
  const used = process.cpuUsage({ user, system });
  return (used.user + used.system) / 1000;
}

/**
 * How many times as long `work(input)`, which may be async, takes with eight times the input, as
 * far as that matters: what is too much is measured again, and only what is too much each time is.
 * `make(n)` returns an input of about n characters. Errors that have a code are answers like any
 * other.
 */
async function growthOf (make, work, n) {
  const timerOf = input => () => cpuMs(async () => {
    try {
      await work(input);
    } catch (error) {
      if (typeof error.code !== 'string') throw error;
    }
  });
  const small = timerOf(make(n));
  const large = timerOf(make(n * FACTOR));
  let [leastSmall, leastLarge, ratio] = [Infinity, Infinity, Infinity];
  for (let attempt = 0; attempt < ATTEMPTS && ratio > RATIO_MAX; attempt++) {
    // Before and after: a moment at which everything is slow must not make the small one look so.
    leastSmall = Math.min(leastSmall, await small());
    leastLarge = Math.min(leastLarge, await large());
    leastSmall = Math.min(leastSmall, await small());
    ratio = leastLarge / Math.max(leastSmall, FLOOR_MS);
  }
  return ratio;
}

module.exports = { RATIO_MAX, growthOf };
