'use strict';

// Which runtime this is, and what it supports.

const { bun, deno } = process.versions;

/** The name of a runtime that stands in for Node.js; undefined in Node.js itself. */
const foreign = (bun && 'Bun') ?? (deno && 'Deno');

/**
 * Whether scopes other than 'instance' work. The libuv functions that they need end the process in
 * other runtimes than Node.js.
 */
const canShare = process.platform === 'linux' && foreign === undefined;

module.exports = { canShare, foreign };
