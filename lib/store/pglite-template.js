'use strict';

// An empty database to start from. Making one takes PGlite many seconds and most of a gigabyte, so
// it is made once per user and version, and kept, packed, in the folder for caches.

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { gunzipSync, gzipSync } = require('node:zlib');

// Changes whenever what is made here does.
const REVISION = 1;

const BLOCK = 512;
const FOLDER = '5';
const FILE = '0';

/** Undefined for a user without a home. */
function cacheFolder () {
  try {
    return process.env.XDG_CACHE_HOME || path.join(os.homedir(), '.cache');
  } catch {
    return undefined;
  }
}

function cacheFile () {
  const folder = cacheFolder();
  if (folder === undefined) return undefined;
  const entry = require.resolve('@electric-sql/pglite');
  const manifest = path.join(path.dirname(entry), '..', 'package.json');
  const { version } = JSON.parse(fs.readFileSync(manifest, 'utf8'));
  return path.join(folder, 'sekering', `pglite-${version}-${REVISION}.tar.gz`);
}

function readCache (file) {
  try {
    return gunzipSync(fs.readFileSync(file));
  } catch {
    // There is none, or a damaged one, which the next one replaces.
    return undefined;
  }
}

/** Puts it there whole or not at all. Without a place for it every start takes long. */
function writeCache (file, tar) {
  const draft = `${file}.${randomUUID()}`;
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(draft, gzipSync(tar));
    fs.renameSync(draft, file);
  } catch {
    fs.rmSync(draft, { force: true });
  }
}

/** Makes one in a thread of its own, so that the memory goes with the thread. */
function make () {
  return new Promise((resolve, reject) => {
    const worker = new Worker(path.join(__dirname, 'pglite-initdb.js'), { execArgv: [] });
    worker.once('message', tar => resolve(Buffer.from(tar.buffer, tar.byteOffset, tar.length)));
    worker.once('error', reject);
  });
}

/** @returns {Promise<Buffer>} a tar archive of a database's folder */
async function loadTemplate () {
  const file = cacheFile();
  const cached = file && readCache(file);
  if (cached !== undefined) return cached;
  const tar = await make();
  if (file !== undefined) writeCache(file, tar);
  return tar;
}

const textOf = bytes => bytes.toString('utf8', 0, bytes.indexOf(0) >>> 0);

/** What is in the archive: `{ name, content }`, folders before what is in them and without one. */
function* entriesOf (tar) {
  for (let at = 0; at + BLOCK <= tar.length && tar[at] !== 0;) {
    const name = textOf(tar.subarray(at, at + 100));
    const size = parseInt(tar.toString('latin1', at + 124, at + 136), 8);
    const prefix = textOf(tar.subarray(at + 345, at + 500));
    const type = String.fromCharCode(tar[at + 156]);
    const full = path.posix.join('/', prefix, name).replace(/\/$/, '');
    at += BLOCK;
    if (type === FOLDER && full !== '') yield { name: full };
    if (type === FILE || type === '\0') yield { name: full, content: tar.subarray(at, at + size) };
    at += Math.ceil(size / BLOCK) * BLOCK;
  }
}

function sync (file) {
  const descriptor = fs.openSync(file, 'r');
  try {
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/**
 * Unpacks it on disk, beside the target and then renamed: after any kill there is either a whole
 * database or none.
 */
function unpack (tar, target) {
  const draft = `${target}.${randomUUID()}`;
  fs.mkdirSync(draft, { mode: 0o700 });
  const folders = [draft];
  for (const { name, content } of entriesOf(tar)) {
    const file = path.join(draft, name);
    if (content === undefined) {
      fs.mkdirSync(file, { mode: 0o700, recursive: true });
      folders.push(file);
    } else {
      fs.writeFileSync(file, content, { mode: 0o600, flush: true });
    }
  }
  folders.forEach(sync);
  fs.renameSync(draft, target);
  sync(path.dirname(target));
}

module.exports = { entriesOf, loadTemplate, unpack };
