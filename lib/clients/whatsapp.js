'use strict';

// sekering/whatsapp: the Cloud API, Green API, and sessions of one's own.

const { fromBaileys, fromWhatsappWeb } = require('./whatsapp-adapters');
const { CloudApiClient } = require('./whatsapp-cloud');
const {
  WhatsAppError, classifyCloudError, classifyGreenError
} = require('./whatsapp-errors');
const { GreenApiClient } = require('./whatsapp-green');
const { SessionError, operatorMessage } = require('./whatsapp-session');
const { SessionPool } = require('./whatsapp-sessions');
const { laterStatus } = require('./whatsapp-webhook');

module.exports = {
  CloudApiClient, GreenApiClient, SessionError, SessionPool, WhatsAppError, classifyCloudError,
  classifyGreenError, fromBaileys, fromWhatsappWeb, laterStatus, operatorMessage,
};
