'use strict';

// sekering/http: routers and middleware for Express, to mount separately or together. Each is
// loaded by its first use.

const { defineLazy } = require('../base/lazy');

defineLazy(exports, {
  createBreakerMiddleware: () => require('./breaker-middleware').createBreakerMiddleware,
  createHealthRouter: () => require('./health-routes').createHealthRouter,
  notFound: () => require('./problem').notFound,
  problem: () => require('./problem').problem,
  problemHandler: () => require('./problem').problemHandler,
  problemOf: () => require('./problem').problemOf,
});

// Never runs. Node.js reads from here which names an ES module can import.
/* eslint-disable no-undef */
0 && (module.exports = {
  createBreakerMiddleware,
  createHealthRouter,
  notFound,
  problem,
  problemHandler,
  problemOf,
});
