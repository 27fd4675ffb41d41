'use strict';

// What the fakes share: where they listen, how often a fault strikes, and answers over HTTP.

const http = require('node:http');

const clock = require('../base/clock');
const { isList } = require('../base/foreign');
const { is, number, readable } = require('../base/options');

const BODY_BYTES_MAX = 1 << 20;

/** Options of every fake. */
const ADDRESS = {
  port: is.integer('to listen on; 0 takes a free one', { min: 0, max: 65535, default: 0 }),
  host: is.text('to listen on', { default: '127.0.0.1' }),
};

/** Options of every fault. */
const FREQUENCY = {
  every: is.integer('strikes each n-th time only', { min: 1, default: 1 }),
  times: is.integer('stops after so many strikes', { min: 1, default: Infinity }),
};

/** Options of faults that can strike each recipient once. */
const FREQUENCY_WITH_ONCE = {
  ...FREQUENCY,
  once: is.boolean('strikes each recipient the first time only', { default: false }),
};

/** An option that is a number of milliseconds, or `[min, max]` for a random one in between. */
function delay (doc) {
  const expected = 'a number of milliseconds or [min, max]';
  return {
    doc, expected, unit: 'ms', default: { min: 0, max: 0 },
    check (option, value) {
      const [min, max] = Array.isArray(value) ? value : [value, value];
      number(option, min, { min: 0, unit: 'ms' });
      number(option, max, { min, unit: 'ms' });
      return { min, max };
    },
  };
}

const randomBetween = ({ min, max }) => min + (max - min) * Math.random();

/** The faults in force. */
class Faults {
  #list;

  /** `given` is one fault or an array of them; `read` checks one and fills in its defaults. */
  constructor (given, read) {
    const list = isList(given) ? readable('fault', 'faults that can be read', given,
      () => Array.from(given)) : [given];
    this.#list = list.filter(fault => fault !== null && fault !== undefined)
      .map(fault => ({ ...read(fault), seen: 0, struck: 0, keys: new Set() }));
  }

  /** undefined if there is no fault. */
  get first () { return this.#list[0]; }

  /** The first fault that strikes, or null. A fault with `once` strikes each key once. */
  strike (fits, key) {
    return this.#list.find(fault => fits(fault) && isDue(fault, key)) ?? null;
  }
}

function isDue (fault, key) {
  if (fault.keys.has(key)) return false;
  fault.seen += 1;
  if (fault.seen % fault.every !== 0 || fault.struck >= fault.times) return false;
  fault.struck += 1;
  if (fault.once) fault.keys.add(key);
  return true;
}

/** Resolves when the server listens. */
function listen (server, { port, host }) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => resolve());
  });
}

/** A fake that speaks HTTP. A subclass has `_serve(request, response)`. */
class HttpFake {
  #server;
  #readFault;
  #faults;

  constructor (readFault, fault) {
    this.#readFault = readFault;
    this.set(fault);
    this.#server = http.createServer((request, response) => {
      this._serve(request, response).catch(() => response.destroy());
    });
  }

  /** Where it listens: `http://127.0.0.1:38211`, with no slash at the end. */
  get url () {
    const { address, family, port } = this.#server.address();
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** The kind of the (first) fault in force, or null. */
  get fault () {
    return this.#faults.first?.kind ?? null;
  }

  /** Sets what goes wrong from now on. Requests that hang already keep hanging. */
  set (fault) {
    this.#faults = new Faults(fault, this.#readFault);
  }

  /** Stops listening and cuts all connections. */
  close () {
    return new Promise(resolve => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async _listen (address) {
    await listen(this.#server, address);
    return this;
  }

  _strike (fits, key) {
    const fault = this.#faults.strike(fits, key);
    if (fault !== null) this.counts.faulted += 1;
    return fault;
  }
}

/** The body of a request as a Buffer; undefined if it is too large. */
async function readBody (request, max = BODY_BYTES_MAX) {
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

/** Waits without keeping the process alive. */
const pause = ms => (ms > 0
  ? new Promise(resolve => { clock.setTimer(resolve, ms, false); })
  : undefined);

function answer (response, status, body, headers) {
  if (response.destroyed) return;
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', ...headers });
  response.end(JSON.stringify(body));
}

/** Answers with an HTML error page, as a proxy in between does. */
function answerPage (response, status) {
  const reason = http.STATUS_CODES[status] ?? 'Error';
  response.writeHead(status, { 'content-type': 'text/html' });
  response.end(`<html>\n<head><title>${status} ${reason}</title></head>\n` +
    `<body>\n<center><h1>${status} ${reason}</h1></center>\n</body>\n</html>\n`);
}

/**
 * Ends a connection at once, with a reset if that is still possible. While its end is being sent it
 * is not, and Node.js would keep such a socket for ever: the process would never exit.
 */
function cutOff (socket) {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

module.exports = {
  ADDRESS, FREQUENCY, FREQUENCY_WITH_ONCE, Faults, HttpFake, answer, answerPage, cutOff, delay,
  listen, parse, pause, randomBetween, readBody,
};
