'use strict';

// The thread in which PGlite runs: its queries block whoever runs them. It does what it is told,
// one statement after the other, and speaks PostgreSQL's protocol to PGlite.

const fs = require('node:fs');
const path = require('node:path');
const { parentPort, workerData } = require('node:worker_threads');

const { requirePeer } = require('../base/peer');
const { entriesOf, loadTemplate, unpack } = require('./pglite-template');

const { MemoryFS, PGlite, protocol } = requirePeer('@electric-sql/pglite',
  'sekering/store without PostgreSQL');
const { NodeFS } = require('@electric-sql/pglite/nodefs');

const { serialize } = protocol;
const PGDATA = PGlite.paths.PGDATA;
const VERSION = '18';

// As of PGlite, except that a folder is synced, that little of the log is kept when it is cut, and
// that a process which has other things to do gives less memory to it.
const SMALL = [
  '-c', 'max_wal_size=64MB', '-c', 'min_wal_size=32MB', '-c', 'shared_buffers=32MB',
];
const IN_MEMORY = [...PGlite.defaultStartParams, ...SMALL];
const DURABLE = [
  ...IN_MEMORY.filter(parameter => parameter !== '-F'),
  '-c', 'fsync=on', '-c', 'wal_sync_method=fsync',
];

const FAULT_FIELDS = ['code', 'message', 'severity', 'detail', 'hint', 'constraint', 'table',
  'routine'];
const STALE_PLAN = '0A000';
const GRAVE = /FATAL|PANIC/;

/** A folder on disk, with what PGlite leaves out: the call that makes writes durable. */
class DurableFs extends NodeFS {
  async init (pglite, options) {
    const { emscriptenOpts } = await super.init(pglite, options);
    emscriptenOpts.preRun.push(({ NODEFS }) => {
      NODEFS.stream_ops.fsync = ({ nfd }) => {
        NODEFS.tryFSOperation(() => fs.fdatasyncSync(nfd));
        return 0;
      };
    });
    return { emscriptenOpts };
  }
}

/** Memory, with an empty database in it. */
class TemplateFs extends MemoryFS {
  constructor (tar) {
    super();
    this.tar = tar;
  }

  async init (pglite, options) {
    const { emscriptenOpts } = await super.init(pglite, options);
    emscriptenOpts.preRun.push(({ FS }) => {
      FS.mkdirTree(PGDATA, 0o700);
      for (const { name, content } of entriesOf(this.tar)) {
        if (content === undefined) FS.mkdirTree(PGDATA + name, 0o700);
        else FS.writeFile(PGDATA + name, content);
      }
      this.tar = undefined;
    });
    return { emscriptenOpts };
  }
}

/** What to start PGlite with. */
async function prepare ({ directory }) {
  if (directory === undefined) {
    return { fs: new TemplateFs(await loadTemplate()), startParams: IN_MEMORY };
  }
  const data = path.join(directory, 'data');
  // What a start left that was killed.
  for (const name of fs.readdirSync(directory)) {
    if (name.startsWith('data.')) fs.rmSync(path.join(directory, name), { recursive: true });
  }
  if (!fs.existsSync(data)) unpack(await loadTemplate(), data);
  const version = fs.readFileSync(path.join(data, 'PG_VERSION'), 'utf8').trim();
  if (version !== VERSION) {
    throw new Error(`the folder is one of PostgreSQL ${version}, and this PGlite is ${VERSION}`);
  }
  return { fs: new DurableFs(data), startParams: DURABLE };
}

/** The engine as it was compiled by the first thread that needed it. */
async function compile ({ engine }) {
  const file = path.join(path.dirname(require.resolve('@electric-sql/pglite')), 'pglite.wasm');
  return engine ?? WebAssembly.compile(fs.readFileSync(file));
}

class Session {
  /** Names of prepared statements that PGlite has. */
  #prepared = new Set();

  constructor (pglite) {
    this.pglite = pglite;
  }

  /** @returns {Promise<object>} `{ names, types, rows, tag }` or `{ fault }` */
  async run ({ name = '', text, values }) {
    const isSimple = name === '' && !values?.length;
    const isNew = !isSimple && !this.#prepared.has(name);
    const bytes = isSimple
      ? serialize.query(text)
      : Buffer.concat([
        ...(isNew ? [serialize.parse({ name, text })] : []),
        serialize.bind({ statement: name, values: values ?? [] }),
        serialize.describe({ type: 'P' }), serialize.execute({}), serialize.sync(),
      ]);
    const { messages } = await this.pglite.execProtocol(bytes, { throwOnError: false });
    const answer = this.#read(messages);
    if (name !== '') await this.#note(name, isNew && messages, answer.fault);
    return answer;
  }

  async #note (name, messages, fault) {
    if (messages && messages.some(message => message.name === 'parseComplete')) {
      this.#prepared.add(name);
    }
    if (fault?.code === STALE_PLAN && this.#prepared.delete(name)) {
      await this.pglite.execProtocol(
        Buffer.concat([serialize.close({ type: 'S', name }), serialize.sync()]),
        { throwOnError: false });
    }
  }

  /** Of several statements the last one's answer counts. */
  #read (messages) {
    let answer = { names: [], types: [], rows: [], tag: '' };
    for (const message of messages) {
      switch (message.name) {
        case 'rowDescription':
          answer = {
            names: message.fields.map(field => field.name),
            types: message.fields.map(field => field.dataTypeID), rows: [], tag: '',
          };
          break;
        case 'dataRow': answer.rows.push(message.fields); break;
        case 'commandComplete': answer = { ...answer, tag: message.text }; break;
        case 'error': return { fault: pick(message) };
        default:
      }
    }
    return answer;
  }
}

const pick = error => Object.fromEntries(FAULT_FIELDS.map(name => [name, error[name]]));

/** Starts PGlite; why it cannot is not in what it throws, but in what it says. */
async function start (engine) {
  const options = await prepare(workerData);
  let said = '';
  const onStderr = line => {
    if (GRAVE.test(line)) said = `: ${line.trim()}`;
    return false;
  };
  try {
    return await PGlite.create({ ...options, pgliteWasmModule: engine, onStderr });
  } catch (error) {
    error.message += said;
    throw error;
  }
}

async function main () {
  const engine = await compile(workerData);
  const pglite = await start(engine);
  pglite.onNotification((channel, payload) => parentPort.postMessage({ channel, payload }));
  const session = new Session(pglite);
  let last = Promise.resolve();
  parentPort.on('message', ({ id, statement, close }) => {
    // What rejects here is no refusal of a statement but the end of PGlite, and of this thread.
    last = last.then(async () => {
      if (close) {
        await pglite.close();
        parentPort.close();
      }
      const answer = close ? {} : await session.run(statement);
      parentPort.postMessage({ id, ...answer });
      // It would do nothing more, and never say so.
      if (GRAVE.test(answer.fault?.severity)) process.exit();
    });
  });
  parentPort.postMessage({ isReady: true, engine });
}

main();
