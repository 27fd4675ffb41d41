'use strict';

// sekering/testing: what users need in their own tests.

const { startMidtransFake } = require('./midtrans-fake');
const { startSmtpFake } = require('./smtp-fake');
const { startTcpProxy } = require('./tcp-proxy');
const { useVirtualClock } = require('./virtual-clock');

module.exports = { useVirtualClock, startMidtransFake, startSmtpFake, startTcpProxy };
