'use strict';

// Which optional packages a configuration needs. Loads none of them.

const { PGLITE, SERVER, SERVICE } = require('../base/peer');

/**
 * @param {object} config of readConfig; only whether its sections are there matters
 * @param {{ server?: boolean, logger?: unknown, pool?: unknown }} [parts] server: with startServer
 * @returns {string[]}
 */
function packagesOf ({ store, midtrans, smtp, whatsapp, logging }, { server, logger, pool } = {}) {
  const isLogged = logger === undefined && logging?.level !== 'silent';
  const needs = {
    express: server, htm: server, 'prom-client': server, uplot: server,
    pino: isLogged,
    nodemailer: smtp, undici: midtrans ?? whatsapp,
    pg: store?.url ?? pool,
  };
  const names = [...SERVICE, ...SERVER, 'nodemailer', 'pg', 'undici']
    .filter(name => !(name in needs) || needs[name]).sort();
  return needs.pg ? names : [...names, PGLITE];
}

module.exports = { packagesOf };
