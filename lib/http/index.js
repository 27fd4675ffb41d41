'use strict';

// sekering/http: routers and middleware for Express, to mount separately or together. Each is
// loaded when it is first used.

const { defineLazy } = require('../base/lazy');

defineLazy(exports, {
  createAdminRouter: () => require('./admin').createAdminRouter,
  createApp: () => require('./app').createApp,
  createAudit: () => require('./audit').createAudit,
  createBreakerHistory: () => require('./breaker-views').createBreakerHistory,
  createBreakerMiddleware: () => require('./breaker-middleware').createBreakerMiddleware,
  createClusterMetrics: () => require('./metrics-cluster').createClusterMetrics,
  createDashboardRouter: () => require('./dashboard-routes').createDashboardRouter,
  createDeadlineMiddleware: () => require('./deadline-middleware').createDeadlineMiddleware,
  createEventStream: () => require('./events').createEventStream,
  createHealthRouter: () => require('./health-routes').createHealthRouter,
  createMetrics: () => require('./metrics').createMetrics,
  createTracing: () => require('./tracing').createTracing,
  createWebhookRouter: () => require('./webhook-routes').createWebhookRouter,
  idempotent: () => require('./idempotency').idempotent,
  notFound: () => require('./problem').notFound,
  problem: () => require('./problem').problem,
  problemHandler: () => require('./problem').problemHandler,
  problemOf: () => require('./problem').problemOf,
  startServer: () => require('./app').startServer,
});

// Never runs. Node.js reads from here which names an ES module can import.
/* eslint-disable no-undef */
0 && (module.exports = {
  createAdminRouter,
  createApp,
  createAudit,
  createBreakerHistory,
  createBreakerMiddleware,
  createClusterMetrics,
  createDashboardRouter,
  createDeadlineMiddleware,
  createEventStream,
  createHealthRouter,
  createMetrics,
  createTracing,
  createWebhookRouter,
  idempotent,
  notFound,
  problem,
  problemHandler,
  problemOf,
  startServer,
});
