#!/usr/bin/env node
'use strict';

// The benchmark: `npm run bench`. Every figure that sekering promises, beside what was measured.

const fs = require('node:fs');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { merged } = require('./measure');
const { forkGroup } = require('./processes');
const { headOf, isLost, textTable, lossesOf, markdownOf, machineOf } = require('./report');
const { ROWS, verdictOf } = require('./rows');

const RESULTS = path.join(__dirname, 'RESULTS.md');

const USAGE = `Usage: npm run bench -- [options]

  --only ID    rows whose id begins with ID, as in closed or closed.bare (may be repeated)
  --quick      fewer and shorter rounds
  --json       print one JSON object
  --gate       exit with 1 when a gate is missed
  --write      write the table to test/bench/RESULTS.md
  --cpu-prof   write a CPU profile of each group to the current directory
  --help       print this

Rows: ${ROWS.map(row => row.id).join(' ')}
`;

const OPTIONS = {
  only: { type: 'string', multiple: true },
  quick: { type: 'boolean' },
  json: { type: 'boolean' },
  gate: { type: 'boolean' },
  write: { type: 'boolean' },
  'cpu-prof': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' }
};

/** The results of a group by row id; short groups run in several processes in turn. */
async function groupResults (group, given) {
  const { processes = 1 } = require(`./groups/${group}`);
  const runs = [];
  for (let i = 0; i < (given.options.quick ? 1 : processes); i++) {
    runs.push(await forkGroup(group, given));
  }
  return Object.fromEntries(Object.keys(runs[0]).map(id => [id, merged(runs.map(r => r[id]))]));
}

async function measured (rows, { quick = false, 'cpu-prof': profile = false }, progress) {
  const options = quick ? { quick, rounds: 15, warmMs: 150 } : { quick, rounds: 30, warmMs: 300 };
  const extraFlags = profile ? ['--cpu-prof'] : [];
  const outcomes = [];
  for (const group of new Set(rows.map(row => row.group))) {
    progress(group);
    let results = {};
    let error;
    try {
      results = await groupResults(group, { options, extraFlags });
    } catch (cause) {
      error = cause.message;
    }
    for (const row of rows.filter(r => r.group === group)) {
      const result = results[row.id];
      outcomes.push({
        row, result, verdict: verdictOf(row, result?.value),
        error: error ?? (result === undefined ? 'no result' : undefined)
      });
    }
  }
  return outcomes;
}

function jsonOf (outcomes, versions) {
  return JSON.stringify({
    machine: machineOf(),
    versions,
    rows: outcomes.map(({ row, result, verdict, error }) => ({ ...row, ...result, verdict, error }))
  }, null, 2);
}

async function main (args) {
  const { values } = parseArgs({ args, options: OPTIONS });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const rows = ROWS.filter(({ id }) => values.only?.some(o => id.startsWith(o)) ?? true);
  if (rows.length === 0) throw new TypeError(`No row begins with ${values.only.join(' or ')}`);
  const { versions } = require('./subjects');
  const progress = group => process.stderr.write(values.json ? '' : `measuring ${group} …\n`);
  const outcomes = await measured(rows, values, progress);
  const print = lines => process.stdout.write(`${lines.join('\n')}\n`);
  if (values.json) print([jsonOf(outcomes, versions())]);
  else print([...headOf(versions()), '', ...textTable(outcomes), '', ...lossesOf(outcomes)]);
  if (values.write) fs.writeFileSync(RESULTS, markdownOf(outcomes, versions()));
  return values.gate && outcomes.some(isLost) ? 1 : 0;
}

main(process.argv.slice(2)).then(code => { process.exitCode = code; }, error => {
  process.stderr.write(`${error.message}\n\n${USAGE}`);
  process.exitCode = 2;
});
