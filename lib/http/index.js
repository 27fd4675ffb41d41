'use strict';

// sekering/http: routers and middleware for Express, to mount separately or together. Each is
// loaded by its first use.

const { defineLazy } = require('../base/lazy');

defineLazy(exports, {
  notFound: () => require('./problem').notFound,
  problem: () => require('./problem').problem,
  problemHandler: () => require('./problem').problemHandler,
  problemOf: () => require('./problem').problemOf,
});

// Never runs. Node.js reads from here which names an ES module can import.
/* eslint-disable no-undef */
0 && (module.exports = {
  notFound,
  problem,
  problemHandler,
  problemOf,
});
