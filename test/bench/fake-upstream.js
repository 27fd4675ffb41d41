'use strict';

// A fake Midtrans in a process of its own: tells its parent where it listens, and ends with it.

const { startMidtransFake } = require('../../lib/testing/midtrans-fake');

process.on('disconnect', () => process.exit());

startMidtransFake().then(fake => process.send(fake.url));
