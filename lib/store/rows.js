'use strict';

// Many rows as the parameters of one statement: one array for each column. A table of columns has,
// for each name, the type and a function that reads the value from an item.

/**
 * The rows as SQL. The limit drops none of them, but makes the planner expect few rows and so use
 * the indexes: a statement is planned once, mostly while its table is empty.
 * @param {Record<string, [string, Function]>} columns of which the first is text
 * @param {string} name of the rows in the statement
 * @param {number} [first] the number of the first parameter
 */
const rowsOf = (columns, name, first = 1) => `(SELECT * FROM unnest(${Object.values(columns)
  .map(([type], i) => `$${first + i}::${type}[]`).join(', ')}) LIMIT cardinality($${first}::text[]))
  AS ${name} (${Object.keys(columns).join(', ')})`;

/** The parameters: the items' values, one array for each column. */
const arraysOf = (columns, items) => Object.values(columns).map(([, read]) => items.map(read));

/** One item as a row. */
const rowOf = (columns, item) => Object.fromEntries(Object.entries(columns)
  .map(([name, [, read]]) => [name, read(item) ?? null]));

/** Items by a text: statements that lock rows in one sequence cannot deadlock. */
const sortedBy = (textOf, items) => [...items].sort((a, b) => (textOf(a) < textOf(b) ? -1 : 1));

module.exports = { arraysOf, rowOf, rowsOf, sortedBy };
