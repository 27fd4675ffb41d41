'use strict';

// sekering/testing: a virtual clock and fake upstreams for the tests of users.

const { startMidtransFake } = require('./midtrans-fake');
const { startSessionFake } = require('./session-fake');
const { startSmtpFake } = require('./smtp-fake');
const { startTcpProxy } = require('./tcp-proxy');
const { useVirtualClock } = require('./virtual-clock');
const { startWhatsAppFake } = require('./whatsapp-fake');

module.exports = {
  useVirtualClock, startMidtransFake, startSessionFake, startSmtpFake, startTcpProxy,
  startWhatsAppFake
};
