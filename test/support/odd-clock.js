'use strict';

// Preloaded with --require: a process on a host whose clock is wrong by SEKERING_CLOCK_MS.

const offsetMs = Number(process.env.SEKERING_CLOCK_MS);
const RealDate = Date;

globalThis.Date = class Date extends RealDate {
  constructor (...args) {
    if (args.length === 0) super(RealDate.now() + offsetMs);
    else super(...args);
  }

  static now () { return RealDate.now() + offsetMs; }
};
