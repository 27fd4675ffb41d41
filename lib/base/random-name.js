'use strict';

// Names for what nobody has named.

const hex = digits => Math.floor(Math.random() * 16 ** digits).toString(16).padStart(digits, '0');

/**
 * A UUID of version 4 (RFC 9562) from Math.random, which does for names that nobody must be unable
 * to guess; loading node:crypto takes longer than loading all of this package.
 */
function randomName () {
  const variant = '89ab'[Math.floor(Math.random() * 4)];
  return `${hex(8)}-${hex(4)}-4${hex(3)}-${variant}${hex(3)}-${hex(12)}`;
}

module.exports = { randomName };
