'use strict';

// The commands that measure a gateway: their options, and their parts of the page of results.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const RESULTS = path.join(__dirname, '..', 'GATEWAY-RESULTS.md');
// Where the second part begins.
const ATTACKS = '\n# Attacks\n';

/** The page's parts: the load, then the attacks. */
function partsOf (text) {
  const at = text.indexOf(ATTACKS);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at)];
}

/**
 * Measures, prints what came of it, and writes that part of the page if it is asked to.
 * @param {{ usage: string, numbers: Record<string, string>, part: 0 | 1,
 *   measure: (numbers: Record<string, number>) => Promise<object>,
 *   markdownOf: (found: object) => string }} command `numbers`: options and their defaults
 */
async function runCommand ({ usage, numbers, part, measure, markdownOf }) {
  const { values: { write, help, ...given } } = parseArgs({
    args: process.argv.slice(2),
    options: {
      ...Object.fromEntries(Object.entries(numbers).map(([name, value]) =>
        [name, { type: 'string', default: value }])),
      write: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (help) {
    process.stdout.write(usage);
    return;
  }
  const text = markdownOf(await measure(Object.fromEntries(Object.entries(given)
    .map(([name, value]) => [name, Number(value)]))));
  process.stdout.write(text);
  if (!write) return;
  const parts = partsOf(fs.readFileSync(RESULTS, 'utf8'));
  parts[part] = text;
  fs.writeFileSync(RESULTS, parts.join(''));
}

/** As runCommand; an error ends the process with status 1. */
function main (command) {
  runCommand(command).catch(error => {
    process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  });
}

module.exports = { main };
