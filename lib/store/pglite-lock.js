'use strict';

// One process per folder: PGlite itself would let two of them write over each other.
//
// A lock is a file `lock.<n>` that says who has it. Whoever finds that the owner of the highest
// number is gone makes the next number, by one step that fails if another was faster, and owns the
// folder unless there is a higher number still by then. The highest number is never removed, so
// that numbers never come back and a slow competitor cannot mistake an old state for the present.

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

const { StoreError } = require('./store-errors');

const FILE = /^lock\.(\d+)$/;

// Processes of another container cannot be looked at. They show by touching their file that they
// live, as does every owner.
const BEAT_MS = 1000;
const SILENCE_MS = 10_000;
const LOOK_MS = 100;

function read (file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** What the kernel tells of a process after its name, which may have anything in it. */
function statOf (pid) {
  const stat = read(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** When it began, in a unit of the kernel's own: its id may be another's by now. */
const beginOf = pid => statOf(pid)[19] ?? '';

/** Whether it has died and only its parent does not know, none of its threads being left. */
function isZombie (pid) {
  return statOf(pid)[0] === 'Z' && fs.readdirSync(`/proc/${pid}/task`).length <= 1;
}

/** What tells apart the worlds in which process ids are given. */
function world () {
  let namespace = '';
  try {
    namespace = fs.readlinkSync('/proc/self/ns/pid');
  } catch {
    // Only Linux has it.
  }
  return { host: os.hostname(), boot: read('/proc/sys/kernel/random/boot_id').trim(), namespace };
}

const self = () => ({ ...world(), pid: process.pid, begin: beginOf(process.pid) });

function isRunning ({ pid, begin }) {
  try {
    process.kill(pid, 0);
    if (isZombie(pid)) return false;
  } catch (error) {
    if (error.code !== 'EPERM') return false;
  }
  return beginOf(pid) === begin;
}

function parse (text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Whether the owner touches the file; it takes a while to tell that it does not. */
async function isTouched (file) {
  const touchedAt = () => fs.statSync(file).mtimeMs;
  try {
    const first = touchedAt();
    while (Date.now() - first < SILENCE_MS) {
      await sleep(LOOK_MS);
      if (touchedAt() !== first) return true;
    }
  } catch {
    // It has been removed, as there is a newer one.
  }
  return false;
}

async function isHeld (file) {
  const owner = parse(read(file));
  // An owner that gave it back has left no name.
  if (owner?.pid === undefined) return false;
  const here = world();
  const isSameHost = owner.host === here.host;
  if (isSameHost && owner.boot !== here.boot) return false;
  // Containers have names of their own, on one kernel; other systems do not tell of either.
  const isSameKernel = owner.boot === here.boot && (here.boot !== '' || isSameHost);
  if (isSameKernel && owner.namespace === here.namespace) return isRunning(owner);
  return isTouched(file);
}

/** The highest number there is, 0 if none. */
function latest (directory) {
  return Math.max(0, ...numbers(directory));
}

const numbers = directory =>
  fs.readdirSync(directory).flatMap(name => FILE.exec(name)?.slice(1).map(Number) ?? []);

/** Makes a file with all its content at once; false if it is there already. */
function claim (file, content) {
  const draft = `${file}.${randomUUID()}`;
  fs.writeFileSync(draft, content, { flag: 'wx' });
  try {
    fs.linkSync(draft, file);
    return true;
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
    return false;
  } finally {
    fs.unlinkSync(draft);
  }
}

class DirectoryLock {
  #file;
  #beat;

  constructor (file) {
    this.#file = file;
    this.#beat = setInterval(() => {
      const now = new Date();
      // A folder that has been removed meanwhile needs no lock.
      fs.utimes(file, now, now, () => {});
    }, BEAT_MS).unref();
  }

  release () {
    clearInterval(this.#beat);
    try {
      fs.writeFileSync(this.#file, '{}');
    } catch {
      // As above.
    }
  }
}

/**
 * @param {string} directory that exists
 * @returns {Promise<DirectoryLock>}
 * @throws {StoreError} ERR_STORE_DIRECTORY_LOCKED
 */
async function lockDirectory (directory) {
  const at = number => path.join(directory, `lock.${number}`);
  while (true) {
    const last = latest(directory);
    if (last > 0 && await isHeld(at(last))) throw locked(directory, parse(read(at(last))));
    if (!claim(at(last + 1), JSON.stringify(self()))) continue;
    if (latest(directory) !== last + 1) {
      fs.rmSync(at(last + 1), { force: true });
      continue;
    }
    for (const number of numbers(directory)) {
      if (number <= last) fs.rmSync(at(number), { force: true });
    }
    return new DirectoryLock(at(last + 1));
  }
}

function locked (directory, owner) {
  const who = owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host}`;
  return new StoreError('ERR_STORE_DIRECTORY_LOCKED',
    `The folder ${directory} is in use by ${who}: an embedded store has one process. ` +
    'Close it there, or use PostgreSQL', { retryable: true });
}

module.exports = { lockDirectory };
