// What the breakers' figures were, for the charts: as the server has seen them before this page was
// open, and as this page has since. All times are the server's, in seconds.

const POINTS_MAX = 150;
const BREAKERS_MAX = 500;
const LINES = ['at', 'errorRate', 'p50', 'p95', 'p99'];

const emptyLines = () => Object.fromEntries(LINES.map(line => [line, []]));

export class History {
  #lines = new Map();

  /** Takes over what the server knows; what was seen here after that stays. */
  begin ({ at, breakers }) {
    const times = at.map(ms => ms / 1000);
    for (const [key, figures] of Object.entries(breakers)) {
      const seen = this.#lines.get(key) ?? emptyLines();
      const later = seen.at.findIndex(time => time > times.at(-1));
      const past = { at: times, ...figures };
      this.#keep(key, Object.fromEntries(LINES.map(line =>
        [line, [...past[line], ...(later < 0 ? [] : seen[line].slice(later))]])));
    }
  }

  /** What a list shows at a moment. */
  add ({ at, breakers }) {
    const time = at / 1000;
    for (const { key, errorRate, fires, latency } of breakers) {
      const lines = this.#lines.get(key) ?? emptyLines();
      // Another process behind the same address may have another clock.
      if (time <= lines.at.at(-1)) continue;
      const point = { at: time, errorRate: fires === 0 ? null : errorRate, ...latency };
      for (const line of LINES) lines[line].push(point[line] ?? null);
      this.#keep(key, lines);
    }
  }

  #keep (key, lines) {
    for (const line of LINES) lines[line].splice(0, lines[line].length - POINTS_MAX);
    this.#lines.delete(key);
    this.#lines.set(key, lines);
    while (this.#lines.size > BREAKERS_MAX) this.#lines.delete(this.#lines.keys().next().value);
  }

  of (key, ...lines) {
    const known = this.#lines.get(key);
    return ['at', ...lines].map(line => known?.[line] ?? []);
  }
}
