// Small charts by uPlot, and the history that they show. The script of uPlot puts it into `window`.

import { html, useEffect, useRef } from './vendor/preact.js';

const dark = matchMedia('(prefers-color-scheme: dark)');

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function optionsOf ({ lines, max, format, width, height }) {
  const axis = { stroke: colour('--quiet'), font: '10px system-ui, sans-serif' };
  const grid = { stroke: colour('--line'), width: 1 };
  return {
    width,
    height,
    padding: [6, 4, 4, 0],
    cursor: { show: false },
    legend: { show: false },
    scales: { x: { time: true }, y: { range: (u, low, high) => [0, Math.max(high ?? 0, max)] } },
    axes: [
      { show: false },
      {
        ...axis, grid, ticks: { show: false }, size: 40, gap: 4, space: 22,
        values: (u, splits) => splits.map(format),
      },
    ],
    series: [{}, ...lines.map(({ stroke, dash, fill }) => ({
      stroke: colour(stroke), width: 1.5, dash, points: { show: false },
      fill: fill && colour(fill), spanGaps: false,
    }))],
  };
}

/**
 * @param {object} props
 * @param {number[][]} props.data seconds first, then the values of each line, null for none
 * @param {object[]} props.lines { stroke, dash, fill }, colours by the names of CSS variables
 * @param {number} props.max the scale goes at least up to it
 * @param {string} props.label for screen readers
 */
export function Chart ({ data, lines, max, format, label, height = 48 }) {
  const place = useRef();
  const chart = useRef();
  useEffect(() => {
    const draw = () => {
      chart.current?.destroy();
      const width = place.current.clientWidth || 200;
      const { uPlot: Plot } = window;
      chart.current = new Plot(optionsOf({ lines, max, format, width, height }), data,
        place.current);
    };
    draw();
    dark.addEventListener('change', draw);
    const observer = new ResizeObserver(([{ contentRect: { width } }]) => {
      if (width > 0 && Math.abs(width - chart.current.width) > 1) {
        chart.current.setSize({ width, height });
      }
    });
    observer.observe(place.current);
    return () => {
      observer.disconnect();
      dark.removeEventListener('change', draw);
      chart.current.destroy();
      chart.current = undefined;
    };
  }, []);
  useEffect(() => { chart.current?.setData(data); });
  return html`<div class="chart" ref=${place} role="img" aria-label=${label}></div>`;
}

// ---- History -----------------------------------------------------------------------------------

const POINTS_MAX = 150;
const BREAKERS_MAX = 500;
const LINES = ['at', 'errorRate', 'p50', 'p95', 'p99'];

const emptyLines = () => Object.fromEntries(LINES.map(line => [line, []]));

/**
 * The figures of breakers: from the server, before this page was opened, and from this page since
 * then. All times are those of the server, in seconds.
 */
export class History {
  #lines = new Map();

  /** Takes over the history of the server. Later points that this page has seen stay. */
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

  /** Adds the figures of a list of breakers. */
  add ({ at, breakers }) {
    const time = at / 1000;
    for (const { key, errorRate, fires, latency } of breakers) {
      const lines = this.#lines.get(key) ?? emptyLines();
      // Behind a load balancer, another process may have another clock.
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
