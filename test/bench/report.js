'use strict';

// The table, for people: as text for a terminal and as Markdown for RESULTS.md.

const os = require('node:os');

const METHOD = [
  'Each group of rows runs in a process of its own, a short one in three of them in turn. Slices',
  'of about 10 ms of the one and of the other take turns, after a warm-up; a figure is the median',
  'of the ratios of neighbouring slices, and the range beside it holds the middle half of them.',
  'Time is CPU time of the process, the threads that collect its garbage included. A tilde marks a',
  'row whose middle half spreads over more than 15 % of the median: the machine was busy.',
  'Bare, async: `await fn(i)` with `const fn = async x => x`. Bare, sync: the same with',
  '`async x => work(x)`, the promise that a caller would have had. A promise and one `then`: the',
  'least that a call with a time limit needs, `new Promise((resolve, reject) => {',
  'fn(i).then(resolve, reject); })`. Bytes per call: growth of the heap over 20,000 calls without',
  'a collection, less that of bare. Native memory: resident pages outside the engine\'s heap, over',
  '10,000 breakers. Loop delay includes the 1 ms of the timer that measures it.'
];

function machineOf () {
  const cpus = os.cpus();
  return `${cpus[0]?.model.trim() ?? 'unknown CPU'} × ${cpus.length}, ` +
    `${Math.round(os.totalmem() / 2 ** 30)} GiB, ${os.type()} ${os.release()}, ` +
    `Node ${process.version}, load ${os.loadavg()[0].toFixed(1)}`;
}

const target = value => (value === null ? '–' : String(value));

function figure ({ unit, digits }, value) {
  const shown = Number(value.toFixed(digits));
  const text = digits === 0 ? String(shown) : shown.toFixed(digits);
  return `${Object.is(shown, -0) ? '0' : text} ${unit}`;
}

function cellsOf ({ row, result, verdict, error }) {
  const { label, better, gate, stretch, digits } = row;
  const sign = better === 'lower' ? '≤' : '≥';
  const targets = gate === null ? ['–', '–'] : [`${sign} ${target(gate)}`, target(stretch)];
  if (error !== undefined) return [label, ...targets, 'failed', '', '', error];
  return [
    label, ...targets, `${result.noisy ? '~' : ''}${figure(row, result.value)}`,
    `${result.low.toFixed(digits)} … ${result.high.toFixed(digits)}`, verdict,
    [costOf(result), result.note].filter(Boolean).join('; ')
  ];
}

// Costs per call of the two sides, where a row compares two.
function costOf ({ aNs, bNs }) {
  if (aNs === undefined) return '';
  const ns = value =>
    (value < 10_000 ? `${value.toFixed(0)} ns` : `${(value / 1000).toFixed(0)} µs`);
  return `${ns(aNs)} : ${ns(bNs)}`;
}

const HEADER = ['row', 'gate', 'stretch', 'measured', 'middle half', 'verdict', ''];

function textTable (outcomes) {
  const rows = [HEADER, ...outcomes.map(cellsOf)];
  const widths = HEADER.map((_, i) => Math.max(...rows.map(row => row[i].length)));
  const left = i => i === 0 || i >= 5;
  return rows.map(row => row.map((cell, i) =>
    (left(i) ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join('  ').trimEnd());
}

/** What stands above the table: versions, machine, method. */
function headOf (versions) {
  const peers = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(', ');
  return [`Peers: ${peers}`, `Machine: ${machineOf()}`, ...METHOD];
}

/** Whether an outcome is a missed gate, or a row that could not be measured. */
function isLost ({ verdict, error }) {
  return verdict === 'missed' || error !== undefined;
}

/** Which rows miss their gates; an empty list when none does. */
function lossesOf (outcomes) {
  const missed = outcomes.filter(isLost);
  if (missed.length === 0) return ['Every gate is met.'];
  return ['Gates missed:', ...missed.map(outcome => {
    const { row, result, error } = outcome;
    if (error !== undefined) return `  ${row.id}: ${error}`;
    return `  ${row.id}: ${figure(row, result.value)}, gate ${row.gate}`;
  })];
}

function markdownOf (outcomes, versions) {
  const line = cells => `| ${cells.join(' | ')} |`;
  return [
    '# Benchmark results', '',
    'Written by `npm run bench -- --write`.', '',
    ...headOf(versions).slice(0, 2).map(text => `- ${text}`), '',
    ...METHOD, '',
    line(HEADER), line(HEADER.map(() => '---')), ...outcomes.map(o => line(cellsOf(o))), '',
    ...lossesOf(outcomes), ''
  ].join('\n');
}

module.exports = { headOf, isLost, textTable, lossesOf, markdownOf, machineOf };
