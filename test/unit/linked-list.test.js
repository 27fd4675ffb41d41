'use strict';

const { LinkedList } = require('../../lib/base/linked-list');

const node = name => ({ name, _previous: null, _next: null });

/** The names in the list, read forwards; read backwards they must be the same. */
function namesIn (list) {
  const [forwards, backwards] = [[], []];
  for (let at = list.first; at !== null; at = at._next) forwards.push(at.name);
  for (let at = list.last; at !== null; at = at._previous) backwards.unshift(at.name);
  expect(backwards).toEqual(forwards);
  return forwards.join('');
}

test('nodes stay in the order in which they were added', () => {
  const list = new LinkedList();
  expect(namesIn(list)).toBe('');
  for (const name of 'abc') list.add(node(name));
  expect(namesIn(list)).toBe('abc');
});

test.each([['a', 'bc'], ['b', 'ac'], ['c', 'ab']])('%s is removed from abc', (name, rest) => {
  const list = new LinkedList();
  const nodes = [...'abc'].map(node);
  for (const each of nodes) list.add(each);
  const removed = nodes.find(each => each.name === name);
  list.remove(removed);
  expect(namesIn(list)).toBe(rest);
  expect(removed).toEqual(node(name));
  list.add(removed);
  expect(namesIn(list)).toBe(rest + name);
});

test('the last node can be removed, and others be added', () => {
  const list = new LinkedList();
  const only = node('a');
  list.add(only);
  list.remove(only);
  expect(namesIn(list)).toBe('');
  list.add(node('b'));
  expect(namesIn(list)).toBe('b');
});
