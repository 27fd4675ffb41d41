'use strict';

// One of four workers of the row `four`: tells what it sent.

const ours = require('./ours');

async function main () {
  const { place } = JSON.parse(process.argv[2]);
  const { outbox, close } = await ours.open(place);
  const ids = [];
  const worker = outbox.createWorker({
    channels: { [ours.CHANNEL]: { send: async ({ id }) => { ids.push(id); }, concurrency: 10 } },
    unsettled: 500,
  });
  process.on('message', async order => {
    if (order === 'go') return worker.start();
    await worker.stop();
    await close();
    return process.send(ids, () => process.exit(0));
  });
  process.send('ready');
}

main();
