'use strict';

// The rows of the table: what is promised. A gate must hold, a stretch is hoped for; a row without
// a gate is for information. Rows about threads and processes get groups of their own.

const LOWER = 'lower';
const HIGHER = 'higher';

const row = (id, label, better, gate, stretch, unit = '×', digits = 2) =>
  ({ id, group: id.split('.')[0], label, better, gate, stretch, unit, digits });

const ROWS = [
  row('closed.bare', 'closed, async action, no timeout: × bare await', LOWER, 2.8, 2.4),
  row('closed.opossum', '… faster than opossum', HIGHER, 4, 5.5),
  row('closed.cockatiel', '… faster than cockatiel (sampling)', HIGHER, 1.6, 2.2),
  row('timeout.bare', 'closed, timeout 10 s: × bare await', LOWER, 4.2, 3.5),
  row('timeout.floor', '… × a promise and one `then`', LOWER, 1.25, 1.1),
  row('timeout.opossum', '… faster than opossum', HIGHER, 4, 6),
  row('timeout.cockatiel', '… faster than cockatiel with timeout', HIGHER, 60, 100),
  row('wasm.native', 'closed, on WebAssembly: × the binary', LOWER, 1.3, 1.1),
  row('wasm.opossum', '… faster than opossum', HIGHER, 3, 4),
  row('sync.bare', 'synchronous action: × bare await', LOWER, 2.0, 1.6),
  row('sync.opossum', '… faster than opossum', HIGHER, 6, 8),
  row('bytes.async', 'heap per call above bare, async', LOWER, 350, 300, 'B', 0),
  row('bytes.timeout', '… with timeout', LOWER, 650, 580, 'B', 0),
  row('bytes.sync', '… synchronous action', LOWER, 0, 0, 'B', 0),
  row('open.opossum', 'open: reject faster than opossum', HIGHER, 14, 18),
  row('open.fallback', '… with a fallback', HIGHER, 30, 40),
  row('failing.opossum', 'failing, 10,000 in the window: faster than opossum', HIGHER, 25, 500),
  row('stats.opossum', 'stats at 10,000 samples: faster than opossum', HIGHER, 1000, 3000, '×', 0),
  row('stats.flat', '… cost at 1,000,000 calls: × at 1,000', LOWER, 1.5, 1.1),
  row('memory.heap', 'heap of a breaker', LOWER, 600, 400, 'B', 0),
  row('memory.native', 'native memory of a breaker', LOWER, 4096, 3072, 'B', 0),
  row('memory.heapUsed', 'heap of a breaker after traffic', LOWER, 600, 400, 'B', 0),
  row('memory.nativeUsed', 'native memory of a breaker after traffic', LOWER, 4096, 3072, 'B', 0),
  row('idle.cpu', 'CPU of 10,000 idle breakers', LOWER, 0.5, 0.1, '%'),
  row('load.throughput', '10,000 calls/s, 1 % failing: rate of bare', HIGHER, 0.98, 1, '×', 3),
  row('load.delay', '… loop delay p99: × bare', LOWER, 2, 1.3),
  row('load.cpu', '… CPU above bare', LOWER, null, null, '%', 1),
  row('retry.bare', 'retry, success at once: × bare await', LOWER, 3.6, 2.8),
  row('retry.asyncRetry', '… faster than async-retry', HIGHER, 15, 22),
  row('retry.pRetry', '… faster than p-retry', HIGHER, null, null),
  row('client.bare', 'MidtransClient, a call over HTTP: × bare undici', LOWER, 1.15, 1.05),
  row('shared.event', '`open` in another worker: faster than process.send', HIGHER, 2, 3),
  row('shared.direct', '… than process.send of a parent to its child', HIGHER, null, null),
  row('shared.processes', 'two processes, one breaker: × one each', LOWER, null, null),
  row('shared.join', 'joining a region with the first breaker', LOWER, null, null, 'µs', 0),
  row('shared.attach', '… a further breaker', LOWER, null, null, 'µs', 1),
  row('shared.region', 'shared memory of a breaker after traffic', LOWER, null, null, 'B', 0),
  row('shared.native', '… and native memory in each process', LOWER, null, null, 'B', 0),
  row('shared.heap', '… and heap', LOWER, null, null, 'B', 0),
  row('shared.idle', '… CPU of 2,000 of them, idle', LOWER, null, null, '%'),
  row('group.opossum', 'group with 1,000 keys: faster than a Map of opossum breakers', HIGHER, null,
    null),
  row('group.many', '… a call with 100,000 keys: × with 1,000', LOWER, null, null),
  row('host.one', '32 processes with 4,096 breakers, one trips, all know: × with 1 breaker', LOWER,
    null, null),
  row('host.oneCpu', '… CPU of all processes', LOWER, null, null),
  row('host.all', '… all 4,096 trip, all know: faster than messages through a parent', HIGHER,
    null, null),
  row('host.allCpu', '… less CPU of all processes', HIGHER, null, null),
  row('host.allTime', '… until all know', LOWER, null, null, 'ms', 0),
  row('native.record', 'two threads, one breaker, runs of 64: faster than a mutex', HIGHER, 4, 8),
  row('native.single', '… outcome by outcome', HIGHER, null, null)
];

/** What a measured value says of a row: 'stretch', 'gate', 'missed', or '' without a gate. */
function verdictOf ({ better, gate, stretch, digits }, value) {
  if (gate === null || value === undefined) return '';
  // Compared as printed, so that the table never contradicts itself.
  const shown = Number(value.toFixed(digits));
  const reaches = target => (better === LOWER ? shown <= target : shown >= target);
  if (reaches(stretch)) return 'stretch';
  return reaches(gate) ? 'gate' : 'missed';
}

module.exports = { ROWS, verdictOf };
