'use strict';

// Checks that are ready to use.

const clock = require('../base/clock');
const { SekeringError } = require('../base/errors');
const { number } = require('../base/options');

const SILENCE_MS = 60_000;
const SMTP_MS = 4000;
const NAMES_MAX = 20;

/** The store answers; without it nothing is safe. */
const database = store => ({
  critical: true,
  check: async () => {
    const { ok, engine } = await store.health();
    if (!ok) throw new SekeringError('ERR_STORE_UNREACHABLE', 'The store does not answer');
    return { engine };
  },
});

/** A client with `ping`: Midtrans, the WhatsApp Cloud API. */
const ping = client => ({
  check: async ({ signal }) => { await client.ping({ signal }); },
});

/** It has a limit of its own, which leaves no connection behind. */
const smtp = client => ({
  check: async () => { await client.verify({ timeout: SMTP_MS }); },
});

/** A worker that runs, and has looked at the database lately. */
function worker (outboxWorker, { silence = SILENCE_MS } = {}) {
  number('silence', silence, { min: 1, unit: 'ms' });
  return {
    check: () => {
      const quietMs = Math.max(Math.round(clock.now() - outboxWorker.lastBeat), 0);
      const isWell = outboxWorker.running && quietMs <= silence;
      return {
        status: isWell ? 'healthy' : 'unhealthy',
        running: outboxWorker.running,
        lastBeatMs: Number.isFinite(quietMs) ? quietMs : null,
        inFlight: outboxWorker.inFlight,
      };
    },
  };
}

/** Breakers that let nothing pass make the service a degraded one. */
const breakers = list => ({
  check: () => {
    const all = list();
    const open = all.filter(breaker => breaker.opened);
    return {
      status: open.length > 0 ? 'degraded' : 'healthy',
      total: all.length,
      open: open.length,
      halfOpen: all.filter(breaker => breaker.halfOpen).length,
      names: open.slice(0, NAMES_MAX).map(({ name }) => name),
    };
  },
});

const healthChecks = { breakers, database, ping, smtp, worker };

module.exports = { healthChecks };
