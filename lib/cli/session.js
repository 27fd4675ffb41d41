'use strict';

// What every command needs: the configuration, the admin API of the server, and exit codes.

const fs = require('node:fs');

const { InvalidArgumentError } = require('commander');

const { SekeringError, nearest } = require('../base/errors');
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
function errorOf (status, body, path) {
  const reason = body?.detail ?? body?.title ?? `The server answered ${status}`;
  switch (status) {
    case 400: case 422: return new CliError('ERR_CLI_INPUT', reason, EXIT.usage);
    case 401: return new CliError('ERR_CLI_TOKEN', `The server rejected the token. ${NO_TOKEN}`,
      EXIT.unreachable);
    case 403: return new CliError('ERR_CLI_ROLE', reason, EXIT.unreachable);
    case 404: return new CliError('ERR_CLI_NOT_FOUND', `Not found on the server: ${path}`,
      EXIT.notFound);
    default: return new CliError('ERR_CLI_FAILED', reason, EXIT.failed);
  }
}

/** A running server; with the prefix of its admin API, that. */
class Server {
  #url;
  #token;
  #prefix;

  /** @param {{ url: string, token: string, prefix?: string }} place */
  constructor ({ url, token, prefix = '' }) {
    this.#url = url;
    this.#token = token;
    this.#prefix = prefix;
  }

  get (path, query = {}) {
    const entries = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = entries.length === 0 ? '' : `?${new URLSearchParams(entries)}`;
    return this.#request('GET', `${path}${search}`);
  }

  post (path, body = {}) { return this.#request('POST', path, body); }

  /** Posts to a path outside the admin API. Undefined if the server has no such path. */
  async tryPost (path) {
    try {
      return await new Server({ url: this.#url, token: this.#token }).post(path);
    } catch (error) {
      if (error.code === 'ERR_CLI_NOT_FOUND') return undefined;
      throw error;
    }
  }

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
    let response;
    try {
      response = await fetch(`${this.#url}${this.#prefix}${path}`, {
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
    if (response.ok) return response;
    throw errorOf(response.status, await response.json().catch(() => undefined), path);
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

const isHttp = url => URL.canParse(url) && /^https?:$/.test(new URL(url).protocol);

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

  /** For errors about what the configuration lacks: whether there is one. */
  get hint () {
    return this.configFile === undefined
      ? `. There is no ${CONFIG} in this folder: npx sekering init writes one` : '';
  }

  /** @throws {SekeringError} ERR_CONFIG */
  get config () {
    const file = this.configFile;
    // Before its packages, which may be missing as well.
    if (file !== undefined && !fs.existsSync(file)) {
      throw new CliError('ERR_CONFIG', `There is no file ${file}`, EXIT.usage);
    }
    const { readConfig } = require('../gateway/config');
    return (this.#config ??= readConfig(file, { env: this.env }));
  }

  /** The configuration of a command that is of no use without a file. */
  get neededConfig () {
    if (this.configFile !== undefined) return this.config;
    throw new CliError('ERR_CONFIG', `No configuration${this.hint}, --config names another file`,
      EXIT.usage);
  }

  /** The address of the running server. */
  get url () {
    const { url: option } = this.options;
    const { SEKERING_URL: variable } = this.env;
    const url = option ?? variable ?? this.#urlOfConfig();
    if (!isHttp(url)) {
      const name = option === undefined ? 'SEKERING_URL' : '--url';
      // It is not shown, as it may be the address of a database, with its password.
      throw new CliError('ERR_CLI_USAGE', `Expected the address of the server for ${name}, for ` +
        'example http://localhost:3000', EXIT.usage);
    }
    return url.replace(/(?<!\/)\/+$/, '');
  }

  get admin () {
    // Before a token is asked for.
    const { url } = this;
    const token = this.env.SEKERING_TOKEN ?? this.#tokenOfConfig();
    if (token === undefined) {
      throw new CliError('ERR_CLI_TOKEN', `No token. ${NO_TOKEN}${this.hint}`, EXIT.usage);
    }
    return new Server({ url, token, prefix: PREFIX });
  }

  /** The server, for the owner of a token. */
  as (token) { return new Server({ url: this.url, token }); }

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

/** A parser of commander: one of these words. */
const choice = words => text => {
  if (words.includes(text)) return text;
  const meant = nearest(text, words);
  const hint = meant === undefined ? '' : ` Did you mean ${meant}?`;
  throw new InvalidArgumentError(`Expected one of ${words.join(', ')}.${hint}`);
};

/** A parser of commander: words of `words`, separated by commas. */
const choices = words => text =>
  [...new Set(text.split(',').map(word => choice(words)(word.trim())))];

/** A parser of commander: the id of a message. */
function messageId (text) {
  if (/^[1-9]\d{0,18}$/.test(text)) return text;
  throw new InvalidArgumentError('Expected the id of a message: a number, as lists show it.');
}

module.exports = { CliError, EXIT, Session, choice, choices, integer, messageId, withSession };
