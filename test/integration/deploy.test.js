'use strict';

// deploy/: what Prometheus and Grafana are given, checked by Prometheus's own tool.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { createMetrics } = require('../../lib/http');
const { ROOT } = require('../support/setup');

const DEPLOY = path.join(ROOT, 'deploy');
const read = name => fs.readFileSync(path.join(DEPLOY, name), 'utf8');

let folder;
beforeEach(() => { folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-deploy-')); });
afterEach(() => fs.rmSync(folder, { recursive: true }));

function promtool (...args) {
  const { status, stdout, stderr, error } = spawnSync('promtool', args,
    { cwd: folder, encoding: 'utf8', timeout: 20_000 });
  if (error) throw error;
  return { status, output: stdout + stderr };
}

function put (name, text) {
  fs.writeFileSync(path.join(folder, name), text);
}

/** The expressions of all panels, as Grafana would send them. */
function expressions () {
  const { panels } = JSON.parse(read('grafana-dashboard.json'));
  return panels.flatMap(({ targets = [] }) => targets.map(({ expr }) =>
    expr.replaceAll('$__rate_interval', '1m').replaceAll('$name', '.*')));
}

const alerts = () => [...read('alerts.yml').matchAll(/expr: (?:>-\n((?: {10}.*\n)+)|(.*))/g)]
  .map(([, block, line]) => block ?? line);

/** The names of the series that a process with every part has. */
function series () {
  const none = { stats: async () => ({ channels: {}, oldestMs: 0 }) };
  const metrics = createMetrics({ breakers: () => [], store: { outbox: none } });
  const names = metrics.registry.getMetricsAsArray().flatMap(({ name }) =>
    [name, `${name}_bucket`, `${name}_sum`, `${name}_count`]);
  metrics.close();
  return new Set(names);
}

const namesIn = expression => expression.replace(/\{[^}]*\}|"[^"]*"/g, '')
  .replace(/\b(by|on|without) \([^)]*\)/g, '').match(/\b[a-z]+_[a-z_]+\b/g)
  .filter(name => name !== 'histogram_quantile');

describe('alert rules', () => {
  test('are rules, and the example configuration loads them', () => {
    for (const name of ['alerts.yml', 'prometheus.yml']) put(name, read(name));
    expect(promtool('check', 'rules', 'alerts.yml')).toMatchObject({ status: 0 });
    expect(promtool('check', 'config', 'prometheus.yml')).toMatchObject({ status: 0 });
  });

  test('fire when they should, and not otherwise', () => {
    for (const name of ['alerts.yml', 'alerts-test.yml']) put(name, read(name));
    expect(promtool('test', 'rules', 'alerts-test.yml'))
      .toEqual({ status: 0, output: expect.stringContaining('SUCCESS') });
  });

  test.each([
    ['SekeringBreakerOpen', '== 2', '== 1'],
    ['SekeringBreakerOpen', 'for: 5m', 'for: 2m'],
    ['SekeringRetryRateHigh', '> 0.2', '> 0.1'],
    ['SekeringFallbacks', '> 10', '> 9'],
    ['SekeringRetryDelayLong', '> 10', '> 8'],
  ])('their tests notice %s with another %s', (alert, from, to) => {
    const [before, rest] = read('alerts.yml').split(`alert: ${alert}\n`);
    expect(rest).toContain(from);
    put('alerts.yml', `${before}alert: ${alert}\n${rest.replace(from, to)}`);
    put('alerts-test.yml', read('alerts-test.yml'));
    expect(promtool('test', 'rules', 'alerts-test.yml').status).not.toBe(0);
  });

  test('ask for metrics that there are', () => {
    const known = series();
    expect(alerts()).toHaveLength(8);
    const asked = alerts().flatMap(namesIn);
    expect(asked.filter(name => !known.has(name))).toEqual([]);
  });
});

describe('the dashboard', () => {
  test('asks for metrics that there are, and each family is on it', () => {
    const known = series();
    const asked = new Set(expressions().flatMap(namesIn));
    expect([...asked].filter(name => !known.has(name))).toEqual([]);
    const metrics = createMetrics({ breakers: () => [] });
    const families = metrics.registry.getMetricsAsArray().map(({ name }) => name);
    metrics.close();
    const shown = [...asked].map(name => name.replace(/_(bucket|sum|count)$/, ''));
    // The same as fallback_usage_total, without the reasons.
    expect(families.filter(name => !shown.includes(name))).toEqual(['fallback_activations']);
  });

  test('asks what Prometheus understands', () => {
    put('panels.yml', JSON.stringify({ groups: [{
      name: 'panels',
      rules: expressions().map((expr, i) => ({ record: `panel_${i}`, expr })),
    }] }));
    expect(promtool('check', 'rules', 'panels.yml')).toMatchObject({ status: 0 });
  });

  test('has panels that do not overlap, and ids of their own', () => {
    const { panels } = JSON.parse(read('grafana-dashboard.json'));
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + i % w},${y + Math.floor(i / w)}`));
    expect(new Set(cells).size).toBe(cells.length);
    expect(panels.every(({ gridPos: { x, w } }) => x + w <= 24)).toBe(true);
  });
});
