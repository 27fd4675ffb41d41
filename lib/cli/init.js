'use strict';

// sekering init: writes a configuration with the wanted parts and new tokens, and installs or names
// the packages that these parts need.

const { spawn } = require('node:child_process');
const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const readline = require('node:readline/promises');

const { installLine, missingOf } = require('../base/peer');
const { packagesOf } = require('../gateway/packages');
const { CliError, EXIT } = require('./session');

// All sections of a configuration, with comments.
const TEMPLATE = path.join(__dirname, 'sekering.toml');
const LABELS = {
  midtrans: 'payments by Midtrans',
  smtp: 'e-mails',
  whatsapp: 'WhatsApp messages',
  postgres: 'PostgreSQL (no: an embedded database)',
};
const PARTS = Object.keys(LABELS);
const UPSTREAMS = ['midtrans', 'smtp', 'whatsapp'];
const PORT = 3000;
const TOKEN_BYTES = 24;

const newToken = () => crypto.randomBytes(TOKEN_BYTES).toString('base64url');

/** A port that nobody listens on: the wanted one, if it is free. */
function freePort (wanted = 0) {
  return new Promise(resolve => {
    const server = net.createServer();
    server.on('error', () => resolve(freePort()));
    server.listen(wanted, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// ---- The file ----------------------------------------------------------------------------------

/** The template, whose sections can be turned on and whose settings can be changed. */
class Template {
  #sections = fs.readFileSync(TEMPLATE, 'utf8').split('\n\n');

  /** Makes settings of a section's comments, and changes some. undefined leaves one a comment. */
  turnOn (title, changes = {}) {
    const at = this.#sections.findIndex(section => section.split('\n').includes(`# ${title}`));
    const lines = this.#sections[at].replace(/^# (?=\[|\w+ = )/gm, '').split('\n');
    const left = new Map(Object.entries(changes));
    const changed = lines.map(line => {
      const [, name] = /^(\w+) = /.exec(line) ?? [];
      if (!left.has(name)) return line;
      const value = left.get(name);
      left.delete(name);
      return value === undefined ? `# ${line}` : `${name} = ${JSON.stringify(value)}`;
    });
    const added = [...left].map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    this.#sections[at] = [...changed, ...added].join('\n').trimEnd();
  }

  replace (from, to) { this.#sections = this.#sections.map(section => section.replace(from, to)); }

  toString () { return `${this.#sections.join('\n\n').trimEnd()}\n`; }
}

/** The settings of upstreams on this machine, which `serve --fakes` starts. */
async function fakeSettings () {
  const [pay, mail, chat] = [await freePort(), await freePort(), await freePort()];
  const payments = `http://127.0.0.1:${pay}`;
  return {
    midtrans: { server_key: `SB-Mid-server-${newToken()}`, snap_url: payments, core_url: payments },
    smtp: { host: '127.0.0.1', port: mail, user: undefined, password: undefined,
      require_tls: undefined, ignore_tls: true },
    whatsapp: { access_token: newToken(), app_secret: newToken(), verify_token: newToken(),
      base_url: `http://127.0.0.1:${chat}` },
  };
}

/** The text of a configuration with these parts. */
async function configOf (parts, { fakes }) {
  const template = new Template();
  template.replace(`port = ${PORT}`, `port = ${await freePort(PORT)}`);
  template.turnOn('[[server.tokens]]', { token: newToken() });
  template.turnOn('[[admin.tokens]]', { token: newToken() });
  const settings = fakes ? await fakeSettings() : {};
  for (const name of parts.filter(part => UPSTREAMS.includes(part))) {
    template.turnOn(name === 'whatsapp' ? '[whatsapp.cloud]' : `[${name}]`, settings[name]);
  }
  if (parts.includes('postgres')) {
    template.replace('# url = "env:DATABASE_URL"', 'url = "env:DATABASE_URL"');
    template.replace(/^directory = /m, '# directory = ');
  }
  return String(template);
}

function write (file, text) {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    // Readable only by its owner: it holds secrets.
    fs.writeFileSync(file, text, { flag: 'wx', mode: 0o600 });
  } catch (cause) {
    throw new CliError('ERR_CLI_FILE', cause.code === 'EEXIST' && cause.syscall === 'open'
      ? `${file} already exists` : `Cannot write ${file} (${cause.code})`, EXIT.failed, { cause });
  }
}

// ---- Questions and packages --------------------------------------------------------------------

const isInteractive = () => Boolean(process.stdin.isTTY && process.stdout.isTTY);

/** Asks with yes or no, again after another answer. Enter means yes if `usually` is true. */
async function asker () {
  const lines = readline.createInterface({ input: process.stdin, output: process.stdout });
  return {
    async ask (question, usually) {
      for (;;) {
        const text = await lines.question(`${question} ${usually ? '[Y/n]' : '[y/N]'} `);
        const [answer] = text.trim().toLowerCase();
        if (answer === undefined) return usually;
        if ('yn'.includes(answer)) return answer === 'y';
      }
    },
    close: () => lines.close(),
  };
}

async function askForParts ({ ask }) {
  const parts = [];
  for (const [part, words] of Object.entries(LABELS)) {
    if (await ask(`Use ${words}?`, part !== 'postgres')) parts.push(part);
  }
  const some = parts.some(part => UPSTREAMS.includes(part));
  const fakes = some && await ask('Use fakes of these services for now, to try it out?', true);
  return { parts, fakes };
}

/** What a configuration with these parts needs that is not installed. */
function missingFor (parts, fakes) {
  const has = name => (parts.includes(name) ? {} : undefined);
  const needs = packagesOf({
    midtrans: has('midtrans'), smtp: has('smtp'), whatsapp: has('whatsapp'),
    store: { url: has('postgres') },
  }, { server: true });
  return missingOf([...needs, ...fakes && parts.includes('smtp') ? ['smtp-server'] : []]);
}

function runNpm (command) {
  return new Promise((resolve, reject) => {
    const [program, ...args] = command.split(' ');
    // What it prints is for people: with --json, stdout is for programs.
    const child = spawn(program, args,
      { stdio: ['ignore', process.stderr, process.stderr], shell: process.platform === 'win32' });
    child.on('error', reject);
    child.on('close', code => (code === 0 ? resolve() : reject(new CliError('ERR_CLI_FAILED',
      `This has failed: ${command}`, EXIT.failed))));
  });
}

/** The environment variables that a configuration needs and that are not set. */
const unsetOf = (text, env) => [...new Set(text.split('\n').filter(line => !line.startsWith('#'))
  .map(line => /= "env:(\w+)"/.exec(line)?.[1])
  .filter(name => name !== undefined && !env[name]))];

function nextOf ({ file, parts, fakes, off, unset, install }) {
  const name = file === 'sekering.toml' ? '' : ` --config ${file}`;
  return [
    `Wrote ${file}, with new tokens. Only you can read it.`,
    `On:  ${parts.join(', ') || 'nothing but the store'}${fakes ? ' (fakes)' : ''}`,
    ...off.length === 0 ? []
      : [`Off: ${off.join(', ')}. To turn one on, see its section in ${file}.`],
    ...install === undefined ? [] : ['Install its packages:', `  ${install}`],
    ...unset.length === 0 ? [] : [`Set these environment variables: ${unset.join(', ')}`],
    `Next: npx sekering${name} ${fakes ? 'serve --fakes' : 'check'}`,
  ].join('\n');
}

/** @param {object} options file, with, fakes, install */
async function init (session, file, options) {
  // Before any question.
  if (fs.existsSync(file)) write(file, '');
  const isAsking = isInteractive() && options.with === undefined && !options.fakes;
  const questions = isAsking ? await asker() : undefined;
  try {
    const { parts, fakes } = isAsking ? await askForParts(questions) : {
      parts: options.with ?? (options.fakes ? UPSTREAMS : []), fakes: options.fakes === true,
    };
    const text = await configOf(parts, { fakes });
    write(file, text);
    const missing = missingFor(parts, fakes);
    const command = missing.length === 0 ? undefined : installLine(missing);
    const wants = options.install ?? (command !== undefined && isAsking &&
      await questions.ask(`Run this now: ${command}?`, true));
    if (wants && command !== undefined) await runNpm(command);
    const install = wants ? undefined : command;
    const off = UPSTREAMS.filter(name => !parts.includes(name));
    const unset = unsetOf(text, session.env);
    session.answer({ file, parts, off, fakes, unset, install }, nextOf);
  } catch (cause) {
    if (cause.code !== 'ABORT_ERR') throw cause;
    // Ctrl-C or Ctrl-D at a question, in whose line the cursor still is.
    process.stdout.write('\n');
    throw new CliError('ERR_CLI_FAILED', fs.existsSync(file)
      ? `Interrupted. ${file} is written, its packages are not installed`
      : 'Interrupted. Nothing was written', EXIT.failed, { cause });
  } finally {
    questions?.close();
  }
}

module.exports = { PARTS, init };
