'use strict';

// deploy/: what Prometheus and Grafana are given, checked by Prometheus's own tool.

const { spawnSync } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { SECRETS, startAll } = require('../support/gateway-helpers');
const { ROOT } = require('../support/setup');

// The variable by which one chooses.
const SOURCE = '$'.concat('{datasource}');
const DEPLOY = path.join(ROOT, 'deploy');
const read = name => fs.readFileSync(path.join(DEPLOY, name), 'utf8');

let folder;
beforeEach(() => { folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-deploy-')); });
afterEach(() => fs.rmSync(folder, { recursive: true }));

function promtool (...args) {
  const { status, stdout, stderr, error } = spawnSync('promtool', args,
    { cwd: folder, encoding: 'utf8', timeout: 100_000 });
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

/** The labels of each series on a page of metrics, by the series' name. */
function labelsOn (page) {
  const labels = new Map();
  for (const [, name, text = ''] of page.matchAll(/^([a-z_]+)(?:\{(.*)\})? \S+$/gm)) {
    const known = labels.get(name) ?? new Set();
    for (const [, label] of text.matchAll(/([a-z_]+)="/g)) known.add(label);
    labels.set(name, known);
  }
  return labels;
}

/** What a gateway has on its page when everything that is counted has happened. */
async function startAndScrape () {
  const it = await startAll({}, {
    upstreams: { films: { default: [], retry: { retries: 1, minTimeout: 1, maxTimeout: 1 } } },
    outbox: { maxAttempts: 1 },
    // It is off in tests.
    server: { maxLoopDelay: '60s' },
  });
  const down = async () => { throw Object.assign(new Error('down'), { code: 'ECONNREFUSED' }); };
  try {
    await it.gateway.upstream('films', down)();
    it.gateway.degradation.setLevel('SEVERE', { reason: 'a drill' });
    it.smtp.set({ stage: 'rcpt', code: 550 });
    const arrival = once(it.gateway.store.deadLetters, 'arrival');
    await it.gateway.notify({ channel: 'EMAIL', recipient: 'ana@example.com', body: 'Hello' });
    await arrival;
    await it.gateway.store.deadLetters.recover({ '*': () => 'keep' });
    await it.gateway.store.deliveries.record([{ messageId: 'wamid.1', status: 'failed' }]);
    await it.midtrans.notifyTest(`${it.server.url}/webhooks/midtrans`);
    await it.gateway.health.check();
    await it.ask('/orders/none', { token: SECRETS.shopToken });
    return (await it.ask('/metrics', { token: SECRETS.readToken })).text;
  } finally {
    await it.close();
  }
}

let known;
beforeAll(async () => { known = labelsOn(await startAndScrape()); }, 60_000);

const namesIn = expression => expression.replace(/\{[^}]*\}|"[^"]*"/g, '')
  .replace(/\b(by|on|without) \([^)]*\)/g, '').match(/\b[a-z]+_[a-z_]+\b/g)
  .filter(name => name !== 'histogram_quantile');

describe('alert rules', () => {
  test('are rules, and the example configuration loads them', () => {
    for (const name of ['alerts.yml', 'prometheus.yml']) put(name, read(name));
    put('sekering-monitor.token', 'a-token-of-prometheus');
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
    expect(alerts()).toHaveLength(10);
    const asked = alerts().flatMap(namesIn);
    expect(asked.filter(name => !known.has(name))).toEqual([]);
  });
});

/** Labels that an expression, or the legend of its lines, names and a series of it has not. */
function unknownLabels (expression, legend = '') {
  const split = text => text.split(',').map(label => label.trim()).filter(Boolean);
  const grouped = [...expression.matchAll(/\b(?:by|on|without) \(([^)]*)\)/g)]
    .flatMap(([, list]) => split(list));
  const shown = [...legend.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label);
  const ofAll = namesIn(expression).flatMap(name =>
    grouped.filter(label => !known.get(name)?.has(label)).map(label => `${name}.${label}`));
  const selected = [...expression.matchAll(/\b([a-z_]+)\{([^}]*)\}/g)].flatMap(([, name, list]) =>
    [...list.matchAll(/(\w+)\s*(?:=~|!=|=|!~)/g)].map(([, label]) => label)
      .filter(label => !known.get(name)?.has(label)).map(label => `${name}{${label}}`));
  return [...ofAll, ...selected, ...shown.filter(label => !grouped.includes(label))];
}

test('alerts and panels name labels that there are', () => {
  const { panels } = JSON.parse(read('grafana-dashboard.json'));
  const targets = panels.flatMap(panel => panel.targets ?? []);
  expect(targets.length).toBeGreaterThan(20);
  expect(targets.flatMap(({ expr, legendFormat }) => unknownLabels(expr, legendFormat)))
    .toEqual([]);
  expect(alerts().flatMap(expr => unknownLabels(expr))).toEqual([]);
  // It would find one.
  expect(unknownLabels('sum by (name) (rate(dlq_messages_total{chanel="x"}[5m]))', '{{kind}}'))
    .toEqual(['dlq_messages_total.name', 'dlq_messages_total{chanel}', 'kind']);
});

describe('the dashboard', () => {
  test('asks for metrics that there are, and each family is on it', () => {
    const asked = new Set(expressions().flatMap(namesIn));
    expect([...asked].filter(name => !known.has(name))).toEqual([]);
    const familyOf = name => name.replace(/_(bucket|sum|count)$/, '');
    const shown = new Set([...asked].map(familyOf));
    const families = [...new Set([...known.keys()].map(familyOf))];
    expect(families.length).toBeGreaterThan(20);
    const guide = fs.readFileSync(path.join(ROOT, 'docs', 'operations.md'), 'utf8');
    const [table] = /(?<=\| family \|.*\n)(\|.*\n)+/.exec(guide);
    expect([...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name).sort())
      .toEqual(families.toSorted());
    // The same as fallback_usage_total, without the reasons.
    expect(families.filter(name => !shown.has(name))).toEqual(['fallback_activations']);
  });

  test('is of the form that Grafana imports, for whatever data source one chooses', () => {
    const text = read('grafana-dashboard.json');
    const { id = null, uid, title, schemaVersion, panels, templating } = JSON.parse(text);
    expect({ id, uid, title }).toEqual({ id: null, uid: 'sekering', title: 'sekering' });
    expect(Number.isInteger(schemaVersion) && schemaVersion >= 36).toBe(true);
    // No uid but the dashboard's own and the variable's.
    expect(new Set(text.match(/"uid": *"[^"]*"/g)))
      .toEqual(new Set(['"uid": "sekering"', `"uid": "${SOURCE}"`]));
    const variables = templating.list.map(({ name }) => name);
    expect(templating.list.find(({ type }) => type === 'datasource')).toMatchObject({
      name: 'datasource', query: 'prometheus',
    });
    for (const [, name] of text.matchAll(/\$\{?(\w+)\}?/g)) {
      expect([...variables, '__rate_interval', '__all']).toContain(name);
    }
    for (const panel of panels) {
      expect(panel).toMatchObject({ id: expect.any(Number), title: expect.stringMatching(/./),
        type: expect.stringMatching(/^(row|stat|timeseries|state-timeline)$/) });
      if (panel.type === 'row') {
        expect(panel).toMatchObject({ collapsed: false, panels: [] });
        continue;
      }
      const datasource = { type: 'prometheus', uid: SOURCE };
      expect(panel).toMatchObject({
        datasource, fieldConfig: { defaults: expect.any(Object), overrides: expect.any(Array) },
      });
      const ids = panel.targets.map(({ refId }) => refId);
      expect(ids.length).toBeGreaterThan(0);
      expect(new Set(ids).size).toBe(ids.length);
      for (const target of panel.targets) expect(target.datasource).toEqual(datasource);
    }
    const [, metric, label] = /label_values\((\w+), (\w+)\)/.exec(text);
    expect(known.get(metric).has(label)).toBe(true);
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
