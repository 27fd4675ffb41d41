// Small charts by uPlot, which its own script puts into `window`.

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
 * @param {number} props.max that the scale reaches at least
 * @param {string} props.label what those hear who do not see it
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
