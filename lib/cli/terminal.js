'use strict';

// Text for terminals: colours, widths, tables, and a screen that is repainted in place.

const COLORS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };
const ESCAPES = /\x1b\[[0-9;?]*[A-Za-z]/g;
const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';

/** Functions that colour a text, or return it unchanged if colours are off. */
function palette (enabled) {
  const paint = code => text => (enabled ? `\x1b[${code}m${text}\x1b[0m` : String(text));
  return Object.fromEntries(Object.entries(COLORS).map(([name, code]) => [name, paint(code)]));
}

/** Whether `stream` is a terminal that can move its cursor. */
function isLive (stream, env = process.env) {
  return Boolean(stream.isTTY) && env.TERM !== 'dumb';
}

function wantsColor (stream, env = process.env) {
  return isLive(stream, env) && (env.NO_COLOR === undefined || env.NO_COLOR === '');
}

/** The columns that a text takes up. Our texts have no wide characters. */
function widthOf (text) {
  return text.replace(ESCAPES, '').length;
}

function padStart (text, width) {
  return ' '.repeat(Math.max(0, width - widthOf(text))) + text;
}

function padEnd (text, width) {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}

/** Cuts a text to `width` columns. Escapes after the cut stay, so that colours are closed. */
function clip (text, width) {
  if (widthOf(text) <= width) return text;
  let out = '';
  let columns = 0;
  for (const part of text.split(/(\x1b\[[0-9;?]*[A-Za-z])/)) {
    if (part.startsWith('\x1b')) out += part;
    else {
      const piece = part.slice(0, Math.max(0, width - columns));
      columns += piece.length;
      out += piece;
    }
  }
  return out;
}

// ---- Tables. What comes from outside cannot move the cursor or start a new line ----------------

const CELL_MAX = 60;

/** A text as one line of at most `max` characters. Control characters are removed. */
function plain (value, max = CELL_MAX) {
  if (value === null || value === undefined) return '-';
  const text = String(value).replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+/g,
    ' ');
  return text.length > max ? `${text.slice(0, max - 1)}…` : text;
}

/** A line for each row; '' without rows. Columns of numbers are aligned to the right. */
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

/** A duration in seconds, minutes, hours or days. */
function duration (ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

// ------------------------------------------------------------------------------------------------

/** Repaints a block of lines in place. */
class Screen {
  #stream;
  #height = 0;

  constructor (stream) {
    this.#stream = stream;
  }

  get columns () { return this.#stream.columns || 80; }
  get rows () { return this.#stream.rows || 24; }

  paint (lines) {
    const up = this.#height > 0 ? `\x1b[${this.#height}A` : HIDE_CURSOR;
    // A block taller than the terminal could not be repainted, so it is cut.
    const shown = lines.slice(0, this.rows - 1);
    const body = shown.map(line => `\r${clip(line, this.columns)}\x1b[K\n`).join('');
    this.#stream.write(`${up}${body}\x1b[J`);
    this.#height = shown.length;
  }

  /** Leaves the block where it is, and shows the cursor again. */
  end () {
    if (this.#height > 0) this.#stream.write(SHOW_CURSOR);
    this.#height = 0;
  }
}

module.exports = {
  Screen, duration, isLive, padEnd, padStart, palette, plain, table, wantsColor,
};
