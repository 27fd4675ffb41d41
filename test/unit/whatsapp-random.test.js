'use strict';

// Random calls of a SessionPool while its sockets do what no good library does: they open twice,
// close before they open, say things after their end, throw in their listeners, never answer. Every
// call settles; each message is sent as often as its caller is told; afterwards all is well again.

const { setImmediate: turn } = require('node:timers/promises');

const { SessionPool, fromBaileys } = require('../../lib/clients/whatsapp');
const { startSessionFake } = require('../../lib/testing/session-fake');
const { useVirtualClock } = require('../../lib/testing/virtual-clock');
const { Dice } = require('../support/random');

const SEEDS = process.env.SEKERING_CHAOS_SECONDS ? 3000 : 150;
const STEPS = 40;
const IDS = ['a', 'b'];
const TO = '+6281234567890';
// Less than a call may take, and often enough for the longest pause of a breaker.
const CALM_MS = 10_000;
const CALMS = 300;
const FAULTS = [null, null, 'connect-throws', 'connect-rejects', 'connect-hangs', 'never-opens',
  'closes', 'qr', 'send-rejects', 'send-hangs'];
const STATUSES = [401, 403, 408, 411, 428, 440, 500, 503, 515, 515];
const EVENTS = ['connected', 'disconnected', 'qr', 'alert', 'trouble', 'retry', 'open', 'close'];

const closing = status => ({
  connection: 'close',
  lastDisconnect: { error: Object.assign(new Error('gone'), { output: { statusCode: status } }) },
});

class Story {
  /** By content: how the call that sent it has ended. */
  sends = new Map();
  calls = [];
  sockets = [];

  constructor (seed) {
    this.dice = new Dice(seed);
    this.clock = useVirtualClock();
    this.fake = startSessionFake();
    const connect = fromBaileys(async id => {
      const socket = await this.fake.connect(id);
      // Some keep their listeners for ever.
      if (this.dice.chance(0.2)) socket.ev.off = () => { throw new Error('off failed'); };
      this.sockets.push(socket);
      return socket;
    });
    const retry = { retries: 2, minTimeout: 500, randomize: false };
    this.pool = new SessionPool({ connect, retry });
    for (const event of EVENTS) {
      this.pool.on(event, () => { if (this.dice.chance(0.1)) throw new Error('it failed'); });
    }
  }

  send (id) {
    const text = String(this.sends.size + 1);
    this.sends.set(text, 'waits');
    this.calls.push(this.pool.send(id, TO, text).then(
      () => { this.sends.set(text, 'sent'); },
      error => { this.sends.set(text, error.ambiguous ? 'unsure' : 'failed'); }));
  }

  /** What a socket says, perhaps long after its end. */
  say () {
    if (this.sockets.length === 0) return;
    const [socket, status] = [this.dice.pick(this.sockets), this.dice.pick(STATUSES)];
    socket.update(this.dice.pick([
      { connection: 'open' }, { connection: 'open' }, { qr: '2@x' }, { connection: 'connecting' },
      closing(status), closing(status), { connection: 'close' }, {}, undefined,
    ]));
  }

  async step () {
    const { dice, pool } = this;
    const id = dice.pick(IDS);
    const settle = call => this.calls.push(call.catch(() => {}));
    const steps = [
      () => this.send(id), () => this.send(id), () => this.send(id),
      () => this.say(), () => this.say(), () => this.say(),
      () => this.fake.set(id, dice.pick(FAULTS)), () => this.fake.set(id, null),
      () => settle(pool.connect(id)), () => settle(pool.requestQr(id)),
      () => pool.reset(id), () => pool.remove(id),
      () => this.clock.advance(dice.pick([1, 500, 20_000])),
      () => this.clock.advance(dice.pick([1, 500, 20_000])),
      turn,
    ];
    await dice.pick(steps)();
  }

  /** Lets time pass until the call has settled. */
  async until (call) {
    const state = { isOver: false };
    const over = () => { state.isOver = true; };
    call.then(over, over);
    for (let i = 0; i < CALMS; i++) {
      for (let turns = 0; turns < 5; turns++) await turn();
      if (state.isOver) return call;
      await this.clock.advance(CALM_MS);
    }
    throw new Error('A call does not settle');
  }

  /** Nothing goes wrong any more: all calls settle, and each instance can be used. */
  async calm () {
    for (const id of IDS) this.fake.set(id, null);
    await this.until(Promise.all(this.calls));
    for (const id of IDS) {
      await this.until(this.pool.requestQr(id)); // Somebody scans it.
      await this.until(this.pool.send(id, TO, 'calm'));
    }
  }

  faults () {
    const count = text => this.fake.messages.filter(({ content }) => content.text === text).length;
    const wrong = [];
    for (const [text, outcome] of this.sends) {
      const arrived = count(text);
      const isRight = outcome === 'sent' ? arrived === 1
        : outcome === 'failed' ? arrived === 0 : outcome === 'unsure' && arrived <= 1;
      if (!isRight) wrong.push(`${text} ${outcome}, arrived ${arrived} times`);
    }
    if (count('calm') !== IDS.length) wrong.push('not all instances recovered');
    return wrong;
  }

  end () {
    this.pool.close();
    this.clock.restore();
  }
}

test(`${SEEDS} stories of ${STEPS} steps`, async () => {
  // Listeners that throw are reported so.
  const warnings = jest.spyOn(process, 'emitWarning').mockImplementation(() => {});
  const outcomes = {};
  for (let seed = 1; seed <= SEEDS; seed++) {
    const story = new Story(seed);
    try {
      for (let i = 0; i < STEPS; i++) await story.step();
      await story.calm();
      expect({ seed, faults: story.faults() }).toEqual({ seed, faults: [] });
      for (const outcome of story.sends.values()) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    } catch (error) {
      error.message = `Seed ${seed}: ${error.message}`;
      throw error;
    } finally {
      story.end();
    }
  }
  // Each way in which a call may end has been seen.
  expect(Object.keys(outcomes).sort()).toEqual(['failed', 'sent', 'unsure']);
  warnings.mockRestore();
});
