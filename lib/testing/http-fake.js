'use strict';

// What the fakes that speak HTTP have in common: a server on loopback, faults, bodies, answers.

const http = require('node:http');

const clock = require('../base/clock');
const { bag, number } = require('../base/options');
const { Faults } = require('./faults');

const BODY_BYTES_MAX = 1 << 20;

class HttpFake {
  #server;
  #check;
  #faults;

  /**
   * A class of it has `_serve(request, response)`.
   * @param {(fault: unknown) => object} check what a fault comes to
   * @param {unknown} fault what goes wrong from the start
   */
  constructor (check, fault) {
    this.#check = check;
    this.set(fault);
    this.#server = http.createServer((request, response) => {
      this._serve(request, response).catch(() => response.destroy());
    });
  }

  /** Where it listens, as in `http://127.0.0.1:38211`, without a slash at the end. */
  get url () {
    const { address, family, port } = this.#server.address();
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** The kind of the (first) fault in force, or null. */
  get fault () {
    return this.#faults.first?.kind ?? null;
  }

  /**
   * Sets what goes wrong from now on; null mends everything. Requests already left hanging stay so.
   * @param {object | string | number | Array | null} fault of several the first that fits strikes
   */
  set (fault) {
    this.#faults = new Faults(fault, this.#check);
  }

  /** Stops listening and cuts every connection, the hanging ones too. */
  close () {
    return new Promise(resolve => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  _strike (fits, key) {
    const fault = this.#faults.strike(fits, key);
    if (fault !== null) this.counts.faulted += 1;
    return fault;
  }

  _listen (port, host) {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => resolve(this));
    });
  }
}

/**
 * Starts a fake of a class.
 * @throws {TypeError | RangeError} ERR_INVALID_OPTION
 */
async function startFake (Fake, options) {
  const given = bag('options', options);
  const { port = 0, host = '127.0.0.1' } = given;
  number('port', port, { min: 0, max: 65535, integer: true });
  return new Fake(given)._listen(port, host);
}

/** The body of a request as a Buffer; undefined if it is too large. */
async function bytesOf (request, max = BODY_BYTES_MAX) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > max) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parse (text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const pause = ms => new Promise(resolve => { clock.setTimer(resolve, ms, false); });

function answer (response, status, body, headers) {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
  response.end(JSON.stringify(body));
}

/** The error page of a proxy in between. */
function answerPage (response, status) {
  const reason = http.STATUS_CODES[status] ?? 'Error';
  response.writeHead(status, { 'content-type': 'text/html' });
  response.end(`<html>\n<head><title>${status} ${reason}</title></head>\n` +
    `<body>\n<center><h1>${status} ${reason}</h1></center>\n</body>\n</html>\n`);
}

module.exports = { HttpFake, answer, answerPage, bytesOf, parse, pause, startFake };
