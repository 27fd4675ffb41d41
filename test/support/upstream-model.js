'use strict';

// An upstream in simulated time: so many servers, each of which does one call at a time in a given
// time; the other calls wait in line. Its latency grows once more calls run than it has servers.

const clock = require('../../lib/base/clock');

class UpstreamModel {
  /** The most calls that were in it at once. */
  peak = 0;
  answered = 0;
  #busy = 0;
  #line = [];

  /** @param {{ servers: number, service: () => number }} options `service` gives ms of one call */
  constructor ({ servers, service }) {
    this.servers = servers;
    this.service = service;
  }

  get active () { return this.#busy + this.#line.length; }

  /** One call. Its signal takes it out of the line; what a server has begun, it ends. */
  call ({ signal } = {}) {
    return new Promise((resolve, reject) => {
      const call = { resolve };
      signal?.addEventListener('abort', () => {
        const at = this.#line.indexOf(call);
        if (at >= 0) this.#line.splice(at, 1);
        reject(signal.reason);
      });
      this.#line.push(call);
      this.peak = Math.max(this.peak, this.active);
      this.#serve();
    });
  }

  #serve () {
    while (this.#line.length > 0 && this.#busy < this.servers) {
      const call = this.#line.shift();
      this.#busy++;
      clock.setTimer(() => {
        this.#busy--;
        this.answered++;
        call.resolve();
        this.#serve();
      }, this.service());
    }
  }
}

module.exports = { UpstreamModel };
