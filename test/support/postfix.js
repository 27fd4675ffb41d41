'use strict';

// A Postfix of its own for a test: private folders, a free port on loopback, mailboxes on disk. It
// has to be started as root, as Postfix has.

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { freePort } = require('./ports');

const NOBODY = 65534;

// Only what takes mail in and delivers it to mailboxes.
const services = port => `
127.0.0.1:${port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`;

const settings = (folder, more) => Object.entries({
  compatibility_level: '3.6',
  queue_directory: `${folder}/spool`,
  data_directory: `${folder}/data`,
  mail_owner: 'postfix',
  setgid_group: 'postdrop',
  myhostname: 'relay.example',
  mydestination: '',
  alias_maps: '',
  local_recipient_maps: '',
  inet_protocols: 'ipv4',
  mynetworks: '127.0.0.0/8',
  virtual_mailbox_domains: 'example.test',
  virtual_mailbox_base: `${folder}/mail`,
  virtual_mailbox_maps: `texthash:${folder}/conf/boxes`,
  virtual_uid_maps: `static:${NOBODY}`,
  virtual_gid_maps: `static:${NOBODY}`,
  virtual_minimum_uid: '1',
  smtpd_recipient_restrictions:
    `check_recipient_access texthash:${folder}/conf/access, permit_mynetworks, reject`,
  maillog_file: `${folder}/log`,
  maillog_file_prefixes: folder,
  ...more,
}).map(([name, value]) => `${name} = ${value}\n`).join('');

class Postfix {
  host = '127.0.0.1';

  constructor (folder, port) {
    this.folder = folder;
    this.port = port;
  }

  #control (command) {
    const args = ['-c', `${this.folder}/conf`, command];
    const { status, stderr } = spawnSync('/usr/sbin/postfix', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`postfix ${command}: ${stderr}`);
  }

  /** Adds settings, where later ones win, and tables by name. Call it before start(). */
  configure (more, tables = {}) {
    const conf = path.join(this.folder, 'conf');
    for (const [name, text] of Object.entries(tables)) {
      fs.writeFileSync(path.join(conf, name), text);
    }
    const lines = Object.entries(more).map(([name, value]) => `${name} = ${value}\n`).join('');
    fs.appendFileSync(path.join(conf, 'main.cf'), lines);
  }

  start () { this.#control('start'); }

  stop () { this.#control('stop'); }

  /** What lies in a mailbox, as text. */
  mails (box) {
    const folder = path.join(this.folder, 'mail', box, 'new');
    if (!fs.existsSync(folder)) return [];
    return fs.readdirSync(folder).map(name => fs.readFileSync(path.join(folder, name), 'utf8'));
  }

  remove () {
    fs.rmSync(this.folder, { recursive: true, force: true });
  }
}

/**
 * @param {{ boxes: string[], deferred: string[], settings?: object }} options names before
 *   @example.test: who has a mailbox, and who is told to come back later
 */
async function makePostfix ({ boxes, deferred, settings: more }) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sekering-postfix-'));
  const port = await freePort();
  fs.chmodSync(folder, 0o755);
  for (const name of ['conf', 'spool', 'data', 'mail']) fs.mkdirSync(path.join(folder, name));
  const uid = spawnSync('id', ['-u', 'postfix'], { encoding: 'utf8' }).stdout.trim();
  fs.chownSync(path.join(folder, 'data'), Number(uid), 0);
  fs.chownSync(path.join(folder, 'mail'), NOBODY, NOBODY);
  const write = (name, text) => fs.writeFileSync(path.join(folder, 'conf', name), text);
  write('main.cf', settings(folder, more));
  write('master.cf', services(port));
  write('boxes', boxes.map(name => `${name}@example.test ${name}/\n`).join(''));
  write('access', deferred.map(name => `${name}@example.test 450 4.7.1 Greylisted\n`).join(''));
  return new Postfix(folder, port);
}

module.exports = { makePostfix };
