'use strict';

// One process per folder: PGlite itself would let two of them overwrite each other's data.
//
// A lock is a file `lock.<n>` that names its owner. A process that finds that the owner of the
// highest number is gone makes the next number, in one step that fails if another was faster. It
// owns the folder unless there is a still higher number by then. The highest number is never
// removed, so that numbers never come back, and a slow competitor cannot mistake an old state for
// the present.

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

const { read } = require('../base/foreign');
const { StoreError } = require('./store-errors');

const FILE = /^lock\.(\d+)$/;

// We cannot see the processes of another container. So every owner touches its file to show that it
// is alive.
const BEAT_MS = 1000;
const SILENCE_MS = 10_000;
const LOOK_MS = 100;
// An owner that has not touched its file for this long may have lost the folder.
const DOUBT_MS = SILENCE_MS / 2;

function readText (file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** The fields of a process in /proc that come after its name, which may contain anything. */
function statOf (pid) {
  const stat = readText(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** When it started, in the kernel's own unit: its id may belong to another process by now. */
const beginOf = pid => statOf(pid)[19] ?? '';

/** Whether it has died, with all its threads, and its parent has not noticed yet. */
function isZombie (pid) {
  return statOf(pid)[0] === 'Z' && fs.readdirSync(`/proc/${pid}/task`).length <= 1;
}

/** Where our process ids are valid. */
function world () {
  let namespace = '';
  try {
    namespace = fs.readlinkSync('/proc/self/ns/pid');
  } catch {
    // Only Linux has it.
  }
  const boot = readText('/proc/sys/kernel/random/boot_id').trim();
  return { host: os.hostname(), boot, namespace };
}

const self = () => ({ ...world(), pid: process.pid, begin: beginOf(process.pid) });

function isRunning ({ pid, begin }) {
  try {
    process.kill(pid, 0);
    if (isZombie(pid)) return false;
  } catch (error) {
    if (read(error, 'code') !== 'EPERM') return false;
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

/** Whether the owner touches the file. It takes a while to be sure that it does not. */
async function isTouched (file) {
  const touchedAt = () => fs.statSync(file).mtimeMs;
  try {
    const first = touchedAt();
    while (Date.now() - first < SILENCE_MS) {
      await sleep(LOOK_MS);
      if (touchedAt() !== first) return true;
    }
  } catch {
    // It has been removed because there is a newer one.
  }
  return false;
}

async function isHeld (file) {
  const owner = parse(readText(file));
  // An owner that released it has removed its name.
  if (owner?.pid === undefined) return false;
  const here = world();
  const isSameHost = owner.host === here.host;
  if (isSameHost && owner.boot !== here.boot) return false;
  // Containers on one kernel have host names of their own. Systems without /proc tell neither.
  const isSameKernel = owner.boot === here.boot && (here.boot !== '' || isSameHost);
  if (isSameKernel && owner.namespace === here.namespace) return isRunning(owner);
  return isTouched(file);
}

const numbers = directory =>
  fs.readdirSync(directory).flatMap(name => FILE.exec(name)?.slice(1).map(Number) ?? []);

/** The highest number, 0 if there is none. */
const latest = directory => Math.max(0, ...numbers(directory));

const fileOf = (directory, number) => path.join(directory, `lock.${number}`);

/** Makes a file, with its whole content, in one step; false if there is one already. */
function claim (file, content) {
  const draft = `${file}.${randomUUID()}`;
  fs.writeFileSync(draft, content, { flag: 'wx' });
  try {
    fs.linkSync(draft, file);
    return true;
  } catch (error) {
    if (read(error, 'code') !== 'EEXIST') throw error;
    return false;
  } finally {
    fs.unlinkSync(draft);
  }
}

class DirectoryLock {
  #directory;
  #number;
  #file;
  #beat;
  #touchedAt = Date.now();
  #isLost = false;
  /** Called once if another process has taken the folder, because this one was suspended. */
  onLost = () => {};

  constructor (directory, number) {
    this.#directory = directory;
    this.#number = number;
    this.#file = fileOf(directory, number);
    this.#beat = setInterval(() => this.#touch(), BEAT_MS).unref();
  }

  /**
   * Whether another process has taken the folder. If this process has not touched the lock for
   * long, because it was suspended, this looks at the lock file first. Otherwise two processes
   * could overwrite each other's data.
   */
  get isLost () {
    if (Math.abs(Date.now() - this.#touchedAt) > DOUBT_MS) this.#look();
    return this.#isLost;
  }

  #touch () {
    const now = new Date();
    fs.utimes(this.#file, now, now, error => {
      if (error === null) this.#touchedAt = now.getTime();
      else this.#look();
    });
  }

  #look () {
    let last;
    try {
      const now = new Date();
      last = latest(this.#directory);
      if (last === this.#number) fs.utimesSync(this.#file, now, now);
      this.#touchedAt = now.getTime();
    } catch {
      return; // The folder has been removed, and then needs no lock.
    }
    if (last <= this.#number || this.#isLost) return;
    this.#isLost = true;
    clearInterval(this.#beat);
    this.onLost();
  }

  /** The error for calls after the folder was lost. */
  get error () {
    const file = fileOf(this.#directory, latest(this.#directory));
    return locked(this.#directory, parse(readText(file)));
  }

  release () {
    clearInterval(this.#beat);
    if (this.#isLost) return;
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
  const at = number => fileOf(directory, number);
  while (true) {
    const last = latest(directory);
    if (last > 0 && await isHeld(at(last))) throw locked(directory, parse(readText(at(last))));
    if (!claim(at(last + 1), JSON.stringify(self()))) continue;
    if (latest(directory) !== last + 1) {
      fs.rmSync(at(last + 1), { force: true });
      continue;
    }
    for (const number of numbers(directory)) {
      if (number <= last) fs.rmSync(at(number), { force: true });
    }
    return new DirectoryLock(directory, last + 1);
  }
}

function locked (directory, owner) {
  const who = owner === undefined ? 'another process' : `process ${owner.pid} on ${owner.host}`;
  if (owner?.pid === process.pid && owner.host === os.hostname()) {
    return new StoreError('ERR_STORE_DIRECTORY_LOCKED',
      `This process uses the folder ${directory}: a store is open, or was closed while a sender ` +
      'or work under an idempotency key still runs');
  }
  return new StoreError('ERR_STORE_DIRECTORY_LOCKED',
    `The folder ${directory} is in use by ${who}: an embedded store is for one process. ` +
    'Close it there, or use PostgreSQL');
}

module.exports = { lockDirectory };
