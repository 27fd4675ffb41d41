'use strict';

// Real HTTP against routers of ours.

const { once } = require('node:events');
const express = require('express');

/** An application of these routers on a port of its own: { url, close }. */
async function serve (...routers) {
  const app = express();
  app.disable('x-powered-by');
  for (const router of routers) app.use(router);
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async close () {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Reads server-sent events as they come: `next()` gives one, `close()` ends it. */
async function readEvents (url, headers) {
  const controller = new AbortController();
  const response = await fetch(url, { headers, signal: controller.signal });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  const blocks = [];
  async function nextBlock () {
    while (blocks.length === 0) {
      const { value, done } = await reader.read();
      if (done) return undefined;
      const parts = (rest + value).split('\n\n');
      rest = parts.pop();
      blocks.push(...parts);
    }
    return blocks.shift();
  }
  return {
    response,
    nextBlock,
    async next () {
      for (;;) {
        const block = await nextBlock();
        if (block === undefined) return undefined;
        if (block.startsWith(':')) continue;
        const fields = Object.fromEntries(block.split('\n').map(line =>
          [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]));
        return { id: fields.id, type: fields.event, data: JSON.parse(fields.data) };
      }
    },
    close: () => controller.abort(),
  };
}

module.exports = { readEvents, serve };
