'use strict';

// sekering/gateway. Each export is loaded when it is first used.

const { defineLazy } = require('../base/lazy');

defineLazy(exports, {
  createDegradation: () => require('./degradation').createDegradation,
  createGateway: () => require('./gateway').createGateway,
  createHealth: () => require('./health').createHealth,
  createSharedLevel: () => require('./degradation').createSharedLevel,
  healthChecks: () => require('./health').healthChecks,
  policyFromConfig: () => require('./config').policyFromConfig,
  readConfig: () => require('./config').readConfig,
});

// Never runs. Node.js reads from here which names an ES module can import.
/* eslint-disable no-undef */
0 && (module.exports = {
  createDegradation,
  createGateway,
  createHealth,
  createSharedLevel,
  healthChecks,
  policyFromConfig,
  readConfig,
});
