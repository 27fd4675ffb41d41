'use strict';

// Regions: the files in memory through which the threads of a process, or the processes of a host,
// share breakers and limits. Scope, namespace and name lead all of them to the same place. This
// module knows where regions are, who may use them, and what their errors mean.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { getSystemErrorName } = require('node:util');

const { SekeringError, invalidOption } = require('./errors');
const { read } = require('./foreign');
const native = require('./native');
const { is } = require('./options');
const { warn } = require('./warn');

const NAME_BYTES_MAX = 255;
const OTHERS_WRITE = 0o022;
const PRIVATE = 0o700;
const STICKY = 0o1000;
// RegionError::kOtherDescription of native/core/region_file.h.
const OTHER_OPTIONS = -101;
// The parts of a file's name: home (user, process namespace and boot), layout, the process if only
// one uses the region, namespace. Participants of files whose layout begins with v1 hold the locks
// that removeUnusedRegion() expects.
const FILE = new RegExp([
  /^(?<home>sekering-(?<uid>\d+)-\d+-[\da-f]*-)(?<layout>v1\.[\da-f]{8})/,
  /-(?:host|p(?<pid>\d+)\.(?<start>\d+))-(?<namespace>[A-Za-z0-9._-]{1,64})/,
  /(?<unfinished>~\w{6})?$/,
].map(({ source }) => source).join(''));
// A release that adds nothing for that long begins with new regions when it is used again.
const RELEASE_ENDS_MS = 24 * 3_600_000;
// Sockets by which participants wake each other: see Doorbell::kPrefix of native/core/doorbell.h.
const BELL = /^sekering-bell-[\da-f]{16}$/;
// With the name of a socket, a path must fit into an address. Some systems have 103 bytes for it.
const FOLDER_BYTES_MAX = 72;
const NAMESPACE = /^[A-Za-z0-9._-]{1,64}$/;
// The same for all processes, whatever TMPDIR and HOME say.
const TEMPORARY = '/tmp';
const PLACES = {
  linux: () => ['/dev/shm', TEMPORARY, `/run/user/${user()}`],
  // It empties its temporary folders of files that have not been used for three days.
  darwin: () => [...homes().map(home => path.join(home, 'Library', 'Caches')), TEMPORARY],
};

// By RegionError of native/core/region_file.h and CreateError of native/core/breakers.h.
const FAILURES = {
  1: ['ERR_REGION_SYSTEM', 'cannot be opened'],
  2: ['ERR_REGION_CORRUPT', 'is damaged'],
  3: ['ERR_REGION_FOREIGN', 'belongs to another user, or is not a plain file, and is not used'],
  4: ['ERR_REGION_PARTICIPANTS', 'already has 256 participants (threads), the maximum'],
  5: ['ERR_REGION_FULL', 'is full: it has room for 6,144 names, or for fewer whose windows have ' +
    'more than 10 buckets'],
  6: ['ERR_REGION_NO_SPACE', 'cannot grow: there is no space left where it is'],
  7: ['ERR_NAME_TAKEN', 'uses this name for something of another kind'],
  102: ['ERR_REGION_MEMORY', 'has a place for it, but this process has no memory for its part']
};
const ERRNO_FROM = 1000;

// The name of a runtime that stands in for Node.js.
const { bun, deno } = process.versions;
const runtime = (bun && 'Bun') ?? (deno && 'Deno') ??
  (native.engine === 'wasm' ? 'WebAssembly' : undefined);

/** Whether scopes other than 'instance' work. WebAssembly has neither files nor sockets. */
const canShare = ['linux', 'darwin', 'win32'].includes(process.platform) &&
  (runtime === undefined || (bun !== undefined && native.engine === 'native'));

// The functions of libuv that watch a bell end Bun. There a timer looks whether it has rung.
const isWatched = runtime === undefined;
const LOOK_MS = 25;
// Not that of a test's clock.
const { setInterval } = globalThis;

/** Whether regions are files. On Windows they are memory with a name, which ends with its users. */
const hasFiles = canShare && process.platform !== 'win32';

/** The error for what a native function returned in place of a handle. */
function failure (answer, file) {
  const errno = -answer - ERRNO_FROM;
  const [code, what] = FAILURES[errno > 0 ? 1 : -answer];
  const why = errno > 0 ? ` (${getSystemErrorName(-errno)})` : '';
  return new SekeringError(code, `The shared region ${file} ${what}${why}`);
}

/** Native code compares the same id with the owners of files. */
const user = () => process.geteuid?.() ?? 0;

/**
 * Where regions are: a folder of this user's own, so that no other user can take the names of its
 * files. It is chosen once, so that all regions of a process are in one place. The choice depends
 * on nothing that differs between the processes of a user, unless the user sets SEKERING_REGIONS.
 */
function directory () {
  return (native.regionDirectory ??= chosenDirectory() ?? defaultDirectory());
}

/** The user's home, if the system knows one. */
function homes () {
  try {
    return [os.userInfo().homedir];
  } catch {
    return [];
  }
}

const ownFolder = place => path.join(place, `sekering-${user()}`);

function defaultDirectory () {
  if (!hasFiles) return '';
  const places = PLACES[process.platform]();
  const faults = [];
  for (const place of places) {
    const fault = faultOfPlace(place);
    if (fault === undefined) {
      native.regionFaults = faults;
      return ownFolder(place);
    }
    faults.push(fault);
  }
  throw new SekeringError('ERR_REGION_SYSTEM', 'There is no place for shared regions: ' +
    `${faults.join('; ')}. Set SEKERING_REGIONS to a folder of this user`);
}

/** Makes the user's own folder in a place, unless it exists. Returns why that is impossible. */
function faultOfPlace (place) {
  const status = statusOf(place);
  if (!status?.isDirectory()) return `${place} is no folder`;
  if (!isSafe(status)) return `other users can replace files in ${place}`;
  const folder = ownFolder(place);
  if (Buffer.byteLength(folder) > FOLDER_BYTES_MAX) return `the path ${folder} is too long`;
  const unwritable = `${place} cannot be written to`;
  const made = attempt(folder, () => fs.mkdirSync(folder, PRIVATE));
  if (!['', 'EEXIST'].includes(made)) return unwritable;
  let isOwn = false;
  const opened = attempt(folder, () => { isOwn = makePrivate(folder); });
  if (!isOwn || opened !== '') return `${folder} is not a folder of this user`;
  return isWritable(folder) ? undefined : unwritable;
}

// What is wrong with the place, for every process of the user. Other faults, such as too many open
// files, are those of one process: if it went elsewhere, it would share nothing with the others.
const FAULTS_OF_PLACE = new Set(
  ['EACCES', 'EDQUOT', 'EEXIST', 'ELOOP', 'ENOENT', 'ENOSPC', 'ENOTDIR', 'EPERM', 'EROFS']);

/** Returns the code of the fault that a place has, or ''. */
function attempt (folder, work) {
  try {
    work();
    return '';
  } catch (error) {
    const code = read(error, 'code');
    if (FAULTS_OF_PLACE.has(code)) return code;
    throw new SekeringError('ERR_REGION_SYSTEM',
      `The folder of shared regions ${folder} cannot be opened (${code})`);
  }
}

/** Whether a folder is this user's. Then nobody else may use it afterwards. */
function makePrivate (folder) {
  const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } = fs.constants;
  const fd = fs.openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    const { uid, mode } = fs.fstatSync(fd);
    if (uid !== user()) return false;
    if ((mode & 0o777) !== PRIVATE) fs.fchmodSync(fd, PRIVATE);
    return true;
  } finally {
    fs.closeSync(fd);
  }
}

function statusOf (folder) {
  try {
    return fs.statSync(folder);
  } catch {
    return undefined;
  }
}

function isWritable (folder) {
  try {
    fs.accessSync(folder, fs.constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** Whether no other user can replace our files in a folder. */
const isSafe = ({ uid, mode }) => (uid === user() || uid === 0) &&
  ((mode & OTHERS_WRITE) === 0 || (mode & STICKY) !== 0);

/** The folder that the user has set, or in it, if others may write there, a folder of our own. */
function chosenDirectory () {
  const { SEKERING_REGIONS: chosen } = process.env;
  if (!chosen) return undefined;
  const status = statusOf(chosen);
  const isFit = path.isAbsolute(chosen) && status?.isDirectory() && isWritable(chosen);
  if (!isFit) {
    throw new SekeringError('ERR_REGION_SYSTEM', `SEKERING_REGIONS is ${chosen}: expected the ` +
      'absolute path of a folder that this process can write to');
  }
  if (!isSafe(status)) {
    throw new SekeringError('ERR_REGION_FOREIGN', `SEKERING_REGIONS is ${chosen}: expected a ` +
      'folder of this user in which no other user can replace files (mode 0700)');
  }
  const isPrivate = status.uid === user() && (status.mode & OTHERS_WRITE) === 0;
  const folder = isPrivate ? chosen : ownFolder(chosen);
  if (Buffer.byteLength(folder) > FOLDER_BYTES_MAX) {
    throw new SekeringError('ERR_REGION_SYSTEM', `SEKERING_REGIONS is ${chosen}: expected a ` +
      `shorter path (that of the regions, ${folder}, has more than ${FOLDER_BYTES_MAX} bytes)`);
  }
  const fault = isPrivate ? undefined : faultOfPlace(chosen);
  if (fault === undefined) return folder;
  throw new SekeringError('ERR_REGION_FOREIGN', `SEKERING_REGIONS is ${chosen}, but ${fault}`);
}

/** Warns once if the regions are not where they usually are. */
function reportDirectory () {
  const faults = native.regionFaults ?? [];
  if (faults.length === 0) return;
  const folder = directory();
  process.emitWarning(`Breakers with scope 'host' are shared through files in ${folder}, ` +
    `because ${faults.join(' and ')}. Processes that see another ${path.dirname(folder)} ` +
    '(for example services with PrivateTmp) do not share them. Set SEKERING_REGIONS to a folder ' +
    'in memory that all of them see', { type: 'SekeringWarning', code: 'SEKERING_REGIONS' });
}

/** The prefix of all regions that can be shared here. */
const prefix = () => `sekering-${user()}-${native.hostName()}-`;

function checkNamespace (namespace) {
  if (typeof namespace !== 'string' || !NAMESPACE.test(namespace)) {
    throw invalidOption('namespace', 'at most 64 letters, digits, dots, dashes or underscores',
      namespace);
  }
  return namespace;
}

const layout = () => native.regionLayout();

function fileOf (scope, namespace) {
  const owner = scope === 'process'
    ? `p${process.pid}.${native.startOfProcess(process.pid)}`
    : 'host';
  const name = `${prefix()}${layout()}-${owner}-${namespace}`;
  return hasFiles ? path.join(directory(), name) : name;
}

/**
 * Removes the files of processes that have died, sockets included, and files without participants
 * of other process namespaces (containers), other boots, and releases that have not been used for a
 * day.
 */
function sweep () {
  for (const name of names()) {
    if (BELL.test(name)) native.removeDeadBell(path.join(directory(), name));
  }
  const ours = prefix();
  for (const { file, home, isOfRelease, modified, pid, start } of files()) {
    const isNeeded = pid === undefined
      ? isOfRelease || Date.now() - modified < RELEASE_ENDS_MS
      : native.startOfProcess(Number(pid)) === start;
    if (home !== ours || !isNeeded) native.removeUnusedRegion(file);
  }
}

/** This user's regions, of any release, container and boot: the parts of their names, and more. */
function files () {
  return names().flatMap(name => {
    const parts = FILE.exec(name)?.groups;
    if (Number(parts?.uid) !== user()) return [];
    const file = path.join(directory(), name);
    const status = fs.lstatSync(file, { throwIfNoEntry: false });
    if (!status?.isFile()) return []; // Another's, or removed just now.
    const isOfRelease = parts.layout === layout() && parts.unfinished === undefined;
    return [{ ...parts, isOfRelease, file, bytes: status.blocks * 512, modified: status.mtime }];
  });
}

/** The names of the files in the folder of the regions. */
function names () {
  if (!hasFiles) return [];
  try {
    return fs.readdirSync(directory());
  } catch {
    return []; // Without the right to list a folder, a process can still use its files.
  }
}

/** Joins a region. Returns its handle. */
function join (scope, namespace) {
  if (!canShare) {
    throw new SekeringError('ERR_SCOPE_UNSUPPORTED',
      `Scope '${scope}' is not supported on ${runtime ?? process.platform}`);
  }
  const file = fileOf(scope, checkNamespace(namespace));
  // The addon exists once in an environment, but this module may exist more than once.
  const joined = (native.joinedRegions ??= new Map());
  if (joined.has(file)) return joined.get(file);
  sweep();
  const handle = native.joinRegion(file, isWatched);
  if (handle < 0) throw failure(handle, file);
  if (!isWatched) setInterval(() => native.lookForNews(handle), LOOK_MS).unref();
  if (native.regionInfo(handle).replaced) {
    warn('A damaged region was replaced', new Error(file));
  }
  if (joined.size === 0) process.once('exit', leave);
  if (scope === 'host' && hasFiles && !native.hasReportedRegions) {
    native.hasReportedRegions = true;
    reportDirectory();
  }
  joined.set(file, handle);
  if (scope === 'process' && require('node:worker_threads').isMainThread) {
    process.once('exit', () => native.removeRegion(file, true));
  }
  return handle;
}

function leave () {
  // Outcomes recorded since the loop last waited must count, however the process ends.
  native.drain();
  native.hideInRegions();
}

// ---- Places ------------------------------------------------------------------------------------

/** The options that say who shares a breaker or limit. */
const PLACE = {
  scope: is.oneOf('who shares it', ['instance', 'process', 'host'], { default: 'instance' }),
  namespace: {
    doc: 'of those who share it', expected: 'a name', default: 'default',
    check: (_, value) => checkNamespace(value),
  },
  strictScope: is.boolean('whether a scope that cannot be had is an error', { default: false }),
  name: is.any('of what is shared'), // Checked by checkPlace().
};

// The scope that is used where one cannot be had.
const SMALLER = { host: 'process', process: 'instance' };
// Why one cannot be had. Other errors are those of the options.
const NO_SCOPE = new Set(['ERR_SCOPE_UNSUPPORTED', 'ERR_REGION_SYSTEM', 'ERR_REGION_FOREIGN',
  'ERR_REGION_NO_SPACE', 'ERR_REGION_FULL', 'ERR_REGION_PARTICIPANTS']);
const WARNING = 'SEKERING_SCOPE';

const isShared = ({ scope }) => scope === 'process' || scope === 'host';

/** Checks the name that a shared thing must have. */
function checkPlace (options, name) {
  if (!isShared(options)) return;
  if (typeof name !== 'string' || !name || Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw invalidOption('name', `1 to ${NAME_BYTES_MAX} bytes (scope is '${options.scope}')`,
      name);
  }
}

/**
 * Returns what `make()` makes in the scope of `options`. If there is none, `options` get the next
 * smaller one, unless `strictScope`.
 */
function inScope (kind, name, options, make) {
  const wanted = options.scope;
  // A folder that the user has chosen must be right.
  if (isShared(options) && hasFiles && process.env.SEKERING_REGIONS) directory();
  let fault;
  for (;;) {
    try {
      const made = make();
      if (fault !== undefined) reportScope(`${kind} '${name}'`, wanted, options.scope, fault);
      return made;
    } catch (error) {
      if (!isShared(options) || options.strictScope || !NO_SCOPE.has(read(error, 'code'))) {
        throw error;
      }
      fault ??= error;
      options.scope = SMALLER[options.scope];
    }
  }
}

/** Says once in a process that something is shared by fewer than it should be. */
function reportScope (what, wanted, scope, { message }) {
  const { getEnvironmentData, setEnvironmentData } = require('node:worker_threads');
  if (getEnvironmentData(WARNING)) return;
  setEnvironmentData(WARNING, true); // Threads that start later inherit it.
  process.emitWarning(`${message}. The ${what} works in scope '${scope}' instead of '${wanted}', ` +
    "and others may, too: their property 'scope' tells. With strictScope: true this is an error",
  { type: 'SekeringWarning', code: WARNING });
}

/**
 * Attaches to the place of that name, or creates it. `names` are the options whose values are in
 * `config`: all who share a place must agree on them. `attach(region, name, config, stored)`
 * returns a handle, or a negative error; `stored` gets the numbers of the place.
 */
function attachPlace (kind, { scope, namespace, name }, names, config, attach) {
  const region = join(scope, namespace);
  const stored = new Float64Array(config.length);
  const repaired = native.regionRepairs(region);
  const handle = attach(region, name, config, stored);
  if (native.regionRepairs(region) !== repaired) {
    warn('A damaged place in a region was replaced', new Error(fileOf(scope, namespace)));
  }
  if (handle >= 0) return handle;
  if (handle !== OTHER_OPTIONS) throw failure(handle, fileOf(scope, namespace));
  const differing = [...new Set(names.filter((_, i) => config[i] !== stored[i]))];
  const error = new SekeringError('ERR_OPTIONS_MISMATCH',
    `The ${kind} '${name}' exists (scope '${scope}', namespace '${namespace}') with other ` +
    `options: ${differing.join(', ')}`);
  throw Object.assign(error, { options: differing });
}

// ---- For operators -----------------------------------------------------------------------------

/** The host's regions of this user and this release. Windows cannot list them: none. */
function list () {
  if (!hasFiles) return [];
  const ours = prefix();
  return files()
    .filter(({ home, isOfRelease, pid }) => home === ours && isOfRelease && pid === undefined)
    .map(({ namespace, file, bytes, modified }) => ({ namespace, file, bytes, modified }));
}

/** All regions of this user, also those that this process could not use. */
function survey () {
  if (!hasFiles) return [];
  const ours = prefix();
  return files().map(({ namespace, pid, home, isOfRelease, file, bytes, modified }) => ({
    namespace,
    scope: pid === undefined ? 'host' : 'process',
    ...pid !== undefined && { pid: Number(pid) },
    isUsed: native.isRegionUsed(file),
    // Whether this process could use it, as far as containers and releases go.
    isHere: home === ours,
    isOfRelease,
    bytes, modified, file,
  }));
}

/**
 * Removes a region of the host. Its participants keep using it together; later ones create a new
 * one.
 */
function remove (namespace) {
  return native.removeRegion(fileOf('host', checkNamespace(namespace)), false);
}

const regions = Object.freeze({ directory, list, remove });

module.exports = {
  PLACE, attachPlace, canShare, checkNamespace, checkPlace, failure, fileOf, hasFiles, inScope,
  isShared, join, regions, survey,
};
