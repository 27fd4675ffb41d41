'use strict';

// Applications on real sockets, and requests to them.

const { once } = require('node:events');
const http = require('node:http');

const started = [];

/**
 * Serves an application on loopback until the test ends.
 * @returns {Promise<{ url: string, get: Function, server: http.Server }>} `get(path, options)`
 *   answers { status, headers, text, body }, the body parsed if it is JSON
 */
async function serve (app) {
  const server = http.createServer(app).listen(0, '127.0.0.1');
  started.push(server);
  await once(server, 'listening');
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, server, get: (path, options) => request(url + path, options) };
}

async function request (url, options) {
  const response = await fetch(url, options);
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: isJson && text !== '' ? JSON.parse(text) : undefined,
  };
}

afterEach(() => Promise.all(started.splice(0).map(server => {
  server.closeAllConnections();
  return new Promise(resolve => { server.close(resolve); });
})));

module.exports = { serve };
