'use strict';

// An answer of HTTP that says what is wrong, as RFC 9457 has it.

const { number } = require('./options');

const STATUS_MIN = 400;
const STATUS_MAX = 599;

/**
 * Answers with problem+json.
 * @param {import('node:http').ServerResponse} res of Express or of Node.js
 * @param {number} status 400 to 599
 * @param {object} [members]
 * @param {string} [members.type='about:blank'] a URI of the kind of problem
 * @param {string} [members.title] default: the status in words
 * @param {string} [members.code] stable, machine-readable
 * @param {string} [members.detail]
 * @param {number} [members.retryAfter] seconds; sent as Retry-After too
 *   Others are extension members, as they are.
 */
function problem (res, status, members = {}) {
  const { STATUS_CODES } = require('node:http');
  number('status', status, { min: STATUS_MIN, max: STATUS_MAX, integer: true });
  const { type = 'about:blank', title = STATUS_CODES[status] ?? 'Error', ...rest } = members;
  const text = JSON.stringify({ type, title, status, ...rest });
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/problem+json');
  res.setHeader('Cache-Control', 'no-store');
  res.setHeader('Content-Length', Buffer.byteLength(text));
  if (members.retryAfter !== undefined) {
    res.setHeader('Retry-After', String(Math.max(Math.ceil(members.retryAfter), 0)));
  }
  res.end(res.req?.method === 'HEAD' ? undefined : text);
}

module.exports = { problem };
