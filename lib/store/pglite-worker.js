'use strict';

// The thread in which PGlite runs, as queries block the thread that runs them. It runs one
// statement after the other, and speaks PostgreSQL's protocol to PGlite, whose own `query` takes
// three round trips. Its other end is in ./database-pglite.

const fs = require('node:fs');
const path = require('node:path');
const { parentPort, workerData } = require('node:worker_threads');

const { read } = require('../base/foreign');
const { requirePeer } = require('../base/peer');
const { entriesOf, loadTemplate, unpack } = require('./pglite-template');

const { MemoryFS, PGlite, protocol } = requirePeer('@electric-sql/pglite',
  'sekering/store without PostgreSQL');
const { NodeFS } = require('@electric-sql/pglite/nodefs');

const { serialize } = protocol;
const PGDATA = PGlite.paths.PGDATA;
const VERSION = '18';

// The parameters of PGlite, except that a folder is synced, that little of the log is kept when it
// is cut, and that it uses less memory, since the process has other things to do.
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

/** A folder on disk, with the call that PGlite leaves out: the one that makes writes durable. */
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

/** Memory with an empty database in it. */
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

/** The options to start PGlite with. */
async function prepare ({ directory }) {
  if (directory === undefined) {
    return { fs: new TemplateFs(await loadTemplate()), startParams: IN_MEMORY };
  }
  const data = path.join(directory, 'data');
  // Left by a start that was killed.
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

/** The engine, compiled by the first thread that needs it. */
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

const pick = error => Object.fromEntries(FAULT_FIELDS.map(name => [name, read(error, name)]));

/** Starts PGlite. When it cannot start, the reason is on its stderr, and not in its error. */
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
    // A refused statement does not reject. What does is the end of PGlite, and of this thread.
    last = last.then(async () => {
      if (close) {
        await pglite.close();
        parentPort.close();
      }
      const answer = close ? {} : await session.run(statement);
      parentPort.postMessage({ id, ...answer });
      // PGlite would do nothing more, and never say so.
      if (GRAVE.test(answer.fault?.severity)) process.exit();
    });
  });
  parentPort.postMessage({ id: 0, engine });
}

main();
