'use strict';

// The text files of the project, for tests that look at the source itself.

const fs = require('node:fs');
const path = require('node:path');

const { ROOT, listFiles } = require('./setup');

const SKIP = ['.git', 'node_modules', 'build', 'prebuilds', 'test-results', 'coverage',
  'build-native', 'build-asan', 'build-tsan', 'build-fuzz'];
const TEXT = /\.(js|mjs|cjs|ts|mts|cts|cc|h|gyp|gypi|json|md|txt|html|css|sql|toml|yml|svg)$/;

const filesOfProject = () => listFiles(ROOT, SKIP);

/** Every text file as { name, text, lines }; `name` is its path from the root with slashes. */
function readSources () {
  return filesOfProject()
    .map(file => ({ file, name: path.relative(ROOT, file).replaceAll(path.sep, '/') }))
    .filter(({ name }) => TEXT.test(name) || name.startsWith('.ci/'))
    .map(({ file, name }) => {
      const text = fs.readFileSync(file, 'utf8');
      return { name, text, lines: text.replace(/\n$/, '').split('\n') };
    });
}

/** C++ text with comments and the inside of strings blanked out; line breaks stay. */
function blankCpp (text) {
  return text.replace(/\/\/.*|\/\*[^]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+'/g,
    match => match.replace(/[^\n]/g, ' '));
}

/**
 * The functions of a C++ file with their length, by matching braces: a block whose head has a
 * parameter list and which is inside no other such block.
 * @returns {{ line: number, length: number }[]}
 */
function cppFunctions (text) {
  const functions = [];
  const open = [];
  let line = 1;
  let head = '';
  for (const character of blankCpp(text).replace(/^#.*/gm, '')) {
    if (character === '\n') line++;
    if (character === '{') {
      const isFunction = head.includes('(') && !/^\s*(class|struct|enum|namespace)\b/.test(head);
      open.push({ line, isFunction: isFunction && !open.some(block => block.isFunction) });
    }
    if (character === '}') {
      const block = open.pop();
      if (block?.isFunction) functions.push({ line: block.line, length: line - block.line + 1 });
    }
    head = '{};'.includes(character) ? '' : head + character;
  }
  return functions;
}

module.exports = { filesOfProject, readSources, cppFunctions };
