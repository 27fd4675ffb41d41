'use strict';

// Pages of lists. However many rows there are, and whatever is sought, a page looks at a bounded
// number of them and holds a bounded number of bytes: then it says where the next one begins.

const { is } = require('../base/options');

// Rows that a page looks at.
const LOOK = 10_000;
// A page with its content is not much larger than this.
const PAGE_BYTES = 16 * 1024 * 1024;

const timeOption = doc =>
  is.integer(`only those ${doc}, as of Date.now()`, { min: 0, max: 8.64e15, unit: 'ms' });

/**
 * A WHERE clause that is built part by part. Each ? in a part stands for a value of its own.
 * `within(text, ...values)`: a condition that an index serves, so what does not meet it is not
 * looked at. `sought(text, ...values)`: one that each row has to be looked at for.
 */
class Conditions {
  values = [];
  #within = [];
  #sought = [];

  #add (parts, text, values) {
    parts.push(text.replaceAll('?', () => this.value(values.shift())));
    return this;
  }

  /** @returns {string} what stands for this value */
  value (given) { return `$${this.values.push(given)}`; }
  within (text, ...values) { return this.#add(this.#within, text, values); }
  sought (text, ...values) { return this.#add(this.#sought, text, values); }

  /** Part of a text in one of these columns, whatever its case. */
  contains (search, ...columns) {
    if (search === undefined || search === '') return this;
    const like = this.value(`%${search.replace(/[\\%_]/g, '\\$&')}%`);
    return this.sought(`(${columns.map(column => `${column} ILIKE ${like}`).join(' OR ')})`);
  }

  get parts () { return { within: textOf(this.#within), sought: textOf(this.#sought) }; }
  /** All of them. */
  get text () { return textOf([...this.#within, ...this.#sought]); }
}

const textOf = parts => ['true', ...parts].join(' AND ');

/**
 * The statement that reads a page. All columns and conditions are of a row `o`.
 * @param {object} page
 * @param {string} page.table
 * @param {string} page.columns
 * @param {string[]} page.key the columns that the list is ordered by; the last is the rows' id
 * @param {Conditions} page.where
 * @param {number} page.limit
 * @param {'ASC' | 'DESC'} [page.direction] default: newest first
 * @param {string} [page.bytes] the size of a row: the page ends with the row with which it has
 *   PAGE_BYTES, so it has at least one if there is any
 */
function pageOf ({ table, columns, key, where, limit, direction = 'DESC', bytes }) {
  const id = key.at(-1);
  const order = (way = direction) => `ORDER BY ${key.map(name => `${name} ${way}`).join(', ')}`;
  const { within, sought } = where.parts;
  const looked = `FROM ${table} o WHERE ${within} ${order()}`;
  const shown = bytes === undefined ? 'TABLE page' : `SELECT * FROM (
      SELECT *, sum((${bytes})::bigint) OVER (${order()}) - (${bytes})::bigint AS bytes_before
      FROM page o
    ) o WHERE bytes_before < ${PAGE_BYTES}`;
  const text = `WITH page AS (
      SELECT * FROM (SELECT * ${looked} LIMIT ${LOOK}) o WHERE ${sought} ${order()} LIMIT ${limit}
    ), shown AS (${shown}), edge AS (
      SELECT CASE WHEN (SELECT count(*) FROM page) = ${limit}
        OR (SELECT count(*) FROM shown) < (SELECT count(*) FROM page)
      THEN (SELECT ${id} FROM shown ${order(direction === 'ASC' ? 'DESC' : 'ASC')} LIMIT 1)
      ELSE (SELECT ${id} ${looked} OFFSET ${LOOK - 1} LIMIT 1) END::text AS page_next
    )
    SELECT ${columns}, page_next, o.${id} IS NOT NULL AS page_row
    FROM edge LEFT JOIN shown o ON true ${order()}`;
  return { text, values: where.values };
}

/**
 * Reads a page, each row as `view` has it.
 * @returns {Promise<object[]>} `next` of the array: the id before which the next page begins, or
 *   undefined if there is none
 */
async function readPage (database, page, view = row => row) {
  const { rows } = await database.query(pageOf(page));
  const found = rows.filter(row => row.page_row)
    .map(({ page_next: next, page_row: isRow, ...row }) => view(row));
  return withNext(found, rows[0].page_next ?? undefined);
}

/** A list that has a `next`, which is no entry of it. */
const withNext = (rows, next) => Object.defineProperty(rows, 'next', { value: next });

module.exports = { Conditions, LOOK, readPage, timeOption, withNext };
