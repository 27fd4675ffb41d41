'use strict';

const stylistic = require('@stylistic/eslint-plugin');
const regexp = require('eslint-plugin-regexp');
const globals = require('globals');

const foreignReads = require('./test/support/lint-foreign');

const correctness = {
  'array-callback-return': 'error',
  'consistent-return': 'off',
  'default-case-last': 'error',
  'dot-notation': 'error',
  eqeqeq: ['error', 'always', { null: 'ignore' }],
  'new-cap': ['error', { capIsNew: false }],
  'no-array-constructor': 'error',
  'no-caller': 'error',
  'no-constant-condition': ['error', { checkLoops: false }],
  'no-dupe-keys': 'error',
  'no-else-return': 'error',
  'no-empty': 'error',
  'no-eval': 'error',
  'no-fallthrough': 'error',
  'no-implied-eval': 'error',
  'no-inner-declarations': 'error',
  'no-loss-of-precision': 'error',
  'no-new-wrappers': 'error',
  'no-promise-executor-return': 'off',
  'no-redeclare': 'error',
  'no-self-assign': 'error',
  'no-self-compare': 'error',
  'no-sequences': 'error',
  'no-shadow-restricted-names': 'error',
  'no-template-curly-in-string': 'error',
  'no-undef': 'error',
  'no-unmodified-loop-condition': 'error',
  'no-unreachable': 'error',
  'no-unsafe-finally': 'error',
  'no-unsafe-negation': 'error',
  'no-unused-expressions': ['error', { allowShortCircuit: true, allowTernary: true }],
  'no-unused-vars': ['error', {
    args: 'after-used', caughtErrors: 'none', ignoreRestSiblings: true,
  }],
  'no-use-before-define': ['error', { functions: false, classes: false, variables: false }],
  'no-useless-return': 'error',
  'no-var': 'error',
  'object-shorthand': 'error',
  'prefer-const': ['error', { destructuring: 'all' }],
  'prefer-promise-reject-errors': 'off',
  'prefer-spread': 'error',
  radix: 'off',
  strict: ['error', 'global'],
  'use-isnan': 'error',
  'valid-typeof': 'error',
  yoda: 'error',
};

const style = {
  'arrow-spacing': 'error',
  'block-spacing': 'error',
  'brace-style': ['error', '1tbs', { allowSingleLine: true }],
  'comma-dangle': ['error', 'only-multiline'],
  'comma-spacing': 'error',
  'comma-style': 'error',
  'dot-location': ['error', 'property'],
  'eol-last': 'error',
  'function-call-spacing': 'error',
  indent: ['error', 2, {
    SwitchCase: 1, ignoredNodes: ['TemplateLiteral *', 'ConditionalExpression'],
  }],
  'key-spacing': 'error',
  'keyword-spacing': 'error',
  'max-len': ['error', { code: 100 }],
  'no-extra-semi': 'error',
  'no-floating-decimal': 'error',
  'no-mixed-operators': 'off',
  'no-multi-spaces': ['error', { ignoreEOLComments: true }],
  'no-multiple-empty-lines': ['error', { max: 1, maxBOF: 0, maxEOF: 0 }],
  'no-tabs': 'error',
  'no-trailing-spaces': 'error',
  'object-curly-spacing': ['error', 'always'],
  quotes: ['error', 'single', { avoidEscape: true, allowTemplateLiterals: 'avoidEscape' }],
  semi: 'error',
  'semi-spacing': 'error',
  'space-before-blocks': 'error',
  'space-before-function-paren': ['error', 'always'],
  'space-in-parens': 'error',
  'space-infix-ops': 'error',
  'space-unary-ops': 'error',
  'spaced-comment': 'error',
};

module.exports = [
  { ignores: ['**/build/', 'build-*/', 'prebuilds/', 'coverage/', 'test-results/', '**/*.d.ts'] },
  {
    files: ['**/*.js'],
    languageOptions: { ecmaVersion: 2024, sourceType: 'commonjs', globals: globals.node },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    plugins: { stylistic },
    rules: {
      ...correctness,
      ...Object.fromEntries(Object.entries(style).map(([k, rule]) => [`stylistic/${k}`, rule])),
    },
  },
  {
    files: ['lib/**/*.js'],
    rules: { 'max-lines-per-function': ['error', { max: 70 }] },
  },
  {
    // In a page and in a terminal there is no call of the user's that could be left unsettled.
    files: ['lib/**/*.js'],
    ignores: ['lib/base/foreign.js', 'lib/browser/**', 'lib/http/dashboard/**', 'lib/cli/**'],
    plugins: { foreign: { rules: { reads: foreignReads } } },
    rules: { 'foreign/reads': 'error' },
  },
  {
    files: ['lib/**/*.js'],
    ignores: ['lib/browser/**', 'lib/http/dashboard/**', 'lib/cli/**'],
    rules: {
      'no-restricted-syntax': ['error', {
        selector: 'MemberExpression[property.name="reason"][object.name=/ignal$/]',
        message: 'Read it with reasonOf() of lib/base/foreign.js: it may throw.',
      }, {
        selector: 'MemberExpression[property.name=/^(then|catch|finally)$/] > ' +
          'CallExpression.object[callee.object.name="Promise"][callee.property.name="resolve"]',
        message: 'Use promiseOf() of lib/base/foreign.js: the value may be a hostile promise.',
      }],
    },
  },
  {
    // Texts come from outside, and may be hostile: no expression takes more than linear time.
    files: ['lib/**/*.js'],
    plugins: { regexp },
    rules: {
      'regexp/no-super-linear-backtracking': ['error', { report: 'potential' }],
      'regexp/no-super-linear-move': ['error', { report: 'potential', ignorePartial: false }],
    },
  },
  {
    files: ['lib/browser/**/*.js', 'lib/http/dashboard/**/*.js', 'lib/cli/demo/page/**/*.js'],
    languageOptions: { sourceType: 'module', globals: globals.browser },
  },
  { files: ['**/*.mjs'], languageOptions: { sourceType: 'module', globals: globals.node } },
  { files: ['test/**/*.js'], languageOptions: { globals: globals.jest } },
];
