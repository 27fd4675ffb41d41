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

module.exports = { SHAPES, makerOf };
