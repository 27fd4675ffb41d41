'use strict';

// sekering/testing: what users need in their own tests.

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
