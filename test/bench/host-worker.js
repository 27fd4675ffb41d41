'use strict';

// A worker of the rows about a host with many breakers: argument 1 is { count, scope, ... } of its
// breakers. It changes them or is told of changes, and tells when it knows of all.

const { CircuitBreaker } = require('./subjects');

const now = () => Number(process.hrtime.bigint());
const { count, ...options } = JSON.parse(process.argv[2]);

let awaited = 0;
let before;

/** One more of what is awaited has been heard of. */
function hear () {
  awaited -= 1;
  if (awaited > 0) return;
  const { user, system } = process.cpuUsage(before);
  process.send({ at: now(), cpuNs: (user + system) * 1000 });
}

const breakers = Array.from({ length: count }, (_, i) => {
  const breaker = new CircuitBreaker(async () => {}, { ...options, name: `upstream-${i}` });
  for (const event of ['open', 'close']) breaker.on(event, hear);
  return breaker;
});

const obey = {
  await (many) {
    awaited = many;
    before = process.cpuUsage();
    process.send({});
  },
  /** Opens or closes the first breakers. */
  move ({ many, to }) {
    process.send({ began: now() });
    for (const breaker of breakers.slice(0, many)) breaker[to]();
  },
  /** Messages in the place of what breakers share. */
  tell (many) {
    process.send({ began: now() });
    for (let i = 0; i < many; i++) process.send({ passOn: i });
  },
  told: hear
};

process.on('message', ([order, given]) => obey[order](given));
process.send({});
