'use strict';

// A TCP proxy on loopback that does what bad networks do: it delays data, cuts and resets
// connections, closes one half of them, and discards answers.

const net = require('node:net');

const { clearTimer, setTimer } = require('../base/clock');
const { invalidOption } = require('../base/errors');
const { is, optionsOf } = require('../base/options');
const { ADDRESS, cutOff, delay, listen, randomBetween } = require('./fake-server');

const CONNECTIONS_MAX = 10_000;
// Data that waits for a slow peer. Past this limit, the other side is not read.
const BUFFER_BYTES_MAX = 1 << 20;

const OPTIONS = optionsOf({
  ...ADDRESS,
  target: is.any('a port of this machine, host:port, or a URL', { required: true }),
  faults: is.any('as for set()'),
});

/** What happens to a connection. */
const FAULTS = optionsOf({
  delayMs: delay('each piece of data waits, both ways'),
  cutUp: is.integer('cuts after so many bytes from the client', { min: 0, default: Infinity }),
  cutDown: is.integer('cuts after so many bytes from the server', { min: 0, default: Infinity }),
  reset: is.boolean('cuts and refusals are resets, not ends', { default: false }),
  refuse: is.boolean('cuts the connection as soon as it is made', { default: false }),
  dropAnswers: is.boolean('discards what the server sends', { default: false }),
  halfClose: is.oneOf('ends only this direction, after its cut (default: 0 bytes)',
    ['up', 'down']),
});

const readFaults = given => FAULTS.read(given ?? undefined, 'faults');

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
  throw invalidOption('target', 'a port, host:port or a URL', target);
}

/** One direction of a connection: passes data from one side to the other, as the faults allow. */
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
    if (passed.length > 0) this.#queue.push(passed);
    this.#queued += passed.length;
    if (this.#queued > BUFFER_BYTES_MAX) this.source.pause();
    if (this.delay.max === 0) this.#flush();
    else this.#timer ??= setTimer(() => this.#flush(), randomBetween(this.delay));
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

  /** Whether data still waits. */
  get pending () { return this.#timer !== undefined; }

  #end () {
    this.#ended = true;
    if (!this.pending) this.#pass();
  }

  /** Passes the end on. */
  #pass () {
    if (this.source.destroyed) this.sink.destroySoon();
    else this.sink.end();
  }

  stop () {
    clearTimer(this.#timer);
  }
}

/** A client's connection, and our connection to the server for it. */
class Link {
  constructor (client, server, faults, counts) {
    Object.assign(this, { client, server, faults, counts });
    const { delayMs, cutUp, cutDown, dropAnswers, halfClose } = faults;
    const up = halfClose === 'up' && cutUp === Infinity ? 0 : cutUp;
    const down = halfClose === 'down' && cutDown === Infinity ? 0 : cutDown;
    this.directions = [
      new Direction(client, server, { limit: up, delay: delayMs, onCut: () => this.cut('up') }),
      new Direction(server, client, {
        limit: down, delay: delayMs, swallow: dropAnswers, onCut: () => this.cut('down'),
      }),
    ];
    for (const direction of this.directions) {
      const socket = direction.source;
      socket.on('error', () => {}); // 'close' follows, and closes the other side.
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
      if (this.faults.reset && !socket.destroyed) cutOff(socket);
      else if (socket.writable && !socket.destroyed) socket.destroySoon();
      else socket.destroy();
    }
  }
}

class TcpProxy {
  /** How many connections there were, and how many were cut. */
  counts = { connections: 0, cuts: 0 };

  #target;
  #faultsOf;
  #links = new Set();
  #server;

  constructor ({ target, faults }) {
    this.#target = readTarget(target);
    this.set(faults);
    this.#server = net.createServer({ allowHalfOpen: true }, socket => this.#accept(socket));
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  get host () { return this.#server.address().address; }
  get port () { return this.#server.address().port; }
  get url () { return `http://${this.host}:${this.port}`; }

  /** Sets the faults of new connections; a function gets the number of each, from 1. */
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
      if (faults.reset) cutOff(client);
      else client.destroy();
      return;
    }
    const server = net.connect({ ...this.#target, allowHalfOpen: true, noDelay: true });
    const link = new Link(client, server, faults, this.counts);
    this.#links.add(link);
    server.on('close', () => this.#links.delete(link));
  }

  /** Cuts all open connections. */
  cutAll () {
    for (const link of this.#links) link.cut();
  }

  async _listen (address) {
    await listen(this.#server, address);
    return this;
  }

  /** Stops listening and closes all connections. */
  close () {
    return new Promise(resolve => {
      this.#server.close(() => resolve());
      for (const link of this.#links) link.close();
    });
  }
}

async function startTcpProxy (options) {
  const checked = OPTIONS.read(options);
  return new TcpProxy(checked)._listen(checked);
}

module.exports = { startTcpProxy };
