'use strict';

// What a terminal can do, and text made for it: colours, widths, columns, repainting in place.

const COLORS = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };
const ESCAPES = /\x1b\[[0-9;?]*[A-Za-z]/g;
const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';

/** Functions that colour a text, or leave it alone where colours are not wanted. */
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

/** The columns that a text takes up. Ours hold no wide characters. */
function widthOf (text) {
  return text.replace(ESCAPES, '').length;
}

function padStart (text, width) {
  return ' '.repeat(Math.max(0, width - widthOf(text))) + text;
}

function padEnd (text, width) {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)));
}

/** Cuts a text to `width` columns, and closes a colour that was open at the cut. */
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
    // A block taller than the terminal could not be reached again, so it is cut.
    const shown = lines.slice(0, this.rows - 1);
    const body = shown.map(line => `\r${clip(line, this.columns)}\x1b[K\n`).join('');
    this.#stream.write(`${up}${body}\x1b[J`);
    this.#height = shown.length;
  }

  /** Leaves the block where it is and gives the cursor back. */
  end () {
    if (this.#height > 0) this.#stream.write(SHOW_CURSOR);
    this.#height = 0;
  }
}

module.exports = { palette, isLive, wantsColor, padStart, padEnd, clip, Screen };
