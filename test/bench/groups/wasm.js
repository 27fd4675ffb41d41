'use strict';

// The core as WebAssembly beside the binary, in one process: each has its own copy of the modules.

const path = require('node:path');

const { compare, loopOf } = require('../measure');
const { CircuitBreaker, Opossum } = require('../subjects');

const LIB = path.join(__dirname, '..', '..', '..', 'lib');

function loadWasm () {
  process.env.SEKERING_ENGINE = 'wasm';
  for (const file of Object.keys(require.cache)) {
    if (file.startsWith(LIB + path.sep)) delete require.cache[file];
  }
  const wasm = require(LIB);
  if (wasm.engine !== 'wasm') throw new Error('WebAssembly is not in use');
  return wasm;
}

async function run (options) {
  const native = new CircuitBreaker(async x => x, { timeout: false });
  const nativeLoop = loopOf(i => native.fire(i));
  const wasm = new (loadWasm().CircuitBreaker)(async x => x, { timeout: false });
  const wasmLoop = loopOf(i => wasm.fire(i));
  const results = { 'wasm.native': await compare(wasmLoop, nativeLoop, options) };
  native.shutdown();

  // Last, for the latencies that it keeps fill the heap.
  const opossum = new Opossum(async x => x, { timeout: false });
  results['wasm.opossum'] = await compare(loopOf(i => opossum.fire(i)), wasmLoop, options);
  opossum.shutdown();
  wasm.shutdown();
  return results;
}

module.exports = { processes: 3, run };
