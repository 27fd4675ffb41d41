'use strict';

// A gateway in a process of its own, which a test asks over HTTP. It runs until its parent leaves.

const { startAll } = require('./gateway-helpers');

async function main () {
  const { place, over } = JSON.parse(process.argv[2]);
  const { server, close } = await startAll(place, over);
  process.once('disconnect', close);
  process.send({ url: server.url });
}

main();
