'use strict';

// The admin API of a running server, for the command line.

const { SekeringError } = require('../base/errors');

const TIMEOUT_MS = 10_000;
const PREFIX = '/admin/reliability';

/** What went wrong, for whoever typed the command; `exitCode` is the program's. */
class CliError extends SekeringError {
  constructor (code, message, exitCode, options) {
    super(code, message, options);
    this.exitCode = exitCode;
  }
}

const EXIT = { ok: 0, failed: 1, usage: 2, unreachable: 3, notFound: 4 };

function refusal (status, body) {
  const said = body?.detail ?? body?.title ?? `The server answered ${status}`;
  if (status === 401) {
    return new CliError('ERR_CLI_TOKEN', 'The server does not accept the token: set ' +
      'SEKERING_TOKEN, or admin.tokens of the configuration', EXIT.unreachable);
  }
  if (status === 403) return new CliError('ERR_CLI_ROLE', said, EXIT.unreachable);
  if (status === 404) {
    return new CliError('ERR_CLI_NOT_FOUND', 'There is no such thing', EXIT.notFound);
  }
  if (status === 400 || status === 422) return new CliError('ERR_CLI_INPUT', said, EXIT.usage);
  return new CliError('ERR_CLI_FAILED', said, EXIT.failed);
}

class AdminClient {
  #url;
  #token;

  /** @param {{ url: string, token: string | undefined }} place */
  constructor ({ url, token }) {
    this.#url = url.replace(/\/+$/, '');
    this.#token = token;
  }

  /** @param {Record<string, string | number | undefined>} [query] */
  get (path, query = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const search = given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
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
      throw new CliError('ERR_CLI_TOKEN', 'There is no token: set SEKERING_TOKEN, or ' +
        'admin.tokens of the configuration', EXIT.usage);
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
    if (!response.ok) throw refusal(response.status, await response.json().catch(() => undefined));
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

module.exports = { AdminClient, CliError, EXIT };
