'use strict';

// The arguments of a call, kept until it settles. Most calls have one, which is kept as it is: a
// list would be garbage for every call, and only failures and listeners ask for it.

class Many {
  constructor (list) { this.list = list; }
}

/** Whether it is a list. An argument may be a Proxy, which can refuse to tell. */
function isMany (given) {
  try {
    return given instanceof Many;
  } catch {
    return false;
  }
}

/** The arguments as an array. */
const listOf = given => (isMany(given) ? given.list : [given]);

module.exports = { Many, isMany, listOf };
