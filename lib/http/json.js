'use strict';

// JSON answers.

/** JSON in which amounts, which are bigints, are text. */
const toJson = value => JSON.stringify(value,
  (_key, member) => typeof member === 'bigint' ? String(member) : member);

/** Answers with JSON that nobody may cache. `res` is of Express or of Node.js. */
function sendJson (res, status, value) {
  const text = toJson(value);
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Content-Length', Buffer.byteLength(text));
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('X-Content-Type-Options', 'nosniff');
  res.end(res.req?.method === 'HEAD' ? undefined : text);
}

module.exports = { sendJson, toJson };
