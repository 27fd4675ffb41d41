'use strict';

// Real processes and threads that take part in shared breakers. A test sends them functions, which
// run there with the context of shared-peer.js; what they return comes back.

const { fork } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Worker } = require('node:worker_threads');

const { fileOf } = require('../../lib/base/regions');

const PEER = path.join(__dirname, 'shared-peer.js');
const WAIT_MS_MAX = 100_000;

// Jest loads this more than once in a process, and a namespace is joined once in a process.
const run = Date.now().toString(36);
const started = new Set();
const namespaces = new Set();
let count = 0;

/** A namespace that no other test has; `cleanUp` removes its region. */
function newNamespace () {
  count += 1;
  const namespace = `test-${process.pid}-${run}-${count}`;
  namespaces.add(namespace);
  return namespace;
}

class Peer {
  constructor (end, post) {
    this.end = end;
    this.pid = end.pid;
    this._post = post;
    this._calls = new Map();
    this._lastId = 0;
    this.ready = new Promise((resolve, reject) => this._calls.set(0, { resolve, reject }));
    end.on('message', message => this._settle(message));
    end.on('error', error => this._fail(error));
    end.on('exit', (code, signal) => {
      this._fail(new Error(`The peer ended with ${signal ?? code}`));
      started.delete(this);
    });
    this.gone = new Promise(resolve => { end.once('exit', resolve); });
    started.add(this);
  }

  /** Runs `code(context, ...args)` there. */
  run (code, ...args) {
    const id = ++this._lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`No answer to ${code}`)), WAIT_MS_MAX);
      const settled = settle => value => {
        clearTimeout(timer);
        settle(value);
      };
      this._calls.set(id, { resolve: settled(resolve), reject: settled(reject) });
      this._post({ id, code: String(code), args });
    });
  }

  /** Ends a process by a signal, a thread by terminate(). */
  async kill (signal = 'SIGKILL') {
    if (this.pid === undefined) await this.end.terminate();
    else this.end.kill(signal);
    await this.gone;
  }

  signal (name) { process.kill(this.pid, name); }

  _settle ({ id, value, error }) {
    const call = this._calls.get(id);
    this._calls.delete(id);
    if (error === undefined) call.resolve(value);
    else call.reject(Object.assign(new Error(error.message), error));
  }

  _fail (error) {
    for (const { reject } of this._calls.values()) reject(error);
    this._calls.clear();
  }
}

/** @param {object} [options] of fork */
async function startProcess (options) {
  const child = fork(PEER, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], ...options });
  const peer = new Peer(child, message => child.send(message, () => {}));
  await peer.ready;
  return peer;
}

async function startThread () {
  const worker = new Worker(PEER);
  const peer = new Peer(worker, message => worker.postMessage(message));
  await peer.ready;
  return peer;
}

const startProcesses = many => Promise.all(Array.from({ length: many }, () => startProcess()));
const startThreads = many => Promise.all(Array.from({ length: many }, startThread));

/** Runs the same in all of them. */
const all = (peers, code, ...args) => Promise.all(peers.map(peer => peer.run(code, ...args)));

/** For afterEach: ends what is still there and removes the regions, those of the killed too. */
async function cleanUp () {
  await Promise.all([...started].map(peer => peer.kill()));
  const folder = path.dirname(fileOf('host', 'any'));
  for (const name of fs.readdirSync(folder)) {
    const ours = [...namespaces].some(namespace => name.endsWith(`-${namespace}`));
    if (ours) fs.rmSync(path.join(folder, name), { force: true });
  }
  namespaces.clear();
}

module.exports = {
  all, cleanUp, newNamespace, startProcess, startProcesses, startThread, startThreads
};
