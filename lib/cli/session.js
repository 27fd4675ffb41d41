'use strict';

// What every command has: the configuration, the server's admin API, and a way to answer.

const fs = require('node:fs');

const { readConfig } = require('../gateway/config');
const { toJson } = require('../http/json');
const { AdminClient } = require('./admin-client');

const CONFIG = 'sekering.toml';

class Session {
  #config;

  /** @param {{ config?: string, url?: string, json?: boolean }} options of the command line */
  constructor (options, env = process.env) {
    this.options = options;
    this.env = env;
  }

  get configFile () {
    return this.options.config ?? this.env.SEKERING_CONFIG ??
      (fs.existsSync(CONFIG) ? CONFIG : undefined);
  }

  /** @throws {SekeringError} ERR_CONFIG */
  get config () { return (this.#config ??= readConfig(this.configFile, { env: this.env })); }

  get admin () {
    const url = this.options.url ?? this.env.SEKERING_URL ?? this.#urlOfConfig();
    return new AdminClient({ url, token: this.env.SEKERING_TOKEN ?? this.#tokenOfConfig() });
  }

  #urlOfConfig () {
    const { admin, server } = this.config;
    if (admin.url !== undefined) return admin.url;
    const host = ['0.0.0.0', '::'].includes(server.host) ? 'localhost' : server.host;
    return `http://${host.includes(':') ? `[${host}]` : host}:${server.port}`;
  }

  /** Of those that may do most. With an address given by hand, there may be no configuration. */
  #tokenOfConfig () {
    if (this.options.url !== undefined && this.configFile === undefined) return undefined;
    const { tokens } = this.config.admin;
    return (tokens.find(({ role }) => role === 'operate') ?? tokens[0])?.token;
  }

  /** Answers with JSON, or with whatever `show` makes of the value for people. */
  answer (value, show) {
    const text = this.options.json ? toJson(value) : show(value);
    if (text !== '') process.stdout.write(`${text}\n`);
  }
}

module.exports = { Session };
