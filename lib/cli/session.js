'use strict';

// What every command needs: the configuration, the admin API of the server, and exit codes.

const fs = require('node:fs');

const { InvalidArgumentError } = require('commander');

const { SekeringError } = require('../base/errors');
const { readConfig } = require('../gateway/config');
const { toJson } = require('../http/problem');

const CONFIG = 'sekering.toml';
const TIMEOUT_MS = 10_000;
const PREFIX = '/admin/reliability';

/** An error for the user of the command, with the exit code of the program. */
class CliError extends SekeringError {
  constructor (code, message, exitCode, options) {
    super(code, message, options);
    this.exitCode = exitCode;
  }
}

const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, notFound: 4 };

const NO_TOKEN = 'Set SEKERING_TOKEN, or admin.tokens in the configuration';

/** The error for an answer that is not OK. */
function errorOf (status, body) {
  const reason = body?.detail ?? body?.title ?? `The server answered ${status}`;
  switch (status) {
    case 400: case 422: return new CliError('ERR_CLI_INPUT', reason, EXIT.usage);
    case 401: return new CliError('ERR_CLI_TOKEN', `The server rejected the token. ${NO_TOKEN}`,
      EXIT.unreachable);
    case 403: return new CliError('ERR_CLI_ROLE', reason, EXIT.unreachable);
    case 404: return new CliError('ERR_CLI_NOT_FOUND', 'Not found on the server', EXIT.notFound);
    default: return new CliError('ERR_CLI_FAILED', reason, EXIT.failed);
  }
}

/** The admin API of a running server. */
class AdminClient {
  #url;
  #token;

  /** @param {{ url: string, token: string | undefined }} place */
  constructor ({ url, token }) {
    this.#url = url.replace(/(?<!\/)\/+$/, '');
    this.#token = token;
  }

  get (path, query = {}) {
    const entries = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = entries.length === 0 ? '' : `?${new URLSearchParams(entries)}`;
    return this.#request('GET', `${path}${search}`);
  }

  post (path, body = {}) { return this.#request('POST', path, body); }

  /** Server-sent events until the signal aborts: calls `onEvent({ type, data })`. */
  async follow (path, onEvent, signal) {
    const response = await this.#send('GET', path, undefined, signal);
    let text = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop();
      for (const block of blocks) {
        const event = parseEvent(block);
        if (event !== undefined) onEvent(event);
      }
    }
  }

  async #request (method, path, body) {
    const response = await this.#send(method, path, body, AbortSignal.timeout(TIMEOUT_MS));
    const isJson = response.headers.get('content-type')?.startsWith('application/json');
    return isJson ? response.json() : response.text();
  }

  async #send (method, path, body, signal) {
    if (this.#token === undefined) {
      throw new CliError('ERR_CLI_TOKEN', `No token. ${NO_TOKEN}`, EXIT.usage);
    }
    let response;
    try {
      response = await fetch(`${this.#url}${PREFIX}${path}`, {
        method, signal, redirect: 'error',
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...body !== undefined && { 'content-type': 'application/json' },
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (cause) {
      throw new CliError('ERR_CLI_UNREACHABLE', `No server answers at ${this.#url} ` +
        `(${cause.cause?.code ?? cause.name})`, EXIT.unreachable);
    }
    if (!response.ok) throw errorOf(response.status, await response.json().catch(() => undefined));
    return response;
  }
}

function parseEvent (block) {
  const fields = {};
  for (const line of block.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
  }
  return fields.data === undefined
    ? undefined
    : { type: fields.event ?? 'message', data: JSON.parse(fields.data) };
}

/** What every command gets: its options, the configuration, the admin API, and a way to answer. */
class Session {
  #config;
  env = process.env;

  /** @param {{ config?: string, url?: string, json?: boolean }} options of the command line */
  constructor (options) {
    this.options = options;
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

  /** The token with the most rights. With --url there may be no configuration. */
  #tokenOfConfig () {
    if (this.options.url !== undefined && this.configFile === undefined) return undefined;
    const { tokens } = this.config.admin;
    const best = ['operate', 'read'].map(role => tokens.find(each => each.role === role));
    return (best.find(Boolean) ?? tokens[0])?.token;
  }

  /** Prints the value: as JSON, or as the text that `show` makes of it. */
  answer (value, show) {
    const text = this.options.json ? toJson(value) : show(value);
    if (text !== '') process.stdout.write(`${text}\n`);
  }
}

// ---- Definitions of commands -------------------------------------------------------------------

/** An action of commander that calls `run(session, ...args, options)`. */
const withSession = run => (...args) => run(new Session(args.pop().optsWithGlobals()), ...args);

/** A parser of commander: a whole number from `min` to `max`. */
const integer = (min, max) => text => {
  const value = Number(text);
  if (text.trim() !== '' && Number.isInteger(value) && value >= min && value <= max) return value;
  throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`);
};

module.exports = { CliError, EXIT, integer, withSession };
