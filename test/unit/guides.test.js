'use strict';

// The tables of the documentation name what the code has, and nothing else.

const fs = require('node:fs');
const path = require('node:path');
const ts = require('typescript');

const { CircuitBreaker } = require('../..');
const { OPTIONS } = require('../../lib/primitives/breaker-options');
const { presets, profiles, retryPresets } = require('../../lib/primitives/presets');
const { ROWS } = require('../bench/rows');
const { ROOT } = require('../support/setup');

const read = name => fs.readFileSync(path.join(ROOT, name), 'utf8');

/** The rows of the tables of a document, as arrays of cells, with the table's heading. */
function rowsOf (document) {
  let heading;
  let header;
  return read(document).split('\n').flatMap(line => {
    if (/^#+ /.test(line)) heading = line.replace(/^#+ /, '');
    if (!line.startsWith('|')) {
      header = undefined;
      return [];
    }
    const cells = line.slice(1, line.lastIndexOf('|')).split('|').map(cell => cell.trim());
    if (header === undefined) {
      header = cells;
      return [];
    }
    return /^[-:]+$/.test(cells[0]) ? [] : [{ heading, header, cells }];
  });
}

/** The names in backquotes of the first column of tables with this header. */
function namesIn (document, header) {
  return rowsOf(document).filter(row => row.header[0] === header)
    .flatMap(({ cells }) => [...cells[0].matchAll(/`([^`]+)`/g)].map(([, name]) => name));
}

const FOLDERS = {
  primitives: ['breaker', 'retry', 'limits', 'stale-cache', 'policy', 'chaos', 'hedge',
    'load-shedder'],
  clients: ['midtrans', 'smtp', 'whatsapp'],
  browser: ['auto-retry'],
  http: ['admin'],
};
const TYPES = Object.fromEntries(Object.entries(FOLDERS).flatMap(([folder, names]) =>
  names.map(name => [name, path.join(ROOT, 'lib', folder, `${name}.d.ts`)])));
const RESOLUTION = {
  module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
};
let program;

/** A type in a file, or what the file exports as a whole. */
function symbolOf (file, ...symbols) {
  program ??= ts.createProgram(Object.values(TYPES), RESOLUTION);
  const checker = program.getTypeChecker();
  let symbol = checker.getSymbolAtLocation(program.getSourceFile(TYPES[file]));
  for (const name of symbols) {
    symbol = checker.getExportsOfModule(symbol).find(exported => exported.name === name);
  }
  const whole = symbol.exports?.get('export=');
  return whole === undefined ? symbol : checker.getAliasedSymbol(whole);
}

function declaredOf (...names) {
  const symbol = symbolOf(...names);
  return program.getTypeChecker().getDeclaredTypeOfSymbol(symbol).getProperties();
}

/** The names of its properties, those that it inherits too. */
const propertiesOf = (...names) => declaredOf(...names).map(({ name }) => name);

/** The names of the members of a class that are ours, its listeners aside. */
const membersOf = (...names) => declaredOf(...names)
  .filter(({ name }) => name !== 'on' && name !== 'once')
  .filter(({ declarations: [first] }) =>
    Object.values(TYPES).includes(first.getSourceFile().fileName))
  .map(({ name }) => name);

describe('the breaker', () => {
  test('every option is in the guide and in the types', () => {
    const options = OPTIONS.names.toSorted();
    expect(options.length).toBeGreaterThan(40);
    const described = namesIn('docs/breaker.md', 'option')
      .filter(name => !['max', 'idleTtl'].includes(name)); // Those of groups.
    expect([...described, 'maxFailures'].toSorted()).toEqual(options);
    expect(propertiesOf('breaker', 'Options').toSorted()).toEqual(options);
  });

  test('every event is in the guide and in README', () => {
    const events = propertiesOf('breaker', 'Events').toSorted();
    expect(namesIn('docs/breaker.md', 'event').toSorted()).toEqual(events);
    expect(namesIn('README.md', 'event').toSorted()).toEqual(events);
  });

  test('every method and getter is in the guide', () => {
    const breaker = new CircuitBreaker(async () => {});
    const described = [...namesIn('docs/breaker.md', 'method'),
      ...namesIn('docs/breaker.md', 'getter')].map(name => name.replace(/\(.*$/, ''));
    const declared = propertiesOf('breaker')
      .filter(name => !name.startsWith('__') && !(name in Object.getPrototypeOf(
        Object.getPrototypeOf(Object.getPrototypeOf(breaker)))));
    expect(described.toSorted()).toEqual(declared.toSorted());
    breaker.shutdown();
  });

  test('every figure of the stats is in the guide', () => {
    expect(namesIn('docs/breaker.md', 'field').toSorted())
      .toEqual(Object.keys(new CircuitBreaker(async () => {}).stats).toSorted());
  });
});

describe('other options', () => {
  const namesUnder = (document, heading, column) => rowsOf(document)
    .filter(row => row.heading === heading && row.header[0] === column)
    .flatMap(({ cells }) => [...cells[0].matchAll(/`([^`]+)`/g)].map(([, name]) => name));

  test.each([
    ['docs/retry.md', 'Options', 'option', 'retry', 'RetryOptions'],
    ['docs/retry.md', 'A budget', 'option', 'limits', 'RetryBudgetOptions'],
    ['docs/policies.md', 'policy', 'part', 'policy', 'PolicyOptions'],
    ['docs/policies.md', 'staleCache', 'option', 'stale-cache', 'StaleCacheOptions'],
    ['docs/policies.md', 'hedge', 'option', 'hedge', 'HedgeOptions'],
    ['docs/policies.md', 'hedge', 'of a delay', 'hedge', 'HedgeDelay'],
    ['docs/policies.md', 'chaos', 'option', 'chaos', 'ChaosOptions'],
    ['docs/policies.md', 'chaos', 'of a fault', 'chaos', 'Fault'],
    ['docs/policies.md', 'LoadShedder', 'option', 'load-shedder', 'LoadShedderOptions'],
    ['docs/policies.md', 'Bulkhead', 'option', 'limits', 'BulkheadOptions'],
    ['docs/policies.md', 'AdaptiveLimiter', 'option', 'limits', 'AdaptiveLimiterOptions'],
    ['docs/policies.md', 'RateLimiter', 'option', 'limits', 'RateLimiterOptions'],
    ['docs/admin.md', 'Tokens', 'limit', 'admin', 'AdminRateLimit'],
  ])('%s, %s', (document, heading, column, file, type) => {
    expect(namesUnder(document, heading, column).toSorted())
      .toEqual(propertiesOf(file, type).toSorted());
  });
});

test('the equivalents of other libraries use options that exist', () => {
  const known = new Set([...OPTIONS.names, ...propertiesOf('retry', 'RetryOptions'),
    ...propertiesOf('stale-cache', 'StaleCacheOptions'), 'whenOpen']);
  const named = rowsOf('docs/migrating.md').filter(({ header }) => header[1] === 'ours')
    .flatMap(({ cells }) => [...cells[1].matchAll(/`([^`]+)`/g)])
    .flatMap(([, code]) => [...code.matchAll(/(\w+): /g)].map(([, name]) => name));
  expect(named.length).toBeGreaterThan(30);
  expect(named.filter(name => !known.has(name))).toEqual([]);
});

describe('the clients', () => {
  const sorted = names => [...new Set(names)].toSorted();
  const short = names => names.map(name => name.replace(/\(.*$/, ''));

  /** The names in tables with these headers: `{ 'method': … }`, without arguments. */
  const described = (document, ...headers) =>
    sorted(short(headers.flatMap(header => namesIn(document, header))));

  /** What the sources of a client match. */
  function codesOf (files, pattern) {
    const folder = path.join(ROOT, 'lib', 'clients');
    const sources = fs.readdirSync(folder).filter(name => files.test(name))
      .map(name => fs.readFileSync(path.join(folder, name), 'utf8'));
    return sorted(sources.flatMap(source => source.match(pattern) ?? []));
  }

  const optionsUnder = (document, heading) => sorted(rowsOf(document)
    .filter(row => row.heading === heading && row.header[0] === 'option')
    .flatMap(({ cells }) => [...cells[0].matchAll(/`([^`]+)`/g)].map(([, name]) => name)));

  test.each([
    ['docs/midtrans.md', 'Options', 'midtrans', 'MidtransOptions'],
    ['docs/smtp.md', 'Options', 'smtp', 'SmtpClientOptions'],
    ['docs/whatsapp.md', 'Options of both', 'whatsapp', 'WhatsAppChannelOptions'],
    ['docs/whatsapp.md', 'Options of SessionPool', 'whatsapp', 'SessionPoolOptions'],
    ['docs/browser.md', 'In the browser', 'auto-retry', 'AutoRetryOptions'],
  ])('%s: %s', (document, heading, file, type) => {
    expect(optionsUnder(document, heading)).toEqual(sorted(propertiesOf(file, type)));
  });

  test.each(['CloudApiClient', 'GreenApiClient'])('the options of %s', name => {
    const both = propertiesOf('whatsapp', 'WhatsAppChannelOptions');
    expect(optionsUnder('docs/whatsapp.md', `Options of ${name}`))
      .toEqual(sorted(propertiesOf('whatsapp', `${name}Options`).filter(o => !both.includes(o))));
  });

  test('the members and events of MidtransClient, and the functions beside it', () => {
    expect(described('docs/midtrans.md', 'method', 'member'))
      .toEqual(sorted(membersOf('midtrans', 'MidtransClient')));
    expect(described('docs/midtrans.md', 'event'))
      .toEqual(sorted(propertiesOf('midtrans', 'MidtransEvents')));
    const functions = Object.keys(require('../../lib/clients/midtrans'))
      .filter(name => !/^(Midtrans|Iris)/.test(name));
    expect(described('docs/midtrans.md', 'method of `IrisClient`', 'member'))
      .toEqual(sorted(membersOf('midtrans', 'IrisClient')));
    expect(described('docs/midtrans.md', 'function')).toEqual(sorted(functions));
  });

  test('the members, events, results and errors of SmtpClient', () => {
    expect(described('docs/smtp.md', 'member')).toEqual(sorted(membersOf('smtp', 'SmtpClient')));
    expect(described('docs/smtp.md', 'event')).toEqual(sorted(propertiesOf('smtp',
      'SmtpClientEvents')));
    expect(described('docs/smtp.md', 'field')).toEqual(sorted(propertiesOf('smtp', 'SmtpResult')));
    expect(described('docs/smtp.md', 'kind'))
      .toEqual(codesOf(/^smtp-errors/, /(?<=verdict\(')\w+|(?<=\? ')retry|(?<=: ')permanent/g));
  });

  test('the members of the WhatsApp clients, and their events', () => {
    const all = ['CloudApiClient', 'GreenApiClient', 'SessionPool']
      .flatMap(name => membersOf('whatsapp', name));
    expect(described('docs/whatsapp.md', 'method of both', 'of CloudApiClient',
      'of GreenApiClient', 'member'))
      .toEqual(sorted(all));
    const events = ['WhatsAppEvents', 'SessionPoolEvents']
      .flatMap(name => propertiesOf('whatsapp', name));
    expect(described('docs/whatsapp.md', 'event')).toEqual(sorted(events));
  });

  test('the errors of Midtrans and WhatsApp', () => {
    expect(described('docs/midtrans.md', 'code'))
      .toEqual(codesOf(/^midtrans/, /(?<=')ERR_MIDTRANS_\w+/g));
    const codes = codesOf(/^whatsapp/, /(?<=')ERR_(?:WHATSAPP|SESSION)_\w+/g);
    const guide = read('docs/whatsapp.md').match(/`ERR_(WHATSAPP|SESSION)_\w+/g);
    expect(sorted(guide.map(code => code.slice(1)))).toEqual(codes);
    expect(described('docs/whatsapp.md', 'trouble')).toEqual(sorted([...codesOf(
      /^whatsapp-session\./, /(?<=return '|\d{3}: '|set\(error, ')[a-z-]+/g)]));
  });

  test('every function of the browser piece', () => {
    const exported = read('lib/browser/auto-retry.js')
      .match(/(?<=^export (async )?function )\w+/gm);
    expect(described('docs/browser.md', 'function')).toEqual(sorted(exported));
  });
});

describe('figures', () => {
  /** The tables under a heading as { row: { column: value } }. */
  function figuresUnder (heading) {
    const figures = {};
    const tables = rowsOf('docs/presets.md').filter(row => row.header[1] !== 'for');
    for (const row of tables.filter(r => r.heading === heading)) {
      const name = row.cells[0].replaceAll('`', '');
      row.cells.slice(1).forEach((cell, i) => {
        if (cell === '') return;
        figures[name] ??= {};
        figures[name][row.header[i + 1].replaceAll('`', '')] = JSON.parse(cell.replaceAll('`', ''));
      });
    }
    return figures;
  }

  test('of the presets', () => {
    expect(figuresUnder('Breakers')).toEqual(presets);
    expect(figuresUnder('Retries')).toEqual(retryPresets);
  });

  test('each preset and profile has its purpose and the source of its figures', () => {
    const told = rowsOf('docs/presets.md').filter(row => row.header[1] === 'for');
    for (const [heading, table] of Object.entries({
      Breakers: presets, Retries: retryPresets, Profiles: profiles,
    })) {
      const rows = told.filter(row => row.heading === heading).map(({ cells }) => cells);
      expect(rows.map(([name]) => name.replaceAll('`', ''))).toEqual(Object.keys(table));
      for (const cells of rows) expect(cells.filter(cell => cell !== '')).toHaveLength(3);
    }
  });

  test('the time limits by profile', () => {
    const told = rowsOf('docs/presets.md')
      .filter(row => row.heading === 'Profiles' && row.header[1] === 'for')
      .map(({ cells }) => [...cells[2].matchAll(/\d+/g)].map(([seconds]) => seconds * 1000));
    const services = ['midtrans', 'smtp', 'whatsapp'];
    expect(told).toEqual(Object.values(profiles).map(({ breaker }) =>
      services.map(name => ({ ...presets[name], ...breaker }).timeout)));
  });

  test('of the profiles', () => {
    const given = figuresUnder('Profiles');
    for (const [name, { breaker, retry }] of Object.entries(profiles)) {
      expect(given[`${name}, breaker`]).toEqual(breaker);
      expect(given[`${name}, retry`]).toEqual(retry);
    }
    expect(Object.keys(given)).toHaveLength(2 * Object.keys(profiles).length);
  });

  test('of the gates in README are those of the benchmark', () => {
    const gate = id => ROWS.find(row => row.id === id).gate;
    const gates = rowsOf('README.md').filter(row => row.header[1] === 'gate')
      .flatMap(({ cells }) => [...cells[1].matchAll(/[\d.]+/g)].map(([figure]) => Number(figure)));
    expect(gates).toEqual(['closed.bare', 'closed.opossum', 'timeout.bare', 'timeout.opossum',
      'sync.bare', 'sync.opossum', 'open.opossum', 'failing.opossum', 'retry.bare',
      'retry.asyncRetry'].map(gate));
  });
});

test('docs/gateway.md names every setting of a configuration, and no other', () => {
  const { z } = require('zod');
  const { configSchema } = require('../../lib/gateway/config');
  const snake = name => name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
  // What a part has as a whole is told by the guide of that part.
  const WHOLE = /(^|\.)(circuit_breaker|tokens|features)$|^upstreams\.\*\.retry$/;
  const settings = (schema, path) => {
    const { properties, additionalProperties } = schema;
    if (WHOLE.test(path)) return [path];
    const below = name => (path === '' ? name : `${path}.${name}`);
    if (properties !== undefined) {
      return Object.entries(properties)
        .flatMap(([name, inner]) => settings(inner, below(snake(name))));
    }
    return additionalProperties ? settings(additionalProperties, below('*')) : [path];
  };
  const schema = z.toJSONSchema(configSchema, { unrepresentable: 'any', io: 'input' });
  // Those of one service are named where those of all are.
  const own = settings(schema, '').filter(path => !/^(?!retry\.).*circuit_breaker$/.test(path));
  expect(namesIn('docs/gateway.md', 'setting').sort()).toEqual(own.sort());
});

test('every code that an error of ours can have is in a guide', () => {
  // Users never see these: some are Node.js's own or become a cause, others become answers.
  const INNER = new Set(['ERR_BODY_ENCODING', 'ERR_BODY_TOO_LARGE', 'ERR_BUFFER_TOO_LARGE',
    'ERR_DLOPEN_DISABLED',
    'ERR_IDEMPOTENCY_ABANDONED', 'ERR_IDEMPOTENCY_SERVER_ERROR']);
  const files = fs.readdirSync(path.join(ROOT, 'lib'), { recursive: true })
    .filter(name => name.endsWith('.js'));
  const used = new Set(files.flatMap(name =>
    read(path.join('lib', name)).match(/(?<=')ERR_[A-Z_]+(?=')/g) ?? []));
  expect(used.size).toBeGreaterThan(60);
  const guides = ['README.md', ...fs.readdirSync(path.join(ROOT, 'docs'))
    .filter(name => name.endsWith('.md')).map(name => `docs/${name}`)];
  const told = new Set(guides.flatMap(name => read(name).match(/\bERR_[A-Z_]+/g) ?? []));
  expect([...used].filter(code => !told.has(code) && !INNER.has(code))).toEqual([]);
  expect([...INNER].filter(code => !used.has(code))).toEqual([]);
});

describe('the security guide', () => {
  const { readConfig } = require('../../lib/gateway');
  const GUIDE = 'docs/security.md';
  const sources = [
    'http/admin-auth', 'http/admin', 'http/app', 'http/events', 'http/refusals',
    'http/webhook-routes', 'store/payment-samples',
  ].map(name => read(`lib/${name}.js`)).join('\n');

  /** The value of a setting, a constant or an option, as the code has it. */
  function valueOf (name) {
    const [, section, setting] = /^(\w+)\.(\w+)$/.exec(name) ?? [];
    if (section !== undefined) {
      return readConfig()[section][setting.replace(/_(.)/g, (_, letter) => letter.toUpperCase())];
    }
    const constant = new RegExp(`^const ${name} = (?:\\{ limit: )?([\\d_]+)`, 'm');
    const option = new RegExp(`^  ${name}: (?:is\\.integer|limit)\\([^]*?default: ([\\d_]+)`, 'm');
    const [, digits] = constant.exec(sources) ?? option.exec(sources) ?? [];
    return Number(digits?.replaceAll('_', ''));
  }

  const limits = rowsOf(GUIDE).filter(({ heading }) => heading === 'Limits')
    .map(({ cells: [name, value] }) => [name.replaceAll('`', ''), Number(value)]);

  test.each(limits)('%s is %d', (name, value) => {
    expect(valueOf(name)).toBe(value);
  });

  test('says how long things are kept, and which setting decides', () => {
    expect(limits.length).toBeGreaterThan(10);
    const { schedule } = readConfig();
    expect(read(GUIDE)).toContain(`messages are kept ${schedule.retentionDays} days and the ` +
      `audit log ${schedule.auditRetentionDays}.`);
  });

  test('has each table of the store, and says how long its rows are kept', () => {
    const folder = path.join(ROOT, 'lib/store/sql');
    const sources = [read('lib/store/migrate.js'),
      ...fs.readdirSync(folder).map(name => read(`lib/store/sql/${name}`))];
    const tables = sources.flatMap(source => [...source.matchAll(
      /CREATE TABLE (?:IF NOT EXISTS\s+)?\$?\{[\w.]+\}\.(\w+) \(/g)].map(([, name]) => name));
    const kept = new Map(rowsOf(GUIDE).filter(({ heading }) => heading === 'What is kept')
      .flatMap(({ cells: [names, , time] }) =>
        [...names.matchAll(/`(\w+)`/g)].map(([, name]) => [name, time])));
    expect([...kept.keys()].toSorted()).toEqual(tables.toSorted());
    // These ages are no settings of the gateway.
    const retention = read('lib/store/retention.js');
    const daysOf = name => new RegExp(`^  ${name}: age\\(.*, (\\d+) \\* DAY_MS\\)`, 'm')
      .exec(retention)[1];
    expect(kept.get('operator_notes')).toBe(`${daysOf('notes')} days`);
    expect(kept.get('service_minutes')).toBe(`${daysOf('minutes')} days`);
  });
});
