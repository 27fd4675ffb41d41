'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { summary } = require('../measure');

const ROOT = path.join(__dirname, '..', '..', '..');
const CORE = path.join(ROOT, 'native', 'core');
const PROGRAM = path.join(ROOT, 'test', 'bench', 'native', 'record.cc');

/** Compiles the program as the addon is compiled, and runs it. */
function measured (rounds) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-bench-'));
  try {
    const program = path.join(folder, 'record');
    const sources = fs.readdirSync(CORE).filter(file => file.endsWith('.cc'))
      .map(file => path.join(CORE, file));
    execFileSync('g++', ['-std=c++20', '-O3', '-DNDEBUG', '-fno-exceptions', '-fno-rtti',
      '-I', path.join(ROOT, 'native'), '-o', program, PROGRAM, ...sources, '-pthread']);
    return execFileSync(program, [String(rounds)], { encoding: 'utf8' }).trim().split('\n')
      .map(line => line.split(' ').map(Number));
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

async function run ({ quick }) {
  const rounds = measured(quick ? 10 : 50);
  const compared = column => ({
    ...summary(rounds.map(round => round[2] / round[column])),
    aNs: summary(rounds.map(round => round[2])).value,
    bNs: summary(rounds.map(round => round[column])).value
  });
  return { 'native.record': compared(0), 'native.single': compared(1) };
}

module.exports = { run };
