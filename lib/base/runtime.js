'use strict';

// What the runtime is, and what can be done in it.

const { bun, deno } = process.versions;

/** The name of a runtime that stands in for Node.js; undefined in Node.js itself. */
const foreign = (bun && 'Bun') ?? (deno && 'Deno');

/**
 * Whether scopes other than 'instance' work. What they need of libuv ends the process of a foreign
 * runtime.
 */
const canShare = process.platform === 'linux' && foreign === undefined;

module.exports = { canShare, foreign };
