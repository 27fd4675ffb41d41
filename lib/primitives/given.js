'use strict';

// The arguments of a call, kept until it settles. Most calls have one, which is kept as it is: a
// list would be garbage for every call, and only failures and listeners ask for it.

class Many {
  constructor (list) { this.list = list; }
}

/** The arguments as an array. */
const listOf = given => (given instanceof Many ? given.list : [given]);

module.exports = { Many, listOf };
