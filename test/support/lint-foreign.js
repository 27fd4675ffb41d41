'use strict';

// A rule for ESLint: caught values, and parameters that hold errors, are foreign. They may be
// Proxies or have getters that throw, so they must be read through lib/base/foreign.js. Passing
// them on, comparing them and throwing them again are allowed, because that reads nothing.

const FOREIGN = /^(error|thrown|cause|rejected)$/;

const MESSAGE = '{{name}} is a foreign value, and looking at it may throw: read it with ' +
  'read(), isA(), textOf() or messageOf() of lib/base/foreign.js.';

/** Whether a use of a name reads members of its value. */
function looksInside (node) {
  const { parent } = node;
  switch (parent.type) {
    case 'MemberExpression':
      return parent.object === node && !isTarget(parent);
    case 'BinaryExpression':
      return (parent.operator === 'instanceof' && parent.left === node) ||
        (parent.operator === 'in' && parent.right === node) || parent.operator === '+';
    case 'TemplateLiteral':
    case 'SpreadElement':
      return true;
    case 'VariableDeclarator':
      return parent.init === node && parent.id.type !== 'Identifier';
    case 'CallExpression':
      return parent.arguments.includes(node) && /^(String|Number)$/.test(parent.callee.name);
    default:
      return false;
  }
}

/** `error.code = …` writes. */
const isTarget = member =>
  member.parent.type === 'AssignmentExpression' && member.parent.left === member;

/** Errors that the file creates itself are not foreign: `const error = new TypeError(…)`. */
function isForeign ({ defs: [definition] }) {
  if (definition === undefined) return false;
  if (definition.type === 'CatchClause') return true;
  return definition.type === 'Parameter' && FOREIGN.test(definition.name.name);
}

module.exports = {
  meta: { type: 'problem', schema: [], messages: { foreign: MESSAGE } },
  create (context) {
    const check = node => {
      for (const variable of context.sourceCode.getDeclaredVariables(node)) {
        if (!isForeign(variable)) continue;
        for (const { identifier } of variable.references) {
          if (!looksInside(identifier)) continue;
          context.report({
            node: identifier, messageId: 'foreign', data: { name: variable.name },
          });
        }
      }
    };
    return {
      CatchClause: check, FunctionDeclaration: check, FunctionExpression: check,
      ArrowFunctionExpression: check,
    };
  },
};
