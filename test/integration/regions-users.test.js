'use strict';

// Two users on one host: whatever one of them puts where regions are, the other's processes start,
// and share breakers. Root plays both users.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const LIBRARY = path.join(__dirname, '..', '..');
const OWNER = 61_001;
const STRANGER = 61_002;
const TEMPORARY = `/tmp/sekering-${OWNER}`;

// Each run has a /dev/shm of its own.
const canMount = process.getuid() === 0 &&
  spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/dev/shm']).status === 0;
// The users must be able to read the library.
const canRead = canMount && spawnSync(process.execPath, ['-e', `
  process.setgid(${OWNER}); process.setuid(${OWNER}); require(${JSON.stringify(LIBRARY)});
`]).status === 0;
const asTwoUsers = canRead ? test : test.skip;

let folder;
beforeEach(() => { folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-users-')); });
afterEach(() => {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.rmSync(TEMPORARY, { recursive: true, force: true });
});

/** A program that `user` runs. Its last expression is `result`. */
function programOf (user, code) {
  return `
    const fs = require('node:fs');
    process.setgroups([]); process.setgid(${user}); process.setuid(${user});
    const { CircuitBreaker, regions } = require(${JSON.stringify(LIBRARY)});
    const warnings = [];
    process.on('warning', ({ code, message }) => warnings.push([code, message]));
    const make = (name, strictScope) =>
      new CircuitBreaker(async () => {}, { scope: 'host', strictScope, name, timeout: false });
    let result;
    (async () => {
      ${code}
      await new Promise(setImmediate);
      console.log(JSON.stringify(result));
    })().catch(({ code, message }) => console.log(JSON.stringify({ code, message })));`;
}

/** Runs programs one after the other, with one new /dev/shm. Returns their results. */
function run (mode, ...programs) {
  const names = programs.map((program, i) => {
    const name = path.join(folder, `${i}.js`);
    fs.writeFileSync(name, program);
    return name;
  });
  fs.chmodSync(folder, 0o755);
  const { stdout, stderr } = spawnSync('unshare', ['--mount', 'sh', '-c',
    `set -e; mount -t tmpfs -o mode=${mode} tmpfs /dev/shm; cd /; set +e
     for program; do "$NODE" "$program"; done`,
    'sh', ...names],
  { encoding: 'utf8', env: { ...process.env, NODE: process.execPath, SEKERING_REGIONS: '' } });
  const lines = stdout.trim().split('\n');
  if (lines.length !== programs.length) throw new Error(stderr);
  return lines.map(line => JSON.parse(line));
}

const OPEN = `make('a').open();
  const folder = regions.directory();
  const { uid, mode } = fs.lstatSync(folder);
  result = { folder, uid, mode: mode & 0o777, warnings };`;
const LOOK = "result = { folder: regions.directory(), isOpen: make('a').opened };";
const usual = `/dev/shm/sekering-${OWNER}`;

asTwoUsers('each user has a folder that only this user can enter', () => {
  const [own, again, other] = run(1777, programOf(OWNER, OPEN), programOf(OWNER, LOOK),
    programOf(STRANGER, `${LOOK}
      try { fs.readdirSync('${usual}'); } catch ({ code }) { result.code = code; }`));
  expect(own).toEqual({ folder: usual, uid: OWNER, mode: 0o700, warnings: [] });
  expect(again).toEqual({ folder: usual, isOpen: true });
  expect(other).toEqual({
    folder: `/dev/shm/sekering-${STRANGER}`, isOpen: false, code: 'EACCES'
  });
});

const TRAPS = {
  'a folder': 'fs.mkdirSync(at, 0o700)',
  'a folder that everybody may use': 'fs.mkdirSync(at); fs.chmodSync(at, 0o777)',
  'a file': "fs.writeFileSync(at, '')",
  'a fifo': "require('node:child_process').execFileSync('mkfifo', [at])",
  'a socket': `await new Promise(done => {
    require('node:net').createServer().listen(at, done).unref();
  })`,
  'a link to nowhere': "fs.symlinkSync('/no/such/folder', at)",
  'a link to a folder of the stranger': "fs.mkdirSync(at + '-'); fs.symlinkSync(at + '-', at)",
  'a link to a folder that is the owner\'s': `fs.symlinkSync('${TEMPORARY}', at)`,
};

describe('a stranger has made, in place of the folder,', () => {
  asTwoUsers.each(Object.entries(TRAPS))('%s', (_, trap) => {
    const [, own, again] = run(1777,
      programOf(STRANGER, `const at = '${usual}'; ${trap}; result = true;
        if (fs.lstatSync(at).isSocket()) {
          // Killed, so that it cannot remove its socket.
          console.log(true);
          process.kill(process.pid, 'SIGKILL');
        }`),
      programOf(OWNER, OPEN), programOf(OWNER, LOOK));
    expect(own).toEqual({
      folder: TEMPORARY, uid: OWNER, mode: 0o700, warnings: [['SEKERING_REGIONS',
        expect.stringContaining(`because ${usual} is not a folder of this user.`)]]
    });
    expect(again).toEqual({ folder: TEMPORARY, isOpen: true });
  });
});

asTwoUsers('if strangers have taken all places, breakers work alone; the error names them', () => {
  const [, alone, own] = run(1777,
    programOf(STRANGER, `for (const at of ['${usual}', '${TEMPORARY}']) fs.mkdirSync(at);
      result = true;`),
    programOf(OWNER, "result = [make('a').scope, warnings]; await new Promise(setImmediate);"),
    programOf(OWNER, OPEN.replace("'a'", "'a', true")));
  expect(alone).toEqual(['instance', [['SEKERING_SCOPE',
    expect.stringContaining(`${usual} is not a folder of this user`)]]]);
  expect(own.code).toBe('ERR_REGION_SYSTEM');
  for (const at of [usual, TEMPORARY]) {
    expect(own.message).toContain(`${at} is not a folder of this user`);
  }
});

asTwoUsers('a folder of the user that others could enter is closed to them', () => {
  const [, own] = run(1777,
    programOf(OWNER, `fs.mkdirSync('${usual}'); fs.chmodSync('${usual}', 0o777); result = true;`),
    programOf(OWNER, OPEN));
  expect(own).toEqual({ folder: usual, uid: OWNER, mode: 0o700, warnings: [] });
});

asTwoUsers('a place in which others can replace folders is passed by', () => {
  const [own] = run(777, programOf(OWNER, OPEN));
  expect(own.folder).toBe(TEMPORARY);
  expect(own.warnings).toEqual([['SEKERING_REGIONS',
    expect.stringContaining('because other users can replace files in /dev/shm.')]]);
});

asTwoUsers('files of a stranger with the names of regions, beside the folder, are ignored', () => {
  const [first, , second] = run(1777,
    programOf(OWNER, "make('a').open(); result = regions.list().map(({ file }) => file);"),
    programOf(STRANGER, `for (let i = 0; i < 500; i++) {
      fs.writeFileSync('/dev/shm/sekering-${OWNER}-' + i + '--v1.00000000-host-default', '');
    }
    result = true;`),
    programOf(OWNER, `result = [make('a').opened];
      result.push(regions.list().map(({ file }) => file), warnings);`));
  expect(first).toHaveLength(1);
  expect(second).toEqual([true, first, []]);
});
