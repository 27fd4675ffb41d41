'use strict';

// Which shard something belongs to, as a shop would decide it: by a hash.

const { createHash } = require('node:crypto');

/** 48 bits of a text. */
const hashOf = text => createHash('sha256').update(text).digest().readUIntBE(0, 6);

/** The hash modulo the number of shards. */
const shardOf = (id, count) => (count === 1 ? 0 : hashOf(id) % count);

/** Rendezvous hashing: of all shards, the one whose hash together with the id is largest. */
function rendezvousOf (id, count) {
  const weights = Array.from({ length: count }, (_, shard) => hashOf(`${shard}/${id}`));
  return weights.indexOf(Math.max(...weights));
}

module.exports = { rendezvousOf, shardOf };
