'use strict';

// What a test opens and need not close: `keep` returns it, and it ends after the test, the last one
// first.

const ends = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/**
 * @template T
 * @param {T} it
 * @param {() => unknown} [end] default: its close()
 * @returns {T}
 */
function keep (it, end = () => it.close()) {
  ends.push(end);
  return it;
}

module.exports = { keep };
