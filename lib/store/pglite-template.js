'use strict';

// An empty database to start from. Making one takes PGlite many seconds and most of a gigabyte, so
// it is made once per user and version, and kept, packed, in the cache folder.

const { randomUUID } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Worker, parentPort } = require('node:worker_threads');
const { gunzipSync, gzipSync } = require('node:zlib');

// Changes whenever `make` makes something else.
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
    // There is none, or a damaged one, which will be replaced.
    return undefined;
  }
}

/** Writes all or nothing. When there is no place for it, every start takes long. */
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

/** Makes one in a thread of its own, so that its memory is freed with the thread. */
function makeInThread () {
  return new Promise((resolve, reject) => {
    const worker = new Worker(__filename, { execArgv: [] });
    worker.once('message', tar => resolve(Buffer.from(tar.buffer, tar.byteOffset, tar.length)));
    worker.once('error', reject);
  });
}

async function make () {
  const { PGlite } = require('@electric-sql/pglite');
  const pglite = await PGlite.create();
  // No databases are made from these two. Without an autovacuum they would only age, until the
  // server stops because its transaction numbers are about to wrap around.
  for (const name of ['template0', 'template1']) {
    await pglite.exec(`ALTER DATABASE ${name} IS_TEMPLATE false`);
    await pglite.exec(`DROP DATABASE ${name}`);
  }
  await pglite.exec('VACUUM (FREEZE, ANALYZE)');
  await pglite.exec('CHECKPOINT');
  const blob = await pglite.dumpDataDir('none');
  const tar = new Uint8Array(await blob.arrayBuffer());
  parentPort.postMessage(tar, [tar.buffer]);
}

/** @returns {Promise<Buffer>} a tar archive of a database's folder */
async function loadTemplate () {
  const file = cacheFile();
  const cached = file && readCache(file);
  if (cached !== undefined) return cached;
  const tar = await makeInThread();
  if (file !== undefined) writeCache(file, tar);
  return tar;
}

const textOf = bytes => bytes.toString('utf8', 0, bytes.indexOf(0) >>> 0);

/** The entries `{ name, content }` of the archive. Folders come first, and have no content. */
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
 * Unpacks it beside the target, which it is then renamed to: whenever the process is killed, there
 * is a whole database or none.
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

// As the entry of a thread, and not when the thread of PGlite loads this.
if (parentPort !== null && require.main === module) make();
