'use strict';

const { LruMap } = require('../../lib/base/lru');

test('what was not used for the longest time makes room', () => {
  const map = new LruMap(2);
  map.set('a', 1);
  map.set('b', 2);
  expect(map.get('a')).toBe(1);
  map.set('c', 3);
  expect(['a', 'b', 'c'].map(key => map.get(key))).toEqual([1, undefined, 3]);
  map.delete('a');
  map.set('d', 4);
  expect(['a', 'c', 'd'].map(key => map.get(key))).toEqual([undefined, 3, 4]);
});

test('sizes add up to the limit, also when a value is replaced; what is larger is not kept', () => {
  const map = new LruMap(5, text => text.length);
  map.set(1, 'abc');
  map.set(1, 'abcd');
  map.set(2, 'e');
  expect([map.get(1), map.get(2)]).toEqual(['abcd', 'e']);
  map.set(3, 'fg');
  expect([map.get(1), map.get(2), map.get(3)]).toEqual([undefined, 'e', 'fg']);
  map.set(2, 'too long');
  expect([map.get(2), map.get(3)]).toEqual([undefined, 'fg']);
});
