'use strict';

// Three views of the demo: repainted in place on a terminal, plain lines for a file or pipe, and
// NDJSON for programs. Each has event(), tick(), end() and close().

const { figuresOf, rounded } = require('../../gateway/report');
const { palette, isLive, wantsColor, padStart, padEnd, Screen } = require('../terminal');

const EVENTS_KEPT = 200;
const STRIP_COLUMNS_MAX = 60;
const COLUMN = 10;
const STATE_COLORS = { closed: 'green', halfOpen: 'yellow', open: 'red' };
const STATE_CELLS = { closed: '─', halfOpen: '▒', open: '█' };
const EVENT_COLORS = {
  open: 'red', halfOpen: 'yellow', close: 'green', fault: 'red', mended: 'green', level: 'cyan',
  refused: 'red', paused: 'yellow', resumed: 'green'
};
const UPSTREAM_NAMES = ['midtrans', 'smtp', 'whatsapp'];
// A terminal with this many rows has room for the figures of each breaker.
const ROWS_FOR_FIGURES = 30;

function stateOf (breaker) {
  if (breaker.opened) return 'open';
  return breaker.halfOpen ? 'halfOpen' : 'closed';
}

const seconds = (ms, digits = 1) => `${(ms / 1000).toFixed(digits)} s`;

/** What the views show, as plain data; --json prints it as it is. */
function snapshotOf (demo) {
  const breakers = {};
  for (const name of UPSTREAM_NAMES) {
    const breaker = demo.gateway.breakers[name];
    const { fires, successes, failures, rejects } = breaker.stats;
    const { p50, p95 } = figuresOf(breaker);
    breakers[name] = {
      state: stateOf(breaker),
      upstream: demo.upstreams.labels[name],
      fires, successes, failures, rejects,
      p50Ms: rounded(p50),
      p95Ms: rounded(p95)
    };
  }
  const orders = { ...demo.orders, waiting: demo.waitingOrders.size };
  return {
    ms: Math.round(demo.elapsedMs), level: demo.gateway.degradation.level.name, breakers, orders,
    ...demo.work
  };
}

function titleOf (demo) {
  return `sekering demo, ${demo.divisor} times faster than production. Open ${demo.url}/`;
}

/** When a breaker opens, in words. */
function settingsOf (demo, name) {
  const { resetTimeout, errorThresholdPercentage } = demo.gateway.breakers[name].options;
  const { timeout } = demo.gateway.config[name];
  return `opens above ${errorThresholdPercentage} %, timeout ${timeout} ms, ` +
    `tries again after ${seconds(resetTimeout)}`;
}

/** Repaints a block of the terminal in place. */
class LiveView {
  #demo;
  #stream;
  #screen;
  #paint;
  #events = [];
  #strips = Object.fromEntries(UPSTREAM_NAMES.map(name => [name, []]));

  constructor (demo, stream) {
    this.#demo = demo;
    this.#stream = stream;
    this.#screen = new Screen(stream);
    this.#paint = palette(wantsColor(stream));
  }

  event (event) {
    this.#events.push(event);
    if (this.#events.length > EVENTS_KEPT) this.#events.shift();
    // A probe takes milliseconds, so tick() would hardly ever see it.
    if (event.type === 'halfOpen') this.#mark(event.upstream, event.ms, 'halfOpen');
  }

  tick () {
    const snapshot = snapshotOf(this.#demo);
    for (const name of UPSTREAM_NAMES) {
      this.#mark(name, snapshot.ms, snapshot.breakers[name].state);
    }
    const { bold, dim } = this.#paint;
    const head = [
      bold(titleOf(this.#demo)),
      dim(`  token for the dashboard: ${this.#demo.upstreams.token}`), '',
      ...UPSTREAM_NAMES.flatMap(name => this.#breaker(name, snapshot.breakers[name])), '',
      ...this.#calls(snapshot), '',
      ...this.#work(snapshot), ''
    ];
    const room = Math.max(2, Math.min(12, this.#screen.rows - head.length - 4));
    const events = this.#events.slice(-room).map(event => eventLine(event, this.#paint));
    while (events.length < room) events.push('');
    this.#screen.paint([...head, ...events, '', dim(this.#foot(snapshot))]);
  }

  end (sums) {
    this.tick();
    this.close();
    for (const line of sumLines(sums, this.#paint)) this.#stream.write(`${line}\n`);
  }

  close () { this.#screen.end(); }

  /** A strip has a cell for each part of the running time: the last state, or half open. */
  #mark (name, ms, state) {
    const strip = this.#strips[name];
    const share = ms / (this.#demo.storySeconds * 1000);
    const cell = Math.min(STRIP_COLUMNS_MAX - 1, Math.floor(share * STRIP_COLUMNS_MAX));
    // Late frames skip cells.
    while (strip.length < cell) strip.push(state);
    if (strip[cell] !== 'halfOpen') strip[cell] = state;
  }

  #breaker (name, { state, upstream }) {
    const { bold, dim } = this.#paint;
    const color = this.#paint[STATE_COLORS[state]];
    const strip = this.#strips[name]
      .map(s => this.#paint[STATE_COLORS[s]](STATE_CELLS[s])).join('');
    const well = upstream === 'well' ? 'green' : 'red';
    const figures = `  ${' '.repeat(10)}${dim(settingsOf(this.#demo, name))}`;
    return [
      `  ${padEnd(bold(name), 10)}${padEnd(color(`● ${state}`), 12)}` +
        `upstream: ${padEnd(this.#paint[well](upstream), 20)}${this.#pause(name)}`,
      ...this.#screen.rows < ROWS_FOR_FIGURES ? [] : [figures],
      `  ${' '.repeat(10)}${strip}${dim('·'.repeat(STRIP_COLUMNS_MAX - this.#strips[name].length))}`
    ];
  }

  #pause (name) {
    return name === 'whatsapp' && this.#demo.paused ? this.#paint.yellow('paused') : '';
  }

  #calls ({ breakers }) {
    const header = ['calls', 'ok', 'failed', 'rejected', 'p50', 'p95'];
    const rows = UPSTREAM_NAMES.map(name => {
      const b = breakers[name];
      return [name, b.fires, b.successes, b.failures, b.rejects, latency(b.p50Ms),
        latency(b.p95Ms)];
    });
    return table(header, rows, this.#paint);
  }

  #work ({ orders, emails, messages }) {
    const rows = [['e-mails', emails], ['messages', messages]].map(([name, w]) =>
      [name, w.in, w.sent, w.again, '', w.waiting]);
    return [
      ...table(['in', 'at once', 'queued', 'later', 'waiting'], [[
        'orders', orders.in, orders.atOnce, orders.queued, orders.later, orders.waiting
      ]], this.#paint),
      ...table(['in', 'sent', 'again', '', 'waiting'], rows, this.#paint)
    ];
  }

  #foot ({ ms, level }) {
    return `${footOf(this.#demo, ms)}, level ${level}`;
  }
}

function footOf (demo, ms) {
  if (demo.stopped) return `${seconds(ms)}, stopping`;
  if (demo.seconds === Infinity) return `${seconds(ms)}, Ctrl-C stops it`;
  if (ms >= demo.seconds * 1000) return `${seconds(ms)}, no more orders`;
  return `${seconds(ms)} of ${demo.seconds} s, Ctrl-C stops it`;
}

const latency = ms => (ms === null ? '–' : `${ms} ms`);

function table (header, rows, { dim }) {
  const line = cells => cells.map(cell => padStart(String(cell), COLUMN)).join('');
  return [
    dim(`  ${' '.repeat(8)}${line(header)}`),
    ...rows.map(([name, ...cells]) => `  ${padEnd(name, 8)}${line(cells)}`)
  ];
}

function eventLine ({ ms, upstream, type, detail }, paint) {
  const color = paint[EVENT_COLORS[type]] ?? paint.dim;
  return `  ${padStart(seconds(ms, 2), 8)}  ${padEnd(upstream, 10)}` +
    `${padEnd(color(type), 10)}${detail}`;
}

function sumLines ({ ok, checks, waiting }, { green, red, bold }) {
  const mark = check => (check.ok ? green('✓') : red('✗'));
  return [
    '',
    ...checks.map(check => `  ${mark(check)} ${check.text}`),
    '',
    `  ${bold(ok ? green(verdictOf(waiting)) : red('The numbers do not add up.'))}`
  ];
}

function verdictOf (waiting) {
  if (waiting === 0) return 'The numbers add up, and nothing was lost.';
  return `The numbers add up. ${waiting} were still waiting when the run was stopped.`;
}

/** One line per event and per second. */
class PlainView {
  #demo;
  #stream;
  #second = -1;

  constructor (demo, stream) {
    this.#demo = demo;
    this.#stream = stream;
    this.#print(titleOf(demo));
    this.#print(`  ${demo.url}/dashboard/  token ${demo.upstreams.token}`);
    for (const name of UPSTREAM_NAMES) this.#print(`  ${name}: ${settingsOf(demo, name)}`);
  }

  event (event) {
    this.#print(eventLine(event, palette(false)));
  }

  tick () {
    const snapshot = snapshotOf(this.#demo);
    const second = Math.floor(snapshot.ms / 1000);
    if (second === this.#second) return;
    this.#second = second;
    const { orders, emails, messages, breakers } = snapshot;
    const upstreams = UPSTREAM_NAMES.map(name => `${name} ${padEnd(breakers[name].state, 8)} ` +
      `p50 ${padStart(latency(breakers[name].p50Ms), 6)}`).join('  ');
    this.#print(`  ${padStart(seconds(snapshot.ms, 2), 8)}  ${upstreams}  ` +
      `orders ${orders.in} in, ${orders.atOnce} at once, ${orders.waiting} waiting, ` +
      `${orders.later} made later  e-mails ${emails.in} in, ${emails.sent} sent  ` +
      `messages ${messages.in} in, ${messages.sent} sent`);
  }

  end (sums) {
    this.#second = -1;
    this.tick();
    for (const line of sumLines(sums, palette(false))) this.#print(line);
  }

  close () {}

  #print (line) { this.#stream.write(`${line}\n`); }
}

/** One JSON object per line: type start, event, state or summary. */
class JsonView {
  #demo;
  #stream;
  #stateMs = -Infinity;

  constructor (demo, stream) {
    this.#demo = demo;
    this.#stream = stream;
    const { seconds: length, divisor, url, upstreams } = demo;
    this.#print('start', {
      seconds: length === Infinity ? null : length, divisor, url, token: upstreams.token
    });
  }

  event ({ ms, upstream, type, detail }) {
    this.#print('event', { ms: Math.round(ms), upstream, event: type, detail });
  }

  tick () {
    const snapshot = snapshotOf(this.#demo);
    if (snapshot.ms - this.#stateMs < 500) return;
    this.#stateMs = snapshot.ms;
    this.#print('state', snapshot);
  }

  end (sums) {
    this.#print('summary', { ...sums, ...snapshotOf(this.#demo) });
  }

  close () {}

  #print (type, data) { this.#stream.write(`${JSON.stringify({ type, ...data })}\n`); }
}

/** The view that fits: NDJSON when asked for, in place on a terminal, else plain lines. */
function viewFor (demo, stream, { json = false } = {}) {
  if (json) return new JsonView(demo, stream);
  return isLive(stream) ? new LiveView(demo, stream) : new PlainView(demo, stream);
}

module.exports = { viewFor };
