'use strict';

// The shapes of text on which careless parsers are slow.

const upTo = (part, n) => part.repeat(Math.ceil(n / part.length)).slice(0, n);

// Repeated; those with a list begin, repeat and end.
const SHAPES = {
  spaces: ' ', tabs: '\t', lines: '\n', 'CR LF': '\r\n', letters: 'a', digits: '1', zeros: '0',
  commas: ',', dots: '.', dashes: '-', quotes: '"', backslashes: '\\', slashes: '/', ats: '@',
  semicolons: ';', equals: '=', percents: '%', 'percent escapes': '%25', angles: '<',
  ampersands: '&', parentheses: '(', brackets: '[', braces: '{',
  'pairs of brackets': '[]', 'escaped quotes': '\\"',
  'combining marks': 'e\u0301', surrogates: '\ud83d', 'pairs of surrogates': '\u{1f600}',
  'zero width': '\u200b', escapes: '\x1b[0m', 'half escapes': '\x1b[0;', nulls: '\0',
  addresses: 'a@b.example,', 'named addresses': '"a" <a@b.example>, ', labels: 'a@a.',
  'openings of tags': '{{', 'tags of spaces': `{{${' '.repeat(250)}}}`, sections: '{{#a}}',
  'closed sections': '{{#a}}{{/a}}', values: '{{a}}', 'three braces': '{{{a}}}', paths: '{{a.a.a}}',
  comments: '{{! a }}', 'sections on lines': '  {{#a}}  \n  {{/a}}  \n',
  durations: '1h', 'dots and digits': '1.', 'replies of relays': '550-5.7.1 a@b.example\r\n',
  'dates': 'Mon, 01 Jan 2026 ', 'credentials in URLs': 'https://a:b@', 'long names': ['', 'a', '@'],
  'an open quote': ['"', 'a\\', ''], 'an open angle': ['a <', ' ', ''],
  'spaces between words': ['a', ' ', 'b'], 'a bearer': ['Bearer', ' ', 'a'],
  'an open tag': ['{{', ' ', ''], 'a tag that is too long': ['{{', ' ', '}}'],
  'a signature': ['sha256=', 'a', '!'], 'a number': ['+62', '0', '!'],
};
const makerOf = shape => n => {
  const [first, part, last] = Array.isArray(shape) ? shape : ['', shape, ''];
  return first + upTo(part, n) + last;
};

// Templates that cost much for their length, with their data: loops over a long list, of a part
// that is repeated about as often as a template may have tags.
const TAGS_MAX = 9000;
const tagsIn = part => part.split('{{').length - 1;
const nested = depth => Array.from({ length: depth }).reduce(inside => ({ a: inside }), 'x');
const loopOf = (part, value, more) => n => {
  const times = Math.min(Math.floor(n / 2 / part.length), Math.floor(TAGS_MAX / tagsIn(part)));
  const l = new Array(Math.floor(n / 2 / JSON.stringify([value]).length)).fill(value);
  return { template: `{{#l}}${part.repeat(times)}{{/l}}`, data: { ...more, l } };
};
const LOOPS = {
  'long paths': loopOf(`{{${'a.'.repeat(126)}a}}`, 1, nested(127)),
  'long names': loopOf(`{{${'y'.repeat(255)}}}`, 1, { ['y'.repeat(255)]: 1 }),
  'names without a value': loopOf('{{y}}', 1), 'values': loopOf('{{a}}', 1, { a: 1 }),
  'items': loopOf('{{.}}', 'x'), 'empty items': loopOf('{{.}}', ''),
  'comments on lines': loopOf('{{!}}\n', 1), 'comments in a text': loopOf('{{!}}x', 1),
  'sections': loopOf('{{#l}}{{/l}}', 1), 'no sections': loopOf('{{^l}}{{/l}}', 1),
  'sections of items': loopOf('{{#.}}{{/.}}', 'x'),
};

module.exports = { LOOPS, SHAPES, makerOf };
