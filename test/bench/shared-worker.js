'use strict';

// A worker of the rows about events: it notes when it tells others, and when it is told.

const { CircuitBreaker } = require('./subjects');

const now = () => Number(process.hrtime.bigint());
const told = { opened: [], heard: [], sent: [], received: [] };
const breaker = new CircuitBreaker(async () => {}, JSON.parse(process.argv[2]));
breaker.on('open', () => told.heard.push(now()));

const obey = {
  open () {
    told.opened.push(now());
    breaker.open();
  },
  close () { breaker.close(); },
  send () {
    told.sent.push(now());
    process.send('pass on');
  },
  receive () { told.received.push(now()); },
  report () { process.send(told); }
};
process.on('message', message => obey[message]());
process.send('ready');
