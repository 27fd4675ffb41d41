// What the breakers' figures were while this page was open, for the charts.

const POINTS_MAX = 150;
const BREAKERS_MAX = 500;
const LINES = ['at', 'errorRate', 'p50', 'p95', 'p99'];

export class History {
  #lines = new Map();

  add (breakers) {
    const at = Date.now() / 1000;
    for (const { key, errorRate, fires, latency } of breakers) {
      const lines = this.#lines.get(key) ?? Object.fromEntries(LINES.map(line => [line, []]));
      const point = { at, errorRate: fires === 0 ? null : errorRate, ...latency };
      for (const line of LINES) {
        lines[line].push(point[line] ?? null);
        if (lines[line].length > POINTS_MAX) lines[line].shift();
      }
      this.#lines.delete(key);
      this.#lines.set(key, lines);
    }
    while (this.#lines.size > BREAKERS_MAX) this.#lines.delete(this.#lines.keys().next().value);
  }

  of (key, ...lines) {
    const known = this.#lines.get(key);
    return ['at', ...lines].map(line => known?.[line] ?? []);
  }
}
