'use strict';

// `npm run test:fuzz`: gives hostile input to the core under AddressSanitizer and
// UndefinedBehaviorSanitizer; libFuzzer continues with the inputs that reach new code.
//
//   npm run test:fuzz                    a minute
//   npm run test:fuzz -- --seconds 3600  longer
//   npm run test:fuzz -- --keep          also keeps inputs that reach code that no other reaches
//
// A corpus is a file with one input per line, in base64. An input that breaks a promise is kept in
// test-results; to see it again, pass it to the fuzzer: build-fuzz/region_fuzz test-results/…

const { spawn, spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');

const { ROOT, prepare } = require('./setup');
const { runQuietly } = require('./tools');

const BUILD = path.join(ROOT, 'build-fuzz');
const CORPORA = path.join(ROOT, 'test', 'native', 'fuzz');
const RESULTS = path.join(ROOT, 'test-results', 'fuzz');
const SUBJECTS = ['breaker', 'region', 'ring'];
const INPUT_BYTES_MAX = 4096;
const KEPT_BYTES_MAX = 512;

const corpusOf = subject => path.join(CORPORA, `${subject}.corpus`);

function build () {
  return runQuietly('cmake', ['-B', BUILD, '-DCMAKE_CXX_COMPILER=clang++', '-DSEKERING_FUZZ=ON',
    '-DSANITIZE=address,undefined']) &&
    runQuietly('cmake', ['--build', BUILD, '--parallel', String(os.availableParallelism())]);
}

/** Writes the inputs of a corpus to a folder, as libFuzzer wants them. */
function expand (subject, folder) {
  fs.mkdirSync(folder, { recursive: true });
  for (const line of fs.readFileSync(corpusOf(subject), 'utf8').split('\n')) {
    if (line === '') continue;
    const name = createHash('sha1').update(line).digest('hex');
    fs.writeFileSync(path.join(folder, name), Buffer.from(line, 'base64'));
  }
}

/** Keeps a small set of short inputs that reaches the same code. */
function keep (subject, folder) {
  const smallest = `${folder}-smallest`;
  fs.mkdirSync(smallest);
  const { status } = spawnSync(path.join(BUILD, `${subject}_fuzz`),
    ['-merge=1', `-max_len=${KEPT_BYTES_MAX}`, smallest, folder], { stdio: 'ignore' });
  if (status !== 0) throw new Error(`The corpus of ${subject} could not be merged`);
  const lines = fs.readdirSync(smallest)
    .map(name => fs.readFileSync(path.join(smallest, name)).toString('base64'));
  fs.writeFileSync(corpusOf(subject), `${lines.sort().join('\n')}\n`);
}

/** Runs one fuzzer. Resolves with whether every promise was kept. */
function run (subject, folder, seconds) {
  const log = fs.openSync(path.join(RESULTS, `${subject}.log`), 'w');
  const fuzzer = spawn(path.join(BUILD, `${subject}_fuzz`), [
    `-max_total_time=${seconds}`, `-max_len=${INPUT_BYTES_MAX}`, '-print_final_stats=1',
    `-artifact_prefix=${RESULTS}/${subject}-`, folder
  ], { stdio: ['ignore', log, log] });
  return new Promise(resolve => {
    fuzzer.on('error', () => resolve(false));
    fuzzer.on('close', status => resolve(status === 0));
  });
}

async function main () {
  const { values } = parseArgs({
    options: { seconds: { type: 'string', default: '60' }, keep: { type: 'boolean' } },
  });
  prepare('test');
  fs.rmSync(RESULTS, { recursive: true, force: true });
  fs.mkdirSync(RESULTS, { recursive: true });
  const folders = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-fuzz-'));
  let failed = 0;
  try {
    if (!build()) throw new Error('The fuzzers could not be built');
    await Promise.all(SUBJECTS.map(async subject => {
      const folder = path.join(folders, subject);
      expand(subject, folder);
      const passed = await run(subject, folder, values.seconds);
      const log = fs.readFileSync(path.join(RESULTS, `${subject}.log`), 'utf8');
      const [, runs = 'no'] = /number_of_executed_units: (\d+)/.exec(log) ?? [];
      console.log(`${passed ? 'ok    ' : 'FAILED'} fuzz ${subject}: ${runs} inputs`);
      if (!passed) console.log(log.slice(-8000));
      failed += passed ? 0 : 1;
      if (passed && values.keep) keep(subject, folder);
    }));
  } finally {
    fs.rmSync(folders, { recursive: true, force: true });
  }
  const counts = { passed: SUBJECTS.length - failed, failed };
  fs.writeFileSync(path.join(RESULTS, 'fuzz.json'), JSON.stringify({
    numPassedTests: counts.passed, numFailedTests: counts.failed, numRuntimeErrorTestSuites: 0,
    testResults: [],
  }));
  if (failed > 0) process.exitCode = 1;
}

main();
