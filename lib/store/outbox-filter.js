'use strict';

// What the lists of messages and dead letters are asked for.

const ID = /^\d{1,19}$/;
const ID_MAX = 2n ** 63n - 1n;

/** Ids are decimal texts; anything else names nothing. */
const isId = id => typeof id === 'string' && ID.test(id) && BigInt(id) <= ID_MAX;

/** A WHERE clause that is built part by part. */
function conditions ({ channel, search, before, after }) {
  const parts = ['true'];
  const values = [];
  const add = (text, ...given) => {
    let next = values.length;
    values.push(...given);
    parts.push(text.replaceAll('?', () => `$${++next}`));
  };
  if (channel !== undefined) add('channel = ?', String(channel));
  if (before !== undefined) add('id < ?', isId(before) ? before : '0');
  if (after !== undefined) add('id > ?', after);
  if (search !== undefined && search !== '') {
    const like = `%${String(search).replace(/[\\%_]/g, '\\$&')}%`;
    add('(recipient ILIKE ? OR subject ILIKE ? OR last_error ILIKE ?)', like, like, like);
  }
  return { add, values, get text () { return parts.join(' AND '); } };
}

module.exports = { conditions, isId };
