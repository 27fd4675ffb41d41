'use strict';

// Templates come from outside: none of them may cost more than its length is worth.

const vm = require('node:vm');

const mustache = require('mustache');

const { fill, fillHtml } = require('../../lib/store/template');
const { LOOPS } = require('../support/hostile-text');
const { Dice } = require('../support/random');

const BYTES = 256 * 1024; // What the outbox takes at most.
const upTo = part => part.repeat(Math.ceil(BYTES / part.length)).slice(0, BYTES);

/** Ends what would take for ever, so that it fails and does not hang. */
const bounded = (template, data) =>
  vm.runInNewContext('fill(template, data)', { fill, template, data }, { timeout: 60_000 });

const thrownBy = work => {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('Nothing was thrown');
};

describe('values', () => {
  const data = {
    name: 'Ann', customer: { name: 'Bo', tags: ['x', 'y'] }, zero: 0, no: false, yes: true,
    empty: '', none: null, items: [{ name: 'Tea', price: 5 }, { name: 'Rice', price: 7 }],
  };

  test.each([
    ['Hi {{name}}', 'Hi Ann'], ['{{ name }}', 'Ann'], ['{{\n name\t}}', 'Ann'],
    ['{{customer.name}}', 'Bo'], ['{{customer.tags.1}}', 'y'],
    ['{{zero}}{{no}}{{empty}}', '0false'],
    ['{{{name}}} {{&name}}', 'Ann Ann'], ['a {x}} { } }}', 'a {x}} { } }}'],
    ['a{{! of no use }}b', 'ab'], ['', ''], [' \n\n ', ' \n\n '],
    ['{{#items}}{{name}}: {{price}} for {{customer.name}}\n{{/items}}',
      'Tea: 5 for Bo\nRice: 7 for Bo\n'],
    ['{{#items}}\n- {{name}}\n{{/items}}\nend', '- Tea\n- Rice\nend'],
    ['{{#customer.tags}}{{.}};{{/customer.tags}}', 'x;y;'],
    ['{{#customer}}{{name}} and {{zero}}{{/customer}}', 'Bo and 0'],
    ['{{#yes}}Y{{/yes}}{{^no}}N{{/no}}{{#nothing}}-{{/nothing}}{{^nothing}}0{{/nothing}}', 'YN0'],
  ])('%j gives %j', (template, text) => {
    expect(fill(template, data)).toBe(text);
  });

  test('are escaped in HTML but not in text, whatever others set in the library', () => {
    const { escape, tags } = mustache;
    const own = { x: '<b a="1" c=\'2\'>&amp;' };
    try {
      mustache.escape = text => text;
      mustache.tags = ['<%', '%>'];
      expect(fill('{{x}} 1 < 2', own)).toBe(`${own.x} 1 < 2`);
      expect(fillHtml('<p title="{{x}}">{{{x}}}</p>', own)).toBe(
        `<p title="&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;">${own.x}</p>`);
    } finally {
      Object.assign(mustache, { escape, tags });
    }
  });

  test.each([
    ['{{first}} {{name}} {{customer.last}} {{first}}',
      "The template's {{first}}, {{customer.last}} have no value"],
    ['{{none}}', "The template's {{none}} has no value"],
    ['{{}}', "The template's {{}} has no value"], ['{{ }}', "The template's {{}} has no value"],
    ['{{constructor.constructor}}', /\{\{constructor.constructor\}\} has no value$/],
    ['{{__proto__}}{{name.length}}{{customer.toString}}', /__proto__.*name.length.*toString.*no v/],
    ['{{#items}}{{color}}{{/items}}', "The template's {{color}} has no value"],
    ['{{customer}}', "The template's {{customer}} is not text"],
    ['{{.}}', "The template's {{.}} is not text"],
  ])('that do not exist are named: %s', (template, message) => {
    expect(thrownBy(() => fill(template, data))).toMatchObject({
      code: 'ERR_OUTBOX_TEMPLATE', retryable: false,
      message: typeof message === 'string' ? message : expect.stringMatching(message),
    });
  });

  test('come from any JSON', () => {
    expect(fill('{{.}}', 'x')).toBe('x');
    expect(fill('{{0}}{{1.a}}', ['x', { a: 'y' }])).toBe('xy');
    for (const other of [undefined, null, 5, 'x', []]) {
      expect(thrownBy(() => fill('{{a}}', other)).message).toContain('{{a}} has no value');
    }
  });
});

describe('invalid templates are rejected', () => {
  test.each([
    ['Hi {{name', /\{\{ at character 4 is never closed/],
    ['{{name}}{{', /at character 9 is never closed/],
    ['{{ {name}}', /\{\{\{ that is never closed/],
    ['{{{name}} x }}}', /\{\{\{ that is never closed/],
    ['{{#a}}', /sections do not match: \{\{#a\}\} is never closed$/],
    ['{{/a}}', /sections do not match: \{\{\/a\}\} ends none$/],
    ['{{#a}}{{#b}}{{/a}}{{/b}}', /sections do not match: \{\{#b\}\} is ended by \{\{\/a\}\}$/],
    ['{{=<% %>=}}<%a%>', /changes the delimiters/], ['{{ =| |= }}', /changes the delimiters/],
    ['{{> /etc/passwd}}', /includes another template/], ['{{ >x }}', /includes another template/],
    [`{{${'x'.repeat(256)}}}`, /more than 255 characters/],
    ['{{a}}'.repeat(10_001), /has more than 10000 tags$/],
    [`${'{{#a}}'.repeat(33)}${'{{/a}}'.repeat(33)}`, /is nested more than 32 sections deep/],
  ])('%#', (template, message) => {
    expect(thrownBy(() => fill(template, { a: 1, name: 'x' }))).toMatchObject({
      code: 'ERR_OUTBOX_TEMPLATE', message: expect.stringMatching(message),
    });
  });
});

test('are read as the library reads them', () => {
  const parts = ['{{a}}', '{{ a}}', '{{{a}}}', '{{ { a }}}', '{{&a}}', '{{#t}}', '{{/t}}',
    '{{# l }}', '{{/l}}', '{{^f}}', '{{/ f}}', '{{.}}', '{{! a }}', '{{!}}', ' ', '\t', '\n',
    '\r\n', '\u00a0', 'x', '{ ', '}', '}}', '\n\n  '];
  const data = { a: '<y>', t: true, f: false, l: ['1', '2'] };
  const dice = new Dice(7);
  let read = 0;
  for (let i = 0; i < 20_000; i++) {
    const inner = () => Array.from({ length: dice.below(6) }, () => dice.pick(parts)).join('');
    const section = dice.pick(['t', 'l', 'f']);
    const kind = section === 'f' ? '^' : '#';
    const template = `${inner()}{{${kind}${section}}}${inner()}{{/${section}}}${inner()}`;
    let expected;
    try {
      expected = mustache.render(template, data, {}, { escape: text => text });
    } catch {
      expect(thrownBy(() => fill(template, data)).code).toBe('ERR_OUTBOX_TEMPLATE');
      continue;
    }
    // The library writes the whole data as text.
    if (expected.includes('[object Object]')) continue;
    read++;
    expect([template, fill(template, data)]).toEqual([template, expected]);
  }
  expect(read).toBeGreaterThan(1000);
});

describe('templates of 256 KiB', () => {
  const list = Array.from({ length: 1000 }, (_, i) => i);
  const data = { a: 'x', l: list };

  test.each([
    ['one place that is never closed, and spaces', `{{${upTo(' ')}`, 'TEMPLATE'],
    ['places that are never closed', upTo('{{ a '), 'TEMPLATE'],
    ['names with spaces between, never closed', `{{${upTo('a ')}`, 'TEMPLATE'],
    ['opening braces', upTo('{'), 'TEMPLATE'],
    ['closing braces', upTo('}}'), undefined],
    ['braces in braces', upTo('{{ {'), 'TEMPLATE'],
    ['half closed places', upTo('{{ a }'), 'TEMPLATE'],
    ['a name of spaces', `{{a${upTo(' ')}b}}`, 'TEMPLATE'],
    ['names with spaces, closed', `{{a${' '.repeat(250)}b}}`.repeat(1000), 'TEMPLATE'],
    ['three braces, and spaces', `{{{a}}${upTo(' ')}`, 'TEMPLATE'],
    ['delimiters, and spaces', `{{= ${upTo(' ')}`, 'TEMPLATE'],
    ['sections that are never closed', upTo('{{#a}}'), 'TEMPLATE'],
    ['sections one after another', '{{#a}}{{/a}}'.repeat(5000), undefined],
    ['one section more', '{{#a}}{{/a}}'.repeat(5001), 'TEMPLATE'],
    ['lines', upTo('\n'), undefined], ['spaces in lines', upTo(`${' '.repeat(1000)}\n`), undefined],
    ['places', '{{a}}'.repeat(10_000), undefined], ['more places', upTo('{{a}}'), 'TEMPLATE'],
    ['loops in loops', '{{#l}}'.repeat(20) + '{{/l}}'.repeat(20), 'TOO_LARGE'],
    ['loops that write nothing', '{{#l}}{{/l}}'.repeat(5000), 'TOO_LARGE'],
  ])('%s cost no more than others', (_, template, code) => {
    if (code === undefined) {
      expect(typeof bounded(template, data)).toBe('string');
    } else {
      expect(thrownBy(() => bounded(template, data)).code).toBe(`ERR_OUTBOX_${code}`);
    }
  });

  test.each(Object.entries(LOOPS))('a long loop of %s ends', (_, make) => {
    const { template, data: own } = make(2 * BYTES);
    for (const how of [fill, fillHtml]) {
      expect(thrownBy(() => how(template, own))).toMatchObject({
        code: 'ERR_OUTBOX_TOO_LARGE', message: expect.stringContaining('at most 100000 steps'),
      });
    }
  });

  test('stay unchanged without tags', () => {
    for (const part of ['x', '}}', '\n', ' \n ', '{ }']) {
      expect(bounded(upTo(part), {}) === upTo(part)).toBe(true);
    }
  });
});

test('a value may be named often, until the text is too large', () => {
  const data = { a: 'x'.repeat(1000) };
  expect(fill('{{a}}'.repeat(1000), data)).toHaveLength(1_000_000);
  for (const [how, times] of [[fill, 1050], [fillHtml, 300]]) {
    const own = { a: '<'.repeat(1000) };
    expect(thrownBy(() => how('{{a}}'.repeat(times), own)).code).toBe('ERR_OUTBOX_TOO_LARGE');
  }
});

test('each part of a name is a step', () => {
  const data = { l: new Array(1000).fill(1), a: { b: { c: 'x' } } };
  const loop = (name, times) => `{{#l}}${`{{${name}}}`.repeat(times)}{{/l}}`;
  // A turn is a step; so is each look beyond the item, and each part.
  expect(fill(loop('a.b.c', 24), data)).toHaveLength(24_000);
  expect(thrownBy(() => fill(loop('a.b.c', 25), data)).message).toContain('steps');
});

test('an error shows the beginning of a long name', () => {
  expect(thrownBy(() => fill(`{{${'y'.repeat(255)}}}`, {})).message).toMatch(/^.{100,200}$/);
});
