'use strict';

/** What a breaker needs once it was open, or was looked at closely. */
class Aside {
  constructor () {
    this.name = undefined;
    this.options = undefined;
    this.status = null;
    this.semaphore = null;
    this.signal = null;
    this.queue = null;
    this.ramping = false;
    this.openedAt = undefined;
    this.openFor = 0;
    this._marks = undefined;
    this.timer = undefined;
    this.health = undefined;
    this.refusal = null;
    this.shutIn = undefined;
  }
}

module.exports = Aside;
