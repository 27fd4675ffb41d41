'use strict';

// The pages of a streaming site, which come from a movie API that goes down. Visitors get an old
// copy with a note instead of an error page. A virtual clock passes the hours.

const { CircuitBreaker, presets, retryOn, retryPresets, retryable, staleCache } =
  require('sekering');
const { useVirtualClock } = require('sekering/testing');

const MINUTE = 60_000;

let isDown = false;
let requests = 0;

async function fetchMovies (path) {
  requests += 1;
  if (isDown) throw Object.assign(new Error('Bad Gateway'), { status: 502 });
  if (path === '/movies/0') throw Object.assign(new Error('Not Found'), { status: 404 });
  return `movies of ${path}`;
}

// Four attempts of 15, 20, 25 and 30 s; between them 1, 2 and 4 s. A 404 stays a 404.
const fetchPatiently = retryable(fetchMovies, {
  ...retryPresets.pageFetch, shouldRetry: retryOn({ statuses: ['5xx'] }),
});

// Opens for five minutes when five calls in a row have failed with all their attempts.
const breaker = new CircuitBreaker(fetchPatiently, {
  ...presets.movieApi, name: 'movie-api', errorFilter: error => error.status === 404,
});
breaker.on('failure', error => console.log(`monitoring: ${error.message}`));
breaker.on('open', () => console.log('monitoring: the breaker is open'));

const pages = staleCache({ ttl: 15 * MINUTE, staleTtl: 24 * 60 * MINUTE, max: 1000 });

/** What a visitor sees. */
async function show (path) {
  try {
    const { value, stale, ageMs } = await pages.fetch(path, () => breaker.fire(path));
    return stale ? `${value} (may be outdated: ${Math.round(ageMs / MINUTE)} minutes old)` : value;
  } catch (error) {
    // sekering/browser makes the page try again by itself.
    return error.status === 404 ? 'There is no such page.' : 'Please wait, we try again.';
  }
}

async function main () {
  const clock = useVirtualClock();
  /** Shows a page, and lets enough time pass for the retries. */
  const visit = async path => {
    const before = requests;
    const page = show(path);
    await clock.advanceAsync(10_000);
    console.log(`${path}: ${await page} [${requests - before} requests]`);
  };

  await visit('/movies/popular');
  await visit('/movies/popular');
  await visit('/movies/0');

  isDown = true;
  await clock.advance(20 * MINUTE);
  for (let i = 0; i < 6; i++) await visit('/movies/popular');
  await visit('/movies/new');

  isDown = false;
  await clock.advance(5 * MINUTE);
  await visit('/movies/popular');
  clock.restore();
}

main();
