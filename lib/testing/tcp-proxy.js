'use strict';

// A TCP proxy on loopback that does to connections what networks do: delays, cuts, resets, closes
// one half, swallows answers.

const net = require('node:net');

const { clearTimer, setTimer } = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { bag, boolean, number, oneOf } = require('../base/options');

const CONNECTIONS_MAX = 10_000;
// What waits for a slow peer; past it the other side is not read.
const BUFFER_BYTES_MAX = 1 << 20;

/**
 * @typedef {object} TcpFaults what happens to a connection
 * @property {number|[number, number]} [delayMs] how long each piece of data waits, both ways
 * @property {number} [cutUp] closes the connection after so many bytes from the client
 * @property {number} [cutDown] closes it after so many bytes from the server
 * @property {boolean} [reset] these cuts, and a refusal, are resets; otherwise connections end
 * @property {boolean} [refuse] cuts the connection as soon as it is there
 * @property {boolean} [dropAnswers] what the server says goes nowhere
 * @property {'up'|'down'} [halfClose] ends that direction alone, after its cut (0 bytes unless
 *   given)
 */

function readDelay (value) {
  const [min, max] = Array.isArray(value) ? value : [value, value];
  number('delayMs', min, { min: 0, unit: 'ms' });
  number('delayMs', max, { min, unit: 'ms' });
  return { min, max };
}

function readFaults (given) {
  const {
    delayMs = 0, cutUp = Infinity, cutDown = Infinity, reset = false, refuse = false,
    dropAnswers = false, halfClose
  } = bag('faults', given ?? undefined);
  number('cutUp', cutUp, { min: 0, integer: true });
  number('cutDown', cutDown, { min: 0, integer: true });
  for (const [name, value] of Object.entries({ reset, refuse, dropAnswers })) boolean(name, value);
  if (halfClose !== undefined) oneOf('halfClose', halfClose, ['up', 'down']);
  return { delay: readDelay(delayMs), cutUp, cutDown, reset, refuse, dropAnswers, halfClose };
}

function readTarget (target) {
  const text = typeof target === 'number' ? `127.0.0.1:${target}` : target;
  if (typeof text === 'string') {
    const address = text.includes('://') ? text : `tcp://${text}`;
    const url = URL.canParse(address) ? new URL(address) : undefined;
    const port = Number(url?.port || { 'http:': 80, 'https:': 443 }[url?.protocol]);
    if (url !== undefined && Number.isInteger(port) && port > 0) {
      return { host: url.hostname.replace(/^\[|\]$/g, ''), port };
    }
  }
  throw invalidOption('target', 'a port, host:port or an address', target);
}

/** One direction of a connection: what one side says goes to the other, as the faults allow. */
class Direction {
  bytes = 0;
  #queue = [];
  #queued = 0;
  #timer;
  #ended = false;

  constructor (source, sink, { limit, delay, swallow, onCut }) {
    Object.assign(this, { source, sink, limit, delay, swallow, onCut });
    source.on('data', chunk => this.#take(chunk));
    source.on('end', () => this.#end());
    sink.on('drain', () => source.resume());
    if (limit === 0) onCut();
  }

  #take (chunk) {
    const passed = chunk.subarray(0, Math.max(this.limit - this.bytes, 0));
    this.bytes += chunk.length;
    const { min, max } = this.delay;
    if (passed.length > 0) this.#queue.push(passed);
    this.#queued += passed.length;
    if (this.#queued > BUFFER_BYTES_MAX) this.source.pause();
    if (max === 0) this.#flush();
    else this.#timer ??= setTimer(() => this.#flush(), min + (max - min) * Math.random());
  }

  #flush () {
    this.#timer = undefined;
    const data = Buffer.concat(this.#queue.splice(0));
    this.#queued = 0;
    this.source.resume();
    if (data.length > 0 && !this.swallow && this.sink.writable && !this.sink.write(data)) {
      this.source.pause();
    }
    if (this.bytes >= this.limit) this.onCut();
    else if (this.#ended) this.#pass();
  }

  /** Data that is still to be passed on. */
  get pending () { return this.#timer !== undefined; }

  #end () {
    this.#ended = true;
    if (!this.pending) this.#pass();
  }

  /** The end is passed on, too. */
  #pass () {
    if (this.source.destroyed) this.sink.destroySoon();
    else this.sink.end();
  }

  stop () {
    clearTimer(this.#timer);
  }
}

/** A client's connection and the one to the server that belongs to it. */
class Link {
  constructor (client, server, faults, counts) {
    Object.assign(this, { client, server, faults, counts });
    const { delay, cutUp, cutDown, dropAnswers, halfClose } = faults;
    const up = halfClose === 'up' && cutUp === Infinity ? 0 : cutUp;
    const down = halfClose === 'down' && cutDown === Infinity ? 0 : cutDown;
    this.directions = [
      new Direction(client, server, { limit: up, delay, onCut: () => this.cut('up') }),
      new Direction(server, client, {
        limit: down, delay, swallow: dropAnswers, onCut: () => this.cut('down')
      }),
    ];
    for (const direction of this.directions) {
      const socket = direction.source;
      socket.on('error', () => {}); // The other side hears of it by the close.
      socket.on('close', () => {
        if (!direction.pending) this.close();
      });
    }
  }

  cut (direction) {
    if (direction !== undefined && this.faults.halfClose === direction) {
      (direction === 'up' ? this.server : this.client).end();
      return;
    }
    this.counts.cuts += 1;
    this.close();
  }

  close () {
    for (const direction of this.directions ?? []) direction.stop();
    for (const socket of [this.client, this.server]) {
      if (this.faults.reset && !socket.destroyed) socket.resetAndDestroy();
      else if (socket.writable && !socket.destroyed) socket.destroySoon();
      else socket.destroy();
    }
  }
}

class TcpProxy {
  /** Connections so far, and how many of them were cut. */
  counts = { connections: 0, cuts: 0 };

  #target;
  #faultsOf;
  #links = new Set();
  #server;

  constructor (target, faults) {
    this.#target = readTarget(target);
    this.set(faults);
    this.#server = net.createServer({ allowHalfOpen: true }, socket => this.#accept(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  get host () { return this.#server.address().address; }
  get port () { return this.#server.address().port; }
  get url () { return `http://${this.host}:${this.port}`; }

  /**
   * What happens to connections that are made from now on.
   * @param {TcpFaults|((connection: number) => TcpFaults|undefined)|null} faults or a function that
   *   tells for each connection, which are counted from 1
   */
  set (faults) {
    if (typeof faults === 'function') {
      this.#faultsOf = connection => readFaults(faults(connection));
    } else {
      const fixed = readFaults(faults);
      this.#faultsOf = () => fixed;
    }
  }

  #accept (client) {
    const faults = this.#faultsOf(++this.counts.connections);
    client.setNoDelay(true);
    if (faults.refuse) {
      this.counts.cuts += 1;
      client.on('error', () => {});
      if (faults.reset) client.resetAndDestroy();
      else client.destroy();
      return;
    }
    const server = net.connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    const link = new Link(client, server, faults, this.counts);
    this.#links.add(link);
    server.on('close', () => this.#links.delete(link));
  }

  /** Cuts every connection that there is. */
  cutAll () {
    for (const link of this.#links) link.cut();
  }

  listen (port, host) {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => resolve(this));
    });
  }

  /** Stops listening and closes every connection. */
  close () {
    return new Promise(resolve => {
      this.#server.close(() => resolve());
      for (const link of this.#links) link.close();
    });
  }
}

/**
 * Starts a TCP proxy.
 *
 *     const proxy = await startTcpProxy({ target: fake.url });
 *     proxy.set({ cutDown: 20 });
 *
 * @param {object} options
 * @param {number|string} options.target a port of this machine, host:port, or an address
 * @param {TcpFaults|Function|null} [options.faults] as for set()
 * @param {number} [options.port] 0 (default) takes a free one
 * @param {string} [options.host] default '127.0.0.1'
 * @returns {Promise<TcpProxy>}
 * @throws {TypeError|RangeError} ERR_INVALID_OPTION
 */
async function startTcpProxy (options) {
  const { target, faults, port = 0, host = '127.0.0.1' } = bag('options', options);
  number('port', port, { min: 0, max: 65535, integer: true });
  return new TcpProxy(target, faults).listen(port, host);
}

module.exports = { startTcpProxy };
