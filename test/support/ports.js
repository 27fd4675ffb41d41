'use strict';

// A free port of loopback for a server that takes its port as a setting.

const { once } = require('node:events');
const net = require('node:net');

// Below the ports that the kernel gives to outgoing connections: one of these could take the port
// before the server does, or while the server restarts.
const FIRST = 20_000;
const LAST = 32_000;

async function freePort () {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    const server = net.createServer().listen(port, '127.0.0.1');
    try {
      await once(server, 'listening');
    } catch {
      continue;
    }
    server.close();
    await once(server, 'close');
    return port;
  }
}

module.exports = { freePort };
