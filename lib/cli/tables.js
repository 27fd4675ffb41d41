'use strict';

// Tables for people. What comes from outside cannot move the cursor or start a new line.

const { padEnd, padStart } = require('./terminal');

const CELL_MAX = 60;

/** A text as one line without control characters, and of no more than `max` characters. */
function plain (value, max = CELL_MAX) {
  if (value === null || value === undefined) return '-';
  const text = String(value).replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g,
    ' ');
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}

/**
 * @param {string[]} titles
 * @param {Array<Array<unknown>>} rows numbers are set to the right
 * @returns {string} with a line for each row; '' without rows
 */
function table (titles, rows) {
  if (rows.length === 0) return '';
  const cells = rows.map(row => row.map(cell => plain(cell)));
  const isNumber = titles.map((_, i) => rows.every(row => typeof row[i] === 'number'));
  const widths = titles.map((title, i) =>
    Math.max(title.length, ...cells.map(row => row[i].length)));
  const line = row => row.map((cell, i) =>
    (isNumber[i] ? padStart : padEnd)(cell, widths[i])).join('  ').trimEnd();
  return [titles, ...cells].map(line).join('\n');
}

/** Seconds, minutes, hours or days, whatever is shortest. */
function duration (ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

module.exports = { duration, plain, table };
