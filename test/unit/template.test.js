'use strict';

// Templates come from outside: none of them may cost more than its length is worth.

const vm = require('node:vm');

const { fill } = require('../../lib/store/template');

const BYTES = 256 * 1024; // What the outbox takes at most.
const upTo = part => part.repeat(Math.ceil(BYTES / part.length)).slice(0, BYTES);

/** Ends what would take for ever, so that it fails and does not hang. */
const bounded = template =>
  vm.runInNewContext('fill(template, {})', { fill, template }, { timeout: 20_000 });

test.each([
  ['one place that is never closed, and spaces', `{{${upTo(' ')}`],
  ['places that are never closed', upTo('{{ a ')],
  ['names with spaces between, never closed', `{{${upTo('a ')}`],
  ['opening braces', upTo('{')],
  ['closing braces', upTo('}}')],
  ['braces in braces', upTo('{{ {')],
  ['half closed places', upTo('{{ a }')],
])('a template of 256 KiB of %s is a text as it stands', (_, template) => {
  expect(bounded(template) === template).toBe(true);
});

test('a value may be named often, until the text is too large', () => {
  const data = { a: 'x'.repeat(1000) };
  expect(fill('{{a}}'.repeat(1000), data)).toHaveLength(1_000_000);
  expect(() => fill('{{a}}'.repeat(1050), data)).toThrow(
    expect.objectContaining({ code: 'ERR_OUTBOX_TOO_LARGE' }));
});

test('a place of 256 KiB has a name without the spaces round it, which an error cuts', () => {
  const spaces = upTo(' ');
  expect(fill(`a{{${spaces}x${spaces}}}b`, { x: 1 })).toBe('a1b');
  expect(fill('{{{x}}} {{\n x\t}}', { x: 1 })).toBe('{1} 1');
  expect(() => bounded(`{{${spaces}}}`)).toThrow("The template's {{}} has no value");
  expect(() => fill(`{{${upTo('y')}}}`, {})).toThrow(expect.objectContaining({
    code: 'ERR_OUTBOX_TEMPLATE', message: expect.stringMatching(/^.{100,200}$/),
  }));
});
