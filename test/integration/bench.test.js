'use strict';

// The benchmark measures and judges. What it measures is for `npm run bench` to say.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { merged, summary } = require('../bench/measure');
const { ROWS, verdictOf } = require('../bench/rows');

const BENCH = path.join(__dirname, '..', 'bench');
const bench = (...args) => spawnSync(process.execPath, [BENCH, ...args], { encoding: 'utf8' });

test('measures a group in a process of its own and prints figures, gates and versions', () => {
  const { status, stdout } = bench('--quick', '--json', '--only', 'sync');
  expect(status).toBe(0);
  const { versions, rows } = JSON.parse(stdout);
  expect(Object.keys(versions)).toEqual(['opossum', 'cockatiel', 'async-retry', 'p-retry']);
  expect(rows.map(row => row.id)).toEqual(['sync.bare', 'sync.opossum']);
  for (const row of rows) {
    expect(row.value).toBeGreaterThan(0);
    expect(row.low).toBeLessThanOrEqual(row.high);
    expect(row.verdict).toBe(verdictOf(row, row.value));
  }
});

test('an unknown row is wrong usage', () => {
  const { status, stderr } = bench('--only', 'nothing');
  expect(status).toBe(2);
  expect(stderr).toContain('No row begins with nothing');
});

test('every row has its group, and every group a row', () => {
  const groups = fs.readdirSync(path.join(BENCH, 'groups')).map(file => path.basename(file, '.js'));
  expect([...new Set(ROWS.map(row => row.group))].sort()).toEqual(groups.sort());
  expect(new Set(ROWS.map(row => row.id)).size).toBe(ROWS.length);
});

const JUDGED = '%s is better, gate %p, stretch %p: %p is judged %p';

test.each([
  ['lower', 2.8, 2.4, 2.404, 'stretch'], ['lower', 2.8, 2.4, 2.41, 'gate'],
  ['lower', 2.8, 2.4, 2.81, 'missed'], ['higher', 4, 5.5, 5.5, 'stretch'],
  ['higher', 4, 5.5, 4, 'gate'], ['higher', 4, 5.5, 3.99, 'missed'], ['lower', null, null, 7, '']
])(JUDGED, (better, gate, stretch, value, verdict) => {
  expect(verdictOf({ better, gate, stretch, digits: 2 }, value)).toBe(verdict);
});

test('a figure is the median; a wide middle half is called noisy', () => {
  expect(summary([3, 1, 2])).toEqual({ value: 2, low: 1.5, high: 2.5, noisy: true });
  expect(summary([100, 101, 102, 103, 9000])).toMatchObject({ value: 102, noisy: false });
  expect(merged([{ value: 1, noisy: true, note: 'n' }, { value: 5, noisy: false },
    { value: 2, noisy: false }])).toEqual({ value: 2, noisy: false, note: 'n' });
});
