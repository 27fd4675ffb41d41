'use strict';

// The transport of an SmtpClient: nodemailer's pool, which neither signs in nor sends a mail in
// clear text.

const net = require('node:net');

const { invalidOption } = require('../base/errors');
const { boolean } = require('../base/options');
const { requirePeer } = require('../base/peer');

const SECURE_PORT = 465;
// They would send in clear text what `requireTls` protects.
const IN_CLEAR = ['ignoreTLS', 'opportunisticTLS'];

/** Whether a host is this machine, by its very name: other names may resolve to anything. */
function isLoopback (host) {
  const name = String(host).toLowerCase().replace(/^\[(.*)\]$/, '$1');
  if (name === 'localhost' || name === '::1') return true;
  return net.isIPv4(name.replace(/^::ffff:/, '')) && /^(::ffff:)?127\./.test(name);
}

/** Whether nodemailer must not go on without STARTTLS; `read` are the settings as it reads them. */
function tlsIsRequired (given, read) {
  // nodemailer takes localhost where no host is given.
  const { host = 'localhost', port, secure = Number(port) === SECURE_PORT } = read;
  const required = given ?? read.requireTLS ?? (!secure && !isLoopback(host || 'localhost'));
  const contrary = IN_CLEAR.find(name => read[name]);
  if (required && contrary !== undefined) {
    throw invalidOption('requireTls', `false when ${contrary} is set`,
      given ?? read.requireTLS ?? undefined);
  }
  return Boolean(required);
}

function checkTransport (transport) {
  if (typeof transport?.sendMail !== 'function') {
    throw invalidOption('transport', 'a transport of nodemailer', transport);
  }
  return transport;
}

/** How many connections a transport opens at most, if it has a pool of them. */
function poolSizeOf (transport) {
  const { pool, maxConnections } = transport.transporter?.options ?? transport.options ?? {};
  return pool || maxConnections ? maxConnections : undefined;
}

/** Checks the options of the client that are about its transport. */
function checkTransportOptions ({ transport, requireTls }) {
  if (transport !== undefined) checkTransport(transport);
  if (requireTls === undefined) return;
  boolean('requireTls', requireTls);
  if (transport !== undefined) {
    throw invalidOption('requireTls', 'no value beside a transport, which has its own settings',
      requireTls);
  }
}

function makeTransport (smtp, maxConnections, requireTls) {
  if (smtp === null || (typeof smtp !== 'object' && typeof smtp !== 'string')) {
    throw invalidOption('smtp', 'an object or an address (or give a transport)', smtp);
  }
  const { createTransport } = requirePeer('nodemailer', 'SmtpClient');
  const settings = typeof smtp === 'string' ? { url: smtp } : smtp;
  // An address or the name of a service is read by nodemailer itself, so that there are no two
  // opinions about the host. What it has read replaces both.
  const { url, service, ...read } = createTransport({ ...settings, pool: true, maxConnections })
    .transporter.options;
  return createTransport({ ...read, requireTLS: tlsIsRequired(requireTls, read) });
}

module.exports = { checkTransportOptions, makeTransport, poolSizeOf };
