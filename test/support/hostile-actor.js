'use strict';

// Makes every kind of call fail with every hostile value, and prints what is not as it should be:
// calls that never settle, settle with something else, or leave a rejection unhandled. It is a
// process of its own, as an unhandled rejection would end it.

const sekering = require('../..');
const { operation, wrap } = require('../../lib/primitives/operation');
const { ERRORS, LOSSY, RESULTS, boom } = require('./hostile');

const {
  AdaptiveLimiter, BreakerGroup, Bulkhead, CircuitBreaker, RateLimiter, chaos, fallbackChain, hedge,
  policy, protect, retry, retryOn, retryable, staleCache
} = sekering;
const { Timeout } = require('../../lib/primitives/limits');

const ATTEMPTS = 3;
const AT_ONCE = { retries: ATTEMPTS - 1, minTimeout: 0, maxTimeout: 0 };
const TRIPS = { errorThresholdPercentage: 1, resetTimeout: 1e6 };
const instead = () => 'instead';

const faults = [];
const pending = new Map();
let calls = 0;

process.on('unhandledRejection', () => faults.push('an unhandled rejection'));
process.on('uncaughtException', () => faults.push('an uncaught exception'));

function breakerOf (action, options) {
  return new CircuitBreaker(action, { timeout: false, ...TRIPS, ...options });
}

/** What a callback may return that is no rejection by itself. */
const quiet = value => (isThenable(value) ? undefined : value);

function isThenable (value) {
  try {
    return typeof value?.then === 'function';
  } catch {
    return false;
  }
}

/** A breaker that has listeners, some of which fail in the same way. */
function heard (give, value) {
  const breaker = breakerOf(give);
  for (const event of ['failure', 'open']) {
    breaker.on(event, () => { throw value; });
    breaker.on(event, () => Promise.reject(value));
    breaker.on(event, () => value);
    breaker.on(event, () => ({ then: (yes, no) => no(value) }));
  }
  return breaker;
}

/** A cache with an old copy, which is answered when the load fails. */
async function oldCopy (give, value) {
  const store = new Map([['key', { value: 'old', storedAt: Date.now() - 1000 }]]);
  const copy = await staleCache({ ttl: 1, staleTtl: 1e6, store }).fetch('key', give);
  return copy.error === value ? 'instead' : 'another error';
}

function byHand (give) {
  return new Promise((resolve, reject) => {
    const attempts = operation(AT_ONCE);
    attempts.attempt(async () => {
      try {
        resolve(await give());
      } catch (error) {
        if (!attempts.retry(error ?? boom)) reject(error && attempts.mainError());
      }
    });
  });
}

function byCallback (give) {
  const client = {
    ask (done) { new Promise(resolve => resolve(give())).then(v => done(null, v), done); }
  };
  wrap(client, AT_ONCE, ['ask']);
  return new Promise((resolve, reject) => {
    client.ask(error => reject(error));
  });
}

function protectedClient (give, parts) {
  return protect({ ask: () => give() }, { methods: ['ask'], ...parts }).ask();
}

const both = breaker => Promise.all([breaker.fire('x'), breaker.fire('x')]);

/** Ways to call: each has (give, value). It rejects with the value. */
const REJECTING = {
  fire: give => breakerOf(give).fire(),
  'fire with arguments': give => breakerOf(give).fire(1, 2),
  'fire with a timeout': give => breakerOf(give, { timeout: 1e6 }).fire(),
  'fire with a capacity': give => breakerOf(give, { capacity: 1 }).fire(),
  'fire with a consecutive rule': give => breakerOf(give, { consecutiveFailures: 1 }).fire(),
  'fire with listeners': (give, value) => heard(give, value).fire(),
  'fire with an errorFilter that fails': (give, value) =>
    breakerOf(give, { errorFilter () { throw value; } }).fire(),
  'fire with a fallback that fails': (give, value) =>
    breakerOf(give).fallback(() => { throw value; }).fire(),
  'fire with a cache': give => breakerOf(give, { cache: true }).fire(),
  'fire of a disabled breaker': give => breakerOf(give, { enabled: false }).fire(),
  'fire that coalesces': give => both(breakerOf(give, { coalesce: true })),
  call: give => breakerOf(give).call(null),
  run: give => breakerOf(instead).run(give),
  'run with a signal': give =>
    breakerOf(instead).run(give, { signal: new AbortController().signal }),
  'run that is aborted': (give, value) => aborted(value, signal =>
    breakerOf(instead).run(() => new Promise(() => {}), { signal })),
  'a group': give => new BreakerGroup(give, { timeout: false, ...TRIPS }).fire('key'),
  'policy with a breaker': give => policy({ breaker: TRIPS }).execute(give),
  'policy with all parts': give => policy({
    cache: {}, breaker: TRIPS, rateLimit: { limit: 10, interval: 1000 },
    bulkhead: { maxConcurrent: 1 }, adaptiveLimit: {}, timeout: 1e6,
  }).execute(give, { key: 1, signal: new AbortController().signal }),
  'policy that is aborted': (give, value) => aborted(value, signal =>
    policy({ breaker: TRIPS, timeout: 1e6, bulkhead: { maxConcurrent: 1 } })
      .execute(() => new Promise(() => {}), { signal })),
  protect: give => protectedClient(give, { breaker: TRIPS }),
  'fallbackChain that fails': (give, value) =>
    fallbackChain([() => { throw value; }]).execute(give),
  'staleCache without a copy': give => staleCache().fetch('key', give),
  'staleCache that is aborted': (give, value) => aborted(value, signal =>
    staleCache().fetch('key', () => new Promise(() => {}), { signal })),
  chaos: give => chaos({ faults: [{ rate: 0, latency: 1 }] }).execute(give),
  'chaos with a result': give => chaos({ faults: [{ rate: 1, result: give }] }).execute(instead),
  'chaos with an error': (give, value) =>
    chaos({ faults: [{ rate: 1, error: () => value }] }).execute(instead),
  'chaos that is aborted': (give, value) => aborted(value, signal =>
    chaos({ faults: [{ rate: 1, latency: 1e6 }] }).execute(instead, { signal })),
  hedge: give => hedge({ safeToRepeat: true, delay: 1e6 }).execute(give),
  'hedge that is aborted': (give, value) => aborted(value, signal =>
    hedge({ safeToRepeat: true, delay: 1e6 }).execute(() => new Promise(() => {}), { signal })),
  timeout: give => new Timeout(1e6).execute(give),
  'timeout that is aborted': (give, value) => aborted(value, signal =>
    new Timeout(1e6).execute(() => new Promise(() => {}), { signal })),
  bulkhead: give => new Bulkhead({ maxConcurrent: 1 }).execute(give),
  'bulkhead that is aborted': (give, value) => aborted(value, signal => {
    const bulkhead = new Bulkhead({ maxConcurrent: 1, maxQueue: 1 });
    bulkhead.execute(() => new Promise(() => {}));
    return bulkhead.execute(instead, { signal });
  }),
  adaptiveLimit: give => new AdaptiveLimiter().execute(give),
  'adaptiveLimit that asks': give => new AdaptiveLimiter({ isOverload: () => true }).execute(give),
  'adaptiveLimit whose isOverload throws what the call does': (give, value) =>
    new AdaptiveLimiter({ isOverload () { throw value; } }).execute(give),
  rateLimit: give => new RateLimiter({ limit: 1, interval: 1000 }).execute(give),
  'retry that is aborted': (give, value) => aborted(value, signal =>
    retry(() => new Promise(() => {}), { ...AT_ONCE, signal })),
  'retry that is ended by bail': (give, value) => retry(bail => bail(value ?? boom), AT_ONCE)
    .catch(error => { throw value === null ? null : error; }),
  'retry of what retryOn declines': (give, value) => retry(() => { throw value; },
    { ...AT_ONCE, shouldRetry: retryOn({ statuses: [], codes: [] }) }),
};

/** These make all attempts, and then reject with the value. */
const RETRYING = {
  retry: give => retry(give, AT_ONCE),
  'retry with a list of delays': give => retry(give, [0, 0]),
  'retry with a timeout of attempts': give => retry(give, { ...AT_ONCE, attemptTimeout: 1e6 }),
  'retry with onRetry': (give, value) => retry(give, { ...AT_ONCE, onRetry: () => quiet(value) }),
  'retry with shouldRetry': (give, value) =>
    retry(give, { ...AT_ONCE, shouldRetry: () => quiet(value) || true }),
  retryable: give => retryable(give, AT_ONCE)(),
  'policy with a retry': give => policy({ retry: AT_ONCE }).execute(give),
  'policy with a retry and a breaker': give => policy({
    retry: AT_ONCE, breaker: { volumeThreshold: 100 }, bulkhead: { maxConcurrent: 1 },
  }).execute(give),
  'protect with a retry': give => protectedClient(give, { retry: AT_ONCE }),
};

/** As these, but no attempt follows an error that is null or false. */
const BY_HAND = { operation: byHand, wrap: byCallback };

/** Something else answers: 'instead'. */
const ANSWERED = {
  'fire with a fallback': give => breakerOf(give).fallback(instead).fire(),
  'fire with a timeout and a fallback': give =>
    breakerOf(give, { timeout: 1e6, fallback: instead }).fire(),
  'run with a fallback': give => breakerOf(instead, { fallback: instead }).run(give),
  'fire with listeners and a fallback': (give, value) =>
    heard(give, value).fallback(instead).fire(),
  'a group with a fallback': give =>
    new BreakerGroup(give, { ...TRIPS, fallback: instead }).fire('key'),
  'coalescing with a fallback': async give => {
    const answers = await both(breakerOf(give, { coalesce: true, fallback: instead }));
    return answers.every(answer => answer === 'instead') && 'instead';
  },
  'policy with a fallback': give => policy({ breaker: TRIPS, fallback: instead }).execute(give),
  'policy with a retry and a fallback': give =>
    policy({ retry: AT_ONCE, breaker: TRIPS, fallback: instead }).execute(give),
  'protect with a fallback': give => protectedClient(give, { breaker: TRIPS, fallback: instead }),
  'fallbackChain after one that fails': (give, value) =>
    fallbackChain([() => { throw value; }, { value: 'instead' }]).execute(give),
  'staleCache with a copy': oldCopy,
};

function aborted (value, begin) {
  const controller = new AbortController();
  const call = begin(controller.signal);
  controller.abort(value);
  return call;
}

/** Watches a call: `isRight(outcome)` says whether it has ended as it should. */
function watch (name, begin, isRight) {
  const id = ++calls;
  pending.set(id, `${name} does not settle`);
  const end = outcome => {
    pending.delete(id);
    if (!isRight(outcome)) faults.push(`${name} ends with something else`);
  };
  let promise;
  try {
    promise = begin();
  } catch {
    pending.delete(id);
    faults.push(`${name} throws`);
    return;
  }
  new Promise(resolve => { resolve(promise); })
    .then(value => end({ value }), error => end({ error }));
}

function failWith (kind, make, isRight) {
  const ways = [
    ['thrown', value => () => { throw value; }],
    ['rejected', value => () => Promise.reject(value)],
  ];
  for (const [how, giving] of ways) {
    for (const [name, begin] of Object.entries(make.calls)) {
      const value = make.value();
      let attempts = 0;
      const give = giving(value);
      const counted = () => {
        attempts += 1;
        return give();
      };
      watch(`${name}: ${kind}, ${how}`, () => begin(counted, value),
        outcome => isRight(outcome, value, attempts));
    }
  }
}

/** How a result ends: where it is awaited, and where a promise is resolved with it. */
function endsOf (make) {
  const ways = [(async () => await make())(), new Promise(resolve => { resolve(make()); })];
  return Promise.all(ways.map(way => way.then(value => ({ value }), error => ({ error }))));
}

const isAlike = (one, others) => others.some(other => 'error' in one === 'error' in other);

async function resultWith (kind, make) {
  const expected = await endsOf(make);
  const quiet = ['fire with a fallback that fails', 'fallbackChain that fails',
    'chaos with an error'];
  const ways = Object.entries({ ...REJECTING, ...RETRYING })
    .filter(([name]) => !/abort|bail|declines|coalesces/.test(name) && !quiet.includes(name));
  for (const [name, begin] of ways) {
    watch(`${name}: ${kind}, returned`, () => begin(() => make(), boom),
      outcome => isAlike(outcome, expected));
  }
  const answers = [
    ['a fallback', () => breakerOf(() => Promise.reject(boom)).fallback(() => make()).fire()],
    ['a cache', () => breakerOf(instead, {
      cache: true, cacheTransport: { get: () => make(), set () {}, flush () {} },
    }).fire()],
    ['a fallback of policy', () =>
      policy({ fallback: () => make() }).execute(() => Promise.reject(boom))],
  ];
  for (const [name, begin] of answers) {
    // A cache that fails has nothing.
    watch(`${name}: ${kind}, returned`, begin, outcome => isAlike(outcome, expected) ||
      (name === 'a cache' && outcome.value === 'instead'));
  }
}

const isReally = ({ error, ...rest }, value) => Object.is(error, value) && !('value' in rest);

for (const [kind, value] of ERRORS) {
  failWith(kind, { calls: REJECTING, value }, isReally);
  failWith(kind, { calls: RETRYING, value }, (outcome, given, attempts) =>
    isReally(outcome, given) && attempts === ATTEMPTS);
  failWith(kind, { calls: BY_HAND, value }, (outcome, given, attempts) => given === null ||
    (isReally(outcome, given) && attempts === ATTEMPTS));
  failWith(kind, { calls: ANSWERED, value }, outcome => outcome.value === 'instead');
}
for (const [kind, make] of [...RESULTS, ...LOSSY]) resultWith(kind, make);

// Nothing is left to do, so that what has not settled never will.
process.on('exit', () => {
  const found = [...new Set([...faults, ...pending.values()])];
  process.stdout.write(JSON.stringify({ calls, found }));
});
